//! From the index to groups: every distinct line is looked at once, on all
//! cores, and whoever holds it is noted.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxHashMap;

use analyze::{Devices, First, GroupHolders, GroupKey, Groups, Holding};
use evidence::Layer;
use index;
use index::{ChunkRun, FrameLines, Holder, MemberSet};

use crate::app::compare::line_templates::{Look, Looks};
use crate::app::compare::normalizer::{Lens, Seen};
use crate::app::compare::template_cache::Kept;
use crate::app::error::Failure;

/// **Units**: bytes of groups held at once. Where there are more, texts are
/// gathered in several passes, each by a part of their hashes.
const GROUPS_MAX: usize = 128 << 20;

/// Not a number of a group: another pass has it, or nobody asked for it.
const NONE: u32 = u32::MAX;
/// Several groups, by who holds the line: the rest is a place in a list.
const SEVERAL: u32 = 1 << 31;

/// On which side of a comparison a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    First,
    Second,
    /// On none.
    Out,
}

/// What is swept, and how it is looked at.
pub(super) struct Sweep<'a> {
    selection: &'a MemberSet<'a>,
    lens: &'a Lens,
    part: Option<Layer>,
    /// By rank.
    sides: Vec<Side>,
    devices: Vec<Option<u32>>,
    /// By device: the number of its name.
    own: Vec<Option<u32>>,
    /// What was seen before; `None` where nothing is kept.
    kept: Option<Kept>,
    /// How much of all hashes a pass takes.
    width: AtomicU64,
    hidden: AtomicU64,
    pub(super) threads: usize,
}

/// The groups of a segment's lines.
struct Numbers {
    /// By line.
    lines: Vec<u32>,
    several: Vec<Several>,
}

impl Numbers {
    fn of(lines: u32) -> Self {
        Self {
            lines: vec![NONE; lines as usize],
            several: Vec::new(),
        }
    }

    /// Notes a line that is of several groups.
    fn several(&mut self, several: Several) -> u32 {
        self.several.push(several);
        SEVERAL | (self.several.len() - 1) as u32
    }
}

/// A line that stands for different texts, by who says it.
struct Several {
    raw: GroupKey,
    others: u32,
    own: Vec<(u32, u32)>,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(selection: &'a MemberSet<'a>, lens: &'a Lens) -> Self {
        let names = selection
            .devices()
            .iter()
            .map(|device| device.name.as_deref());
        Self {
            selection,
            lens,
            part: None,
            sides: vec![Side::First; selection.len()],
            devices: selection.ranks().collect(),
            own: names.map(|name| lens.machine_of(name)).collect(),
            kept: None,
            width: AtomicU64::new(u64::MAX),
            hidden: AtomicU64::new(0),
            threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
        }
    }

    /// Only of this part of each text.
    pub(super) fn of_part(mut self, part: Option<Layer>) -> Self {
        self.part = part;
        self
    }

    /// Keeps what is seen in an archive.
    pub(super) fn kept_in(self, archive: &Path) -> Self {
        let kept = Kept::new(archive, self.lens);
        self.kept_by(kept)
    }

    pub(super) fn kept_by(mut self, kept: Option<Kept>) -> Self {
        self.kept = kept;
        self
    }

    pub(super) fn with_sides(mut self, sides: Vec<Side>) -> Self {
        self.sides = sides;
        self
    }

    /// On so many threads, in about so many passes.
    #[cfg(test)]
    pub(super) fn over(mut self, threads: usize, passes: u64) -> Self {
        self.threads = threads;
        self.width = AtomicU64::new(u64::MAX / passes);
        self
    }

    /// The number of a device's name.
    pub(super) fn own_of(&self, device: Option<u32>) -> Option<u32> {
        self.own.get(device? as usize).copied().flatten()
    }

    /// The device of a member.
    pub(super) fn device_of(&self, rank: u32) -> Option<u32> {
        self.devices.get(rank as usize).copied().flatten()
    }

    /// One pass is enough.
    pub(super) fn is_whole(&self) -> bool {
        self.width() == u64::MAX
    }

    fn width(&self) -> u64 {
        self.width.load(Ordering::Relaxed)
    }

    pub(super) fn is_full(&self, groups: &Groups) -> bool {
        groups.bytes() > GROUPS_MAX && self.width() > 1
    }

