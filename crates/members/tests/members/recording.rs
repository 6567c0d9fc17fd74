//! A visitor that records everything, and helpers that traverse bytes with it.
#![allow(dead_code)]

use std::cell::Cell;
use std::io::{self, Cursor, Read};
use std::ops::ControlFlow;
use std::rc::Rc;

use afteraction_members::{
    ContainerFormat, Member, MembersError, ResultHint, Scratch, TraverseSettings, TraverseSummary,
    Visitor, open, traverse,
};
use evidence::{Layer, Problem, ProblemKind};

/// Everything that a traversal yields.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    pub members: Vec<(Vec<Layer>, Vec<u8>)>,
    pub names: Vec<String>,
    pub containers: Vec<(String, ContainerFormat)>,
    pub problems: Vec<(String, Problem)>,
    pub summary: TraverseSummary,
    pub scratch_files: u64,
}

/// Labels in the notation of a reference.
pub fn path(layers: &[Layer]) -> String {
    layers.iter().map(|layer| format!("!{layer}")).collect()
}

impl Visitor for Recording {
    fn member(&mut self, member: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()> {
        let mut content = Vec::new();
        bytes.read_to_end(&mut content).unwrap();
        self.members.push((member.layers.to_vec(), content));
        self.names.push(member.name.to_string());
        ControlFlow::Continue(())
    }

    fn container(&mut self, member: &Member<'_>, format: ContainerFormat) -> ControlFlow<()> {
        self.containers.push((path(member.layers), format));
        ControlFlow::Continue(())
    }

    fn problem(&mut self, layers: &[Layer], problem: Problem) {
        self.problems.push((path(layers), problem));
    }
}

impl Recording {
    pub fn paths(&self) -> Vec<String> {
        self.members
            .iter()
            .map(|(layers, _)| path(layers))
            .collect()
    }

    /// The content of the member at `wanted`.
    pub fn bytes(&self, wanted: &str) -> &[u8] {
        self.members
            .iter()
            .find(|(layers, _)| path(layers) == wanted)
            .map(|(_, content)| content)
            .unwrap_or_else(|| panic!("no {wanted} in {:?}", self.paths()))
    }

    pub fn kinds(&self) -> Vec<ProblemKind> {
        self.problems
            .iter()
            .map(|(_, problem)| problem.kind)
            .collect()
    }

    pub fn has(&self, kind: ProblemKind) -> bool {
        self.kinds().contains(&kind)
    }

    /// The message of the first problem.
    pub fn message(&self) -> &str {
        &self.problems.first().expect("a problem").1.message
    }
}

/// Creates scratch files in memory, and counts them.
pub fn scratch(count: Rc<Cell<u64>>) -> impl FnMut() -> io::Result<Box<dyn Scratch>> {
    move || {
        count.set(count.get() + 1);
        Ok(Box::new(Cursor::new(Vec::new())) as Box<dyn Scratch>)
    }
}

pub fn record_with(bytes: &[u8], hint: ResultHint<'_>, settings: &TraverseSettings) -> Recording {
    let mut recording = Recording::default();
    let count = Rc::new(Cell::new(0));
    let mut factory = scratch(count.clone());
    let summary = traverse(
        &mut Cursor::new(bytes),
        hint,
        settings,
        &mut factory,
        &mut recording,
    )
    .unwrap();
    recording.summary = summary;
    recording.scratch_files = count.get();
    recording
}

pub fn record(bytes: &[u8]) -> Recording {
    record_with(bytes, ResultHint::default(), &TraverseSettings::default())
}

/// The bytes that `open` reads at `layers`.
pub fn open_at(
    bytes: &[u8],
    hint: ResultHint<'_>,
    layers: &[Layer],
    settings: &TraverseSettings,
) -> Result<Vec<u8>, MembersError> {
    let mut content = Vec::new();
    let mut factory = scratch(Rc::default());
    open(
        &mut Cursor::new(bytes),
        hint,
        layers,
        settings,
        &mut factory,
        &mut |_, bytes| {
            bytes.read_to_end(&mut content).unwrap();
        },
    )?;
    Ok(content)
}

/// Asserts that `open` reads the same content of every recorded member.
pub fn assert_opens(
    bytes: &[u8],
    hint: ResultHint<'_>,
    settings: &TraverseSettings,
    recording: &Recording,
) {
    for (layers, content) in &recording.members {
        let opened = open_at(bytes, hint, layers, settings).unwrap();
        assert!(
            opened == *content,
            "{} opens with other content",
            path(layers)
        );
    }
}

/// [`assert_opens`] with default settings.
pub fn assert_opens_by_default(bytes: &[u8], recording: &Recording) {
    assert_opens(
        bytes,
        ResultHint::default(),
        &TraverseSettings::default(),
        recording,
    );
}
