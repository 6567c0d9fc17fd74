//! What a bearer token says of itself. Read for warnings and for the name of
//! the call log, never trusted for more.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::Secret;

/// The claims worth reading; empty where the token is no JWT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenClaims {
    pub tenant: Option<String>,
    pub application: Option<String>,
    /// `roles` of an application, `scp` of a delegated token.
    pub permissions: Vec<String>,
}

/// Any of these lists machines and actions.
pub(crate) const LIST_PERMISSIONS: &[&str] =
    &["Machine.Read.All", "Machine.ReadWrite.All", "Machine.Read"];
/// Any of these has links to results.
pub(crate) const DOWNLOAD_PERMISSIONS: &[&str] = &["Machine.ReadWrite.All", "Machine.ReadWrite"];

impl TokenClaims {
    pub fn has_any(&self, names: &[&str]) -> bool {
        let mut held = self.permissions.iter();
        held.any(|held| names.iter().any(|name| held.eq_ignore_ascii_case(name)))
    }
}

pub(crate) fn read_claims(token: &Secret) -> Option<TokenClaims> {
    let payload = token.expose().split('.').nth(1)?;
    let bytes = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let json: Value = serde_json::from_slice(&bytes).ok()?;
    let text = |name: &str| json[name].as_str().map(str::to_string);
    let roles = json["roles"].as_array().into_iter().flatten();
    let scopes = json["scp"].as_str().unwrap_or("").split_whitespace();
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
    use super::*;

    fn token(payload: &str) -> Secret {
        Secret::new(format!("e30.{}.x", URL_SAFE_NO_PAD.encode(payload)))
    }

    #[test]
    fn claims_read_from_application_and_delegated_tokens() {
        let app = read_claims(&token(
            r#"{"tid":"t","appid":"a","roles":["Machine.Read.All"]}"#,
        ))
        .unwrap();
        assert_eq!(app.permissions, ["Machine.Read.All"]);
        assert_eq!(app.tenant.as_deref(), Some("t"));
        let person = read_claims(&token(r#"{"azp":"a","scp":"A.B C.D"}"#)).unwrap();
        assert_eq!(person.permissions, ["A.B", "C.D"]);
        assert_eq!(person.application.as_deref(), Some("a"));
        assert_eq!(read_claims(&Secret::new("opaque")), None);
    }
}
