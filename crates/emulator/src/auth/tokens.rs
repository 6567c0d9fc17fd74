//! Sign-in by client secret and the check of what was issued.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::auth::assertion::RegisteredCertificate;
use crate::auth::signed_links::ServiceSigner;
use crate::call_kind::CallKind;

/// The permissions that open a call, any of them.
pub(crate) fn required_roles(kind: CallKind) -> &'static [&'static str] {
    match kind {
        CallKind::Run => &["Machine.LiveResponse"],
        CallKind::Cancel => &["Machine.LiveResponse", "Machine.CollectForensics"],
        CallKind::Package | CallKind::PackageLink => &["Machine.CollectForensics"],
        CallKind::Library | CallKind::Upload | CallKind::Delete => &["Library.Manage"],
        _ => &["Machine.Read.All", "Machine.ReadWrite.All"],
    }
}

/// Who may sign in, and what the tokens say.
#[derive(Clone)]
pub(crate) struct Application {
    pub tenant: String,
    pub client_id: String,
    pub client_secret: String,
    pub certificate: Option<RegisteredCertificate>,
    pub roles: Vec<String>,
    pub token_life: Duration,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenRejection {
    /// 401: no token, not ours, expired or revoked.
    Unknown,
    /// 403: the token holds no role for the call.
    Role,
}

pub(crate) struct Tokens {
    application: Application,
    signer: ServiceSigner,
    /// Grows with every revocation; older tokens are dead.
    generation: AtomicU64,
}

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A sign-in that failed, as the login host words it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SignInError {
    pub status: u16,
    pub error: &'static str,
    pub code: u32,
    pub message: String,
}

impl Tokens {
    pub(crate) fn new(application: Application, signer: ServiceSigner) -> Self {
        Self {
            application,
            signer,
            generation: AtomicU64::new(0),
        }
    }

    /// Every token issued so far is dead.
    pub(crate) fn revoke(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Answers the form of a sign-in that was sent to `endpoint`.
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
        let wanted = &self.application;
        let fail = |status, error, code, message: &str| {
            Err(SignInError {
                status,
                error,
                code,
                message: message.to_string(),
            })
        };
        if !tenant.eq_ignore_ascii_case(&wanted.tenant) {
            return fail(400, "invalid_request", 90002, "Tenant not found.");
        }
        if field("grant_type") != "client_credentials" {
            let why = "The grant type is not supported.";
            return fail(400, "unsupported_grant_type", 70003, why);
        }
        if !field("client_id").eq_ignore_ascii_case(&wanted.client_id) {
            let why = "Application was not found in the directory.";
            return fail(400, "unauthorized_client", 700_016, why);
        }
        if !field("client_assertion").is_empty() {
            if let Err(why) = self.check_assertion(&field, endpoint) {
                return fail(401, "invalid_client", 700_027, why);
            }
        } else if field("client_secret") != wanted.client_secret {
            let why = "Invalid client secret provided.";
            return fail(401, "invalid_client", 7_000_215, why);
        }
        if !field("scope").ends_with("/.default") {
            let why = "The provided value for the input parameter 'scope' is not valid.";
            return fail(400, "invalid_scope", 70011, why);
        }
        let audience = field("scope").trim_end_matches("/.default");
        let life = wanted.token_life.as_secs();
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
        let wanted = &self.application;
        if field("client_assertion_type") != ASSERTION_TYPE {
            return Err("The client assertion type is not supported.");
        }
        let registered = wanted.certificate.as_ref();
        let registered = registered.ok_or("No certificate is registered on the application.")?;
        let claims = registered.claims(field("client_assertion"), &wanted.client_id)?;
        // Login hosts keep the wall's time, however fast the service runs.
        claims.check(endpoint, Timestamp::now())
    }

    fn issue(&self, audience: &str, now: Timestamp) -> String {
        let wanted = &self.application;
        let second = now.as_second();
        let claims = json!({
            "aud": audience,
            "iss": format!("https://sts.windows.net/{}/", wanted.tenant),
            "appid": wanted.client_id,
            "tid": wanted.tenant,
            "roles": wanted.roles,
            "iat": second,
            "nbf": second,
            "exp": second + wanted.token_life.as_secs() as i64 + 1,
            "generation": self.generation.load(Ordering::SeqCst),
        });
        let header = json!({"typ": "JWT", "alg": "BLAKE3", "kid": "emulator"});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(self.signer.sign(&signed));
        format!("{signed}.{signature}")
    }

    /// Whom tokens are issued to.
    pub(crate) fn client_id(&self) -> &str {
        &self.application.client_id
    }

    /// Whether the `Authorization` header opens a call.
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
            .ok_or(TokenRejection::Unknown)?;
        let claims = self.claims(token).ok_or(TokenRejection::Unknown)?;
        let number = |name: &str| claims.get(name).and_then(Value::as_i64);
        let generation = self.generation.load(Ordering::SeqCst);
        let expired = number("exp").is_none_or(|exp| now.as_second() >= exp);
        if expired || number("generation") != i64::try_from(generation).ok() {
            return Err(TokenRejection::Unknown);
        }
        let roles = claims.get("roles").and_then(Value::as_array);
        let may = roles.is_some_and(|roles| {
            let mut words = roles.iter().filter_map(Value::as_str);
            words.any(|role| required_roles(kind).contains(&role))
        });
        match may {
            true => Ok(()),
            false => Err(TokenRejection::Role),
        }
    }

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

    fn tokens(roles: &[&str]) -> Tokens {
        Tokens::new(
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

    fn bearer(tokens: &Tokens) -> String {
        let answer = tokens
            .sign_in("t", "e", FORM.as_bytes(), second(0))
            .unwrap();
        assert_eq!(answer["expires_in"], 3599);
        format!("Bearer {}", answer["access_token"].as_str().unwrap())
    }

    #[test]
    fn a_token_opens_until_it_expires_or_is_revoked() {
        let tokens = tokens(&["Machine.Read.All"]);
        let header = bearer(&tokens);
        let check = |n| tokens.check(Some(&header), CallKind::List, second(n));
        assert_eq!(check(3598), Ok(()));
        assert_eq!(check(3601), Err(TokenRejection::Unknown));
        tokens.revoke();
        assert_eq!(check(1), Err(TokenRejection::Unknown));
        let fresh = bearer(&tokens);
        assert_eq!(
            tokens.check(Some(&fresh), CallKind::List, second(1)),
            Ok(())
        );
    }

    #[test]
    fn a_call_is_refused_as_forbidden_without_its_role() {
        let tokens = tokens(&["Machine.LiveResponse"]);
        let header = bearer(&tokens);
        let check = |kind| tokens.check(Some(&header), kind, second(1));
        assert_eq!(check(CallKind::List), Err(TokenRejection::Role));
        assert_eq!(check(CallKind::Upload), Err(TokenRejection::Role));
        assert_eq!(check(CallKind::Run), Ok(()));
    }

    #[test]
    fn nonsense_in_place_of_a_token_is_refused() {
        let tokens = tokens(&["Machine.Read.All"]);
        let foreign = bearer(&Tokens::new(
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
            let refused = tokens.check(header, CallKind::List, second(1));
            assert_eq!(refused, Err(TokenRejection::Unknown));
        }
        assert_eq!(
            tokens.check(Some(&foreign), CallKind::List, second(1)),
            Err(TokenRejection::Unknown)
        );
    }

    #[test]
    fn a_wrong_sign_in_says_what_is_wrong() {
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
