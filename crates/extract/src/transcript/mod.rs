//! The result document of a script: one JSON object, as strict or as broken
//! as it arrives, read in one pass and never held whole.
//!
//! **Source**: the API's documented sample has a raw line feed inside a string
//! and NULs at the end of its output; others saw control characters, cut-off
//! JSON, a byte order mark, UTF-16. So strings end where a quote is followed
//! by what may follow a string, and whatever else is wrong is read all the
//! same and told. For JSON that is valid this gives exactly its values.

mod reader;
mod values;

use std::io;
use std::ops::ControlFlow;

use crate::Sink;
use crate::plain_text::{Decoder, decode_all, tell};
use crate::transcript::reader::Reader;
use crate::window::Feed;
use evidence::ResultKind;

/// Keys of the values that make a transcript, each with its other spellings.
const NAME_KEYS: [&str; 2] = ["script_name", "name"];
const EXIT_KEYS: [&str; 1] = ["exit_code"];
const OUTPUT_KEYS: [&str; 2] = ["script_output", "output"];
const ERROR_KEYS: [&str; 3] = ["script_errors", "script_error", "errors"];

/// Looked at before the whole window is.
const HEAD_BYTES: usize = 256;

/// Whether the first window is that of a transcript: an object with a key that
/// nothing else has, or with two of the others; for what a script is known to
/// have left, with any. The same bytes are one content wherever they are found,
/// so that `kind` counts as little as it can.
pub(crate) fn is_transcript(decoder: &Decoder, window: &[u8], kind: ResultKind) -> bool {
    let is_blank = |c: char| c.is_whitespace() || c == '\0';
    let mut text = String::new();
    // Most leaves are told by their first character.
    decoder.peek(&window[..window.len().min(HEAD_BYTES)], &mut text);
    let begins_otherwise = |head: &str| !head.is_empty() && !head.starts_with('{');
    if begins_otherwise(text.trim_start_matches(is_blank)) {
        return false;
    }
    text.clear();
    decoder.peek(window, &mut text);
    let body = text.trim_start_matches(is_blank);
    let Some(inside) = body.strip_prefix('{') else {
        return false;
    };
    let inside = inside.trim_start();
    if !(inside.starts_with('"') || inside.is_empty()) {
        return false;
    }
    let has = |keys: &[&str]| keys.iter().any(|key| has_key(inside, key));
    let texts = has(&OUTPUT_KEYS) || has(&ERROR_KEYS);
    if kind == ResultKind::Transcript {
        return texts || has(&NAME_KEYS[..1]) || has(&EXIT_KEYS);
    }
    let own = has(&OUTPUT_KEYS[..1]) || has(&ERROR_KEYS[..2]);
    own || texts && has(&EXIT_KEYS)
}

fn has_key(text: &str, key: &str) -> bool {
    memchr::memmem::find_iter(text.as_bytes(), key).any(|at| {
        let before = text.as_bytes().get(..at).unwrap_or_default();
        let after = text.get(at + key.len()..).unwrap_or_default();
        before.ends_with(b"\"")
            && after
                .strip_prefix('"')
                .is_some_and(|rest| rest.trim_start().starts_with(':'))
    })
}

/// A leaf that is a transcript.
pub(crate) fn run(
    feed: &mut Feed<'_>,
    mut decoder: Decoder,
    sink: &mut dyn Sink,
) -> io::Result<ControlFlow<()>> {
    let mut reader = Reader::new(sink, decoder.name);
    if decoder.mark > 0 || decoder.name != "utf-8" {
        reader.note_encoding();
    }
    let flow = decode_all(feed, &mut decoder, |piece| reader.take(piece))?;
    if flow.is_break() {
        return Ok(flow);
    }
    let beside = decoder.beside();
    let flow = reader.finish(&beside.words);
    tell(&decoder, &beside, sink);
    Ok(flow)
}
