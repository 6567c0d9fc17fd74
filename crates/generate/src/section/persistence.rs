//! Sections about persistence: services, tasks, autostart.

use crate::section::{Scene, Section, TextBuilder};

pub(crate) fn services(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    let image = scene.image;
    text.heading(
        "State    Name                         DisplayName                                    StartMode PathName",
    );
    scene.list(
        Section::Services,
        text,
        image.services.len(),
        |scene, n, text| {
            let (running, line) = &image.services[n];
            let running = *running != scene.random.once_in(60);
            let state = if running { "Running" } else { "Stopped" };
            text.put(format_args!("{state:<8} {line}"));
        },
    );
}

pub(crate) fn tasks(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    let image = scene.image;
    text.line("\"TaskName\",\"Next Run Time\",\"Status\"");
    scene.list(Section::Tasks, text, image.tasks.len(), |scene, n, text| {
        let task = &image.tasks[n];
        match scene.random.below(12) {
            0 => {
                let next = scene.now.plus(scene.random.below(7 * 86_400) as i64);
                text.put(format_args!("\"{task}\",\"{}\",\"Ready\"", next.american()));
            }
            1 => text.put(format_args!("\"{task}\",\"N/A\",\"Disabled\"")),
            _ => text.put(format_args!("\"{task}\",\"N/A\",\"Ready\"")),
        }
    });
    let user = &scene.device.user;
    text.put(format_args!(
        "\"\\OneDrive Standalone Update Task-{}-{}\",\"{}\",\"Ready\"",
        scene.device.sid,
        1100 + user.len(),
        scene.now.plus(7_200).american()
    ));
}

pub(crate) fn autoruns(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    let image = scene.image;
    text.line("Location,Entry,Enabled,Description,Signer,Version,ImagePath,MD5");
    scene.list(
        Section::Autoruns,
        text,
        image.autoruns.len(),
        |scene, n, text| {
            if !scene.random.once_in(25) {
                text.line(&image.autoruns[n]);
            }
        },
    );
}

pub(crate) fn run_keys(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    let image = scene.image;
    scene.list(
        Section::RunKeys,
        text,
        image.run_keys.len(),
        |scene, n, text| {
            let (key, values) = &image.run_keys[n];
            text.line("");
            text.line(key);
            for value in values {
                if !scene.random.once_in(8) {
                    text.line(value);
                }
            }
        },
    );
}
