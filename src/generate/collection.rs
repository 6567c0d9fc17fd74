//! A whole collection: every device, every round, and the answers.

use std::collections::BTreeSet;
use std::io;
use std::thread;

use memchr::memmem::Finder;
use serde::Serialize;
use serde_json::{Value, json};

use super::action::Session;
use super::clock::Moment;
use super::device::Device;
use super::golden::{IMAGES, Image};
use super::needle::{Hidden, Needle, Place, usual};
use super::plan::{Member, Shape, Step};
use super::random::Random;
use super::section::{Plant, Scene};
use super::share::{Measured, Share, WINDOW, measure};
use super::sink::Sink;
use super::text::Text;
use super::wrap::{Packed, Transcript, gzip, utf16, zip};
use crate::evidence::{ActionId, Layer, Locator, ResultId, ResultKey, Version};

/// What to make.
#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    pub devices: u64,
    /// How much text to make, as a search sees it: decoded and unpacked. What
    /// is made comes near it.
    ///
    /// **Units**: bytes.
    pub text_bytes: u64,
    pub shape: Shape,
    /// What to hide in it.
    pub hidden: Vec<Hidden>,
}

impl Settings {
    /// The usual needles in a collection of `shape`.
    pub fn new(shape: Shape, devices: u64, text_bytes: u64) -> Self {
        Self {
            seed: 1,
            devices,
            text_bytes,
            shape,
            hidden: usual(),
        }
    }
}

/// What was made, and the answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub seed: u64,
    pub shape: Shape,
    pub devices: u64,
    pub actions: u64,
    pub results: u64,
    /// **Units**: bytes, decoded and unpacked.
    pub text_bytes: u64,
    /// **Units**: bytes of the results as they lie in the folder.
    pub stored_bytes: u64,
    pub lines: u64,
    /// **Units**: bytes of lines that were not seen before within
    /// `window_bytes` of text, terminators included.
    pub distinct_line_bytes: u64,
    /// `distinct_line_bytes` over `text_bytes`.
    pub distinct_line_share: f64,
    pub window_bytes: u64,
    pub needles: Vec<Needle>,
    /// How many lines hold words that are everywhere.
    pub common: Vec<Common>,
}

/// A frequent text and the number of lines that hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Common {
    pub text: &'static str,
    pub lines: u64,
}

/// Why a collection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error("could not write `{path}` of the collection")]
    Write { path: String, source: io::Error },
    #[error("could not pack a result of {device}")]
    Pack { device: String, source: io::Error },
    #[error("a collection needs at least one device")]
    NoDevices,
}

/// Texts that stand on every device.
const COMMON: [&str; 5] = [
    "svchost.exe",
    "CurrentVersion\\Run",
    "ESTABLISHED",
    "Event ID: 4624",
    "C:\\Windows\\System32\\",
];

/// What a device brings in one round; more text means more rounds.
///
/// **Units**: bytes of text.
const ROUND: u64 = 400_000;

/// How far beyond its target a round would end on average: about half of the
/// larger steps.
const HALF_A_STEP: u64 = 60_000;

/// Units made at once per thread before they are counted: what is held of
/// each is 16 bytes a line, about 100 KB.
const AHEAD: u64 = 16;

/// 2 February 2026, 08:00 UTC: when the first round begins.
const BEGIN: Moment = Moment(1_770_019_200);

const DAY: i64 = 86_400;

/// Makes the collection that `settings` describe.
///
/// **Errors**: when `sink` refuses a file; what was put until then stays.
/// **Cost**: all cores; memory does not grow with `text_bytes`.
pub fn generate(settings: &Settings, sink: &dyn Sink) -> Result<Summary, GenerateError> {
    if settings.devices == 0 {
        return Err(GenerateError::NoDevices);
    }
    let work = Work::new(settings, sink);
    let mut total = Total::new(settings);
    let threads = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let units = settings.devices * work.rounds;
    let mut next = 0;
    while next < units {
        let end = units.min(next + threads * AHEAD);
        for unit in work.make_all(next..end, threads)? {
            total.add(unit);
        }
        next = end;
    }
    let summary = total.summary(settings);
    put_json(sink, "machines.json", &work.machines())?;
    put_json(sink, "answers.json", &summary)?;
    Ok(summary)
}

pub(super) fn put_json(
    sink: &dyn Sink,
    path: &str,
    value: &impl Serialize,
) -> Result<(), GenerateError> {
    let mut json = serde_json::to_vec_pretty(value).unwrap_or_default();
    json.push(b'\n');
    put(sink, path, &json)
}

pub(super) fn put(sink: &dyn Sink, path: &str, bytes: &[u8]) -> Result<(), GenerateError> {
    sink.put(path, bytes)
        .map_err(|source| GenerateError::Write {
            path: path.to_string(),
            source,
        })
}