    /// Lines that baselines know, each time one stands somewhere.
    pub(super) fn hidden(&self) -> u64 {
        self.hidden.load(Ordering::Relaxed)
    }

    /// Hands out all groups, those of a pass at a time.
    pub(super) fn each(
        &self,
        on_progress: &mut dyn FnMut(u64, u64),
        take: &mut dyn FnMut(Groups) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.passes(&mut |groups| self.gather(groups, on_progress), take)
    }

    /// Hands out all groups, those of a pass at a time. `gather` fills them,
    /// and may stop as soon as they are full.
    pub(super) fn passes(
        &self,
        gather: &mut dyn FnMut(&mut Groups) -> Result<(), Failure>,
        take: &mut dyn FnMut(Groups) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut from = 0u64;
        self.hidden.store(0, Ordering::Relaxed);
        loop {
            let to = from.saturating_add(self.width());
            let mut groups = Groups::new(self.fleet(), from..=to);
            gather(&mut groups)?;
            // What does not fit is gathered again in smaller parts.
            if self.is_full(&groups) {
                self.width.store(self.width() / 2, Ordering::Relaxed);
                continue;
            };
            self.hidden
                .fetch_add(groups.hidden_hits(), Ordering::Relaxed);
            take(groups)?;
            if to == u64::MAX {
                return Ok(());
            }
            from = to + 1;
        }
    }

    /// Every line that is held, as far as the groups have room.
    fn gather(
        &self,
        groups: &mut Groups,
        on_progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), Failure> {
        let segments = self.selection.segments();
        for segment in 0..segments {
            on_progress(u64::from(segment), u64::from(segments));
            let held = self
                .selection
                .held(segment, self.part.as_ref(), self.threads)?;
            if held.is_empty() {
                continue;
            }
            let numbers = self.look_at(&held, groups)?;
            let work =
                |tallies: &mut Tallies, run: ChunkRun<'_>| self.tally(tallies, &run, &numbers);
            held.runs(&work, &mut |tallies: Tallies| {
                if !self.is_full(groups) {
                    tallies.add_to(groups);
                }
            })?;
            if self.is_full(groups) {
                return Ok(());
            }
        }
        on_progress(u64::from(segments), u64::from(segments));
        Ok(())
    }

    /// Gives every held line the number of its group.
    fn look_at(
        &self,
        held: &index::SegmentHolders<'_>,
        groups: &mut Groups,
    ) -> Result<Numbers, Failure> {
        let mut numbers = Numbers::of(held.line_count());
        let kept = self.kept.as_ref().filter(|_| self.lens.is_plain);
        if let Some(kept) = kept {
            let mut take = |looks| self.number(&looks, groups, &mut numbers);
            if kept.replay(held, self.lens, &mut take) {
                return Ok(numbers);
            }
        }
        let mut keeper = kept.map(|kept| kept.keeper(held));
        let work = |lines: FrameLines<'_>| self.look_at_frame(lines);
        held.read(&work, &mut |looks: Looks| {
            self.number(&looks, groups, &mut numbers);
            if let Some(keeper) = &mut keeper {
                keeper.take(&looks);
            }
        })?;
        if let Some(keeper) = keeper {
            keeper.keep();
        }
        Ok(numbers)
    }

    fn look_at_frame(&self, lines: FrameLines<'_>) -> Looks {
        let (lens, keys) = (self.lens, &self.lens.keys);
        let mut looks = Looks::default();
        let (mut named, mut others) = (Vec::new(), Vec::new());
        for (line, text) in lines {
            named.clear();
            let raw = keys.of(text);
            let mut look = |own, named: &mut Vec<u32>| {
                let text = looks.number_of(keys, |out| lens.look(text, own, named, out));
                looks.looks.push(Look {
                    line,
                    own,
                    raw,
                    text,
                });
            };
            look(None, &mut named);
            for own in &named {
                look(Some(*own), &mut others);
            }
        }
        looks
    }

