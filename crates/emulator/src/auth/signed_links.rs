//! Signed links to the blob host, and their verification.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::synthetic::ids::guid_from_name;
use crate::timeline::clock::link_time;
use evidence::ResultKey;

pub(crate) const SERVICE_VERSION: &str = "2019-07-07";
const FOLDER: &str = "investigation-actions-data";
const OUTPUT: &str = "CustomPlaybookCommandOutput";
const PACKAGE: &str = "/safedownload/WDATP_Investigation_Package.zip";

/// Signs links and tokens, with a key derived from the settings.
#[derive(Clone)]
pub(crate) struct ServiceSigner {
    key: [u8; 32],
}

/// Reason for rejecting a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkRejection {
    Unsigned,
    Forged,
    Expired(Timestamp),
}

impl ServiceSigner {
    pub(crate) fn new(secret: &str) -> Self {
        let key = blake3::derive_key("afteraction emulator links and tokens", secret.as_bytes());
        Self { key }
    }

    pub(crate) fn sign(&self, text: &str) -> String {
        STANDARD.encode(blake3::keyed_hash(&self.key, text.as_bytes()).as_bytes())
    }

    /// The name of a result's blob: 32 hex digits without a meaning.
    pub(crate) fn blob_name(&self, key: ResultKey) -> String {
        let hash = blake3::keyed_hash(&self.key, &key.to_bytes());
        hash.to_hex().chars().take(32).collect()
    }

    /// A GUID that depends on `name`.
    pub(crate) fn guid(&self, name: &str) -> String {
        guid_from_name(&self.sign(name)).to_string()
    }

    /// A link that expires at `expiry`. As in the service, slashes in the
    /// signature are not escaped; a client must not normalise the link.
    pub(crate) fn link(&self, account: &str, blob: &str, expiry: Timestamp) -> SignedLink {
        let path = format!("/{FOLDER}/{account}/{OUTPUT}/{blob}");
        let expiry = link_time(expiry);
        let signature = self.sign(&text_to_sign(&path, &expiry, "r", SERVICE_VERSION, "b"));
        SignedLink {
            path_and_query: format!("{path}?{}", blob_query(&expiry, &signature)),
            signature,
        }
    }

    /// Verifies the path and query of a request, as received.
    pub(crate) fn verify(
        &self,
        path: &str,
        query: &str,
        now: Timestamp,
    ) -> Result<VerifiedLink, LinkRejection> {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let get = |name: &str| {
            let pair = pairs.iter().find(|(key, _)| key == name);
            pair.map(|(_, value)| value.as_str())
        };
        let signature = get("sig").ok_or(LinkRejection::Unsigned)?;
        let expiry = get("se").ok_or(LinkRejection::Forged)?;
        let part = |name| get(name).unwrap_or_default();
        let text = text_to_sign(path, expiry, part("sp"), part("sv"), part("sr"));
        if self.sign(&text) != signature {
            return Err(LinkRejection::Forged);
        }
        let expiry: Timestamp = expiry.parse().map_err(|_| LinkRejection::Forged)?;
        if now >= expiry {
            return Err(LinkRejection::Expired(expiry));
        }
        Ok(VerifiedLink {
            is_as_issued: query == blob_query(&link_time(expiry), signature),
            signature: signature.to_string(),
            expiry,
        })
    }

    /// A link to an investigation package. Its query has one `token` that
    /// contains blob, expiry time and signature.
    pub(crate) fn package_link(&self, blob: &str, expiry: Timestamp) -> SignedLink {
        let expiry = link_time(expiry);
        let signature = self.sign(&format!("package {blob} {expiry}"));
        SignedLink {
            path_and_query: format!("{PACKAGE}?{}", package_query(blob, &expiry, &signature)),
            signature,
        }
    }

    /// Verifies the query of a link to a package; also returns its blob.
    pub(crate) fn verify_package(
        &self,
        query: &str,
        now: Timestamp,
    ) -> Result<(VerifiedLink, String), LinkRejection> {
        if query.is_empty() {
            return Err(LinkRejection::Unsigned);
        }
        let token = package_token(query).ok_or(LinkRejection::Forged)?;
        let mut parts = token.split('|');
        let mut part = || parts.next().ok_or(LinkRejection::Forged);
        let (blob, expiry, signature) = (part()?, part()?, part()?);
        if self.sign(&format!("package {blob} {expiry}")) != signature {
            return Err(LinkRejection::Forged);
        }
        let is_as_issued = query == package_query(blob, expiry, signature);
        let expiry: Timestamp = expiry.parse().map_err(|_| LinkRejection::Forged)?;
        if now >= expiry {
            return Err(LinkRejection::Expired(expiry));
        }
        let link = VerifiedLink {
            signature: signature.to_string(),
            expiry,
            is_as_issued,
        };
        Ok((link, blob.to_string()))
    }
}

