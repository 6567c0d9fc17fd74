//! Signing in with a certificate: a JWT that says who we are, signed with its
//! key.
//!
//! **Source**: the identity platform's page on certificate credentials.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use crate::clock::WallTime;
use crate::{CollectError, Secret};

pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The service takes at most a day; an assertion is used at once.
const LIVES: Duration = Duration::from_secs(600);

/// What the token endpoint is told, signed.
///
/// **Errors**: where the file holds no certificate and RSA key; they show
/// nothing of the key.
pub(crate) fn assertion(
    path: &Path,
    client_id: &str,
    endpoint: &str,
    now: WallTime,
) -> Result<Secret, CollectError> {
    let refuse = |why: &str| CollectError::Certificate {
        path: path.to_path_buf(),
        why: why.to_string(),
    };
    let pem = Secret::from_file(path)?;
    let pem = pem.expose().as_bytes();
    let certificate = CertificateDer::from_pem_slice(pem)
        .map_err(|_| refuse("it holds no certificate in PEM"))?;
    let key = read_key(pem).ok_or_else(|| {
        refuse("it holds no RSA key in PEM (unencrypted, PKCS#8 or PKCS#1, 2,048 bits or more)")
    })?;
    let random = SystemRandom::new();
    let mut id = [0; 16];
    random
        .fill(&mut id)
        .map_err(|_| refuse("the system gives no randomness"))?;
    let thumbprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate);
    let header = json!({"alg": "RS256", "typ": "JWT", "x5t": BASE64.encode(thumbprint)});
    let begins = now.timestamp().as_second();
    let claims = json!({
        "aud": endpoint, "iss": client_id, "sub": client_id, "jti": BASE64.encode(id),
        "iat": begins, "nbf": begins, "exp": begins + LIVES.as_secs() as i64,
    });
    let signed = format!(
        "{}.{}",
        BASE64.encode(header.to_string()),
        BASE64.encode(claims.to_string())
    );
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &random,
        signed.as_bytes(),
        &mut signature,
    )
    .map_err(|_| refuse("its key does not sign"))?;
    Ok(Secret::new(format!(
        "{signed}.{}",
        BASE64.encode(signature)
    )))
}

fn read_key(pem: &[u8]) -> Option<RsaKeyPair> {
    match PrivateKeyDer::from_pem_slice(pem).ok()? {
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    /// Made for this test, known to nobody else.
    const PEM: &str = include_str!("../../../../../tests/support/certificate.pem");

    fn written(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn an_assertion_is_signed_by_the_certificates_key() {
        let file = written(PEM);
        let endpoint = "https://login.example/t/oauth2/v2.0/token";
        let now = WallTime(1_770_000_000_000_000);
        let token = assertion(file.path(), "client", endpoint, now).unwrap();
        let (signed, signature) = token.expose().rsplit_once('.').unwrap();
        let key = read_key(PEM.as_bytes()).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public().as_ref())
            .verify(signed.as_bytes(), &BASE64.decode(signature).unwrap())
            .unwrap();
        let part = |n: usize| -> serde_json::Value {
            let text = signed.split('.').nth(n).unwrap();
            serde_json::from_slice(&BASE64.decode(text).unwrap()).unwrap()
        };
        assert_eq!(part(0)["alg"], "RS256");
        assert_eq!(part(0)["x5t"].as_str().unwrap().len(), 27);
        let claims = part(1);
        assert_eq!(claims["aud"], endpoint);
        assert_eq!(
            (&claims["iss"], &claims["sub"]),
            (&"client".into(), &"client".into())
        );
        assert_eq!(
            claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(),
            600
        );
    }

    #[test]
    fn what_is_no_certificate_is_refused_and_not_shown() {
        let key = PEM.split("-----BEGIN CERTIFICATE").next().unwrap();
        for text in ["secret", key] {
            let error = assertion(written(text).path(), "c", "e", WallTime(0)).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(
                !shown.contains("secret") && !shown.contains("MII"),
                "{shown}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_others_may_read_is_refused() {
        use crate::CollectError;
        let file = written(PEM);
        let mut share = std::process::Command::new("chmod");
        let shared = share.arg("644").arg(file.path()).status().unwrap();
        assert!(shared.success());
        let error = Secret::from_file(file.path()).unwrap_err();
        assert!(matches!(error, CollectError::SecretFile { .. }));
        assert!(error.hint().unwrap().contains("chmod 600"));
    }
}
