//! The incident of `sample-data`: small, invented, and worth finding.
//!
//! Written by code so that nobody has to trust binaries: a test holds the
//! folder against what this writes, byte for byte.

mod around;
mod case;
mod quirk;
mod story;
#[cfg(test)]
mod tests;

use crate::sample::case::Case;

use crate::error::GenerateError;
use crate::sink::OutputSink;

/// A question that the incident answers, as `demo` asks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// What the answer tells.
    pub tells: &'static str,
    pub query: &'static str,
    /// A regular expression over raw lines.
    pub regex: bool,
    /// How many lines answer.
    pub hits: usize,
    /// On how many devices.
    pub devices: usize,
}

/// The incident in five searches, in the order in which it happened.
pub const QUESTIONS: [Question; 5] = [
    Question {
        tells: "an attachment came by mail and was opened on one machine",
        query: "Invoice_88213",
        regex: false,
        hits: 7,
        devices: 3,
    },
    Question {
        tells: "it started PowerShell with a command nobody should read",
        query: "EncodedCommand AND device:fin-ws-07",
        regex: false,
        hits: 3,
        devices: 1,
    },
    Question {
        tells: "it came back after every start: a service here, a Run key there",
        query: "\"Parcel Tracking Relay\" OR ParcelSync",
        regex: false,
        hits: 6,
        devices: 2,
    },
    Question {
        tells: "three machines talked to the same address",
        query: r"203\.0\.113\.45:\d+",
        regex: true,
        hits: 5,
        devices: 3,
    },
    Question {
        tells: "and contracts were packed to be taken away",
        query: "contracts_q1",
        regex: false,
        hits: 5,
        devices: 1,
    },
];

/// Writes the incident.
///
/// **Errors**: when `sink` refuses a file.
pub fn sample(sink: &dyn OutputSink) -> Result<(), GenerateError> {
    let mut case = Case::new(sink);
    crate::sample::story::first_look(&mut case)?;
    crate::sample::story::second_foothold(&mut case)?;
    crate::sample::story::file_server(&mut case)?;
    crate::sample::around::the_others(&mut case)?;
    crate::sample::around::what_is_missing(&mut case)?;
    case.finish()
}