    /// Gives lines that were looked at the numbers of their groups.
    fn number(&self, looks: &Looks, groups: &mut Groups, numbers: &mut Numbers) {
        let is_full = self.is_full(groups);
        let texts = looks.texts().iter().map(|text| {
            let said = looks.text(text);
            let seen = match text.seen {
                Seen::Text if self.lens.is_plain => self.lens.seen(said),
                seen => seen,
            };
            let is_asked = seen != Seen::Unasked && !is_full;
            let number = is_asked.then(|| groups.number(text.key, said, seen == Seen::Hidden));
            number.flatten().unwrap_or(NONE)
        });
        let texts: Vec<u32> = texts.collect();
        for of_line in looks.looks.chunk_by(|a, b| a.line == b.line) {
            let number = |look: &Look| texts[look.text as usize];
            let (first, own) = (&of_line[0], &of_line[1..]);
            let known = match own {
                [] if number(first) == NONE => NONE,
                [] => {
                    groups.add_variant(number(first), first.raw);
                    number(first)
                }
                own => numbers.several(Several {
                    raw: first.raw,
                    others: number(first),
                    own: own
                        .iter()
                        .filter_map(|look| Some((look.own?, number(look))))
                        .collect(),
                }),
            };
            if let Some(line) = numbers.lines.get_mut(first.line as usize) {
                *line = known;
            }
        }
    }

    /// Notes who holds the lines of a run.
    fn tally(&self, tallies: &mut Tallies, run: &ChunkRun<'_>, numbers: &Numbers) {
        let mut all: [GroupHolders; 2] = Default::default();
        for holder in run.holders {
            self.hold(&mut all, holder);
        }
        for (n, line) in (0u64..).zip(&run.lines) {
            match numbers.lines.get(*line as usize).copied().unwrap_or(NONE) {
                NONE => {}
                number if number & SEVERAL == 0 => tallies.add(number, &all, n, self.fleet()),
                number => {
                    let several = &numbers.several[(number & !SEVERAL) as usize];
                    self.tally_several(tallies, run.holders, several, n);
                }
            }
        }
    }

    /// A line whose text depends on who says it: those together who say the
    /// same, of whom there are no more than machines it names, and all others.
    fn tally_several(&self, tallies: &mut Tallies, holders: &[Holder], several: &Several, n: u64) {
        let mut said: Vec<(u32, [GroupHolders; 2])> = Vec::new();
        for holder in holders {
            let own = self.own_of(self.device_of(holder.rank));
            let own = several.own.iter().find(|(name, _)| Some(*name) == own);
            let number = own.map_or(several.others, |(_, number)| *number);
            if number == NONE {
                continue;
            }
            let at = said.iter().position(|(known, _)| *known == number);
            let at = at.unwrap_or_else(|| {
                said.push((number, Default::default()));
                said.len() - 1
            });
            self.hold(&mut said[at].1, holder);
        }
        for (number, sides) in said {
            tallies.variants.push((number, several.raw));
            tallies.add(number, &sides, n, self.fleet());
        }
    }

    /// Notes a member, on its side.
    fn hold(&self, sides: &mut [GroupHolders; 2], holder: &Holder) {
        let (rank, spot) = (holder.rank, holder.spot);
        let side = match self.sides[rank as usize] {
            Side::First => &mut sides[0],
            Side::Second => &mut sides[1],
            Side::Out => return,
        };
        side.add(
            &Holding {
                devices: &Devices::of(self.device_of(rank), self.fleet()),
                hits: 1,
                first: First {
                    rank,
                    place: (spot.segment, spot.document, spot.index),
                },
                last: (rank < self.selection.timed()).then_some(rank),
            },
            self.fleet(),
        );
    }

    fn fleet(&self) -> u32 {
        self.selection.devices().len() as u32
    }
}

/// Who holds the groups that some runs have, side by side: a thread gathers
/// them, since most groups stand in many runs.
#[derive(Default)]
struct Tallies {
    sides: [FxHashMap<u32, GroupHolders>; 2],
    /// Raw texts of lines whose group depends on who says them.
    variants: Vec<(u32, GroupKey)>,
}

impl Tallies {
    /// Adds the `n`th line of a run to a group.
    fn add(&mut self, number: u32, run: &[GroupHolders; 2], n: u64, fleet: u32) {
        for (groups, held) in self.sides.iter_mut().zip(run) {
            if let Some(mut holding) = held.holding() {
                holding.first.place.2 += n;
                groups.entry(number).or_default().add(&holding, fleet);
            }
        }
    }

    fn add_to(&self, groups: &mut Groups) {
        for (number, raw) in &self.variants {
            groups.add_variant(*number, *raw);
        }
        for (side, numbers) in self.sides.iter().enumerate() {
            for (number, held) in numbers {
                if let Some(holding) = held.holding() {
                    groups.add(*number, side, &holding);
                }
            }
        }
    }
}
