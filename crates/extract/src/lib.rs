//! Turns the bytes of one leaf into searchable text.
//!
//! Pure over `Read`: bytes in, documents out to a [`Sink`], nothing held but
//! two windows of 64 KiB. This room must never know archives, the store or the
//! index.
//!
//! Invariants: the decoded text decides line numbers and offsets for ever, so
//! it depends on the bytes and the [`ExtractSettings`] alone, never on how reads cut
//! them; a change of it is a new [`EXTRACTOR_VERSION`]. No word vanishes:
//! whatever bytes are, they come out as text, as the strings in them, or as a
//! problem that says what was left out.
//!
//! A byte order mark is replaced by the decoding it asks for. CRLF stays: a
//! line ends with `\n`, the `\r` is part of it. NULs stay where text has them.

mod decode;
mod detect;
mod plain_text;
mod strings;
#[cfg(test)]
mod tests;
mod transcript;
mod window;

use std::io::{self, Read};
use std::ops::ControlFlow;

use evidence::{Problem, ResultKind};

pub use crate::decode::code_page::CodePage;

/// What made a text. Another version may give other offsets.
pub const EXTRACTOR_VERSION: u32 = 3;

/// What is known of the bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct ContentHint<'a> {
    /// The member's name: data.
    pub name: Option<&'a str>,
    pub kind: ResultKind,
}

/// What decides an extraction besides the bytes: a fact of the archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtractSettings {
    /// How text that is no Unicode is read.
    pub code_page: CodePage,
}

/// Which of a leaf's texts a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextPart {
    /// All of it.
    Whole,
    /// What a transcript's script wrote.
    Output,
    /// What it wrote as errors.
    Errors,
    /// Whatever else a transcript held: keys this build does not know, a
    /// second output, bytes behind the end. Of any text: words that its
    /// encoding swallows, see [`hidden`].
    Other,
}

/// How a document came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextForm {
    Text,
    /// Printable strings of a file that is no text, one a line.
    Strings,
    /// A value of a transcript, unescaped.
    Transcript,
}

/// What begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentHead {
    pub part: TextPart,
    /// Name of the encoding the bytes were read by.
    pub encoding: &'static str,
    pub form: TextForm,
}

/// What a transcript says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TranscriptFacts {
    pub script_name: Option<String>,
    pub exit_code: Option<i64>,
    /// The GUID in the output's first line: it also names the script's
    /// transcript on the device.
    pub transcript_id: Option<String>,
}

/// Takes documents, one after the other: a head, then its text in order.
pub trait Sink {
    /// Begins a document; the one before it is at its end. A part comes at
    /// most once.
    fn document(&mut self, head: DocumentHead) -> ControlFlow<()>;

    /// The next piece of the document, cut at any character.
    fn text(&mut self, piece: &str) -> ControlFlow<()>;

    /// Comes once, at the end of a transcript.
    fn transcript(&mut self, facts: &TranscriptFacts);

    fn problem(&mut self, problem: Problem);
}

/// Reads `bytes` to their end, unless the sink says stop.
///
/// **Errors**: those of `bytes`, at which the document just stops.
/// **Cost**: one pass.
pub fn extract(
    bytes: &mut dyn Read,
    hint: ContentHint<'_>,
    settings: ExtractSettings,
    sink: &mut dyn Sink,
) -> io::Result<()> {
    extract_by(bytes, hint, settings, sink, crate::window::WINDOW_BYTES)
}

fn extract_by(
    bytes: &mut dyn Read,
    hint: ContentHint<'_>,
    settings: ExtractSettings,
    sink: &mut dyn Sink,
    step: usize,
) -> io::Result<()> {
    let mut feed = crate::window::Feed::new(bytes, step);
    feed.fill_first()?;
    // a sink that said stop has what it wanted: no error
    let _ = match crate::detect::detect(feed.window(), feed.is_last(), settings.code_page) {
        crate::detect::Seen::Binary => crate::strings::run(&mut feed, sink)?,
        crate::detect::Seen::Text(decoder) => {
            if crate::transcript::is_transcript(&decoder, feed.window(), hint.kind) {
                crate::transcript::run(&mut feed, *decoder, sink)?
            } else {
                crate::plain_text::run(&mut feed, *decoder, hint.kind, sink)?
            }
        }
    };
    Ok(())
}
