//! Sign-in by certificate: what a client says of itself, signed with the key
//! of a certificate that is registered on its application.
//!
//! **Source**: the identity platform's page on certificate credentials.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::Value;

/// The longest life the service takes.
const LIFE_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Clocks may differ by so much.
const SKEW: SignedDuration = SignedDuration::from_mins(5);
/// How the public key of an RSA certificate begins (rsaEncryption, no
/// parameters), up to the length of its bit string.
const RSA_KEY: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03,
    0x82,
];

/// A certificate that may sign in.
#[derive(Clone)]
pub(crate) struct RegisteredCertificate {
    thumbprint: String,
    /// `RSAPublicKey`, DER.
    key: Vec<u8>,
}

/// What a good signature vouches for.
#[derive(Debug, Deserialize)]
pub(crate) struct AssertionClaims {
    aud: String,
    iss: String,
    sub: String,
    jti: String,
    nbf: i64,
    exp: i64,
}

impl RegisteredCertificate {
    /// `None` where it holds no certificate of an RSA key.
    pub(crate) fn from_pem(pem: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let begin = der.windows(RSA_KEY.len()).position(|w| w == RSA_KEY)?;
        let rest = der.get(begin + RSA_KEY.len()..)?;
        let (length, rest) = rest.split_at_checked(2)?;
        let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
        // A bit string begins with the number of bits it leaves unused.
        let key = rest.get(1..length)?.to_vec();
        let thumbprint = BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &der));
        Some(Self { thumbprint, key })
    }

    /// The claims of an assertion that is signed with our key by this client.
    pub(crate) fn claims(
        &self,
        token: &str,
        client_id: &str,
    ) -> Result<AssertionClaims, &'static str> {
        let (signed, signature) = token.rsplit_once('.').ok_or(NO_JWT)?;
        let (header, claims) = signed.split_once('.').ok_or(NO_JWT)?;
        let part = |text: &str| BASE64.decode(text).map_err(|_| NO_JWT);
        let header: Value = serde_json::from_slice(&part(header)?).map_err(|_| NO_JWT)?;
        if header["alg"] != "RS256" || header["x5t"] != self.thumbprint.as_str() {
            return Err("The certificate named in the client assertion is not registered.");
        }
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.key)
            .verify(signed.as_bytes(), &part(signature)?)
            .map_err(|_| "Client assertion contains an invalid signature.")?;
        let claims: AssertionClaims = serde_json::from_slice(&part(claims)?).map_err(|_| NO_JWT)?;
        let is_theirs = claims.iss == client_id && claims.sub == client_id;
        match is_theirs && !claims.jti.is_empty() {
            true => Ok(claims),
            false => Err("Client assertion is not of this application."),
        }
    }
}

const NO_JWT: &str = "Client assertion is malformed.";

impl AssertionClaims {
    pub(crate) fn check(&self, endpoint: &str, now: Timestamp) -> Result<(), &'static str> {
        let at = |second: i64| Timestamp::from_second(second).map_err(|_| NO_JWT);
        let (begins, ends) = (at(self.nbf)?, at(self.exp)?);
        if self.aud != endpoint {
            return Err("Client assertion audience claim does not match this endpoint.");
        }
        let is_now = begins.duration_since(now) <= SKEW && ends > now;
        match is_now && ends.duration_since(begins) <= LIFE_MAX {
            true => Ok(()),
            false => Err("Client assertion is not within its valid time range."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: i64) -> Timestamp {
        Timestamp::from_second(n).unwrap()
    }

    #[test]
    fn an_assertion_is_good_for_its_endpoint_and_its_time_alone() {
        let claims = |nbf, exp| AssertionClaims {
            aud: "https://login/t".into(),
            iss: "c".into(),
            sub: "c".into(),
            jti: "1".into(),
            nbf,
            exp,
        };
        assert_eq!(claims(0, 600).check("https://login/t", second(10)), Ok(()));
        assert!(claims(0, 600).check("https://login/u", second(10)).is_err());
        assert!(
            claims(0, 600)
                .check("https://login/t", second(601))
                .is_err()
        );
        assert!(
            claims(900, 1_200)
                .check("https://login/t", second(10))
                .is_err()
        );
        let forever = claims(0, 25 * 3_600);
        assert!(forever.check("https://login/t", second(10)).is_err());
    }

    #[test]
    fn what_is_no_certificate_or_no_assertion_is_refused() {
        assert!(RegisteredCertificate::from_pem("no").is_none());
        let pem = include_str!("../../../../tests/support/certificate.pem");
        let registered = RegisteredCertificate::from_pem(pem).unwrap();
        for token in ["", "a.b", "a.b.c", "e30.e30.e30"] {
            assert!(registered.claims(token, "c").is_err(), "{token}");
        }
    }
}
