//! Sign-in by certificate: verifies a client assertion, a JWT that is signed
//! with the key of a certificate registered for the application.
//!
//! Verified here with `ring`, independently of the code that creates assertions
//! in the collector.
//!
//! **Source**: page "Certificate credentials" of the Microsoft identity
//! platform.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::Value;

/// Longest validity period that the service accepts.
const VALIDITY_MAX: SignedDuration = SignedDuration::from_hours(24);
/// Allowed difference between the clocks of client and service.
const SKEW: SignedDuration = SignedDuration::from_mins(5);
/// Start of the public key in an RSA certificate (rsaEncryption without
/// parameters), up to the length of the bit string.
const RSA_KEY: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00, 0x03,
    0x82,
];

/// A certificate that is accepted at sign-in.
#[derive(Clone)]
pub(crate) struct RegisteredCertificate {
    /// SHA-1 of the certificate, base64url: the `x5t` of assertions.
    thumbprint: String,
    /// `RSAPublicKey`, DER.
    key: Vec<u8>,
}

/// Claims of a client assertion with a valid signature.
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
    /// `None` if the text contains no certificate with an RSA key.
    pub(crate) fn from_pem(pem: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let begin = der.windows(RSA_KEY.len()).position(|w| w == RSA_KEY)?;
        let rest = der.get(begin + RSA_KEY.len()..)?;
        let (length, rest) = rest.split_at_checked(2)?;
        let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
        // The first byte of a bit string is its number of unused bits.
        let key = rest.get(1..length)?.to_vec();
        let thumbprint = BASE64.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &der));
        Some(Self { thumbprint, key })
    }

    /// Verifies the signature and the client of an assertion.
    ///
    /// **Errors**: the message for the response.
    pub(crate) fn verify(
        &self,
        token: &str,
        client_id: &str,
    ) -> Result<AssertionClaims, &'static str> {
        let (signed, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, claims) = signed.split_once('.').ok_or(MALFORMED)?;
        let part = |text: &str| BASE64.decode(text).map_err(|_| MALFORMED);
        let header: Value = serde_json::from_slice(&part(header)?).map_err(|_| MALFORMED)?;
        if header["alg"] != "RS256" || header["x5t"] != self.thumbprint.as_str() {
            return Err("The certificate named in the client assertion is not registered.");
        }
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.key)
            .verify(signed.as_bytes(), &part(signature)?)
            .map_err(|_| "Client assertion contains an invalid signature.")?;
        let claims: AssertionClaims =
            serde_json::from_slice(&part(claims)?).map_err(|_| MALFORMED)?;
        let is_client = claims.iss == client_id && claims.sub == client_id;
        if !is_client || claims.jti.is_empty() {
            return Err("Client assertion was not issued by this application.");
        }
        Ok(claims)
    }
}

const MALFORMED: &str = "Client assertion is malformed.";

impl AssertionClaims {
    /// Checks audience and validity period.
    ///
    /// **Errors**: the message for the response.
    pub(crate) fn check(&self, endpoint: &str, now: Timestamp) -> Result<(), &'static str> {
        let at = |second: i64| Timestamp::from_second(second).map_err(|_| MALFORMED);
        let (begin, end) = (at(self.nbf)?, at(self.exp)?);
        if self.aud != endpoint {
            return Err("Client assertion audience claim does not match this endpoint.");
        }
        let is_valid_now = begin.duration_since(now) <= SKEW && end > now;
        if !is_valid_now || end.duration_since(begin) > VALIDITY_MAX {
            return Err("Client assertion is not within its valid time range.");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: i64) -> Timestamp {
        Timestamp::from_second(n).unwrap()
    }

    #[test]
    fn assertion_is_valid_only_for_its_endpoint_and_period() {
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
    fn invalid_certificates_and_assertions_are_rejected() {
        assert!(RegisteredCertificate::from_pem("no").is_none());
        let pem = include_str!("../../../../tests/support/certificate.pem");
        let registered = RegisteredCertificate::from_pem(pem).unwrap();
        for token in ["", "a.b", "a.b.c", "e30.e30.e30"] {
            assert!(registered.verify(token, "c").is_err(), "{token}");
        }
    }
}
