//! Opens the containers of a result (zip, gzip) and streams their members.
//!
//! [`traverse`] visits every member, in containers at any depth. [`open`] reads
//! one member by its labels. Both do the same traversal, so that the labels of
//! the one are valid for the other.
//!
//! # Members and labels
//! A member is a file inside a container, or the result itself if it is not a
//! container. Its labels lead from the result to the member. A zip or gzip adds
//! no label; each of its members adds one: a gzip of `evidence.zip`, which
//! contains `logs/a.log`, yields `!evidence.zip!logs/a.log`. If a name is
//! empty, repeated or unprintable, the label is the ordinal in the container.
//!
//! # Invariants
//! - Defects of the evidence are [`Problem`]s, and the other members are still
//!   read. Only failures of the environment are errors.
//! - A member is streamed to the [`Visitor`] and never held in memory. A nested
//!   zip needs seeking: it is spooled in memory or in a [`Scratch`] file.
//! - A name is data, to be compared and printed. It is never used as a path.
//!
//! # Limits
//! [`TraverseLimits`] bound the work, regardless of the headers:
//!
//! | limit | default | at the limit |
//! |---|---|---|
//! | levels of containers | 16 | the container is visited as a file |
//! | entries of all containers | 1,000,000 | the traversal ends |
//! | bytes of one member | 32 GiB, and the larger of 512 MiB and 200 times the result | the member is cut |
//! | decompressed bytes | 128 GiB, and twice the ratio limit of one member | the traversal ends |
//! | bytes read | 4 times the decompressed bytes allowed | the traversal ends |
//! | bytes of a spooled archive | 8 GiB, of it 8 MiB in memory | the archive is cut |
//! | memory of a decoder | 64 MiB | the member is not read |
//!
//! Each is reported as a [`Problem`] of the kind `LimitReached`, except the
//! last one, which is `Damaged`. The limits count work, not time, so that the
//! same result yields the same members everywhere.
//!
//! # Dependencies
//! This crate must not depend on the store, on extraction or on the file
//! system. Bytes come from `Read + Seek`, scratch files from the caller.
//!
//! # Example
//! ```
//! use std::io::{Cursor, Read, Write};
//! use std::ops::ControlFlow;
//!
//! use afteraction_members::{Member, ResultHint, Scratch, TraverseSettings, Visitor, traverse};
//! use evidence::{Layer, Problem};
//!
//! struct Listing(Vec<String>);
//!
//! impl Visitor for Listing {
//!     fn member(&mut self, member: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()> {
//!         let mut text = String::new();
//!         bytes.read_to_string(&mut text).unwrap();
//!         self.0.push(format!("{}: {text}", member.name));
//!         ControlFlow::Continue(())
//!     }
//!
//!     fn problem(&mut self, _: &[Layer], problem: Problem) {
//!         panic!("{problem}");
//!     }
//! }
//!
//! let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
//! zip.start_file("logs/a.log", zip::write::SimpleFileOptions::default())?;
//! zip.write_all(b"service installed")?;
//! let mut result = zip.finish()?;
//!
//! let mut listing = Listing(Vec::new());
//! let summary = traverse(
//!     &mut result,
//!     ResultHint::default(),
//!     &TraverseSettings::default(),
//!     &mut || Ok(Box::new(Cursor::new(Vec::new())) as Box<dyn Scratch>),
//!     &mut listing,
//! )?;
//! assert_eq!(listing.0, ["logs/a.log: service installed"]);
//! assert_eq!((summary.members, summary.containers), (1, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checked_reader;
mod decode;
mod gzip;
mod inflate;
mod limits;
mod source;
mod traverse;
mod zip;

use std::io::{self, Read, Seek};
use std::ops::ControlFlow;

use evidence::{Layer, Problem};

pub use crate::limits::TraverseLimits;
pub use crate::traverse::{open, traverse};
pub use util::{Scratch, ScratchFactory};

