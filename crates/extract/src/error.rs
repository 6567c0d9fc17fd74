//! The result of an extractor.

use std::io;
use std::ops::ControlFlow;

/// `Break` if the sink returned it.
pub type ExtractorResult = Result<ControlFlow<()>, ExtractorError>;

/// Why an extractor stopped.
#[derive(Debug)]
pub enum ExtractorError {
    /// A failure of the environment: the input or the scratch file could not be
    /// read or written. The extraction returns it.
    Io(io::Error),
    /// The input violates its format; the message names the position and the
    /// part kept. The extraction reports it as a problem of the kind `Damaged`.
    Malformed(String),
}

impl From<io::Error> for ExtractorError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
