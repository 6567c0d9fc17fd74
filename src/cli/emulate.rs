//! Commands that need no tenant: demo, emulate, bench generate.

#[cfg(feature = "emulator")]
use std::io::Write;
use std::path::Path;
#[cfg(feature = "emulator")]
use std::path::PathBuf;

use crate::app;
use crate::app::{Failure, GenerateRequest};

#[cfg(feature = "emulator")]
use crate::app::{DemoRun, EmulateRequest, MadeUpFleet};
#[cfg(feature = "emulator")]
use crate::cli::args;
use crate::cli::args::Global;
#[cfg(feature = "emulator")]
use crate::cli::output::Output;
use crate::cli::output::{human_bytes, human_count};
#[cfg(feature = "emulator")]
use crate::cli::runtime;
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
        let done = run_demo(&dir, &mut view);
        let removed = std::fs::remove_dir_all(&dir);
        done?;
        removed?;
    } else {
        let dir = global
            .archive
            .clone()
            .unwrap_or_else(|| PathBuf::from(DEMO_ARCHIVE));
        run_demo(&dir, &mut view)?;
    }
    Ok(Exit::Done)
}

#[cfg(feature = "emulator")]
fn run_demo(dir: &Path, view: &mut crate::cli::demo::Story) -> Result<(), Failure> {
    let demo = DemoRun::start(dir)?;
    let collected = runtime::run_until_interrupted(|stop| demo.collect(view, stop))?;
    demo.answer(collected?, view)
}

#[cfg(feature = "emulator")]
pub fn emulate(global: &Global, typed: &args::Emulate) -> Result<Exit, Failure> {
    let emulator = app::emulate(&EmulateRequest {
        folder: typed.folder.clone(),
        fleet: typed.fleet.map(|devices| MadeUpFleet {
            devices,
            away: typed.away,
            away_for: std::time::Duration::from_secs_f64(typed.away_hours * 3600.0),
        }),
        disallow: typed.disallow.clone(),
        sessions_held: typed.sessions_held,
        failing: typed.failing,
        hanging: typed.hanging,
        seed: typed.seed,
        listen: typed.listen,
        allow_remote: typed.allow_remote,
        time_scale: typed.time_scale,
        certificate: typed.certificate.clone(),
        limits_lifted: typed.no_limits,
        faults: typed.fault.clone(),
        state_file: typed.state.clone(),
    })?;
    let mut out = Output::open(None, global.no_color)?;
    writeln!(out, "{}", emulator.banner())?;
    out.flush()?;
    runtime::wait_for_interrupt()?;
    say(global, "stopped");
    Ok(Exit::Done)
}

pub fn generate(
    global: &Global,
    dir: &Path,
    seed: u64,
    devices: u32,
    megabytes: u64,
    shape: &str,
) -> Result<Exit, Failure> {
    let made = app::generate(&GenerateRequest {
        dir: dir.to_path_buf(),
        seed,
        devices: u64::from(devices),
        text_bytes: megabytes * 1_000_000,
        shape: shape.to_string(),
    })?;
    say(
        global,
        &format!(
            "{}: {} devices, {} results, {} of text in {}; {:.1} % of the text is distinct lines; answers.json says what is planted where",
            dir.display(),
            human_count(made.devices),
            human_count(made.results),
            human_bytes(made.text_bytes),
            human_bytes(made.stored_bytes),
            100.0 * made.distinct_line_share
        ),
    );
    Ok(Exit::Done)
}
