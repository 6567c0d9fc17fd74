//! Decodes a text piece by piece, and reports what did not fit its encoding.

use std::io;
use std::ops::ControlFlow;

use encoding_rs::DecoderResult;

use crate::decode::code_page::CodePage;
use crate::decode::encoding::{ByteOrder, TextEncoding};
use crate::decode::mixed::MixedDecoder;
use crate::decode::single_byte::SingleByteDecoder;
use crate::decode::single_byte_words::SingleByteWords;
use crate::decode::stats::DecodeStats;
use crate::decode::utf32;
use crate::sink::{PIECE_BYTES, Sink};
use crate::window::ByteWindow;
use evidence::{Problem, ProblemKind};

pub(crate) struct Decoder {
    /// Name of the encoding.
    pub name: &'static str,
    engine: Engine,
    stats: DecodeStats,
}

enum Engine {
    /// UTF-8, single-byte code pages, UTF-16.
    Mixed(Box<MixedDecoder>),
    Utf32(ByteOrder),
    /// Code pages with one or two bytes per character.
    MultiByte(encoding_rs::Decoder),
}

impl Decoder {
    pub fn new(encoding: TextEncoding, page: CodePage) -> Self {
        let mixed = |decoder| Engine::Mixed(Box::new(decoder));
        let single_byte = |decoder| mixed(MixedDecoder::mainly_single_byte(decoder));
        let (name, engine) = match encoding {
            TextEncoding::Utf8 => ("utf-8", single_byte(SingleByteDecoder::utf8(page))),
            TextEncoding::CodePage => {
                let engine = match page.multi_byte() {
                    Some(encoding) => {
                        Engine::MultiByte(encoding.new_decoder_without_bom_handling())
                    }
                    None => single_byte(SingleByteDecoder::code_page(page)),
                };
                (page.name(), engine)
            }
            TextEncoding::Utf16(order) => {
                let name = match order {
                    ByteOrder::Little => "utf-16le",
                    ByteOrder::Big => "utf-16be",
                };
                (name, mixed(MixedDecoder::mainly_utf16(order, page)))
            }
            TextEncoding::Utf32(order) => {
                let name = match order {
                    ByteOrder::Little => "utf-32le",
                    ByteOrder::Big => "utf-32be",
                };
                (name, Engine::Utf32(order))
            }
        };
        Self {
            name,
            engine,
            stats: DecodeStats::default(),
        }
    }

    /// Decodes the bytes whose decoding does not depend on later bytes, and
    /// returns how many these are. With `last`, all of them.
    pub fn decode(&mut self, bytes: &[u8], last: bool, out: &mut String) -> usize {
        match &mut self.engine {
            Engine::Mixed(mixed) => mixed.decode(bytes, last, out, &mut self.stats),
            Engine::Utf32(order) => {
                let used = utf32::decode(*order, bytes, last, out, &mut self.stats);
                self.stats.add_decoded(&bytes[..used], true, out);
                used
            }
            Engine::MultiByte(decoder) => {
                decode_multi_byte(decoder, bytes, last, out, &mut self.stats)
            }
        }
    }

    /// Decodes all of `window` and passes the text to `consume` in pieces.
    pub fn decode_all(
        &mut self,
        window: &mut ByteWindow<'_>,
        mut consume: impl FnMut(&str) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let mut out = String::with_capacity(PIECE_BYTES + PIECE_BYTES / 2);
        loop {
            let last = window.is_last();
            let used = self.decode(window.unread(), last, &mut out);
            window.consume(used);
            if out.len() >= PIECE_BYTES || last {
                if !out.is_empty() && consume(&out).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                out.clear();
            }
            if last {
                return Ok(ControlFlow::Continue(()));
            }
            window.fill()?;
        }
    }

    /// The single-byte words that the decoding consumed, at the end of the
    /// text.
    pub fn take_words(&mut self) -> SingleByteWords {
        self.stats.words.finish()
    }

    /// Reports the problems of the decoding, at the end of the text.
    pub fn report_problems(&self, words: &SingleByteWords, sink: &mut dyn Sink) {
        if let Some(problem) = self.encoding_problem() {
            sink.problem(problem);
        }
        if words.dropped_bytes > 0 {
            sink.problem(Problem::new(
                ProblemKind::LimitReached,
                format!(
                    "text decoded as {}: {} bytes of single-byte words not indexed, limit of \
                     {} MiB reached",
                    self.name,
                    words.dropped_bytes,
                    SingleByteWords::BYTES_MAX >> 20
                ),
            ));
        }
    }

    fn encoding_problem(&self) -> Option<Problem> {
        let DecodeStats {
            code_page_bytes,
            replacements,
            width_changes,
            ..
        } = self.stats;
        let mut reasons = Vec::new();
        match &self.engine {
            Engine::Mixed(mixed) if code_page_bytes > 0 => match mixed.as_single_byte() {
                Some(decoder) if decoder.is_utf8() => reasons.push(format!(
                    "{code_page_bytes} bytes are not UTF-8 and were decoded as {}",
                    decoder.page_name()
                )),
                Some(_) => reasons.push(format!(
                    "{code_page_bytes} non-ASCII bytes were decoded as {}",
                    self.name
                )),
                None => {}
            },
            Engine::MultiByte(_) => reasons.push(format!("text was decoded as {}", self.name)),
            _ => {}
        }
        if replacements > 0 {
            reasons.push(format!(
                "{replacements} invalid sequences were replaced by U+FFFD"
            ));
        }
        if width_changes > 0 {
            reasons.push(format!(
                "text changes between one and two bytes per character ({width_changes} times)"
            ));
        }
        (!reasons.is_empty()).then(|| Problem::new(ProblemKind::Encoding, reasons.join("; ")))
    }
}

fn decode_multi_byte(
    decoder: &mut encoding_rs::Decoder,
    bytes: &[u8],
    last: bool,
    out: &mut String,
    stats: &mut DecodeStats,
) -> usize {
    // This decoder keeps an incomplete character itself: all bytes are used.
    stats.words.add_multi_byte(bytes);
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        out.reserve(
            decoder
                .max_utf8_buffer_length(rest.len())
                .unwrap_or(rest.len()),
        );
        let (result, read) = decoder.decode_to_string_without_replacement(rest, out, last);
        at += read;
        match result {
            DecoderResult::Malformed(..) => {
                out.push(char::REPLACEMENT_CHARACTER);
                stats.replacements += 1;
            }
            DecoderResult::OutputFull => {}
            DecoderResult::InputEmpty => return at,
        }
    }
}

/// Decodes the first bytes of a text, to look for keywords: non-ASCII
/// characters may differ from those of a [`Decoder`].
pub(crate) fn peek(encoding: TextEncoding, bytes: &[u8], out: &mut String) {
    match encoding {
        TextEncoding::Utf8 | TextEncoding::CodePage => {
            out.push_str(&String::from_utf8_lossy(bytes));
        }
        TextEncoding::Utf16(order) => {
            let mut decoder = MixedDecoder::mainly_utf16(order, CodePage::default());
            decoder.decode(bytes, true, out, &mut DecodeStats::default());
        }
        TextEncoding::Utf32(order) => {
            utf32::decode(order, bytes, false, out, &mut DecodeStats::default());
        }
    }
}
