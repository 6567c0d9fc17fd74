//! Extractor of transcripts: the JSON document that a script's result is. It is
//! read in one pass, with bounded memory, and tolerates invalid JSON.
//!
//! For valid JSON the output is exactly its values. A string ends at a quote
//! followed by what can follow a string; every other defect is read over and
//! reported.
//!
//! **Source**: the sample in the API documentation has an unescaped line feed
//! in a string and NULs at the end of its output. Users of the API report
//! control characters, truncated JSON, byte order marks and UTF-16.

mod keys;
mod reader;
mod values;

use std::ops::ControlFlow;

use crate::decode::decoder::{Decoder, peek};
use crate::detect::DetectedText;
use crate::error::ExtractorResult;
use crate::extractor::Extractor;
use crate::input::Input;
use crate::sink::Sink;
use crate::transcript::keys::{ERROR_KEYS, EXIT_KEYS, NAME_KEYS, OUTPUT_KEYS};
use crate::transcript::reader::TranscriptReader;
use evidence::ResultKind;

/// Bytes decoded first: the first character rules out most inputs.
const HEAD_BYTES: usize = 256;

pub(crate) const TRANSCRIPT: Extractor = Extractor {
    name: "transcript",
    recognizes: |input| {
        input
            .detected_text()
            .is_some_and(|detected| is_transcript(input.head(), detected, input.hint().kind))
    },
    run,
};

/// Whether the head is that of a transcript: an object with a key that only
/// transcripts have, or with two of the others. For the result of a script, one
/// key is enough. Otherwise `kind` has no influence, because the same bytes are
/// one content regardless of their result.
fn is_transcript(head: &[u8], detected: DetectedText, kind: ResultKind) -> bool {
    let is_blank = |c: char| c.is_whitespace() || c == '\0';
    let decode = |bytes: &[u8]| {
        let mut text = String::new();
        let body = bytes.get(detected.mark_len..).unwrap_or_default();
        peek(detected.encoding, body, &mut text);
        text
    };
    let first_text = decode(&head[..head.len().min(HEAD_BYTES)]);
    let start = first_text.trim_start_matches(is_blank);
    if !start.is_empty() && !start.starts_with('{') {
        return false;
    }
    let text = decode(head);
    let Some(after_brace) = text.trim_start_matches(is_blank).strip_prefix('{') else {
        return false;
    };
    let object = after_brace.trim_start();
    if !(object.starts_with('"') || object.is_empty()) {
        return false;
    }
    let has = |keys: &[&str]| keys.iter().any(|key| has_key(object, key));
    let has_text = has(&OUTPUT_KEYS) || has(&ERROR_KEYS);
    if kind == ResultKind::Transcript {
        return has_text || has(&NAME_KEYS[..1]) || has(&EXIT_KEYS);
    }
    let has_unique_key = has(&OUTPUT_KEYS[..1]) || has(&ERROR_KEYS[..2]);
    has_unique_key || has_text && has(&EXIT_KEYS)
}

/// Whether `text` contains the quoted key, followed by a colon.
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

fn run(input: &mut Input<'_>, sink: &mut dyn Sink) -> ExtractorResult {
    let Some(detected) = input.detected_text() else {
        return Ok(ControlFlow::Continue(()));
    };
    let mut decoder = Decoder::new(detected.encoding, input.settings().code_page);
    input.window.consume(detected.mark_len);
    let mut reader = TranscriptReader::new(sink, decoder.name);
    if detected.mark_len > 0 || decoder.name != "utf-8" {
        reader.report_encoding();
    }
    let flow = decoder.decode_all(&mut input.window, |piece| reader.push(piece))?;
    if flow.is_break() {
        return Ok(flow);
    }
    let words = decoder.take_words();
    let flow = reader.finish(&words.text);
    decoder.report_problems(&words, sink);
    Ok(flow)
}
