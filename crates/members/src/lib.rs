//! Peels the wrappings off a result and streams what is inside.
//!
//! Pure over `Read + Seek`: bytes come from whoever holds them, members go to
//! a [`Visitor`], one at a time, never held whole. This room must never know
//! the store, text, or the file system: a nested archive that needs seeking is
//! put into a [`Scratch`] that is handed in, and a member's name is a label to
//! compare and show, never a path to open.
//!
//! Invariants: what is wrong *in the evidence* becomes a [`Problem`] and the
//! other members go on; only failures of the world are errors. Memory and work
//! are bounded by [`TraverseLimits`], whatever the headers say. The labels that
//! [`walk`] gives are the ones [`open`] takes: both are the same walk.
//!
//! A zip or gzip consumes no label of its own: its children append theirs. So
//! a gzip of `evidence.zip` holding `logs/a.log` gives
//! `!evidence.zip!logs/a.log`.

mod checked_reader;
mod decode;
mod gzip;
mod inflate;
mod limits;
mod source;
mod spool;
mod traverse;
mod zip;

use std::io::{self, Read, Seek, Write};
use std::ops::ControlFlow;

use evidence::{Layer, Problem};

pub use crate::limits::TraverseLimits;
pub use crate::traverse::{open, traverse};

/// **Units**: bytes that tell whether something holds members.
pub const HEAD_BYTES: u64 = 16;

/// Whether what begins so may be a zip or a gzip.
pub fn looks_like_container(head: &[u8]) -> bool {
    crate::zip::is_zip(head) || crate::gzip::is_gzip(head)
}

/// What a result is read from.
pub trait ReadSeek: Read + Seek {}

impl<T: Read + Seek + ?Sized> ReadSeek for T {}

/// A place for a nested archive that must be sought in: deleted when dropped.
pub trait Scratch: Read + Write + Seek + Send {}

impl<T: Read + Write + Seek + Send> Scratch for T {}

/// Makes a [`Scratch`] when one is needed.
pub type ScratchFactory<'a> = dyn FnMut() -> io::Result<Box<dyn Scratch>> + 'a;

/// What is known of the bytes from outside.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResultHint<'a> {
    /// File name of the Content-Disposition header, as received: names a gzip
    /// layer that has no name of its own.
    pub name: Option<&'a str>,
}

/// What decides a walk. A fact of the archive: the same settings give the same
/// members, labels and problems.
#[derive(Clone, Debug)]
pub struct TraverseSettings {
    pub limits: TraverseLimits,
    /// Tried in this order on every encrypted member.
    pub passwords: Vec<String>,
}

impl Default for TraverseSettings {
    fn default() -> Self {
        Self {
            limits: TraverseLimits::default(),
            passwords: vec![DEFAULT_PASSWORD.to_string()],
        }
    }
}

/// What malware samples and forensic zips are customarily locked with.
pub const DEFAULT_PASSWORD: &str = "infected";

/// The wrappings that are peeled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerFormat {
    Gzip,
    Zip,
}

/// A member (or the result itself) as its container describes it.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// Labels from the result inwards; empty for the result itself.
    pub layers: &'a [Layer],
    /// As it stands in the container: data, in whatever encoding.
    pub raw_name: &'a [u8],
    /// The raw name decoded. May hold anything: `..`, escape codes, nothing.
    pub name: &'a str,
    /// **Units**: bytes, inflated, as the container claims.
    pub size_declared: Option<u64>,
    pub modified: Option<Modified>,
    pub encrypted: bool,
    /// A symbolic link: the bytes are the path it points to.
    pub symlink: bool,
}

/// When a member was last changed, as its container says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modified {
    /// Seconds since 1970, UTC.
    Unix(i64),
    /// The clock on the wall where it was packed, no zone.
    Local {
        year: u16,
        month: u8,
        day: u8,
        hour: u8,
        minute: u8,
        second: u8,
    },
}

/// Takes what a walk finds, in order.
pub trait Visitor {
    /// A leaf: bytes that are no wrapping themselves. Damaged bytes just end
    /// (a problem follows); an error from `bytes` is a failure of the world,
    /// which the walk reports by itself. A visitor that wants a listing reads
    /// nothing: next to nothing is then inflated.
    fn member(&mut self, member: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()>;

    /// A wrapping that is about to be peeled: its members follow.
    fn container(&mut self, member: &Member<'_>, wrapping: ContainerFormat) -> ControlFlow<()> {
        let _ = (member, wrapping);
        ControlFlow::Continue(())
    }

    /// Something wrong in the evidence at these labels.
    fn problem(&mut self, layers: &[Layer], problem: Problem);
}

/// What a walk went through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraverseSummary {
    /// Leaves handed to the visitor.
    pub members: u64,
    pub containers: u64,
    /// Directory entries: counted, never members.
    pub directories: u64,
    /// Bytes that came out of every wrapping on the way.
    pub inflated_bytes: u64,
    pub problems: u64,
    /// Members that no password opened: what a new password may bring.
    pub locked: u64,
    /// A limit ended the walk before its end.
    pub cut: bool,
    /// The visitor ended it.
    pub stopped: bool,
}

/// Failures of the world while members were read.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    #[error("could not read the bytes of {what}")]
    Source {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("could not use a scratch file for the archive {what}")]
    Scratch {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("no member {what} in this result")]
    NoSuchMember { what: String },
    #[error("could not read the member {what}: {why}")]
    Unreadable { what: String, why: String },
}

/// Labels as they stand in a reference.
fn written(layers: &[Layer]) -> String {
    if layers.is_empty() {
        return "the result".into();
    }
    layers.iter().map(|layer| format!("!{layer}")).collect()
}