/// Everything that units share. A unit is one round on one device.
struct Work<'a> {
    settings: &'a Settings,
    sink: &'a dyn Sink,
    images: Vec<Image>,
    rounds: u64,
    /// Which devices hide what, and in which round.
    hiding: Vec<BTreeSet<(u64, u64)>>,
    finders: Vec<Finder<'static>>,
}

impl<'a> Work<'a> {
    fn new(settings: &'a Settings, sink: &'a dyn Sink) -> Self {
        let Settings {
            seed,
            devices,
            text_bytes,
            ..
        } = *settings;
        let rounds = (text_bytes / devices).div_ceil(ROUND).max(1);
        // Images grow with the collection, so that they weigh little in it.
        let files = (text_bytes / 15_000).clamp(200, 4_000);
        Self {
            settings,
            sink,
            images: (0..IMAGES).map(|n| Image::new(seed, n, files)).collect(),
            rounds,
            hiding: (0..settings.hidden.len())
                .map(|n| hiding_places(settings, n, rounds))
                .collect(),
            finders: COMMON
                .iter()
                .map(|text| Finder::new(text.as_bytes()))
                .collect(),
        }
    }

    fn device(&self, number: u64) -> Device {
        Device::of_fleet(self.settings.seed, number, IMAGES, BEGIN)
    }

    fn image(&self, device: &Device) -> &Image {
        &self.images[device.image as usize]
    }

    fn machines(&self) -> Value {
        let seen = BEGIN.plus(DAY * self.rounds as i64);
        let machines: Vec<_> = (0..self.settings.devices)
            .map(|number| {
                let device = self.device(number);
                let image = self.image(&device);
                device.to_json(image.edition, &image.build, seen, "Active")
            })
            .collect();
        json!({"value": machines})
    }

    /// Makes units on several threads and gives them back in order.
    fn make_all(
        &self,
        units: std::ops::Range<u64>,
        threads: u64,
    ) -> Result<Vec<Made>, GenerateError> {
        let every_nth = |first: u64| {
            (units.start + first..units.end)
                .step_by(threads as usize)
                .map(|unit| Ok((unit, self.make(unit)?)))
                .collect::<Result<Vec<_>, GenerateError>>()
        };
        let mut made = Vec::new();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|first| scope.spawn(move || every_nth(first)))
                .collect();
            for worker in workers {
                match worker.join() {
                    Ok(units) => made.extend(units?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok(())
        })?;
        made.sort_by_key(|(unit, _)| *unit);
        Ok(made.into_iter().map(|(_, made)| made).collect())
    }

    fn make(&self, unit: u64) -> Result<Made, GenerateError> {
        let Settings {
            seed,
            devices,
            text_bytes,
            shape,
            ..
        } = *self.settings;
        let (round, number) = (unit / devices, unit % devices);
        let device = self.device(number);
        let mut random = Random::new(seed, &[UNIT, number, round]);
        let now = BEGIN.plus(DAY * round as i64 + random.below(28_800) as i64);
        let comment = format!("sweep {}", round + 1);
        let mut session = |after| {
            let id = ActionId::from_bytes(random.guid_bytes());
            Session::new(id, REQUESTOR, comment.clone(), now.plus(after))
        };
        let (scripts, files) = (session(0), session(600));
        let hidden = self.settings.hidden.iter().enumerate();
        let mut round_of_device = Round {
            work: self,
            scene: Scene {
                device: &device,
                image: self.image(&device),
                now,
                random,
                pending: hidden
                    .filter(|(n, _)| self.hiding[*n].contains(&(number, round)))
                    .map(|(number, hidden)| Plant {
                        number,
                        section: hidden.section,
                        line: &hidden.line,
                        needle: &hidden.text,
                    })
                    .collect(),
                plenty: 100,
            },
            scripts,
            files,
            made: Made::default(),
        };
        let target = text_bytes / devices / self.rounds;
        let first = (number + round) as usize;
        round_of_device.run(shape.steps(), first, target)?;
        round_of_device.finish()
    }
}

const UNIT: u64 = 0x756e_6974;
const NEEDLE: u64 = 0x6e65_6564;
const REQUESTOR: &str = "responder@contoso.example";

/// Chooses devices, and a round for each.
fn hiding_places(settings: &Settings, number: usize, rounds: u64) -> BTreeSet<(u64, u64)> {
    let mut random = Random::new(settings.seed, &[NEEDLE, number as u64]);
    let wanted = settings.hidden[number].devices.min(settings.devices);
    let mut devices = BTreeSet::new();
    while (devices.len() as u64) < wanted {
        devices.insert(random.below(settings.devices));
    }
    devices
        .into_iter()
        .map(|device| (device, random.below(rounds)))
        .collect()
}

