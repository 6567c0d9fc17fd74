//! Statistics and answers of a collection.

use std::fmt;

use memchr::memmem::Finder;
use serde::Serialize;

use crate::needle::{Needle, NeedlePlace};
use crate::plan::Shape;
use crate::settings::GenerateSettings;
use crate::share::{Measured, Share, WINDOW};

/// Statistics and answers of a collection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CollectionSummary {
    pub seed: u64,
    pub shape: Shape,
    pub devices: u64,
    pub actions: u64,
    pub results: u64,
    /// Decoded text.
    ///
    /// **Units**: bytes.
    pub text_bytes: u64,
    /// Size of the results as stored.
    ///
    /// **Units**: bytes.
    pub stored_bytes: u64,
    pub lines: u64,
    /// Lines that are new within `window_bytes` of text, terminators included.
    ///
    /// **Units**: bytes.
    pub distinct_line_bytes: u64,
    /// `distinct_line_bytes` / `text_bytes`.
    pub distinct_line_share: f64,
    pub window_bytes: u64,
    pub needles: Vec<Needle>,
    /// Line counts of common texts.
    pub common: Vec<Common>,
}

/// A common text and the number of lines that contain it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Common {
    pub text: &'static str,
    pub lines: u64,
}

impl fmt::Display for CollectionSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_cent = |part: u64| 100.0 * part as f64 / self.text_bytes.max(1) as f64;
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        writeln!(
            f,
            "{} devices, {} actions, {} results",
            self.devices, self.actions, self.results
        )?;
        writeln!(
            f,
            "{:.1} MB of text in {} lines, stored in {:.1} MB ({:.1} %)",
            megabytes(self.text_bytes),
            self.lines,
            megabytes(self.stored_bytes),
            per_cent(self.stored_bytes)
        )?;
        writeln!(
            f,
            "{:.1} % of the text repeats lines seen within {:.0} MB, {:.1} % is distinct",
            per_cent(self.text_bytes - self.distinct_line_bytes),
            megabytes(self.window_bytes),
            per_cent(self.distinct_line_bytes)
        )?;
        for needle in &self.needles {
            writeln!(
                f,
                "hidden {} times: {} `{}`",
                needle.count, needle.kind, needle.text
            )?;
        }
        Ok(())
    }
}

/// Texts that occur on every device.
pub(crate) const COMMON: [&str; 5] = [
    "svchost.exe",
    "CurrentVersion\\Run",
    "ESTABLISHED",
    "Event ID: 4624",
    "C:\\Windows\\System32\\",
];

/// Result of one unit.
#[derive(Default)]
pub(crate) struct UnitOutput {
    pub actions: u64,
    pub results: u64,
    pub stored_bytes: u64,
    pub text_bytes: u64,
    pub lines: Vec<Measured>,
    pub found: Vec<(usize, NeedlePlace)>,
    pub common: [u64; COMMON.len()],
}

/// Number of lines of `text` that match `finder`.
pub(crate) fn lines_with(text: &str, finder: &Finder<'_>) -> u64 {
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

/// Sum of all units so far.
#[derive(Default)]
pub(crate) struct Total {
    actions: u64,
    results: u64,
    stored_bytes: u64,
    share: Share,
    places: Vec<Vec<NeedlePlace>>,
    common: [u64; COMMON.len()],
}

impl Total {
    pub fn new(settings: &GenerateSettings) -> Self {
        Self {
            places: vec![Vec::new(); settings.hidden.len()],
            ..Self::default()
        }
    }

    pub fn add(&mut self, unit: UnitOutput) {
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

    pub fn summary(self, settings: &GenerateSettings) -> CollectionSummary {
        let needles = settings.hidden.iter().zip(self.places);
        CollectionSummary {
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
