//! Decoding in steps, and the plain document that comes of it.

use std::io;
use std::ops::ControlFlow;

use encoding_rs::DecoderResult;

use crate::decode::code_page::CodePage;
use crate::decode::mixed::Mixed;
use crate::decode::single_byte::Narrow;
use crate::decode::single_byte_words::{Beside, Hidden};
use crate::decode::utf16::Order;
use crate::window::Feed;
use crate::{DocumentHead, Sink, TextForm, TextPart};
use evidence::{Problem, ProblemKind, ResultKind};

/// Text is handed on in pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;

/// How the bytes of one leaf become text.
pub(crate) struct Decoder {
    pub name: &'static str,
    /// Bytes of the byte order mark.
    pub mark: usize,
    engine: Engine,
    counts: Counts,
}

enum Engine {
    /// UTF-8, code pages, UTF-16.
    Mixed(Box<Mixed>),
    Utf32(Order),
    MultiByte(encoding_rs::Decoder),
}

impl Engine {
    fn mixed(mixed: Mixed) -> Self {
        Self::Mixed(Box::new(mixed))
    }
}

/// What did not fit the encoding.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Bytes that are no UTF-8 and were read by the code page.
    pub by_page: u64,
    /// Replaced by U+FFFD.
    pub replaced: u64,
    /// Stretches in the other width.
    pub switches: u64,
    pub hidden: Hidden,
}

impl Counts {
    /// Bytes that have been decoded, in which width, to the end of `out`.
    pub fn see(&mut self, bytes: &[u8], wide: bool, out: &str) {
        if wide {
            self.hidden.wide(bytes, out.chars().next_back());
        } else {
            self.hidden.narrow(bytes);
        }
    }
}

impl Decoder {
    pub fn utf8(page: CodePage, mark: usize) -> Self {
        Self::new(
            "utf-8",
            mark,
            Engine::mixed(Mixed::narrow(Narrow::utf8(page))),
        )
    }

    pub fn page(page: CodePage) -> Self {
        let engine = match page.multi_byte() {
            Some(encoding) => Engine::MultiByte(encoding.new_decoder_without_bom_handling()),
            None => Engine::mixed(Mixed::narrow(Narrow::page(page))),
        };
        Self::new(page.name(), 0, engine)
    }

    pub fn utf16(order: Order, page: CodePage, mark: usize) -> Self {
        let name = match order {
            Order::Little => "utf-16le",
            Order::Big => "utf-16be",
        };
        Self::new(name, mark, Engine::mixed(Mixed::wide(order, page)))
    }

    pub fn utf32(order: Order) -> Self {
        let name = match order {
            Order::Little => "utf-32le",
            Order::Big => "utf-32be",
        };
        Self::new(name, 4, Engine::Utf32(order))
    }

    fn new(name: &'static str, mark: usize, engine: Engine) -> Self {
        Self {
            name,
            mark,
            engine,
            counts: Counts::default(),
        }
    }

    /// Decodes what can be decoded for certain and says how many bytes that
    /// took. With `last`, all of them.
    pub fn decode(&mut self, bytes: &[u8], last: bool, out: &mut String) -> usize {
        match &mut self.engine {
            Engine::Mixed(mixed) => mixed.decode(bytes, last, out, &mut self.counts),
            Engine::Utf32(order) => {
                let used = decode_utf32(*order, bytes, last, out, &mut self.counts);
                self.counts.see(&bytes[..used], true, out);
                used
            }
            Engine::MultiByte(decoder) => {
                // all of them are taken
                self.counts.hidden.paired(bytes);
                let mut at = 0;
                loop {
                    let rest = bytes.get(at..).unwrap_or_default();
                    out.reserve(
                        decoder
                            .max_utf8_buffer_length(rest.len())
                            .unwrap_or(rest.len()),
                    );
                    let (result, read) =
                        decoder.decode_to_string_without_replacement(rest, out, last);
                    at += read;
                    match result {
                        DecoderResult::Malformed(..) => {
                            out.push(char::REPLACEMENT_CHARACTER);
                            self.counts.replaced += 1;
                        }
                        DecoderResult::OutputFull => {}
                        DecoderResult::InputEmpty => return at,
                    }
                }
            }
        }
    }

    /// A decoder like this one at its beginning, to look ahead with.
    pub fn peek(&self, window: &[u8], out: &mut String) {
        let bytes = window.get(self.mark..).unwrap_or_default();
        match &self.engine {
            Engine::Mixed(mixed) if mixed.as_narrow().is_some() => match std::str::from_utf8(bytes)
            {
                Ok(text) => out.push_str(text),
                Err(_) => out.push_str(&String::from_utf8_lossy(bytes)),
            },
            Engine::Mixed(mixed) => {
                let mut ahead = Mixed::wide(mixed.order(), CodePage::default());
                ahead.decode(bytes, true, out, &mut Counts::default());
            }
            Engine::Utf32(order) => {
                decode_utf32(*order, bytes, false, out, &mut Counts::default());
            }
            Engine::MultiByte(_) => out.push_str(&String::from_utf8_lossy(bytes)),
        }
    }

