//! Commands that need no tenant: demo, emulate, bench generate.

#[cfg(feature = "emulator")]
use std::io::Write;
use std::path::Path;
#[cfg(feature = "emulator")]
use std::path::PathBuf;

#[cfg(feature = "emulator")]
use crate::app;
use crate::app::{Failure, Kind};

#[cfg(feature = "emulator")]
use crate::cli::args;
use crate::cli::args::Global;
use crate::cli::output::Output;
use crate::cli::output::{human_bytes, human_count};
use crate::cli::{Exit, say};

/// Where `demo` leaves its archive when none is named.
#[cfg(feature = "emulator")]
const DEMO_ARCHIVE: &str = "demo.archive";

#[cfg(feature = "emulator")]
pub fn demo(global: &Global, typed: &args::Demo) -> Result<Exit, Failure> {
    let mut view =
        crate::cli::demo::Story::new(Output::open(None, global.no_color)?, typed.discard);
    if typed.discard {
        let dir = std::env::temp_dir().join(format!("afteraction-demo-{}", std::process::id()));
        let done = app::demo(&dir, &mut view);
        let removed = std::fs::remove_dir_all(&dir);
        done?;
        removed?;
    } else {
        let dir = global
            .archive
            .clone()
            .unwrap_or_else(|| PathBuf::from(DEMO_ARCHIVE));
        app::demo(&dir, &mut view)?;
    }
    Ok(Exit::Done)
}

#[cfg(feature = "emulator")]
pub fn emulate(global: &Global, typed: &args::Emulate) -> Result<Exit, Failure> {
    use emulator::{Emulator, EmulatorSettings, Faults, Latency, ServiceLimits};

    if !typed.listen.ip().is_loopback() && !typed.allow_remote {
        return Err(Failure::asked(format!(
            "{} can be reached by other machines, and the emulator guards nothing",
            typed.listen
        ))
        .hint("listen on 127.0.0.1, or add --allow-remote"));
    }
    let failed = |e: emulator::Error| {
        let hint = e.hint();
        let failure = Failure::caused(Kind::World, "could not start the emulator", e);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    };
    let mut faults = Faults::none();
    for fault in &typed.fault {
        faults = faults.and(Faults::parse(fault).map_err(failed)?);
    }
    let certificate = typed.certificate.as_deref();
    let certificate = certificate.map(app::read_config).transpose()?;
    let settings = EmulatorSettings {
        bind: typed.listen,
        certificate,
        time_scale: typed.time_scale,
        limits: if typed.no_limits {
            ServiceLimits::lifted()
        } else {
            ServiceLimits::default()
        },
        faults,
        state_file: typed.state.clone(),
        sessions_held: typed.sessions_held,
        seed: typed.seed,
        latency: Latency {
            failing: typed.failing,
            hanging: typed.hanging,
            ..Latency::default()
        },
        ..EmulatorSettings::serving(fleet(typed).map_err(failed)?)
    };
    let emulator = Emulator::start_blocking(settings).map_err(failed)?;
    let mut out = Output::open(None, global.no_color)?;
    writeln!(out, "{}", emulator.banner())?;
    out.flush()?;
    app::until_interrupted()?;
    say(global, "stopped");
    Ok(Exit::Done)
}

/// The folder, the made-up fleet, or both.
#[cfg(feature = "emulator")]
fn fleet(typed: &args::Emulate) -> Result<emulator::EmulatedFleet, emulator::Error> {
    use emulator::{EmulatedFleet, SyntheticFleet};

    let folder = match (&typed.folder, typed.fleet) {
        (Some(folder), _) => Some(folder.as_path()),
        (None, Some(_)) => None,
        (None, None) => Some(Path::new("sample-data")),
    };
    let served = match folder {
        Some(folder) => EmulatedFleet::from_folder(folder)?,
        None => EmulatedFleet::new(),
    };
    let made = typed.fleet.map(|devices| SyntheticFleet {
        devices,
        seed: typed.seed,
        away: typed.away,
        away_for: std::time::Duration::from_secs_f64(typed.away_hours * 3600.0),
    });
    let made = made.map_or_else(EmulatedFleet::new, |made| EmulatedFleet::synthetic(&made));
    let all = served.and(made);
    Ok(typed
        .disallow
        .iter()
        .fold(all, |all, group| all.disallow(group)))
}

pub fn generate(
    global: &Global,
    dir: &Path,
    seed: u64,
    devices: u32,
    megabytes: u64,
    shape: &str,
) -> Result<Exit, Failure> {
    let filled = dir
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some());
    if filled {
        return Err(Failure::asked(format!("{} is not empty", dir.display()))
            .hint("name a folder that does not exist yet"));
    }
    let shape: ::generate::Shape = shape
        .parse()
        .map_err(|e: ::generate::UnknownShape| Failure::asked(e.to_string()))?;
    let settings = ::generate::GenerateSettings {
        seed,
        ..::generate::GenerateSettings::new(shape, u64::from(devices), megabytes * 1_000_000)
    };
    let summary = ::generate::generate(&settings, &::generate::DirectorySink(dir.to_path_buf()))
        .map_err(|e| {
            Failure::caused(
                Kind::World,
                format!("could not make a collection in {}", dir.display()),
                e,
            )
        })?;
    say(
        global,
        &format!(
            "{}: {} devices, {} results, {} of text in {}; {:.1} % of the text is distinct lines; answers.json says what is planted where",
            dir.display(),
            human_count(summary.devices),
            human_count(summary.results),
            human_bytes(summary.text_bytes),
            human_bytes(summary.stored_bytes),
            100.0 * summary.distinct_line_share
        ),
    );
    Ok(Exit::Done)
}