/// What one unit came to.
#[derive(Default)]
struct Made {
    actions: u64,
    results: u64,
    stored_bytes: u64,
    text_bytes: u64,
    lines: Vec<Measured>,
    found: Vec<(usize, Place)>,
    common: [u64; COMMON.len()],
}

/// One device's work in one round.
struct Round<'a> {
    work: &'a Work<'a>,
    scene: Scene<'a>,
    scripts: Session,
    files: Session,
    made: Made,
}

impl Round<'_> {
    /// Runs steps in turn until there is text enough and nothing left to hide.
    fn run(&mut self, steps: &[Step], first: usize, target: u64) -> Result<(), GenerateError> {
        // Twice through all steps has met every section there is.
        let most = 2 * steps.len() + (target / HALF_A_STEP) as usize;
        for step in steps.iter().cycle().skip(first % steps.len()).take(most) {
            self.step(step)?;
            let enough = self.made.text_bytes + HALF_A_STEP >= target;
            if enough && self.scene.pending.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), GenerateError> {
        match step {
            Step::Script {
                name,
                args,
                gzipped,
                sections,
            } => self.script(name, args, *gzipped, sections),
            Step::File { path, section } => {
                let mut text = Text::with_capacity(32 << 10);
                self.scene.write(*section, &mut text);
                self.get_file(path, text.text.as_bytes(), vec![(Vec::new(), &text)])
            }
            Step::Triage { path, members } => self.triage(path, members),
        }
    }

    fn script(
        &mut self,
        name: &'static str,
        args: &str,
        gzipped: bool,
        sections: &[super::section::Section],
    ) -> Result<(), GenerateError> {
        if self.scripts.commands.is_empty() && self.scene.random.once_in(4) {
            self.scripts.run("PutFile", &[("FileName", name)], 1);
        }
        let key = self.scripts.next_key();
        self.scene.now = self.scripts.ended;
        let mut output = Text::with_capacity(96 << 10);
        output.put(format_args!(
            "{TRANSCRIPT_STARTED}{{{}}}.txt",
            self.scene.random.guid()
        ));
        for section in sections {
            self.scene.write(*section, &mut output);
        }
        let fails = self.scene.random.once_in(40);
        let mut errors = Text::default();
        if fails {
            errors.put(format_args!(
                "{name} : Access to the path 'C:\\Users\\{}' is denied.",
                self.scene.device.user
            ));
        }
        let json = Transcript {
            script_name: name,
            exit_code: i32::from(fails),
            script_output: &output.text,
            script_errors: &errors.text,
        }
        .to_json();
        let seconds = self.scene.random.between(2, 40) as i64;
        self.scripts.run_script(name, args, seconds);
        let mut layers = Vec::new();
        let (bytes, ending) = if gzipped {
            layers.push(Layer::numbered(0));
            (self.packed(gzip(None, &json))?, "gz")
        } else {
            (json, "json")
        };
        self.put_result(key, ending, &bytes)?;
        self.count(
            key,
            &[layers.clone(), vec![Layer::output()]].concat(),
            &output,
        );
        self.count(key, &[layers, vec![Layer::errors()]].concat(), &errors);
        Ok(())
    }

    fn triage(&mut self, path: &str, members: &[Member]) -> Result<(), GenerateError> {
        let texts: Vec<_> = members
            .iter()
            .map(|member| {
                let mut text = Text::with_capacity(64 << 10);
                for section in member.sections {
                    self.scene.write(*section, &mut text);
                }
                text
            })
            .collect();
        let wide: Vec<_> = members
            .iter()
            .zip(&texts)
            .map(|(member, text)| member.utf16.then(|| utf16(&text.text)))
            .collect();
        let packed: Vec<_> = members
            .iter()
            .zip(texts.iter().zip(&wide))
            .map(|(member, (text, wide))| Packed {
                name: member.name,
                bytes: wide.as_deref().unwrap_or(text.text.as_bytes()),
                modified: self.scene.now,
            })
            .collect();
        let bytes = self.packed(zip(&packed))?;
        let documents = (0..)
            .zip(members)
            .zip(&texts)
            .map(|((n, member), text)| (vec![Layer::named(member.name, n)], text))
            .collect();
        self.get_file(path, &bytes, documents)
    }

    /// A grabbed file: gzip with its name, and the texts found below that.
    fn get_file(
        &mut self,
        path: &str,
        bytes: &[u8],
        documents: Vec<(Vec<Layer>, &Text)>,
    ) -> Result<(), GenerateError> {
        let key = self.files.next_key();
        let name = path.rsplit('\\').next().unwrap_or(path);
        let bytes = self.packed(gzip(Some(name), bytes))?;
        self.put_result(key, "gz", &bytes)?;
        for (below, text) in documents {
            let layers = [vec![Layer::named(name, 0)], below].concat();
            self.count(key, &layers, text);
        }
        self.files.run("GetFile", &[("Path", path)], 4);
        Ok(())
    }

    fn packed(&self, bytes: io::Result<Vec<u8>>) -> Result<Vec<u8>, GenerateError> {
        bytes.map_err(|source| GenerateError::Pack {
            device: self.scene.device.name.clone(),
            source,
        })
    }

    fn put_result(
        &mut self,
        key: ResultKey,
        ending: &str,
        bytes: &[u8],
    ) -> Result<(), GenerateError> {
        self.made.results += 1;
        self.made.stored_bytes += bytes.len() as u64;
        put(
            self.work.sink,
            &format!("{}/{}.{ending}", key.action, key.index),
            bytes,
        )
    }

    /// Notes what a finished document holds.
    fn count(&mut self, key: ResultKey, layers: &[Layer], text: &Text) {
        let made = &mut self.made;
        made.text_bytes += text.text.len() as u64;
        measure(&text.text, &mut made.lines);
        for (lines, finder) in made.common.iter_mut().zip(&self.work.finders) {
            *lines += lines_with(&text.text, finder);
        }
        for planted in &text.planted {
            let locator = Locator {
                id: ResultId::new(key, Version::FIRST),
                layers: layers.to_vec(),
                range: None,
            };
            let place = Place {
                reference: locator.to_string(),
                device: self.scene.device.dns_name(),
                action_id: key.action.to_string(),
                command_index: key.index.0,
                member: layers.iter().map(|layer| layer.to_string()).collect(),
                line: planted.line,
                offset: planted.offset,
            };
            made.found.push((planted.plant, place));
        }
    }

    fn finish(mut self) -> Result<Made, GenerateError> {
        for session in [&self.scripts, &self.files] {
            if !session.commands.is_empty() {
                let json = session.to_json(self.scene.device);
                put(self.work.sink, &format!("{}.json", session.id), &json)?;
                self.made.actions += 1;
            }
        }
        Ok(self.made)
    }
}