    /// What stands beside the text, once it is at its end.
    pub fn beside(&mut self) -> Beside {
        self.counts.hidden.finish()
    }

    /// What the encoding has to be told about, once the text is at its end.
    pub fn problem(&self) -> Option<Problem> {
        let Counts {
            by_page,
            replaced,
            switches,
            ..
        } = self.counts;
        let mut said = Vec::new();
        match &self.engine {
            Engine::Mixed(mixed) if by_page > 0 => match mixed.as_narrow() {
                Some(narrow) if narrow.is_utf8() => said.push(format!(
                    "{by_page} bytes are no UTF-8 and were read as {}",
                    narrow.page_name()
                )),
                Some(_) => said.push(format!(
                    "{by_page} bytes beyond ASCII were taken for {}",
                    self.name
                )),
                None => {}
            },
            Engine::MultiByte(_) => said.push(format!("text was taken for {}", self.name)),
            _ => {}
        }
        if replaced > 0 {
            said.push(format!(
                "{replaced} places fit no character and became U+FFFD"
            ));
        }
        if switches > 0 {
            said.push(format!(
                "text changes between one and two bytes a character ({switches} times)"
            ));
        }
        (!said.is_empty()).then(|| Problem::new(ProblemKind::Encoding, said.join("; ")))
    }
}

fn decode_utf32(
    order: Order,
    bytes: &[u8],
    last: bool,
    out: &mut String,
    counts: &mut Counts,
) -> usize {
    let units = bytes.chunks_exact(4);
    let rest = units.remainder().len();
    for unit in units {
        let unit: [u8; 4] = unit.try_into().unwrap_or_default();
        let number = match order {
            Order::Little => u32::from_le_bytes(unit),
            Order::Big => u32::from_be_bytes(unit),
        };
        out.push(char::from_u32(number).unwrap_or_else(|| {
            counts.replaced += 1;
            char::REPLACEMENT_CHARACTER
        }));
    }
    if last && rest > 0 {
        out.push(char::REPLACEMENT_CHARACTER);
        counts.replaced += 1;
        return bytes.len();
    }
    bytes.len() - rest
}

/// Decodes everything `feed` brings and hands it to `take` in pieces.
pub(crate) fn decode_all(
    feed: &mut Feed<'_>,
    decoder: &mut Decoder,
    mut take: impl FnMut(&str) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    feed.consume(decoder.mark);
    let mut out = String::with_capacity(PIECE_BYTES + PIECE_BYTES / 2);
    loop {
        let last = feed.is_last();
        let used = decoder.decode(feed.window(), last, &mut out);
        feed.consume(used);
        if out.len() >= PIECE_BYTES || last {
            if !out.is_empty() && take(&out).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            out.clear();
        }
        if last {
            return Ok(ControlFlow::Continue(()));
        }
        feed.fill()?;
    }
}

/// What is wrong with a text that is at its end.
pub(crate) fn tell(decoder: &Decoder, beside: &Beside, sink: &mut dyn Sink) {
    if let Some(problem) = decoder.problem() {
        sink.problem(problem);
    }
    if beside.cut > 0 {
        sink.problem(Problem::new(
            ProblemKind::LimitReached,
            format!(
                "{} bytes of words that {} may swallow are not kept beside it, beyond {} (limit)",
                beside.cut,
                decoder.name,
                Beside::MAX
            ),
        ));
    }
}

/// A leaf that is one text.
pub(crate) fn run(
    feed: &mut Feed<'_>,
    mut decoder: Decoder,
    kind: ResultKind,
    sink: &mut dyn Sink,
) -> io::Result<ControlFlow<()>> {
    let head = DocumentHead {
        part: TextPart::Whole,
        encoding: decoder.name,
        form: TextForm::Text,
    };
    if sink.document(head).is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let empty = feed.window().is_empty();
    let flow = decode_all(feed, &mut decoder, |piece| sink.text(piece))?;
    if flow.is_break() {
        return Ok(flow);
    }
    let beside = decoder.beside();
    if !beside.words.is_empty() {
        let head = DocumentHead {
            part: TextPart::Other,
            encoding: decoder.name,
            form: TextForm::Strings,
        };
        if sink.document(head).is_break() || sink.text(&beside.words).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    tell(&decoder, &beside, sink);
    if kind == ResultKind::Transcript {
        let message = if empty {
            "transcript is empty"
        } else {
            "no transcript object: kept as plain text"
        };
        sink.problem(Problem::new(ProblemKind::Repaired, message));
    }
    Ok(flow)
}
