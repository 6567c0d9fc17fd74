//! Visitors that may fail.
//!
//! The callbacks of `members`, `extract` and `index` can continue or stop, but
//! not fail. The functions here accept callbacks that can: they stop at the
//! first error and return it.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use evidence::{Layer, Problem};
use extract::{ContentHint, DocumentHead, ExtractSettings, Input, Sink, TranscriptFacts};
use members::{
    ContainerFormat, Member, MembersError, ReadSeek, ResultHint, ScratchFactory, TraverseSettings,
    TraverseSummary, Visitor,
};

use crate::app::decode_settings::scratch_factory;
use crate::app::error::Failure;

/// Calls `run` with a callback that stops it at the first error of `each`, and
/// returns that error.
///
/// `Ok` contains the result of `run`, also if `each` stopped it without an
/// error.
pub(super) fn until_error<T, R, E>(
    run: impl FnOnce(&mut dyn FnMut(T) -> ControlFlow<()>) -> R,
    mut each: impl FnMut(T) -> Result<ControlFlow<()>, E>,
) -> Result<R, E> {
    let mut error = FirstError::default();
    let ran = run(&mut |item| error.flow_of(each(item)));
    error.0.map_or(Ok(ran), Err)
}

/// The first error of a callback.
struct FirstError<E>(Option<E>);

impl<E> Default for FirstError<E> {
    fn default() -> Self {
        Self(None)
    }
}

impl<E> FirstError<E> {
    fn flow_of(&mut self, done: Result<ControlFlow<()>, E>) -> ControlFlow<()> {
        if self.0.is_some() {
            return ControlFlow::Break(());
        }
        done.unwrap_or_else(|error| {
            self.0 = Some(error);
            ControlFlow::Break(())
        })
    }

    /// For a callback that cannot stop: the next one does.
    fn note(&mut self, done: Result<(), E>) {
        let _ = self.flow_of(done.map(ControlFlow::Continue));
    }
}

/// As [`Visitor`], with errors.
pub(super) trait MemberVisitor {
    fn member(
        &mut self,
        member: &Member<'_>,
        bytes: &mut dyn Read,
    ) -> Result<ControlFlow<()>, Failure>;

    fn container(
        &mut self,
        _member: &Member<'_>,
        _format: ContainerFormat,
    ) -> Result<ControlFlow<()>, Failure> {
        Ok(ControlFlow::Continue(()))
    }

    fn problem(&mut self, layers: &[Layer], problem: Problem) -> Result<(), Failure>;
}

/// Visits everything inside a result.
pub(super) fn walk_members(
    source: &mut dyn ReadSeek,
    hint: ResultHint<'_>,
    settings: &TraverseSettings,
    scratch: &mut ScratchFactory<'_>,
    visitor: &mut dyn MemberVisitor,
) -> Result<TraverseSummary, Failure> {
    let mut adapter = MemberAdapter {
        visitor,
        error: FirstError::default(),
    };
    let walked = members::traverse(source, hint, settings, scratch, &mut adapter);
    match adapter.error.0 {
        Some(error) => Err(error),
        None => Ok(walked?),
    }
}

struct MemberAdapter<'v> {
    visitor: &'v mut dyn MemberVisitor,
    error: FirstError<Failure>,
}

impl Visitor for MemberAdapter<'_> {
    fn member(&mut self, member: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()> {
        let done = self.visitor.member(member, bytes);
        self.error.flow_of(done)
    }

    fn container(&mut self, member: &Member<'_>, format: ContainerFormat) -> ControlFlow<()> {
        let done = self.visitor.container(member, format);
        self.error.flow_of(done)
    }

    fn problem(&mut self, layers: &[Layer], problem: Problem) {
        let done = self.visitor.problem(layers, problem);
        self.error.note(done);
    }
}

/// Opens the member at `layers` and calls `read` with its bytes. Returns the
/// result of `read`, and the problems of the member.
pub(super) fn read_member<T>(
    source: &mut dyn ReadSeek,
    hint: ResultHint<'_>,
    layers: &[Layer],
    settings: &TraverseSettings,
    scratch: &mut ScratchFactory<'_>,
    mut read: impl FnMut(&Member<'_>, &mut dyn Read) -> Result<T, Failure>,
) -> Result<(T, Vec<Problem>), Failure> {
    let mut done = None;
    let mut take = |member: &Member<'_>, bytes: &mut dyn Read| done = Some(read(member, bytes));
    let problems = members::open(source, hint, layers, settings, scratch, &mut take)?;
    match done {
        Some(value) => Ok((value?, problems)),
        None => Err(MembersError::NoSuchMember {
            member: layers.iter().map(|layer| format!("!{layer}")).collect(),
        }
        .into()),
    }
}

/// As [`Sink`], with errors.
pub(super) trait TextVisitor {
    fn document(&mut self, head: DocumentHead) -> Result<ControlFlow<()>, Failure>;

    fn text(&mut self, piece: &str) -> Result<ControlFlow<()>, Failure>;

    fn transcript(&mut self, facts: &TranscriptFacts) -> Result<(), Failure>;

    fn problem(&mut self, problem: Problem) -> Result<(), Failure>;
}

/// Extracts the texts of a member. Formats that need seeking use scratch files
/// in the archive if they do not fit in memory.
pub(super) fn extract_texts(
    archive: &Path,
    bytes: &mut dyn Read,
    hint: ContentHint<'_>,
    settings: ExtractSettings,
    visitor: &mut dyn TextVisitor,
) -> Result<(), Failure> {
    let mut adapter = TextAdapter {
        visitor,
        error: FirstError::default(),
    };
    let mut scratch = scratch_factory(archive);
    let input = Input::new(bytes, hint, settings).with_scratch(&mut scratch);
    let extracted = extract::extract(input, &mut adapter);
    match adapter.error.0 {
        Some(error) => Err(error),
        None => Ok(extracted?),
    }
}

struct TextAdapter<'v> {
    visitor: &'v mut dyn TextVisitor,
    error: FirstError<Failure>,
}

impl Sink for TextAdapter<'_> {
    fn document(&mut self, head: DocumentHead) -> ControlFlow<()> {
        let done = self.visitor.document(head);
        self.error.flow_of(done)
    }

    fn text(&mut self, piece: &str) -> ControlFlow<()> {
        let done = self.visitor.text(piece);
        self.error.flow_of(done)
    }

    fn transcript(&mut self, facts: &TranscriptFacts) {
        let done = self.visitor.transcript(facts);
        self.error.note(done);
    }

    fn problem(&mut self, problem: Problem) {
        let done = self.visitor.problem(problem);
        self.error.note(done);
    }
}
