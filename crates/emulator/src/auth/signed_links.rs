//! Signed links to the blob host, and their check. The key is derived from the
//! settings: a restarted emulator honours the links and tokens of the run
//! before, and nothing secret has to be kept.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::timeline::clock::link_time;
use evidence::ResultKey;

pub(crate) const SERVICE_VERSION: &str = "2019-07-07";
const FOLDER: &str = "investigation-actions-data";
const OUTPUT: &str = "CustomPlaybookCommandOutput";
const PACKAGE: &str = "/safedownload/WDATP_Investigation_Package.zip";

/// Signs what the emulator hands out.
#[derive(Clone)]
pub(crate) struct ServiceSigner {
    key: [u8; 32],
}

/// Why a link is not honoured.
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

    /// The name of a result's blob: 32 hex digits that tell nothing.
    pub(crate) fn blob_name(&self, key: ResultKey) -> String {
        let hash = blake3::keyed_hash(&self.key, &key.to_bytes());
        hash.to_hex().chars().take(32).collect()
    }

    /// A GUID-shaped name that depends on `what`.
    pub(crate) fn guid(&self, what: &str) -> String {
        crate::synthetic::fleet::guid_of(&self.sign(what)).to_string()
    }

    /// Path and query of a link that dies at `ends`. The signature keeps its
    /// slashes raw, as the service's does: a client must not tidy it up.
    pub(crate) fn link(&self, account: &str, blob: &str, ends: Timestamp) -> SignedLink {
        let path = format!("/{FOLDER}/{account}/{OUTPUT}/{blob}");
        let ends = link_time(ends);
        let signature = self.sign(&text_to_sign(&path, &ends, "r", SERVICE_VERSION, "b"));
        SignedLink {
            path_and_query: format!("{path}?{}", written(&ends, &signature)),
            signature,
        }
    }

    /// Checks a link that came back; `path` and `query` byte for byte.
    pub(crate) fn check(
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
        let ends = get("se").ok_or(LinkRejection::Forged)?;
        let part = |name| get(name).unwrap_or_default();
        let text = text_to_sign(path, ends, part("sp"), part("sv"), part("sr"));
        if self.sign(&text) != signature {
            return Err(LinkRejection::Forged);
        }
        let ends: Timestamp = ends.parse().map_err(|_| LinkRejection::Forged)?;
        if now >= ends {
            return Err(LinkRejection::Expired(ends));
        }
        Ok(VerifiedLink {
            is_as_issued: query == written(&link_time(ends), signature),
            signature: signature.to_string(),
            ends,
        })
    }
}

impl ServiceSigner {
    /// The link to a package: no signed query, but a token that says it all.
    pub(crate) fn package_link(&self, blob: &str, ends: Timestamp) -> SignedLink {
        let ends = link_time(ends);
        let signature = self.sign(&format!("package {blob} {ends}"));
        SignedLink {
            path_and_query: format!("{PACKAGE}?{}", package_query(blob, &ends, &signature)),
            signature,
        }
    }

    /// Checks the query of a package's link; the blob it opens comes with it.
    pub(crate) fn check_package(
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
        let (blob, ends, signature) = (part()?, part()?, part()?);
        if self.sign(&format!("package {blob} {ends}")) != signature {
            return Err(LinkRejection::Forged);
        }
        let is_as_issued = query == package_query(blob, ends, signature);
        let ends: Timestamp = ends.parse().map_err(|_| LinkRejection::Forged)?;
        if now >= ends {
            return Err(LinkRejection::Expired(ends));
        }
        let honoured = VerifiedLink {
            signature: signature.to_string(),
            ends,
            is_as_issued,
        };
        Ok((honoured, blob.to_string()))
    }
}

/// The host writes its escapes in small letters, which a client must keep.
fn package_query(blob: &str, ends: &str, signature: &str) -> String {
    let token = STANDARD.encode(format!("{blob}|{ends}|{signature}"));
    let token = token.replace('+', "%2b").replace('/', "%2f");
    format!("token={}", token.replace('=', "%3d"))
}

fn package_token(query: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let (_, token) = pairs.find(|(name, _)| name == "token")?;
    String::from_utf8(STANDARD.decode(token.as_bytes()).ok()?).ok()
}

pub(crate) fn is_package(path: &str) -> bool {
    path == PACKAGE
}

/// The blob a package's link names, whether it opens it or not.
pub(crate) fn package_of(query: &str) -> Option<String> {
    let token = package_token(query)?;
    token.split('|').next().map(str::to_string)
}

/// A link that opens its blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerifiedLink {
    pub signature: String,
    pub ends: Timestamp,
    /// Byte for byte as it was handed out.
    pub is_as_issued: bool,
}

/// The query as it is handed out: `sig` with its slashes raw.
fn written(ends: &str, signature: &str) -> String {
    let sig = signature.replace('+', "%2B").replace('=', "%3D");
    let se = ends.replace(':', "%3A");
    format!("se={se}&sp=r&sv={SERVICE_VERSION}&sr=b&sig={sig}")
}

pub(crate) struct SignedLink {
    pub path_and_query: String,
    pub signature: String,
}

fn text_to_sign(path: &str, ends: &str, sp: &str, sv: &str, sr: &str) -> String {
    format!("{path}\n{ends}\n{sp}\n{sv}\n{sr}")
}

/// The blob's name in a path of the blob host.
pub(crate) fn blob_of(path: &str) -> Option<&str> {
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
    fn a_link_is_honoured_until_the_second_it_ends_and_only_unaltered() {
        let signer = ServiceSigner::new("s");
        let link = signer.link("acc", "4ed5", at("2026-02-04T16:00:00.9Z"));
        let (path, query) = link.path_and_query.split_once('?').unwrap();
        assert_eq!(blob_of(path), Some("4ed5"));
        let check = |query: &str, now| signer.check(path, query, at(now));
        let honoured = check(query, "2026-02-04T15:59:59.999Z").unwrap();
        assert_eq!(honoured.signature, link.signature);
        assert!(honoured.is_as_issued);
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
            other.check(path, query, at(now)),
            Err(LinkRejection::Forged)
        );
    }

    #[test]
    fn a_packages_link_carries_all_in_its_token() {
        let signer = ServiceSigner::new("s");
        let link = signer.package_link("4ed5", at("2026-02-04T16:00:00Z"));
        let (path, query) = link.path_and_query.split_once('?').unwrap();
        assert!(is_package(path) && package_of(query).as_deref() == Some("4ed5"));
        let check = |query: &str, now| signer.check_package(query, at(now)).map(|(h, _)| h);
        assert!(check(query, "2026-02-04T15:59:59Z").unwrap().is_as_issued);
        let now = "2026-02-04T16:00:00Z";
        assert_eq!(check(query, now), Err(LinkRejection::Expired(at(now))));
        assert_eq!(check("token=aaaa", now), Err(LinkRejection::Forged));
        assert_eq!(check("", now), Err(LinkRejection::Unsigned));
    }

    #[test]
    fn slashes_of_a_signature_stay_raw() {
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
