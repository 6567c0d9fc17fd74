//! A collection: all devices and rounds, and the answers.

use std::collections::BTreeSet;
use std::ops::Range;
use std::thread;

use memchr::memmem::Finder;

use crate::action::Session;
use crate::clock::UnixTime;
use crate::device::SyntheticDevice;
use crate::error::{GenerateError, put, put_json};
use crate::golden::{IMAGES, Image};
use crate::plan::Shape;
use crate::random::Random;
use crate::round::RoundBuilder;
use crate::section::{Plant, Scene};
use crate::settings::GenerateSettings;
use crate::sink::OutputSink;
use crate::summary::{COMMON, CollectionSummary, Total, UnitOutput};
use evidence::ActionId;

/// Text of a device in one round; more text means more rounds.
///
/// **Units**: bytes of text.
const ROUND: u64 = 400_000;

/// Units generated per thread before they are counted. Each needs 16 bytes per
/// line, about 100 KB.
const AHEAD: u64 = 16;

/// Start of the first round: 2 February 2026, 08:00 UTC.
const BEGIN: UnixTime = UnixTime(1_770_019_200);

const DAY: i64 = 86_400;

/// Generates a collection.
///
/// **Errors**: if `sink` fails; files written before remain. **Cost**: all
/// cores. **Memory**: about 3 MB per core, 40 MB for counting lines, and 500
/// bytes per device, independent of the amount of text.
pub fn generate(
    settings: &GenerateSettings,
    sink: &dyn OutputSink,
) -> Result<CollectionSummary, GenerateError> {
    let threads = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    generate_on(threads, settings, sink)
}

/// Like [`generate`], on a number of threads. The output is the same.
pub(crate) fn generate_on(
    threads: u64,
    settings: &GenerateSettings,
    sink: &dyn OutputSink,
) -> Result<CollectionSummary, GenerateError> {
    if settings.devices == 0 {
        return Err(GenerateError::NoDevices);
    }
    let work = CollectionPlan::new(settings, sink);
    let mut total = Total::new(settings);
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
    put(sink, "machines.json", &work.machines())?;
    put_json(sink, "answers.json", &summary)?;
    Ok(summary)
}

/// State shared by all units. A unit is one round on one device.
struct CollectionPlan<'a> {
    settings: &'a GenerateSettings,
    sink: &'a dyn OutputSink,
    images: Vec<Image>,
    rounds: u64,
    /// For each needle, its devices and rounds.
    hiding: Vec<BTreeSet<(u64, u64)>>,
    finders: Vec<Finder<'static>>,
}

impl<'a> CollectionPlan<'a> {
    fn new(settings: &'a GenerateSettings, sink: &'a dyn OutputSink) -> Self {
        let GenerateSettings {
            seed,
            devices,
            text_bytes,
            ..
        } = *settings;
        let rounds = (text_bytes / devices).div_ceil(ROUND).max(1);
        // Images grow with the collection, so that they remain a small part of
        // it.
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

    fn device(&self, number: u64) -> SyntheticDevice {
        SyntheticDevice::of_fleet(self.settings.seed, number, IMAGES, BEGIN)
    }

    fn image(&self, device: &SyntheticDevice) -> &Image {
        &self.images[device.image as usize]
    }

    /// One line per device, written incrementally: the JSON values of all
    /// devices would need more memory than the rest.
    fn machines(&self) -> Vec<u8> {
        let seen = BEGIN.plus(DAY * self.rounds as i64);
        let mut json = b"{\"value\": [".to_vec();
        for number in 0..self.settings.devices {
            let device = self.device(number);
            let image = self.image(&device);
            let machine = device.to_json(image.edition, &image.build, seen, "Active");
            json.extend_from_slice(if number == 0 { b"\n" } else { b",\n" });
            json.extend_from_slice(machine.to_string().as_bytes());
        }
        json.extend_from_slice(b"\n]}\n");
        json
    }

    /// Generates units on several threads and returns them in order.
    fn make_all(&self, units: Range<u64>, threads: u64) -> Result<Vec<UnitOutput>, GenerateError> {
        let every_nth = |first: u64| {
            (units.start + first..units.end)
                .step_by(threads as usize)
                .map(|unit| Ok((unit, self.make(unit)?)))
                .collect::<Result<Vec<_>, GenerateError>>()
        };
        let mut made = Vec::new();
        thread::scope(|scope| {
            let every_nth = &every_nth;
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

    /// Generates one round on one device.
    fn make(&self, unit: u64) -> Result<UnitOutput, GenerateError> {
        let GenerateSettings { seed, devices, .. } = *self.settings;
        let (round, number) = (unit / devices, unit % devices);
        let device = self.device(number);
        let mut random = Random::new(seed, &[UNIT, number, round]);
        let now = BEGIN.plus(DAY * round as i64 + random.below(28_800) as i64);
        let mut session = |after| {
            let id = ActionId::from_bytes(random.guid_bytes());
            let comment = format!("sweep {}", round + 1);
            Session::new(id, REQUESTOR, comment, now.plus(after))
        };
        let (scripts, files) = (session(0), session(600));
        let scene = Scene {
            device: &device,
            image: self.image(&device),
            now,
            random,
            pending: self.plants(number, round),
            plenty: 100,
            whole: self.settings.shape == Shape::Script,
        };
        let first = (number + round) as usize;
        let target = self.settings.text_bytes / devices / self.rounds;
        RoundBuilder::new(self.sink, &self.finders, scene, scripts, files).run(
            self.settings.shape.steps(),
            first,
            target,
        )
    }

    /// Needles to plant on a device in a round.
    fn plants(&self, device: u64, round: u64) -> Vec<Plant<'_>> {
        let hidden = self.settings.hidden.iter().zip(&self.hiding).enumerate();
        hidden
            .filter(|(_, (_, places))| places.contains(&(device, round)))
            .map(|(number, (hidden, _))| Plant {
                number,
                section: hidden.section,
                line: &hidden.line,
                needle: &hidden.text,
            })
            .collect()
    }
}

const UNIT: u64 = 0x756e_6974;
const NEEDLE: u64 = 0x6e65_6564;
const REQUESTOR: &str = "responder@contoso.example";

/// Selects devices, and a round for each.
fn hiding_places(settings: &GenerateSettings, number: usize, rounds: u64) -> BTreeSet<(u64, u64)> {
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
