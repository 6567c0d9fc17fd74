//! Claims of a bearer token. They are read without verification and used only
//! for warnings and for the name of the call log.

use jsonwebtoken::dangerous::insecure_decode_claims;
use serde_json::Value;

use crate::service::auth::secret::Secret;

/// Tenant, application and permissions of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenClaims {
    pub tenant: Option<String>,
    pub application: Option<String>,
    /// `roles` of an application token, `scp` of a delegated token.
    pub permissions: Vec<String>,
}

/// Permissions of which one is required to list machines and actions.
pub(crate) const LIST_PERMISSIONS: &[&str] =
    &["Machine.Read.All", "Machine.ReadWrite.All", "Machine.Read"];
/// Permissions of which one is required to request links to results.
pub(crate) const DOWNLOAD_PERMISSIONS: &[&str] = &["Machine.ReadWrite.All", "Machine.ReadWrite"];

impl TokenClaims {
    pub(crate) fn has_any(&self, names: &[&str]) -> bool {
        self.permissions.iter().any(|permission| {
            names
                .iter()
                .any(|name| permission.eq_ignore_ascii_case(name))
        })
    }
}

/// Reads the claims; `None` if the token is not a JWT.
pub(crate) fn read_claims(token: &Secret) -> Option<TokenClaims> {
    let claims: Value = insecure_decode_claims(token.expose()).ok()?;
    let text = |name: &str| claims[name].as_str().map(str::to_string);
    let roles = claims["roles"].as_array().into_iter().flatten();
    let scopes = claims["scp"].as_str().unwrap_or("").split_whitespace();
    Some(TokenClaims {
        tenant: text("tid"),
        application: text("appid").or_else(|| text("azp")),
        permissions: roles
            .filter_map(Value::as_str)
            .chain(scopes)
            .map(str::to_string)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use data_encoding::BASE64URL_NOPAD;

    use super::*;

    fn token(payload: &str) -> Secret {
        let payload = BASE64URL_NOPAD.encode(payload.as_bytes());
        Secret::new(format!("e30.{payload}.x"))
    }

    #[test]
    fn claims_are_read_from_application_and_delegated_tokens() {
        let application = read_claims(&token(
            r#"{"tid":"t","appid":"a","roles":["Machine.Read.All"]}"#,
        ))
        .unwrap();
        assert_eq!(application.permissions, ["Machine.Read.All"]);
        assert_eq!(application.tenant.as_deref(), Some("t"));
        let delegated = read_claims(&token(r#"{"azp":"a","scp":"A.B C.D"}"#)).unwrap();
        assert_eq!(delegated.permissions, ["A.B", "C.D"]);
        assert_eq!(delegated.application.as_deref(), Some("a"));
        assert_eq!(read_claims(&Secret::new("opaque")), None);
    }
}