/// The host writes escapes in lower case; a client must keep them.
fn package_query(blob: &str, expiry: &str, signature: &str) -> String {
    let token = STANDARD
        .encode(format!("{blob}|{expiry}|{signature}"))
        .replace('+', "%2b")
        .replace('/', "%2f")
        .replace('=', "%3d");
    format!("token={token}")
}

fn package_token(query: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let (_, token) = pairs.find(|(name, _)| name == "token")?;
    String::from_utf8(STANDARD.decode(token.as_bytes()).ok()?).ok()
}

pub(crate) fn is_package(path: &str) -> bool {
    path == PACKAGE
}

/// The blob named by a link to a package; the link is not verified.
pub(crate) fn package_blob_name(query: &str) -> Option<String> {
    let token = package_token(query)?;
    token.split('|').next().map(str::to_string)
}

/// A link with a valid signature that has not expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerifiedLink {
    pub signature: String,
    pub expiry: Timestamp,
    /// The query is byte for byte as issued.
    pub is_as_issued: bool,
}

/// The query of a link to a blob; slashes in `sig` are not escaped.
fn blob_query(expiry: &str, signature: &str) -> String {
    let sig = signature.replace('+', "%2B").replace('=', "%3D");
    let se = expiry.replace(':', "%3A");
    format!("se={se}&sp=r&sv={SERVICE_VERSION}&sr=b&sig={sig}")
}

/// An issued link.
pub(crate) struct SignedLink {
    pub path_and_query: String,
    pub signature: String,
}

fn text_to_sign(path: &str, expiry: &str, sp: &str, sv: &str, sr: &str) -> String {
    format!("{path}\n{expiry}\n{sp}\n{sv}\n{sr}")
}

/// The name of the blob in a path of the blob host.
pub(crate) fn blob_name_in(path: &str) -> Option<&str> {
    let mut parts = path.strip_prefix('/')?.split('/');
    let (folder, _account) = (parts.next()?, parts.next()?);
    let (output, blob) = (parts.next()?, parts.next()?);
    (folder == FOLDER && output == OUTPUT && parts.next().is_none()).then_some(blob)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn link_is_valid_until_its_expiry_and_only_if_unchanged() {
        let signer = ServiceSigner::new("s");
        let link = signer.link("acc", "4ed5", at("2026-02-04T16:00:00.9Z"));
        let (path, query) = link.path_and_query.split_once('?').unwrap();
        assert_eq!(blob_name_in(path), Some("4ed5"));
        let check = |query: &str, now| signer.verify(path, query, at(now));
        let verified = check(query, "2026-02-04T15:59:59.999Z").unwrap();
        assert_eq!(verified.signature, link.signature);
        assert!(verified.is_as_issued);
        let end = at("2026-02-04T16:00:00Z");
        assert_eq!(
            check(query, "2026-02-04T16:00:00Z"),
            Err(LinkRejection::Expired(end))
        );
        let longer = query.replace("16%3A00", "17%3A00");
        let now = "2026-02-04T15:00:00Z";
        assert_eq!(check(&longer, now), Err(LinkRejection::Forged));
        assert_eq!(check("", now), Err(LinkRejection::Unsigned));
        let other = ServiceSigner::new("t");
        assert_eq!(
            other.verify(path, query, at(now)),
            Err(LinkRejection::Forged)
        );
    }

    #[test]
    fn package_link_has_blob_expiry_and_signature_in_its_token() {
        let signer = ServiceSigner::new("s");
        let link = signer.package_link("4ed5", at("2026-02-04T16:00:00Z"));
        let (path, query) = link.path_and_query.split_once('?').unwrap();
        assert!(is_package(path) && package_blob_name(query).as_deref() == Some("4ed5"));
        let check = |query: &str, now| signer.verify_package(query, at(now)).map(|(h, _)| h);
        assert!(check(query, "2026-02-04T15:59:59Z").unwrap().is_as_issued);
        let now = "2026-02-04T16:00:00Z";
        assert_eq!(check(query, now), Err(LinkRejection::Expired(at(now))));
        assert_eq!(check("token=aaaa", now), Err(LinkRejection::Forged));
        assert_eq!(check("", now), Err(LinkRejection::Unsigned));
    }

    #[test]
    fn slashes_of_a_signature_are_not_escaped() {
        let signer = ServiceSigner::new("s");
        let mut links = (0..100).map(|n| {
            let ends = at("2026-02-04T16:00:00Z");
            signer
                .link("acc", &format!("{n:032x}"), ends)
                .path_and_query
        });
        assert!(links.any(|link| link.split_once("sig=").unwrap().1.contains('/')));
    }
}