/// How many lines of `text` hold what `finder` looks for.
fn lines_with(text: &str, finder: &Finder<'_>) -> u64 {
    let bytes = text.as_bytes();
    let (mut at, mut lines) = (0, 0);
    while let Some(found) = finder.find(&bytes[at..]) {
        lines += 1;
        match memchr::memchr(b'\n', &bytes[at + found..]) {
            Some(end) => at += found + end + 1,
            None => break,
        }
    }
    lines
}

pub(super) const TRANSCRIPT_STARTED: &str = "Transcript started, output file is C:\\ProgramData\\Microsoft\\Windows Defender Advanced Threat Protection\\Temp\\PSScriptOutputs\\PSScript_Transcript_";

/// All units so far.
#[derive(Default)]
struct Total {
    actions: u64,
    results: u64,
    stored_bytes: u64,
    share: Share,
    places: Vec<Vec<Place>>,
    common: [u64; COMMON.len()],
}

impl Total {
    fn new(settings: &Settings) -> Self {
        Self {
            places: vec![Vec::new(); settings.hidden.len()],
            ..Self::default()
        }
    }

    fn add(&mut self, unit: Made) {
        self.actions += unit.actions;
        self.results += unit.results;
        self.stored_bytes += unit.stored_bytes;
        self.share.add(&unit.lines);
        for (needle, place) in unit.found {
            self.places[needle].push(place);
        }
        for (total, lines) in self.common.iter_mut().zip(unit.common) {
            *total += lines;
        }
    }

    fn summary(self, settings: &Settings) -> Summary {
        let needles = settings.hidden.iter().zip(self.places);
        Summary {
            seed: settings.seed,
            shape: settings.shape,
            devices: settings.devices,
            actions: self.actions,
            results: self.results,
            text_bytes: self.share.bytes,
            stored_bytes: self.stored_bytes,
            lines: self.share.lines,
            distinct_line_bytes: self.share.distinct,
            distinct_line_share: self.share.distinct as f64 / self.share.bytes.max(1) as f64,
            window_bytes: WINDOW,
            needles: needles
                .map(|(hidden, places)| Needle {
                    kind: hidden.kind,
                    text: hidden.text.clone(),
                    count: places.len() as u64,
                    places,
                })
                .collect(),
            common: COMMON
                .iter()
                .zip(self.common)
                .map(|(text, lines)| Common { text, lines })
                .collect(),
        }
    }
}
