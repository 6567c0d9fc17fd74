//! Unusual formats of transcripts.

use crate::wrap::{Transcript, gzip, utf16};
use std::io;

/// Format of a transcript document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TranscriptFormat {
    Plain,
    Gzipped,
    /// As in the documentation of the service: a raw line feed inside a string,
    /// and three NULs at the end of the output.
    Loose,
    /// Indented, with CRLF between the fields.
    Crlf,
    /// UTF-16 with a byte order mark.
    Wide,
}

impl TranscriptFormat {
    /// Bytes of the document and extension of its file.
    pub fn wrap(self, transcript: &Transcript<'_>) -> io::Result<(Vec<u8>, &'static str)> {
        let json = transcript.to_json();
        Ok(match self {
            Self::Plain => (json, "json"),
            Self::Gzipped => (gzip(None, &json)?, "gz"),
            Self::Loose => (loose(&json), "json"),
            Self::Crlf => (indented(&json), "json"),
            Self::Wide => (utf16(&String::from_utf8_lossy(&json)), "json"),
        })
    }
}

/// Unescapes the first line end of the output and adds the NULs.
fn loose(json: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(json);
    let broken = text.replacen("\\r\\n", "\n", 1);
    broken
        .replace(
            "\",\"script_errors\"",
            "\\u0000\\u0000\\u0000\",\n    \"script_errors\"",
        )
        .replace(",\"exit_code\"", ",\n    \"exit_code\"")
        .replace(",\"script_output\"", ",\n    \"script_output\"")
        .into_bytes()
}

fn indented(json: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(json);
    ["script_name", "exit_code", "script_output", "script_errors"]
        .iter()
        .fold(text.into_owned(), |text, field| {
            text.replacen(&format!("\"{field}\":"), &format!("\r\n  \"{field}\": "), 1)
        })
        .into_bytes()
}
