//! Client assertions: a JWT that identifies the application, signed with the
//! key of its certificate (RS256, certificate thumbprint in `x5t`).
//!
//! **Source**: the page of the identity platform on certificate credentials.

use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, KeyUtils};
use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::signature::{Error as SignatureError, Signer};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::clock::WallTime;
use crate::error::CollectError;
use crate::service::auth::secret::Secret;

pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Lifetime of an assertion, which is used at once. The service accepts up to
/// a day.
const LIFETIME: Duration = Duration::from_secs(600);

#[derive(Serialize)]
struct AssertionClaims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
}

/// Creates an assertion for the token endpoint.
///
/// **Errors**: the file contains no X.509 certificate or no RSA key. The
/// message shows no part of the key.
pub(crate) fn client_assertion(
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
        .map_err(|_| refuse("the file contains no PEM certificate"))?;
    Certificate::from_der(&certificate).map_err(|_| refuse("invalid X.509 certificate"))?;
    let key = read_key(pem).ok_or_else(|| {
        refuse("the file contains no usable RSA key (PEM, unencrypted, PKCS#8 or PKCS#1, 2,048 bits or more)")
    })?;
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| refuse("the system provides no randomness"))?;
    let header = Header {
        x5t: Some(thumbprint(&certificate)),
        ..Header::new(Algorithm::RS256)
    };
    let begin = now.timestamp().as_second();
    let claims = AssertionClaims {
        aud: endpoint,
        iss: client_id,
        sub: client_id,
        jti: BASE64URL_NOPAD.encode(&id),
        iat: begin,
        nbf: begin,
        exp: begin + LIFETIME.as_secs() as i64,
    };
    install_signer();
    jsonwebtoken::encode(&header, &claims, &key)
        .map(Secret::new)
        .map_err(|_| refuse("the key could not sign"))
}

/// SHA-1 of the certificate, as `x5t` requires it.
fn thumbprint(certificate: &CertificateDer<'_>) -> String {
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate);
    BASE64URL_NOPAD.encode(sha1.as_ref())
}

fn read_key(pem: &[u8]) -> Option<EncodingKey> {
    let der = PrivateKeyDer::from_pem_slice(pem).ok()?;
    let der = match &der {
        PrivateKeyDer::Pkcs8(key) => key.secret_pkcs8_der(),
        PrivateKeyDer::Pkcs1(key) => key.secret_pkcs1_der(),
        _ => return None,
    };
    parse_rsa_key(der).map(|_| EncodingKey::from_rsa_der(der))
}

fn parse_rsa_key(der: &[u8]) -> Option<RsaKeyPair> {
    RsaKeyPair::from_pkcs8(der)
        .or_else(|_| RsaKeyPair::from_der(der))
        .ok()
}

/// Signs with RS256, by the cryptography that TLS uses.
struct RingSigner(RsaKeyPair);

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        let mut signature = vec![0; self.0.public().modulus_len()];
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .map_err(|_| SignatureError::new())?;
        Ok(signature)
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

fn ring_signer(_: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, JwtError> {
    match parse_rsa_key(key.as_bytes()) {
        Some(key) => Ok(Box::new(RingSigner(key))),
        None => Err(ErrorKind::InvalidKeyFormat.into()),
    }
}

/// Makes ring the cryptography of `jsonwebtoken`, which is built without one.
/// Tokens are never verified here.
fn install_signer() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: ring_signer,
        verifier_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
        key_utils: KeyUtils::new_unimplemented(),
    };
    static ONCE: Once = Once::new();
    // Fails only if the process has installed a provider before.
    ONCE.call_once(|| {
        let _ = PROVIDER.install_default();
    });
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;

    /// Generated for tests and used nowhere else.
    const PEM: &str = include_str!("../../../../../tests/support/certificate.pem");

    fn file_with(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn decode_json(base64: &str) -> Value {
        serde_json::from_slice(&BASE64URL_NOPAD.decode(base64.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn assertion_is_signed_by_the_key_of_the_certificate() {
        let endpoint = "https://login.example/t/oauth2/v2.0/token";
        let now = WallTime(1_770_000_000_000_000);
        let file = file_with(PEM);
        let token = client_assertion(file.path(), "client", endpoint, now).unwrap();
        let (signed, signature) = token.expose().rsplit_once('.').unwrap();
        let key = read_key(PEM.as_bytes()).unwrap();
        let key = parse_rsa_key(key.as_bytes()).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public().as_ref())
            .verify(
                signed.as_bytes(),
                &BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap(),
            )
            .unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let (header, claims) = (decode_json(header), decode_json(claims));
        assert_eq!(
            (&header["alg"], &header["typ"]),
            (&"RS256".into(), &"JWT".into())
        );
        assert_eq!(header["x5t"].as_str().unwrap().len(), 27);
        assert_eq!(header.as_object().unwrap().len(), 3);
        assert_eq!(claims["aud"], endpoint);
        assert_eq!(claims["iss"], "client");
        assert_eq!(claims["sub"], "client");
        let lifetime = claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap();
        assert_eq!(lifetime, 600);
    }

    #[test]
    fn file_without_certificate_or_key_is_refused_and_not_shown() {
        let (key, certificate) = PEM.split_once("-----BEGIN CERTIFICATE").unwrap();
        let certificate = format!("-----BEGIN CERTIFICATE{certificate}");
        let not_x509 = PEM.replace("CERTIFICATE-----\nMII", "CERTIFICATE-----\nAAA");
        assert_ne!(not_x509, PEM);
        for text in ["secret", key, &certificate, &not_x509] {
            let error = client_assertion(file_with(text).path(), "c", "e", WallTime(0));
            let error = error.unwrap_err();
            assert!(matches!(error, CollectError::Certificate { .. }), "{error}");
            let shown = format!("{error} {error:?}");
            assert!(
                !shown.contains("secret") && !shown.contains("MII"),
                "{shown}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn secret_file_that_other_users_can_read_is_refused() {
        let file = file_with(PEM);
        let chmod = std::process::Command::new("chmod")
            .arg("644")
            .arg(file.path())
            .status()
            .unwrap();
        assert!(chmod.success());
        let error = Secret::from_file(file.path()).unwrap_err();
        assert!(matches!(error, CollectError::SecretFile { .. }));
        assert!(error.hint().unwrap().contains("chmod 600"));
    }
}
