//! Any bytes become text without a panic, and the same text however they are
//! cut. Run by the fuzzer, and by a plain test on seeded bytes.

use std::io::{self, Read};
use std::ops::ControlFlow;

use evidence::{Problem, ResultKind};
use extract::{ContentHint, DocumentHead, ExtractSettings, Sink, TranscriptFacts, extract};

#[derive(Default, PartialEq)]
struct Keeps {
    documents: Vec<(DocumentHead, String)>,
    facts: TranscriptFacts,
}

impl Sink for Keeps {
    fn document(&mut self, head: DocumentHead) -> ControlFlow<()> {
        assert!(
            self.documents.iter().all(|(had, _)| had.part != head.part),
            "a part comes once"
        );
        self.documents.push((head, String::new()));
        ControlFlow::Continue(())
    }

    fn text(&mut self, piece: &str) -> ControlFlow<()> {
        let document = self.documents.last_mut().expect("text follows a head");
        document.1.push_str(piece);
        ControlFlow::Continue(())
    }

    fn transcript(&mut self, facts: &TranscriptFacts) {
        self.facts = facts.clone();
    }

    fn problem(&mut self, _: Problem) {}
}

struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(3);
        self.0.read(&mut buf[..n])
    }
}

fn keep(bytes: &mut dyn Read, kind: ResultKind) -> Keeps {
    let mut keeps = Keeps::default();
    let hint = ContentHint { name: None, kind };
    extract(bytes, hint, ExtractSettings::default(), &mut keeps).expect("memory does not fail");
    keeps
}

/// Panics where that does not hold of `bytes`.
pub fn run(bytes: &[u8]) {
    for kind in [ResultKind::Transcript, ResultKind::File] {
        assert!(keep(&mut &bytes[..], kind) == keep(&mut Trickle(bytes), kind));
    }
}
