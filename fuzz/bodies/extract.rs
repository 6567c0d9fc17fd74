//! Asserts that arbitrary bytes become text without a panic, and that the text
//! does not depend on how the stream splits its reads. Run by the fuzzer, and
//! by the test `hostile` on seeded bytes.

use std::io::{self, Read};
use std::ops::ControlFlow;

use evidence::{Problem, ResultKind};
use extract::{
    ContentHint, DocumentHead, EventRecord, ExtractSettings, Input, Sink, TranscriptFacts, extract,
};

#[derive(Default, PartialEq)]
struct RecordingSink {
    documents: Vec<(DocumentHead, String)>,
    records: Vec<EventRecord>,
    facts: TranscriptFacts,
}

impl Sink for RecordingSink {
    fn document(&mut self, head: DocumentHead) -> ControlFlow<()> {
        assert!(
            self.documents
                .iter()
                .all(|(earlier, _)| earlier.part != head.part),
            "a part occurs twice"
        );
        self.documents.push((head, String::new()));
        ControlFlow::Continue(())
    }

    fn text(&mut self, piece: &str) -> ControlFlow<()> {
        let (_, text) = self.documents.last_mut().expect("a document");
        text.push_str(piece);
        ControlFlow::Continue(())
    }

    fn record(&mut self, record: &EventRecord) -> ControlFlow<()> {
        assert!(!self.documents.is_empty(), "a record outside a document");
        self.records.push(record.clone());
        ControlFlow::Continue(())
    }

    fn transcript(&mut self, facts: &TranscriptFacts) {
        self.facts = facts.clone();
    }

    fn problem(&mut self, _: Problem) {}
}

/// A stream that returns at most three bytes per read.
struct SlowStream<'a>(&'a [u8]);

impl Read for SlowStream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(3);
        self.0.read(&mut buf[..n])
    }
}

fn record(stream: &mut dyn Read, kind: ResultKind) -> RecordingSink {
    let mut sink = RecordingSink::default();
    let hint = ContentHint { name: None, kind };
    let input = Input::new(stream, hint, ExtractSettings::default());
    extract(input, &mut sink).expect("memory does not fail");
    sink
}

/// Panics if an assertion does not hold for `bytes`.
pub fn run(bytes: &[u8]) {
    for kind in [ResultKind::Transcript, ResultKind::File] {
        let sink = record(&mut &bytes[..], kind);
        assert!(sink == record(&mut SlowStream(bytes), kind));
    }
}
