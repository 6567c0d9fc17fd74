//! Sections about files and their hashes.

use crate::section::{Scene, Section, TextBuilder};
use crate::words::{STEMS, TAILS};

const HEADING: &str =
    "Algorithm       Hash                                                                   Path";

/// Number of system files in a complete list.
const ALL: usize = 500;

/// A range of system files: a random one, or the same on each device.
pub(crate) fn hashes(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    let image = scene.image;
    text.heading(HEADING);
    let all = image.hashes.len();
    let (start, count) = if scene.whole {
        (0, ALL.min(all))
    } else {
        (
            scene.random.below(all as u64) as usize,
            (scene.count(160) as usize).min(all),
        )
    };
    scene.list(Section::Hashes, text, count, |_, n, text| {
        text.line(&image.hashes[(start + n) % all]);
    });
}

pub(crate) fn user_files(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    text.heading(HEADING);
    let count = scene.count(220) as usize;
    let mut sha256 = String::with_capacity(64);
    scene.list(Section::UserFiles, text, count, |scene, _, text| {
        let random = &mut scene.random;
        sha256.clear();
        random.hex_to(&mut sha256, 32, true);
        text.put(format_args!(
            "SHA256          {sha256}       C:\\Users\\{}\\{}\\{}_{}_{}.{}",
            scene.device.user,
            random.pick(&["Documents", "Downloads", "Desktop", "AppData\\Local\\Temp"]),
            random.pick(STEMS),
            random.pick(TAILS),
            random.below(100_000),
            random.pick(&["docx", "xlsx", "pdf", "tmp", "png"]),
        ));
    });
}
