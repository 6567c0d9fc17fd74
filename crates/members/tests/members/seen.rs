//! What a walk gave, written down.
#![allow(dead_code)]

use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::rc::Rc;

use afteraction_members::{
    ContainerFormat, Member, MembersError, ResultHint, Scratch, TraverseSettings, TraverseSummary,
    Visitor, open, traverse,
};
use evidence::{Layer, Problem, ProblemKind};

#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub members: Vec<(Vec<Layer>, Vec<u8>)>,
    pub names: Vec<String>,
    pub containers: Vec<(String, ContainerFormat)>,
    pub problems: Vec<(String, Problem)>,
    pub summary: TraverseSummary,
    pub scratches: u64,
}

pub fn path(layers: &[Layer]) -> String {
    layers.iter().map(|layer| format!("!{layer}")).collect()
}

impl Visitor for Seen {
    fn member(&mut self, member: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()> {
        let mut all = Vec::new();
        bytes.read_to_end(&mut all).unwrap();
        self.members.push((member.layers.to_vec(), all));
        self.names.push(member.name.to_string());
        ControlFlow::Continue(())
    }

    fn container(&mut self, member: &Member<'_>, wrapping: ContainerFormat) -> ControlFlow<()> {
        self.containers.push((path(member.layers), wrapping));
        ControlFlow::Continue(())
    }

    fn problem(&mut self, layers: &[Layer], problem: Problem) {
        self.problems.push((path(layers), problem));
    }
}

impl Seen {
    pub fn paths(&self) -> Vec<String> {
        self.members
            .iter()
            .map(|(layers, _)| path(layers))
            .collect()
    }

    pub fn bytes(&self, wanted: &str) -> &[u8] {
        let found = self
            .members
            .iter()
            .find(|(layers, _)| path(layers) == wanted);
        &found
            .unwrap_or_else(|| panic!("no {wanted} in {:?}", self.paths()))
            .1
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
}

/// A scratch file in memory that counts how many were asked for.
pub struct MemoryScratch(Cursor<Vec<u8>>);

impl Read for MemoryScratch {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for MemoryScratch {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for MemoryScratch {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

pub fn scratch(count: Rc<Cell<u64>>) -> impl FnMut() -> io::Result<Box<dyn Scratch>> {
    move || {
        count.set(count.get() + 1);
        Ok(Box::new(MemoryScratch(Cursor::new(Vec::new()))) as Box<dyn Scratch>)
    }
}

pub fn see(bytes: &[u8], hint: ResultHint<'_>, settings: &TraverseSettings) -> Seen {
    let mut seen = Seen::default();
    let count = Rc::new(Cell::new(0));
    let mut factory = scratch(count.clone());
    let summary = traverse(
        &mut Cursor::new(bytes),
        hint,
        settings,
        &mut factory,
        &mut seen,
    )
    .unwrap();
    seen.summary = summary;
    seen.scratches = count.get();
    seen
}

pub fn look(bytes: &[u8]) -> Seen {
    see(bytes, ResultHint::default(), &TraverseSettings::default())
}

pub fn open_at(
    bytes: &[u8],
    hint: ResultHint<'_>,
    layers: &[Layer],
    settings: &TraverseSettings,
) -> Result<Vec<u8>, MembersError> {
    let mut all = Vec::new();
    let mut factory = scratch(Rc::default());
    open(
        &mut Cursor::new(bytes),
        hint,
        layers,
        settings,
        &mut factory,
        &mut |_, bytes| {
            bytes.read_to_end(&mut all).unwrap();
        },
    )?;
    Ok(all)
}

/// Every member that was walked opens by its labels to the same bytes.
pub fn assert_opens(bytes: &[u8], hint: ResultHint<'_>, settings: &TraverseSettings, seen: &Seen) {
    for (layers, walked) in &seen.members {
        let opened = open_at(bytes, hint, layers, settings).unwrap();
        assert!(opened == *walked, "{} opens to other bytes", path(layers));
    }
}
