//! Faults on request: which, where, when, how often. Deterministic by seed, so
//! that a failing run can be had again.
//!
//! Two families. *Striking* faults hit single requests and, by default, end:
//! a client that does as DEFENDER.md says reaches every result. *Standing*
//! faults belong to results (a body that is no JSON, a blob that is missing)
//! and are the same at every request.

mod rule;
mod switch;

use crate::state::journal::CallKind;

pub use crate::faults::rule::{FaultRule, FaultTimes, Faults};
pub(crate) use crate::faults::switch::FaultHit;
pub use crate::faults::switch::FaultSwitch;

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    // answers of the API
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

/// One line of the help.
struct FaultEntry {
    name: &'static str,
    fault: Fault,
    times: FaultTimes,
    value: Option<u64>,
    help: &'static str,
}

const fn known(
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

use FaultTimes::{All, Each, Total};

#[rustfmt::skip]
const CATALOG: &[FaultEntry] = &[
    known("not-visible", Fault::NotVisible, All, Some(120), "TIMES actions answer 404 and are not listed until @ emulated seconds after their creation or the start"),
    known("not-ready", Fault::NotReady, Each(1), None, "link: 400, the result is not there yet"),
    known("429", Fault::Throttle, Total(1), Some(5), "429 with Retry-After: @ emulated seconds"),
    known("429-date", Fault::ThrottleDate, Total(1), Some(5), "429 with Retry-After as an HTTP date, @ emulated seconds ahead"),
    known("401", Fault::Revoke, Total(1), None, "every token issued so far is revoked in mid-run"),
    known("403", Fault::Refuse, Total(1), None, "the link of a result is refused for good (on the first TIMES results)"),
    known("500", Fault::ServerError, Total(1), None, "internal server error"),
    known("503", Fault::Unavailable, Total(1), None, "service unavailable"),
    known("hang", Fault::Hang, Total(1), Some(60), "no answer for @ real seconds"),
    known("lost-call", Fault::LostCall, Total(1), None, "the connection ends with no answer, and nothing was done"),
    known("lost-answer", Fault::LostAnswer, Total(1), None, "what was asked for is done, and the connection ends with no answer"),
    known("500-late", Fault::LateError, Total(1), None, "what was asked for is done, and the answer is an internal server error"),
    known("not-listed", Fault::NotListed, Total(1), Some(120), "lists that name no machine leave out TIMES actions until @ emulated seconds after their creation or the start"),
    known("not-listed-own", Fault::NotListedOwn, Total(1), Some(120), "the same for lists of one machine's actions"),
    known("small-pages", Fault::SmallPages, All, None, "lists: pages of 1 to @ entries (a quarter of all), whatever was asked"),
    known("reordered", Fault::Reordered, All, None, "lists: another order at each call, unless $orderby is given"),
    known("duplicates", Fault::Duplicates, All, Some(2), "lists: a page begins with the last @ entries of the one before"),
    known("born-expired", Fault::BornExpired, Each(1), Some(41), "link: its `se` lies @ emulated seconds back"),
    known("expire-midway", Fault::ExpireMidway, Each(1), Some(2), "link: lives @ emulated seconds (half a real one at least); its body breaks off halfway, when it is dead"),
    known("amp-link", Fault::AmpLink, All, None, "link: `&` written as `&amp;`"),
    known("quoted-link", Fault::QuotedLink, All, None, "link: a quoted string inside the string"),
    known("cut", Fault::Cut, Each(1), None, "body: the connection drops at byte @ (the middle where that is not within)"),
    known("slow", Fault::Slow, Total(1), Some(64), "body: @ KiB in a real second"),
    known("stall", Fault::Stall, Total(1), None, "body: stops at byte @ (the middle) and never goes on"),
    known("etag", Fault::ChangedEtag, Each(1), None, "blob: the ETag changes before a range is answered: 412 with If-Match"),
    known("md5", Fault::WrongMd5, Each(1), None, "blob: a Content-MD5 that does not fit"),
    known("no-range", Fault::IgnoreRange, Each(1), None, "blob: Range ignored, 200 with the whole body"),
    known("416", Fault::Unsatisfiable, Each(1), None, "blob: a good range answered 416"),
    known("missing", Fault::Missing, Total(1), None, "blob: 404 BlobNotFound for good (the first TIMES results)"),
    known("bom", Fault::Bom, All, None, "blob: a byte order mark before the error XML"),
    known("raw-line-feed", Fault::RawLineFeed, All, None, "transcript: line feeds stand raw inside its strings"),
    known("nul-tail", Fault::NulTail, All, None, "transcript: the output ends in \\u0000\\u0000\\u0000"),
    known("not-json", Fault::NotJson, All, None, "transcript: its bare output, no JSON"),
    known("cut-json", Fault::CutJson, All, None, "transcript: stops after two thirds"),
    known("utf8-bom", Fault::Utf8Bom, All, None, "transcript: begins with a byte order mark"),
    known("utf16", Fault::Utf16, All, None, "transcript: UTF-16, little endian, with a mark"),
    known("empty", Fault::Empty, All, None, "transcript: no bytes at all"),
    known("gzip", Fault::Gzip, All, None, "every body: wrapped in gzip if it is not"),
    known("not-gzip", Fault::NotGzip, All, None, "every body: its gzip taken off (up to 16 MiB)"),
];

impl Fault {
    pub fn name(self) -> &'static str {
        self.known().map_or("", |known| known.name)
    }

    fn known(self) -> Option<&'static FaultEntry> {
        CATALOG.iter().find(|known| known.fault == self)
    }

    /// The calls a fault can hit where nothing narrower was asked.
    fn hits(self, kind: CallKind) -> bool {
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
