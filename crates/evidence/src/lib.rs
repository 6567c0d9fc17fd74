//! Domain types of afteraction, and the glossary.
//!
//! Pure data: this crate imports no other crate of the workspace, does no I/O
//! and reads no clock. Callers pass the time in.
//!
//! ```
//! use afteraction_evidence::{Locator, Time};
//!
//! let at: Locator = "5382f7ea-7557-4ab7-9782-d50480024a4e/0!evidence.zip!a.log".parse()?;
//! assert_eq!(at.layers.len(), 2);
//! assert_eq!(at.id.key.index.0, 0);
//! assert!(Time::from_text("2026-02-04T15:36:52.7Z") > Time::from_text("2026-02-04"));
//! # Ok::<(), afteraction_evidence::MalformedRef>(())
//! ```
//!
//! # Glossary
//!
//! One word has one meaning in code, messages and documentation.
//!
//! ## Live response
//!
//! | word | meaning |
//! |---|---|
//! | action | a live response action, identified by a GUID ([`ActionId`]) |
//! | command | one step of an action (RunScript, GetFile, PutFile), identified by its zero-based index |
//! | session | the connection of the service to a device in which an action runs |
//! | result, version | the bytes that one command produced; a later download whose bytes differ is the next version |
//! | link | signed URL of a result, valid for 30 minutes; a secret that is never stored or logged |
//! | transcript | the JSON document of a script: name, exit code, output, errors |
//! | in doubt | a start request was sent, and its outcome is unknown |
//! | reconcile | look for the sessions in doubt in the lists of the service |
//! | parked | cancelled because the device is away; started again when it is seen |
//! | playbook | ordered steps and variables of a fleet run, in TOML |
//! | coverage | matrix of device by command with the outcome of each |
//!
//! ## Archive
//!
//! | word | meaning |
//! |---|---|
//! | archive | directory with the originals, their journal, and derived data |
//! | record | catalogue entry of a sealed result: length, hashes, facts |
//! | facts | metadata of a result: device, command, times, requestor, headers |
//! | seal | store a result completely, hashed and synced |
//! | gap, pending | missing, with a reason · still expected |
//! | pack, frame, trailer | append-only file · its 256 KiB unit · the metadata after the frames of an entry |
//! | pack index | list of the entries of a pack |
//! | journal, Seq | the order of all facts · position in it |
//! | checkpoint, watermark | how far a derived structure has read the journal |
//! | custody event | an action of a person on the archive that is recorded |
//! | masking | keystream that hides stored bytes from antivirus software; no secrecy |
//!
//! ## Content
//!
//! | word | meaning |
//! |---|---|
//! | container, member | an archive or compressed stream · one entry of it, or the file itself |
//! | content, occurrence | bytes identified by their SHA-256 · one location where they were found |
//! | locator, REF | reference to a result, a member, and a range of its decoded text · its printed form |
//! | problem | a defect or an unread part *in the evidence*: recorded, counted, shown |
//! | event record, field | one row of a Windows artifact · a typed value of it |
//!
//! ## Index and analysis
//!
//! | word | meaning |
//! |---|---|
//! | document | one extracted text |
//! | line, chunk, segment | a distinct line · a run of lines · the immutable unit of the index |
//! | fragment | part of a line that is longer than 1 MiB |
//! | posting list | line → chunks, chunk → documents |
//! | term, n-gram | a word of the dictionary · four consecutive characters by class |
//! | prefilter, candidate | terms and n-grams that each match must have · a line that passed it |
//! | verify | match a candidate on its text |
//! | restriction | members that can match at all, by the most selective clause |
//! | snippet | displayed part of a matching line |
//! | hit, finding | an answer of a search · of an analysis; both carry a locator |
//! | tombstone | a deletion that takes effect when the segment is rewritten |
//! | template | a line without its volatile parts |
//! | baseline | templates of known-good devices |

mod action;
mod hash;
mod id;
mod link;
mod locator;
mod problem;
mod record;
mod time;

pub use crate::action::{Action, Command, CommandKind, MalformedAction};
pub use crate::hash::{Sha256, Sha256Sum};
pub use crate::id::{
    ActionId, CommandIndex, MalformedId, MalformedKey, ResultId, ResultKey, Seq, Version,
};
pub use crate::link::ResultLink;
pub use crate::locator::{Layer, Locator, MalformedRef, Range};
pub use crate::problem::{Problem, ProblemKind};
pub use crate::record::{Facts, Gap, GapReason, Origin, Record, ResultKind};
pub use crate::time::Time;
