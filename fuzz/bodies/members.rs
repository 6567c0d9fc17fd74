//! Any bytes walk without a panic, and what was walked opens to the same. Run
//! by the fuzzer, and by a plain test on seeded bytes.

use std::io::{Cursor, Read};
use std::ops::ControlFlow;

use evidence::{Layer, Problem};
use members::{Member, ResultHint, Scratch, TraverseSettings, Visitor, open, traverse};

#[derive(Default)]
struct Keeps(Vec<(Vec<Layer>, Vec<u8>)>);

impl Visitor for Keeps {
    fn member(&mut self, member: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()> {
        let mut all = Vec::new();
        bytes.read_to_end(&mut all).expect("memory does not fail");
        self.0.push((member.layers.to_vec(), all));
        ControlFlow::Continue(())
    }

    fn problem(&mut self, _: &[Layer], _: Problem) {}
}

/// Panics where that does not hold of `bytes`.
pub fn run(bytes: &[u8]) {
    let mut settings = TraverseSettings::default();
    settings.limits.ratio_floor_bytes = 4 << 20;
    settings.limits.memory_bytes_max = 1 << 10;
    let mut scratch = || Ok(Box::new(Cursor::new(Vec::new())) as Box<dyn Scratch>);
    let mut keeps = Keeps::default();
    let summary = traverse(
        &mut Cursor::new(bytes),
        ResultHint::default(),
        &settings,
        &mut scratch,
        &mut keeps,
    )
    .expect("memory does not fail");
    if summary.cut {
        return;
    }
    for (layers, walked) in keeps.0.iter().take(20) {
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
        .expect("a walked member opens");
        assert!(opened == *walked);
    }
}
