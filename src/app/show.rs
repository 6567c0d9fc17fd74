//! Shows a result or a member: from a reference back to the original bytes,
//! whose hashes are checked while they are read.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use evidence::{Layer, Locator, Problem, Record, ResultKind, Sha256Sum};
use extract::{ContentHint, DocumentHead, TextPart, TranscriptFacts};
use members::{ContainerFormat, Member, MembersError, ResultHint};
use store::Catalogue;

use crate::app::decode_settings::{DecodeSettings, layer_of, record_of, scratch_factory};
use crate::app::error::{Failure, FailureKind};
use crate::app::gaps::missing_results;
use crate::app::session::ArchiveSession;
use crate::app::visit::{MemberVisitor, TextVisitor, extract_texts, read_member, walk_members};

/// A member in a listing.
#[derive(Clone, Debug)]
pub struct ViewMember {
    pub reference: String,
    /// **Units**: decompressed bytes, as declared by the container.
    pub bytes: Option<u64>,
    pub container: bool,
    pub locked: bool,
}

/// Output of [`show`].
pub trait View {
    fn fact(&mut self, name: &str, value: &str) -> io::Result<()>;
    fn heading(&mut self, text: &str) -> io::Result<()>;
    /// A piece of a text, cut at any character.
    fn text(&mut self, text: &str) -> io::Result<()>;
    fn member(&mut self, member: &ViewMember) -> io::Result<()>;
    /// Must be kept apart from the evidence.
    fn problem(&mut self, place: &str, message: &str) -> io::Result<()>;
    fn end(&mut self) -> io::Result<()>;
}

/// Shows a result or member to a person: transcripts in readable form, the
/// members of containers as a list, text as text.
pub fn show(
    session: &ArchiveSession,
    reference: &Locator,
    view: &mut dyn View,
) -> Result<(), Failure> {
    let result = OpenResult::open(session, reference)?;
    if reference.layers.is_empty() {
        result.show_facts(view)?;
        result.show_contents(view)?;
    } else {
        result.show_member(view)?;
    }
    Ok(view.end()?)
}

/// Writes the unchanged bytes of a result or member. `on_problem` is called
/// with the place and the message of each problem in them.
///
/// **Errors**: `Damaged` if the result does not match its hash. The bytes that
/// were written before are not evidence.
pub fn show_raw(
    session: &ArchiveSession,
    reference: &Locator,
    out: &mut dyn Write,
    on_problem: &mut dyn FnMut(&str, &str),
) -> Result<(), Failure> {
    let result = OpenResult::open(session, reference)?;
    if reference.layers.is_empty() {
        return result.write_raw_result(out);
    }
    result.write_raw_member(&mut RawView { out, on_problem })
}

/// A result whose bytes are read back.
pub(super) struct OpenResult<'a> {
    pub(super) archive: &'a Path,
    reference: &'a Locator,
    catalogue: Arc<Catalogue>,
    record: Record,
    pub(super) settings: DecodeSettings,
}

/// The reason why a result is not in the archive, if one is known.
fn reason_missing(catalogue: &Catalogue, reference: &Locator) -> Option<Failure> {
    let missing = missing_results(catalogue).ok()?.remove(&reference.id.key)?;
    let message = match (missing.reason, missing.detail) {
        (Some(reason), Some(detail)) => format!("{reference} is a gap: {reason}, {detail}"),
        (Some(reason), None) => format!("{reference} is a gap: {reason}"),
        _ => format!("{reference} is pending: it was not collected yet"),
    };
    Some(Failure::new(FailureKind::NotFound, message))
}

impl<'a> OpenResult<'a> {
    pub(super) fn open(
        session: &'a ArchiveSession,
        reference: &'a Locator,
    ) -> Result<Self, Failure> {
        let catalogue = session.catalogue()?;
        let record = record_of(&catalogue, reference.id)
            .map_err(|failure| reason_missing(&catalogue, reference).unwrap_or(failure))
            .map_err(|failure| {
                failure.hint("see `list` for results, `gaps` for missing results and reasons")
            })?;
        Ok(Self {
            archive: session.archive(),
            reference,
            settings: DecodeSettings::read(&catalogue)?,
            catalogue,
            record,
        })
    }

