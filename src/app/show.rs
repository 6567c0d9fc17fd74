//! Show: from a reference back to the original bytes, checked on the way.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use evidence::{Layer, Locator, Problem, Record, ResultKind, Sha256Sum};
use extract;
use extract::{DocumentHead, Sink, TextPart, TranscriptFacts};
use members;
use members::{ContainerFormat, Member, MembersError, ResultHint, Visitor};
use store::Catalogue;

use crate::app::decode_settings::{DecodeSettings, layer_of, record_of, scratch_factory};
use crate::app::error::{Failure, FailureKind};
use crate::app::gaps::missing_results;
use crate::app::session::ArchiveSession;
use crate::app::text_sink::extract_text;

/// A member in a listing.
#[derive(Clone, Debug)]
pub struct ViewMember {
    pub reference: String,
    /// **Units**: bytes, inflated, as the container claims.
    pub bytes: Option<u64>,
    pub container: bool,
    pub locked: bool,
}

/// Where what is shown goes.
pub trait View {
    fn fact(&mut self, name: &str, value: &str) -> io::Result<()>;
    fn heading(&mut self, text: &str) -> io::Result<()>;
    /// A piece of text, cut anywhere.
    fn text(&mut self, text: &str) -> io::Result<()>;
    fn member(&mut self, member: &ViewMember) -> io::Result<()>;
    /// No part of the evidence: must stay apart from it.
    fn problem(&mut self, place: &str, message: &str) -> io::Result<()>;
    fn end(&mut self) -> io::Result<()>;
}

/// Shows a result or a member for a person: a transcript readable, members
/// listed, text as text.
pub fn show(
    session: &ArchiveSession,
    reference: &Locator,
    view: &mut dyn View,
) -> Result<(), Failure> {
    let shown = Shown::open(session, reference)?;
    if reference.layers.is_empty() {
        shown.facts(view)?;
        shown.whole(view)?;
    } else {
        shown.member(view)?;
    }
    Ok(view.end()?)
}

/// Writes the bytes of a result or member as they are; what is wrong with them
/// is told apart, place and message.
///
/// **Errors**: `Damaged` where the whole result does not match its hash; what
/// was written until then is not evidence.
pub fn show_raw(
    session: &ArchiveSession,
    reference: &Locator,
    out: &mut dyn Write,
    tell: &mut dyn FnMut(&str, &str),
) -> Result<(), Failure> {
    let shown = Shown::open(session, reference)?;
    if reference.layers.is_empty() {
        return shown.raw_result(out);
    }
    shown.raw_member(&mut RawText { out, tell })
}

/// A result or member that is read back.
pub(super) struct Shown<'a> {
    pub(super) archive: &'a Path,
    reference: &'a Locator,
    catalogue: Arc<Catalogue>,
    record: Record,
    pub(super) settings: DecodeSettings,
}

/// What is known of a result that is not here.
fn why_missing(catalogue: &Catalogue, reference: &Locator) -> Option<Failure> {
    let missing = missing_results(catalogue).ok()?.remove(&reference.id.key)?;
    let what = match (missing.reason, missing.detail) {
        (Some(reason), Some(detail)) => format!("{reference} is a gap: {reason}, {detail}"),
        (Some(reason), None) => format!("{reference} is a gap: {reason}"),
        _ => format!("{reference} is pending: it was not collected yet"),
    };
    Some(Failure::new(FailureKind::NotFound, what))
}

