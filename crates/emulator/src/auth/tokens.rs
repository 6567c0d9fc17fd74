//! Sign-in by client secret or certificate, and verification of the issued
//! access tokens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::auth::assertion::RegisteredCertificate;
use crate::auth::signed_links::ServiceSigner;
use crate::call_kind::CallKind;

/// The application permissions of a call; one of them is required.
pub(crate) fn required_roles(kind: CallKind) -> &'static [&'static str] {
    match kind {
        CallKind::Run => &["Machine.LiveResponse"],
        CallKind::Cancel => &["Machine.LiveResponse", "Machine.CollectForensics"],
        CallKind::Package | CallKind::PackageLink => &["Machine.CollectForensics"],
        CallKind::Library | CallKind::Upload | CallKind::Delete => &["Library.Manage"],
        _ => &["Machine.Read.All", "Machine.ReadWrite.All"],
    }
}

/// The application that can sign in, and the content of its tokens.
#[derive(Clone)]
pub(crate) struct Application {
    pub tenant: String,
    pub client_id: String,
    pub client_secret: String,
    pub certificate: Option<RegisteredCertificate>,
    pub roles: Vec<String>,
    pub token_life: Duration,
}

/// Reason for rejecting a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenRejection {
    /// 401: no token, a foreign one, or an expired or revoked one.
    Invalid,
    /// 403: the token has no role for the call.
    MissingRole,
}

/// Issues, verifies and revokes access tokens.
pub(crate) struct TokenIssuer {
    application: Application,
    signer: ServiceSigner,
    /// Incremented by each revocation; tokens of older generations are invalid.
    generation: AtomicU64,
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A failed sign-in, with the error codes of the login host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SignInError {
    pub status: u16,
    pub error: &'static str,
    pub code: u32,
    pub message: String,
}

impl TokenIssuer {
    pub(crate) fn new(application: Application, signer: ServiceSigner) -> Self {
        Self {
            application,
            signer,
            generation: AtomicU64::new(0),
        }
    }

    /// Invalidates every token issued so far.
    pub(crate) fn revoke(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Handles the form of a sign-in that was sent to `endpoint`; returns the JSON
    /// of the response.
    pub(crate) fn sign_in(
        &self,
        tenant: &str,
        endpoint: &str,
        form: &[u8],
        now: Timestamp,
    ) -> Result<Value, SignInError> {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(form).into_owned().collect();
        let field = |name: &str| {
            let pair = pairs.iter().find(|(key, _)| key == name);
            pair.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let application = &self.application;
        let fail = |status, error, code, message: &str| {
            Err(SignInError {
                status,
                error,
                code,
                message: message.to_string(),
            })
        };
        if !tenant.eq_ignore_ascii_case(&application.tenant) {
            return fail(400, "invalid_request", 90002, "Tenant not found.");
        }
        if field("grant_type") != "client_credentials" {
            let message = "The grant type is not supported.";
            return fail(400, "unsupported_grant_type", 70003, message);
        }
        if !field("client_id").eq_ignore_ascii_case(&application.client_id) {
            let message = "Application was not found in the directory.";
            return fail(400, "unauthorized_client", 700_016, message);
        }
        if !field("client_assertion").is_empty() {
            if let Err(message) = self.check_assertion(&field, endpoint) {
                return fail(401, "invalid_client", 700_027, message);
            }
        } else if field("client_secret") != application.client_secret {
            let message = "Invalid client secret provided.";
            return fail(401, "invalid_client", 7_000_215, message);
        }
        if !field("scope").ends_with("/.default") {
            let message = "The provided value for the input parameter 'scope' is not valid.";
            return fail(400, "invalid_scope", 70011, message);
        }
        let audience = field("scope").trim_end_matches("/.default");
        let life = application.token_life.as_secs();
        Ok(json!({
            "token_type": "Bearer",
            "expires_in": life,
            "ext_expires_in": life,
            "access_token": self.issue(audience, now),
        }))
    }

    fn check_assertion<'a>(
        &self,
        field: &impl Fn(&str) -> &'a str,
        endpoint: &str,
    ) -> Result<(), &'static str> {
        let application = &self.application;
        if field("client_assertion_type") != ASSERTION_TYPE {
            return Err("The client assertion type is not supported.");
        }
        let certificate = application
            .certificate
            .as_ref()
            .ok_or("No certificate is registered on the application.")?;
        let claims = certificate.verify(field("client_assertion"), &application.client_id)?;
        // Assertions use real time, even if the emulated clock is faster.
        claims.check(endpoint, Timestamp::now())
    }

    fn issue(&self, audience: &str, now: Timestamp) -> String {
        let application = &self.application;
        let second = now.as_second();
        let claims = json!({
            "aud": audience,
            "iss": format!("https://sts.windows.net/{}/", application.tenant),
            "appid": application.client_id,
            "tid": application.tenant,
            "roles": application.roles,
            "iat": second,
            "nbf": second,
            "exp": second + application.token_life.as_secs() as i64 + 1,
            "generation": self.generation.load(Ordering::SeqCst),
        });
        let header = json!({"typ": "JWT", "alg": "BLAKE3", "kid": "emulator"});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.signer.sign(&signed));
        format!("{signed}.{signature}")
    }