    pub(super) fn kind(&self) -> ResultKind {
        self.record.facts.kind
    }

    fn hint(&self) -> ResultHint<'_> {
        ResultHint {
            name: self.record.facts.header("content-disposition"),
        }
    }

    fn show_facts(&self, view: &mut dyn View) -> Result<(), Failure> {
        let facts = &self.record.facts;
        view.fact("result", &self.record.id.to_string())?;
        let rows = [
            ("device", facts.device.as_deref()),
            ("machine", facts.machine_id.as_deref()),
            ("kind", Some(facts.kind.as_str())),
            ("script", facts.script.as_deref()),
            ("args", facts.args.as_deref()),
            ("path", facts.path.as_deref()),
            ("time", facts.time().map(|t| t.text())),
            ("status", facts.command_status.as_deref()),
            ("requestor", facts.requestor.as_deref()),
            ("comment", facts.comment.as_deref()),
            ("collected", Some(self.record.collected_at.text())),
            ("bytes", Some(&*self.record.bytes.to_string())),
            ("sha256", Some(&*self.record.sha256.to_string())),
        ];
        for (name, value) in rows {
            if let Some(value) = value {
                view.fact(name, value)?;
            }
        }
        Ok(())
    }

    /// Lists the members, or shows the text of a result that is not a
    /// container. Returns whether there was something to show: a member is
    /// shown here only if it is a container.
    fn show_contents(&self, view: &mut dyn View) -> Result<bool, Failure> {
        let mut source = self.catalogue.reader(self.record.id)?;
        let mut scratch = scratch_factory(self.archive);
        let mut lister = MemberLister {
            result: self,
            view,
            has_heading: false,
            shows: self.reference.layers.is_empty(),
        };
        walk_members(
            &mut source,
            self.hint(),
            &self.settings.members,
            &mut scratch,
            &mut lister,
        )?;
        Ok(lister.shows)
    }

    /// Shows the text of a member, or its members if it is a container.
    fn show_member(&self, view: &mut dyn View) -> Result<(), Failure> {
        let (layers, part) = self.split_part()?;
        let may_be_container = part.is_none();
        if self.print(view, &layers, part, may_be_container)? || self.show_contents(view)? {
            return Ok(());
        }
        // It begins like a container and is none.
        self.print(view, &layers, None, false).map(drop)
    }

    /// Prints the text of a member. With `skips_containers`, a member that
    /// begins like a container is not printed. Returns whether it was printed.
    fn print(
        &self,
        view: &mut dyn View,
        layers: &[Layer],
        part: Option<Layer>,
        skips_containers: bool,
    ) -> Result<bool, Failure> {
        let (is_printed, problems) = self.open_member(layers, |member, bytes| {
            let mut head = Vec::new();
            bytes.take(members::HEAD_BYTES).read_to_end(&mut head)?;
            if skips_containers && members::looks_like_container(&head) {
                return Ok(false);
            }
            TextPrinter::new(view, self.reference, part.clone()).print(
                self.archive,
                &mut head.as_slice().chain(bytes),
                member.name,
                self.record.facts.kind,
                &self.settings,
            )?;
            Ok(true)
        })?;
        if is_printed {
            self.show_problems(&problems, view)?;
        }
        Ok(is_printed)
    }

    fn show_problems(&self, problems: &[Problem], view: &mut dyn View) -> Result<(), Failure> {
        let place = self.reference.to_string();
        problems
            .iter()
            .try_for_each(|p| view.problem(&place, &p.message))?;
        Ok(())
    }

    /// Splits a part of a transcript (`!output`) off the reference, unless a
    /// member has that name.
    pub(super) fn split_part(&self) -> Result<(Vec<Layer>, Option<Layer>), Failure> {
        let layers = &self.reference.layers;
        let Some((last, before)) = layers.split_last() else {
            return Ok((Vec::new(), None));
        };
        let is_part = [TextPart::Output, TextPart::Errors, TextPart::Other]
            .iter()
            .any(|part| layer_of(*part).as_ref() == Some(last));
        if is_part && !self.has_member(layers)? {
            return Ok((before.to_vec(), Some(last.clone())));
        }
        Ok((layers.clone(), None))
    }

    fn has_member(&self, layers: &[Layer]) -> Result<bool, Failure> {
        let mut source = self.catalogue.reader(self.record.id)?;
        let mut scratch = scratch_factory(self.archive);
        let opened = members::open(
            &mut source,
            self.hint(),
            layers,
            &self.settings.members,
            &mut scratch,
            &mut |_, _| {},
        );
        match opened {
            Ok(_) => Ok(true),
            Err(MembersError::NoSuchMember { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Calls `read` with the bytes of a member. Returns its problems, too.
    pub(super) fn open_member<T>(
        &self,
        layers: &[Layer],
        read: impl FnMut(&Member<'_>, &mut dyn Read) -> Result<T, Failure>,
    ) -> Result<(T, Vec<Problem>), Failure> {
        let mut source = self.catalogue.reader(self.record.id)?;
        let mut scratch = scratch_factory(self.archive);
        read_member(
            &mut source,
            self.hint(),
            layers,
            &self.settings.members,
            &mut scratch,
            read,
        )
        .map_err(|failure| match failure.kind {
            FailureKind::NotFound => {
                failure.hint(format!("list the members with `show {}`", self.record.id))
            }
            _ => failure,
        })
    }

    fn write_raw_result(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut source = self.catalogue.reader(self.record.id)?;
        let mut hasher = Sha256Sum::default();
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let n = source.read(&mut buffer).map_err(|e| {
                let attempt = format!("could not read {}", self.record.id);
                Failure::caused(FailureKind::Damaged, attempt, e)
            })?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
            out.write_all(&buffer[..n])?;
        }
        let actual = hasher.finish();
        if actual == self.record.sha256 {
            return Ok(());
        }
        Err(Failure::new(
            FailureKind::Damaged,
            format!(
                "evidence {} is damaged: its hash is {actual}, the record has {}",
                self.record.id, self.record.sha256
            ),
        )
        .hint("locate the damage with `verify`"))
    }

    fn write_raw_member(&self, view: &mut RawView<'_>) -> Result<(), Failure> {
        let (layers, part) = self.split_part()?;
        let ((), problems) = self.open_member(&layers, |member, bytes| {
            if part.is_none() {
                io::copy(bytes, view.out)?;
                return Ok(());
            }
            let kind = self.record.facts.kind;
            TextPrinter::new(view, self.reference, part.clone()).print(
                self.archive,
                bytes,
                member.name,
                kind,
                &self.settings,
            )
        })?;
        self.show_problems(&problems, view)
    }
}

/// **Units**: bytes that are copied at once.
const COPY_BYTES: usize = 256 << 10;

/// Lists the members of a result or of one of its containers. A result that is
/// not a container is printed.
struct MemberLister<'a, 'v> {
    result: &'a OpenResult<'a>,
    view: &'v mut dyn View,
    has_heading: bool,
    /// The reference is a result, or a container that was found.
    shows: bool,
}

impl MemberLister<'_, '_> {
    fn is_inside(&self, layers: &[Layer]) -> bool {
        layers.starts_with(&self.result.reference.layers)
    }

    fn list(&mut self, member: &Member<'_>, container: bool) -> Result<(), Failure> {
        if !self.has_heading {
            self.view.heading("members")?;
            self.has_heading = true;
        }
        Ok(self.view.member(&ViewMember {
            reference: self.locator(member.layers).to_string(),
            bytes: member.size_declared,
            container,
            locked: false,
        })?)
    }

    fn locator(&self, layers: &[Layer]) -> Locator {
        Locator {
            layers: layers.to_vec(),
            ..Locator::of_result(self.result.record.id)
        }
    }
}

impl MemberVisitor for MemberLister<'_, '_> {
    fn member(
        &mut self,
        member: &Member<'_>,
        bytes: &mut dyn Read,
    ) -> Result<ControlFlow<()>, Failure> {
        if !self.is_inside(member.layers) {
            return Ok(ControlFlow::Continue(()));
        }
        if !self.shows {
            // The member of the reference, which is not a container.
            return Ok(ControlFlow::Break(()));
        }
        let kind = self.result.record.facts.kind;
        if member.layers.is_empty() || kind == ResultKind::Transcript {
            let place = self.locator(member.layers);
            let mut printer = TextPrinter::new(self.view, &place, None);
            printer.print(
                self.result.archive,
                bytes,
                member.name,
                kind,
                &self.result.settings,
            )?;
        } else {
            self.list(member, false)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn container(
        &mut self,
        member: &Member<'_>,
        _: ContainerFormat,
    ) -> Result<ControlFlow<()>, Failure> {
        if member.layers == self.result.reference.layers {
            self.shows = true;
        } else if self.is_inside(member.layers) {
            self.list(member, true)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn problem(&mut self, layers: &[Layer], problem: Problem) -> Result<(), Failure> {
        if self.shows && self.is_inside(layers) {
            let place = self.locator(layers).to_string();
            self.view.problem(&place, &problem.message)?;
        }
        Ok(())
    }
}

/// Prints the texts of one member: all, or one part.
struct TextPrinter<'v> {
    view: &'v mut dyn View,
    place: &'v Locator,
    only: Option<Layer>,
    is_printing: bool,
}

impl<'v> TextPrinter<'v> {
    fn new(view: &'v mut dyn View, place: &'v Locator, only: Option<Layer>) -> Self {
        Self {
            view,
            place,
            only,
            is_printing: true,
        }
    }

    fn print(
        &mut self,
        archive: &Path,
        bytes: &mut dyn Read,
        name: &str,
        kind: ResultKind,
        settings: &DecodeSettings,
    ) -> Result<(), Failure> {
        let hint = ContentHint {
            name: Some(name),
            kind,
        };
        extract_texts(archive, bytes, hint, settings.extract, self)
    }
}

impl TextVisitor for TextPrinter<'_> {
    fn document(&mut self, head: DocumentHead) -> Result<ControlFlow<()>, Failure> {
        let layer = layer_of(head.part);
        self.is_printing = self.only.is_none() || self.only == layer;
        if let Some(layer) = layer
            && self.only.is_none()
        {
            self.view.heading(layer.as_str())?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn text(&mut self, piece: &str) -> Result<ControlFlow<()>, Failure> {
        if self.is_printing {
            self.view.text(piece)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn transcript(&mut self, facts: &TranscriptFacts) -> Result<(), Failure> {
        if self.only.is_some() {
            return Ok(());
        }
        self.view.end()?;
        if let Some(script) = &facts.script_name {
            self.view.fact("script", script)?;
        }
        if let Some(code) = facts.exit_code {
            self.view.fact("exit code", &code.to_string())?;
        }
        Ok(())
    }

    /// For one part, only problems that hide text are shown; the others are
    /// about the whole document.
    fn problem(&mut self, problem: Problem) -> Result<(), Failure> {
        if self.only.is_none() || problem.kind.hides_text() {
            let place = self.place.to_string();
            self.view.problem(&place, &problem.message)?;
        }
        Ok(())
    }
}

/// Writes text only.
struct RawView<'a> {
    out: &'a mut dyn Write,
    on_problem: &'a mut dyn FnMut(&str, &str),
}

impl View for RawView<'_> {
    fn fact(&mut self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn heading(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())
    }

    fn member(&mut self, _: &ViewMember) -> io::Result<()> {
        Ok(())
    }

    fn problem(&mut self, place: &str, message: &str) -> io::Result<()> {
        (self.on_problem)(place, message);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}
