//! The catalogue of faults: name, default count, default value, description.

use crate::call_kind::CallKind;
use crate::faults::catalog::FaultTimes::{All, Each, Total};

/// A fault that can be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    // responses of the API
    NotVisible,
    NotReady,
    Throttle,
    ThrottleDate,
    Revoke,
    Refuse,
    ServerError,
    Unavailable,
    Hang,
    LostCall,
    LostAnswer,
    LateError,
    // lists
    NotListed,
    NotListedOwn,
    SmallPages,
    Reordered,
    Duplicates,
    // links
    BornExpired,
    ExpireMidway,
    AmpLink,
    QuotedLink,
    // blobs
    Cut,
    Slow,
    Stall,
    ChangedEtag,
    WrongMd5,
    IgnoreRange,
    Unsatisfiable,
    Missing,
    Bom,
    // bodies
    RawLineFeed,
    NulTail,
    NotJson,
    CutJson,
    Utf8Bom,
    Utf16,
    Empty,
    Gzip,
    NotGzip,
}

/// How often a rule fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultTimes {
    /// On every matching request.
    All,
    /// This many times in total; a result fault affects the first n results.
    Total(u64),
    /// This many times for each result.
    Each(u64),
}

/// Catalogue entry of a fault, and its line in the help.
pub(crate) struct FaultEntry {
    pub name: &'static str,
    pub fault: Fault,
    pub times: FaultTimes,
    pub value: Option<u64>,
    pub help: &'static str,
}

const fn entry(
    name: &'static str,
    fault: Fault,
    times: FaultTimes,
    value: Option<u64>,
    help: &'static str,
) -> FaultEntry {
    FaultEntry {
        name,
        fault,
        times,
        value,
        help,
    }
}

#[rustfmt::skip]
pub(crate) const CATALOG: &[FaultEntry] = &[
    entry("not-visible", Fault::NotVisible, All, Some(120), "TIMES actions return 404 and are missing from lists until @ emulated seconds after their creation or the start"),
    entry("not-ready", Fault::NotReady, Each(1), None, "link: 400, result not available yet"),
    entry("429", Fault::Throttle, Total(1), Some(5), "429 with Retry-After: @ emulated seconds"),
    entry("429-date", Fault::ThrottleDate, Total(1), Some(5), "429 with Retry-After as an HTTP date, @ emulated seconds in the future"),
    entry("401", Fault::Revoke, Total(1), None, "revokes every token issued so far"),
    entry("403", Fault::Refuse, Total(1), None, "link: permanently refused, for the first TIMES results"),
    entry("500", Fault::ServerError, Total(1), None, "internal server error"),
    entry("503", Fault::Unavailable, Total(1), None, "service unavailable"),
    entry("hang", Fault::Hang, Total(1), Some(60), "no response for @ real seconds"),
    entry("lost-call", Fault::LostCall, Total(1), None, "drops the connection without a response; the call is not executed"),
    entry("lost-answer", Fault::LostAnswer, Total(1), None, "executes the call, then drops the connection without a response"),
    entry("500-late", Fault::LateError, Total(1), None, "executes the call, then responds with an internal server error"),
    entry("not-listed", Fault::NotListed, Total(1), Some(120), "lists without a machine filter omit TIMES actions until @ emulated seconds after their creation or the start"),
    entry("not-listed-own", Fault::NotListedOwn, Total(1), Some(120), "like not-listed, for lists filtered by machine"),
    entry("small-pages", Fault::SmallPages, All, None, "lists: pages of varying size, 1 to @ entries (default: a quarter of all)"),
    entry("reordered", Fault::Reordered, All, None, "lists: a different order on each call, unless $orderby is given"),
    entry("duplicates", Fault::Duplicates, All, Some(2), "lists: each page repeats the last @ entries of the previous page"),
    entry("born-expired", Fault::BornExpired, Each(1), Some(41), "link: issued with an expiry time (se) @ emulated seconds in the past"),
    entry("expire-midway", Fault::ExpireMidway, Each(1), Some(2), "link: expires after @ emulated seconds (at least half a real second); the body is cut off in the middle when it expires"),
    entry("amp-link", Fault::AmpLink, All, None, "link: `&` is written as `&amp;`"),
    entry("quoted-link", Fault::QuotedLink, All, None, "link: the URL is quoted inside the JSON string"),
    entry("cut", Fault::Cut, Each(1), None, "body: drops the connection at byte @ (default, and if out of range: the middle)"),
    entry("slow", Fault::Slow, Total(1), Some(64), "body: @ KiB per real second"),
    entry("stall", Fault::Stall, Total(1), None, "body: stops at byte @ (default: the middle) and does not continue"),
    entry("etag", Fault::ChangedEtag, Each(1), None, "blob: the ETag changes before a range request: 412 with If-Match"),
    entry("md5", Fault::WrongMd5, Each(1), None, "blob: wrong Content-MD5"),
    entry("no-range", Fault::IgnoreRange, Each(1), None, "blob: ignores Range and responds 200 with the whole body"),
    entry("416", Fault::Unsatisfiable, Each(1), None, "blob: responds 416 to a valid range"),
    entry("missing", Fault::Missing, Total(1), None, "blob: permanently 404 BlobNotFound, for the first TIMES results"),
    entry("bom", Fault::Bom, All, None, "blob: byte order mark before the error XML"),
    entry("raw-line-feed", Fault::RawLineFeed, All, None, "transcript: unescaped line feeds inside its strings"),
    entry("nul-tail", Fault::NulTail, All, None, "transcript: the output ends with \\u0000\\u0000\\u0000"),
    entry("not-json", Fault::NotJson, All, None, "transcript: only the script output, without JSON"),
    entry("cut-json", Fault::CutJson, All, None, "transcript: truncated to two thirds"),
    entry("utf8-bom", Fault::Utf8Bom, All, None, "transcript: starts with a byte order mark"),
    entry("utf16", Fault::Utf16, All, None, "transcript: UTF-16, little endian, with a byte order mark"),
    entry("empty", Fault::Empty, All, None, "transcript: zero bytes"),
    entry("gzip", Fault::Gzip, All, None, "every body: compressed with gzip, unless it already is"),
    entry("not-gzip", Fault::NotGzip, All, None, "every body: decompressed from gzip (up to 16 MiB)"),
];

impl Fault {
    /// Name of the fault in rules.
    pub fn name(self) -> &'static str {
        self.entry().map_or("", |entry| entry.name)
    }

    pub(crate) fn entry(self) -> Option<&'static FaultEntry> {
        CATALOG.iter().find(|entry| entry.fault == self)
    }

    /// Whether a rule without CALLS applies to a kind of call.
    pub(crate) fn applies_to(self, kind: CallKind) -> bool {
        match self {
            Self::Throttle
            | Self::ThrottleDate
            | Self::Revoke
            | Self::ServerError
            | Self::Unavailable
            | Self::Hang => !matches!(
                kind,
                CallKind::SignIn | CallKind::Machines | CallKind::Blob | CallKind::Other
            ),
            Self::LostCall | Self::LostAnswer | Self::LateError => {
                matches!(kind, CallKind::Run | CallKind::Cancel | CallKind::Package)
            }
            _ => true,
        }
    }
}
