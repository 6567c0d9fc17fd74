//! Asserts that arbitrary bytes are traversed without a panic, and that each
//! member opens with the content of the traversal. Run by the fuzzer, and by
//! the test `hostile` on seeded bytes.

use std::io::{Cursor, Read};
use std::ops::ControlFlow;

use evidence::{Layer, Problem};
use members::{Member, ResultHint, Scratch, TraverseSettings, Visitor, open, traverse};

#[derive(Default)]
struct RecordingVisitor(Vec<(Vec<Layer>, Vec<u8>)>);

impl Visitor for RecordingVisitor {
    fn member(&mut self, member: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()> {
        let mut content = Vec::new();
        bytes
            .read_to_end(&mut content)
            .expect("memory does not fail");
        self.0.push((member.layers.to_vec(), content));
        ControlFlow::Continue(())
    }

    fn problem(&mut self, _: &[Layer], _: Problem) {}
}

/// Panics if an assertion does not hold for `bytes`.
pub fn run(bytes: &[u8]) {
    let mut settings = TraverseSettings::default();
    settings.limits.ratio_floor_bytes = 4 << 20;
    settings.limits.memory_bytes_max = 1 << 10;
    let mut scratch = || Ok(Box::new(Cursor::new(Vec::new())) as Box<dyn Scratch>);
    let mut visitor = RecordingVisitor::default();
    let summary = traverse(
        &mut Cursor::new(bytes),
        ResultHint::default(),
        &settings,
        &mut scratch,
        &mut visitor,
    )
    .expect("memory does not fail");
    if summary.cut {
        return;
    }
    for (layers, content) in visitor.0.iter().take(20) {
        let mut opened = Vec::new();
        open(
            &mut Cursor::new(bytes),
            ResultHint::default(),
            layers,
            &settings,
            &mut scratch,
            &mut |_, bytes| {
                bytes
                    .read_to_end(&mut opened)
                    .expect("memory does not fail");
            },
        )
        .expect("a traversed member opens");
        assert!(opened == *content);
    }
}