    /// The client id of the application.
    pub(crate) fn client_id(&self) -> &str {
        &self.application.client_id
    }

    /// Verifies the `Authorization` header of a call.
    pub(crate) fn check(
        &self,
        header: Option<&str>,
        kind: CallKind,
        now: Timestamp,
    ) -> Result<(), TokenRejection> {
        let token = header
            .and_then(|header| header.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim())
            .ok_or(TokenRejection::Invalid)?;
        let claims = self.claims(token).ok_or(TokenRejection::Invalid)?;
        let number = |name: &str| claims.get(name).and_then(Value::as_i64);
        let generation = self.generation.load(Ordering::SeqCst);
        let is_expired = number("exp").is_none_or(|exp| now.as_second() >= exp);
        if is_expired || number("generation") != i64::try_from(generation).ok() {
            return Err(TokenRejection::Invalid);
        }
        let roles = claims.get("roles").and_then(Value::as_array);
        let is_allowed = roles
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .any(|role| required_roles(kind).contains(&role));
        if !is_allowed {
            return Err(TokenRejection::MissingRole);
        }
        Ok(())
    }

    /// The claims of a token with a valid signature.
    fn claims(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        if URL_SAFE_NO_PAD.encode(self.signer.sign(signed)) != signature {
            return None;
        }
        let (_, claims) = signed.split_once('.')?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: u64) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        crate::timeline::clock::later(start, Duration::from_secs(n))
    }

    fn tokens(roles: &[&str]) -> TokenIssuer {
        TokenIssuer::new(
            Application {
                tenant: "t".into(),
                client_id: "c".into(),
                client_secret: "s".into(),
                certificate: None,
                roles: roles.iter().map(|role| role.to_string()).collect(),
                token_life: Duration::from_secs(3599),
            },
            ServiceSigner::new("x"),
        )
    }

    const FORM: &str = "grant_type=client_credentials&client_id=c&client_secret=s&scope=https%3A%2F%2Fapi%2F.default";

    fn bearer(tokens: &TokenIssuer) -> String {
        let answer = tokens
            .sign_in("t", "e", FORM.as_bytes(), second(0))
            .unwrap();
        assert_eq!(answer["expires_in"], 3599);
        format!("Bearer {}", answer["access_token"].as_str().unwrap())
    }

    #[test]
    fn token_is_valid_until_it_expires_or_is_revoked() {
        let tokens = tokens(&["Machine.Read.All"]);
        let header = bearer(&tokens);
        let check = |n| tokens.check(Some(&header), CallKind::List, second(n));
        assert_eq!(check(3598), Ok(()));
        assert_eq!(check(3601), Err(TokenRejection::Invalid));
        tokens.revoke();
        assert_eq!(check(1), Err(TokenRejection::Invalid));
        let fresh = bearer(&tokens);
        assert_eq!(
            tokens.check(Some(&fresh), CallKind::List, second(1)),
            Ok(())
        );
    }

    #[test]
    fn call_without_its_role_is_forbidden() {
        let tokens = tokens(&["Machine.LiveResponse"]);
        let header = bearer(&tokens);
        let check = |kind| tokens.check(Some(&header), kind, second(1));
        assert_eq!(check(CallKind::List), Err(TokenRejection::MissingRole));
        assert_eq!(check(CallKind::Upload), Err(TokenRejection::MissingRole));
        assert_eq!(check(CallKind::Run), Ok(()));
    }

    #[test]
    fn invalid_and_foreign_tokens_are_rejected() {
        let tokens = tokens(&["Machine.Read.All"]);
        let foreign = bearer(&TokenIssuer::new(
            tokens.application.clone(),
            ServiceSigner::new("other"),
        ));
        for header in [
            None,
            Some(""),
            Some("Bearer"),
            Some("Bearer a.b.c"),
            Some("Basic x"),
        ] {
            let rejected = tokens.check(header, CallKind::List, second(1));
            assert_eq!(rejected, Err(TokenRejection::Invalid));
        }
        assert_eq!(
            tokens.check(Some(&foreign), CallKind::List, second(1)),
            Err(TokenRejection::Invalid)
        );
    }

    #[test]
    fn failed_sign_in_has_the_error_code_of_its_cause() {
        let tokens = tokens(&[]);
        let fails = |tenant: &str, form: String| {
            let error = tokens.sign_in(tenant, "e", form.as_bytes(), second(0));
            error.unwrap_err().code
        };
        assert_eq!(fails("u", FORM.into()), 90002);
        assert_eq!(
            fails("t", FORM.replace("client_id=c", "client_id=d")),
            700_016
        );
        assert_eq!(fails("t", FORM.replace("secret=s", "secret=z")), 7_000_215);
        assert_eq!(fails("t", FORM.replace(".default", "all")), 70011);
        assert_eq!(fails("t", String::new()), 70003);
    }
}