impl<'a> Shown<'a> {
    pub(super) fn open(
        session: &'a ArchiveSession,
        reference: &'a Locator,
    ) -> Result<Self, Failure> {
        let catalogue = session.catalogue()?;
        let record = record_of(&catalogue, reference.id)
            .map_err(|failure| why_missing(&catalogue, reference).unwrap_or(failure))
            .map_err(|failure| {
                failure.hint("`list` shows what there is, `gaps` what is missing and why")
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

    fn facts(&self, view: &mut dyn View) -> Result<(), Failure> {
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

    /// A listing of what is inside, or where the result is one text, that text;
    /// whether there was anything of it. A member has a listing alone.
    fn whole(&self, view: &mut dyn View) -> Result<bool, Failure> {
        let mut source = self.catalogue.reader(self.record.id)?;
        let mut scratch = scratch_factory(self.archive);
        let mut lister = Lister {
            shown: self,
            view,
            listed: false,
            shows: self.reference.layers.is_empty(),
            failed: None,
        };
        members::traverse(
            &mut source,
            self.hint(),
            &self.settings.members,
            &mut scratch,
            &mut lister,
        )?;
        match lister.failed {
            Some(failure) => Err(failure),
            None => Ok(lister.shows),
        }
    }

    /// A member's text; of one that holds others, those.
    fn member(&self, view: &mut dyn View) -> Result<(), Failure> {
        let (layers, part) = self.split_part()?;
        let is_whole = part.is_none();
        if !self.print(view, &layers, part, is_whole)? || self.whole(view)? {
            return Ok(());
        }
        // It only looked as if it held others.
        self.print(view, &layers, None, false).map(drop)
    }

    /// Prints a member, unless what looks wrapped is to be left: whether it is.
    fn print(
        &self,
        view: &mut dyn View,
        layers: &[Layer],
        part: Option<Layer>,
        leaves_wrapped: bool,
    ) -> Result<bool, Failure> {
        let (mut printed, mut is_left) = (Ok(()), false);
        let problems = self.open_member(layers, &mut |member, bytes| {
            let mut head = Vec::new();
            let read = bytes.take(members::HEAD_BYTES).read_to_end(&mut head);
            is_left = leaves_wrapped && members::looks_like_container(&head);
            printed = read.map(drop).map_err(Failure::from);
            if printed.is_ok() && !is_left {
                let mut bytes = head.as_slice().chain(bytes);
                let mut printer = Printer::new(view, self.reference, part.clone());
                let kind = self.record.facts.kind;
                printed =
                    printer.print(self.archive, &mut bytes, member.name, kind, &self.settings);
            }
        })?;
        printed?;
        if !is_left {
            self.tell(&problems, view)?;
        }
        Ok(is_left)
    }

    fn tell(&self, problems: &[Problem], view: &mut dyn View) -> Result<(), Failure> {
        let place = self.reference.to_string();
        problems
            .iter()
            .try_for_each(|p| view.problem(&place, &p.message))?;
        Ok(())
    }

    /// Splits `!output` and its like off, unless a member has that name.
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
        let settings = &self.settings.members;
        let found = members::open(
            &mut source,
            self.hint(),
            layers,
            settings,
            &mut scratch,
            &mut |_, _| {},
        );
        match found {
            Ok(_) => Ok(true),
            Err(MembersError::NoSuchMember { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn open_member(
        &self,
        layers: &[Layer],
        take: &mut dyn FnMut(&Member<'_>, &mut dyn Read),
    ) -> Result<Vec<Problem>, Failure> {
        let mut source = self.catalogue.reader(self.record.id)?;
        let mut scratch = scratch_factory(self.archive);
        let settings = &self.settings.members;
        members::open(
            &mut source,
            self.hint(),
            layers,
            settings,
            &mut scratch,
            take,
        )
        .map_err(|e| Failure::from(e).hint(format!("`show {}` lists its members", self.record.id)))
    }

    fn raw_result(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut source = self.catalogue.reader(self.record.id)?;
        let mut hasher = Sha256Sum::default();
        let mut buffer = vec![0; COPY_BYTES];
        loop {
            let n = source.read(&mut buffer).map_err(|e| {
                Failure::caused(
                    FailureKind::Damaged,
                    format!("could not read {}", self.record.id),
                    e,
                )
            })?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
            out.write_all(&buffer[..n])?;
        }
        let found = hasher.finish();
        if found == self.record.sha256 {
            return Ok(());
        }
        Err(Failure::new(
            FailureKind::Damaged,
            format!(
                "evidence {} is damaged: it hashes to {found}, the record says {}",
                self.record.id, self.record.sha256
            ),
        )
        .hint("run verify to see where"))
    }

    fn raw_member(&self, raw: &mut RawText<'_>) -> Result<(), Failure> {
        let (layers, part) = self.split_part()?;
        let mut written = Ok(());
        let problems = self.open_member(&layers, &mut |member, bytes| {
            written = match &part {
                None => io::copy(bytes, raw.out).map(|_| ()).map_err(Failure::from),
                Some(_) => {
                    let mut printer = Printer::new(raw, self.reference, part.clone());
                    printer.print(
                        self.archive,
                        bytes,
                        member.name,
                        self.record.facts.kind,
                        &self.settings,
                    )
                }
            };
        })?;
        written?;
        self.tell(&problems, raw)
    }
}

/// Copied at once.
const COPY_BYTES: usize = 256 << 10;

/// Lists the members of what was asked for; a result that is a leaf itself is
/// printed.
struct Lister<'a, 'v> {
    shown: &'a Shown<'a>,
    view: &'v mut dyn View,
    listed: bool,
    /// It is a result, or a member that holds others.
    shows: bool,
    failed: Option<Failure>,
}

impl Lister<'_, '_> {
    fn or_stop(&mut self, done: Result<(), Failure>) -> ControlFlow<()> {
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                self.failed = Some(failure);
                ControlFlow::Break(())
            }
        }
    }

    fn is_inside(&self, layers: &[Layer]) -> bool {
        layers.starts_with(&self.shown.reference.layers)
    }

    fn list(&mut self, member: &Member<'_>, container: bool) -> Result<(), Failure> {
        if !self.listed {
            self.view.heading("members")?;
            self.listed = true;
        }
        Ok(self.view.member(&ViewMember {
            reference: self.reference(member.layers).to_string(),
            bytes: member.size_declared,
            container,
            locked: false,
        })?)
    }

    fn reference(&self, layers: &[Layer]) -> Locator {
        Locator {
            layers: layers.to_vec(),
            ..Locator::of_result(self.shown.record.id)
        }
    }
}

impl Visitor for Lister<'_, '_> {
    fn member(&mut self, member: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()> {
        if !self.is_inside(member.layers) {
            return ControlFlow::Continue(());
        }
        if !self.shows {
            // The member itself, which holds no others.
            return ControlFlow::Break(());
        }
        let kind = self.shown.record.facts.kind;
        let done = if member.layers.is_empty() || kind == ResultKind::Transcript {
            let place = self.reference(member.layers);
            let mut printer = Printer::new(self.view, &place, None);
            printer.print(
                self.shown.archive,
                bytes,
                member.name,
                kind,
                &self.shown.settings,
            )
        } else {
            self.list(member, false)
        };
        self.or_stop(done)
    }

    fn container(&mut self, member: &Member<'_>, _: ContainerFormat) -> ControlFlow<()> {
        if member.layers == self.shown.reference.layers {
            self.shows = true;
            return ControlFlow::Continue(());
        }
        if !self.is_inside(member.layers) {
            return ControlFlow::Continue(());
        }
        let done = self.list(member, true);
        self.or_stop(done)
    }

    fn problem(&mut self, layers: &[Layer], problem: Problem) {
        if !self.shows || !self.is_inside(layers) {
            return;
        }
        let place = self.reference(layers).to_string();
        if let Err(e) = self.view.problem(&place, &problem.message) {
            self.failed = Some(e.into());
        }
    }
}

/// Prints the texts of one member, all or one part of them.
struct Printer<'v> {
    view: &'v mut dyn View,
    place: &'v Locator,
    only: Option<Layer>,
    printing: bool,
    failed: Option<io::Error>,
}

impl<'v> Printer<'v> {
    fn new(view: &'v mut dyn View, place: &'v Locator, only: Option<Layer>) -> Self {
        Self {
            view,
            place,
            only,
            printing: true,
            failed: None,
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
        let hint = extract::ContentHint {
            name: Some(name),
            kind,
        };
        extract_text(archive, bytes, hint, settings.extract, self)?;
        match self.failed.take() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    fn or_stop(&mut self, done: io::Result<()>) -> ControlFlow<()> {
        match done {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

impl Sink for Printer<'_> {
    fn document(&mut self, head: DocumentHead) -> ControlFlow<()> {
        let layer = layer_of(head.part);
        self.printing = self.only.is_none() || self.only == layer;
        match layer {
            Some(layer) if self.only.is_none() => {
                let done = self.view.heading(layer.as_str());
                self.or_stop(done)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn text(&mut self, piece: &str) -> ControlFlow<()> {
        if !self.printing {
            return ControlFlow::Continue(());
        }
        let done = self.view.text(piece);
        self.or_stop(done)
    }

    fn transcript(&mut self, facts: &TranscriptFacts) {
        if self.only.is_some() {
            return;
        }
        let exit = facts.exit_code.map(|code| code.to_string());
        let rows = [
            ("script", facts.script_name.as_deref()),
            ("exit code", exit.as_deref()),
        ];
        let done = self.view.end().and_then(|()| {
            rows.iter()
                .filter_map(|(name, value)| Some((name, (*value)?)))
                .try_for_each(|(name, value)| self.view.fact(name, value))
        });
        let _ = self.or_stop(done);
    }

    /// Of a part alone only what may be missing from it: how the document
    /// around it was read is told where the whole is shown.
    fn problem(&mut self, problem: Problem) {
        if self.only.is_some() && !problem.kind.hides_text() {
            return;
        }
        let place = self.place.to_string();
        let done = self.view.problem(&place, &problem.message);
        let _ = self.or_stop(done);
    }
}

/// Text as it is, nothing around it.
struct RawText<'a> {
    out: &'a mut dyn Write,
    tell: &'a mut dyn FnMut(&str, &str),
}

impl View for RawText<'_> {
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
        (self.tell)(place, message);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}