/// **Units**: bytes that [`looks_like_container`] needs.
pub const HEAD_BYTES: u64 = 16;

/// Whether bytes that start with `head` may be a zip or a gzip.
pub fn looks_like_container(head: &[u8]) -> bool {
    crate::zip::is_zip(head) || crate::gzip::is_gzip(head)
}

/// The bytes of a result.
pub trait ReadSeek: Read + Seek {}

impl<T: Read + Seek + ?Sized> ReadSeek for T {}

/// Metadata of the result that helps to name its members.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResultHint<'a> {
    /// The Content-Disposition header, as received. The content of a gzip
    /// without a name gets the file name in it.
    pub name: Option<&'a str>,
}

/// The settings of a traversal. They are part of the archive: the same settings
/// yield the same members, labels and problems.
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

/// The customary password of malware samples and forensic archives.
pub const DEFAULT_PASSWORD: &str = "infected";

/// The supported container formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerFormat {
    Gzip,
    Zip,
}

/// A member, or the result itself, as its container describes it.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// Labels from the result to the member; empty for the result itself.
    pub layers: &'a [Layer],
    /// The name as it is in the container, in an unknown encoding.
    pub raw_name: &'a [u8],
    /// The decoded name. May be empty or contain anything, such as `..` or
    /// terminal escape codes.
    pub name: &'a str,
    /// **Units**: decompressed bytes, as stated by the container.
    pub size_declared: Option<u64>,
    pub modified: Option<Modified>,
    pub encrypted: bool,
    /// A symbolic link: the bytes are the path of its target.
    pub symlink: bool,
}

/// The modification time of a member, as stated by its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modified {
    /// Seconds since 1970, UTC.
    Unix(i64),
    /// Local time of the computer that wrote the container; its time zone is
    /// unknown.
    Local {
        year: u16,
        month: u8,
        day: u8,
        hour: u8,
        minute: u8,
        second: u8,
    },
}

/// Receives the members of a traversal, in order.
pub trait Visitor {
    /// A member that is not a container. `Break` ends the traversal.
    ///
    /// Damaged bytes end early, and a problem follows. An error of `bytes` is
    /// a failure of the environment; the traversal returns it. A visitor that
    /// only lists members reads nothing, and almost nothing is decompressed.
    fn member(&mut self, member: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()>;

    /// A container; its members follow. `Break` ends the traversal.
    fn container(&mut self, member: &Member<'_>, format: ContainerFormat) -> ControlFlow<()> {
        let _ = (member, format);
        ControlFlow::Continue(())
    }

    /// A problem of the member or container at `layers`.
    fn problem(&mut self, layers: &[Layer], problem: Problem);
}

/// Counts of a traversal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraverseSummary {
    /// Members visited, without containers.
    pub members: u64,
    pub containers: u64,
    /// Directory entries of archives. They are not members.
    pub directories: u64,
    /// Decompressed bytes of all containers together.
    pub inflated_bytes: u64,
    pub problems: u64,
    /// Encrypted members that none of the passwords opens.
    pub locked: u64,
    /// A limit ended the traversal.
    pub cut: bool,
    /// The visitor ended the traversal.
    pub stopped: bool,
}

/// A failure of the environment, or a member that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    #[error("could not read the bytes of {member}")]
    Source {
        member: String,
        #[source]
        source: io::Error,
    },
    #[error("could not use a scratch file for the archive {archive}")]
    Scratch {
        archive: String,
        #[source]
        source: io::Error,
    },
    #[error("no member {member} in this result")]
    NoSuchMember { member: String },
    #[error("could not read the member {member}: {reason}")]
    Unreadable { member: String, reason: String },
}

/// Labels in the notation of a reference.
fn print_layers(layers: &[Layer]) -> String {
    if layers.is_empty() {
        return "the result".into();
    }
    layers.iter().map(|layer| format!("!{layer}")).collect()
}
