//! Extractor of text in any encoding.

use std::ops::ControlFlow;

use crate::decode::decoder::Decoder;
use crate::error::ExtractorResult;
use crate::extractor::Extractor;
use crate::input::Input;
use crate::sink::{DocumentHead, Sink, TextForm, TextPart};
use evidence::{Problem, ProblemKind, ResultKind};

pub(crate) const PLAIN_TEXT: Extractor = Extractor {
    name: "text",
    recognizes: |input| input.detected_text().is_some(),
    run,
};

fn run(input: &mut Input<'_>, sink: &mut dyn Sink) -> ExtractorResult {
    let Some(detected) = input.detected_text() else {
        return Ok(ControlFlow::Continue(()));
    };
    let is_empty = input.head().is_empty();
    let mut decoder = Decoder::new(detected.encoding, input.settings().code_page);
    input.window.consume(detected.mark_len);
    let whole = DocumentHead {
        part: TextPart::Whole,
        encoding: decoder.name,
        form: TextForm::Text,
    };
    if sink.document(whole).is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let flow = decoder.decode_all(&mut input.window, |piece| sink.text(piece))?;
    if flow.is_break() {
        return Ok(flow);
    }
    let words = decoder.take_words();
    if !words.text.is_empty() {
        let other = DocumentHead {
            part: TextPart::Other,
            encoding: decoder.name,
            form: TextForm::Strings,
        };
        if sink.document(other).is_break() || sink.text(&words.text).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    decoder.report_problems(&words, sink);
    if input.hint().kind == ResultKind::Transcript {
        let message = if is_empty {
            "transcript is empty"
        } else {
            "not a transcript object: read as plain text"
        };
        sink.problem(Problem::new(ProblemKind::Repaired, message));
    }
    Ok(ControlFlow::Continue(()))
}
