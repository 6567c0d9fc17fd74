//! Serves the Defender API from a directory of results or for a made-up fleet.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use emulator::{
    EmulatedFleet, Emulator, EmulatorSettings, Faults, Latency, ServiceLimits, SyntheticFleet,
};

use crate::app::error::{Failure, FailureKind};
use crate::app::fleet::read_config;

/// Directory that is served if neither a directory nor a made-up fleet is given.
const DEFAULT_FOLDER: &str = "sample-data";

/// What to emulate.
#[derive(Clone, Debug)]
pub struct EmulateRequest {
    /// Directory with results.
    pub folder: Option<PathBuf>,
    pub fleet: Option<MadeUpFleet>,
    /// Machine groups on which nothing may be run.
    pub disallow: Vec<String>,
    /// Sessions, of 25, that other clients have open.
    pub sessions_held: usize,
    /// Probability that a command fails.
    pub failing: f64,
    /// Probability that a script reaches the limit of 10 minutes.
    pub hanging: f64,
    pub seed: u64,
    pub listen: SocketAddr,
    /// Allow an address that other machines can reach.
    pub allow_remote: bool,
    /// Service seconds in a real second, 1 to 100.
    pub time_scale: f64,
    /// Certificate (PEM) that may sign in, besides the secret.
    pub certificate: Option<PathBuf>,
    pub limits_lifted: bool,
    /// Faults as `NAME[=ARG]`.
    pub faults: Vec<String>,
    /// File that keeps clock and call counts across restarts.
    pub state_file: Option<PathBuf>,
}

/// Machines that do not exist, on which commands can be run.
#[derive(Clone, Copy, Debug)]
pub struct MadeUpFleet {
    pub devices: usize,
    /// Share of the devices that is offline at the start.
    pub away: f64,
    /// Mean time they stay offline.
    pub away_for: Duration,
}

/// A running emulator; it stops when it is dropped.
pub struct RunningEmulator(Emulator);

impl RunningEmulator {
    /// Describes how to reach it.
    pub fn banner(&self) -> String {
        self.0.banner().to_string()
    }
}

/// Names of the faults, each with a description.
pub fn fault_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    Faults::names()
}

/// Syntax of a fault.
pub const FAULT_SYNTAX: &str = Faults::SYNTAX;

/// Starts the emulator, on its own threads.
pub fn emulate(request: &EmulateRequest) -> Result<RunningEmulator, Failure> {
    if !request.listen.ip().is_loopback() && !request.allow_remote {
        return Err(Failure::usage(format!(
            "refusing to listen on {}: other machines could reach the emulator, which is not secured",
            request.listen
        ))
        .hint("listen on 127.0.0.1, or pass --allow-remote"));
    }
    let mut faults = Faults::none();
    for fault in &request.faults {
        faults = faults.and(Faults::parse(fault).map_err(emulator_failure)?);
    }
    let settings = EmulatorSettings {
        bind: request.listen,
        certificate: request
            .certificate
            .as_deref()
            .map(read_config)
            .transpose()?,
        time_scale: request.time_scale,
        limits: if request.limits_lifted {
            ServiceLimits::lifted()
        } else {
            ServiceLimits::default()
        },
        faults,
        state_file: request.state_file.clone(),
        sessions_held: request.sessions_held,
        seed: request.seed,
        latency: Latency {
            failing: request.failing,
            hanging: request.hanging,
            ..Latency::default()
        },
        ..EmulatorSettings::serving(served_fleet(request).map_err(emulator_failure)?)
    };
    let emulator = Emulator::start_blocking(settings).map_err(emulator_failure)?;
    Ok(RunningEmulator(emulator))
}

pub(super) fn emulator_failure(error: emulator::Error) -> Failure {
    let hint = error.hint();
    let failure = Failure::caused(
        FailureKind::Environment,
        "could not start the emulator",
        error,
    );
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// The directory, the made-up fleet, or both.
fn served_fleet(request: &EmulateRequest) -> Result<EmulatedFleet, emulator::Error> {
    let folder = match (&request.folder, request.fleet) {
        (Some(folder), _) => Some(folder.as_path()),
        (None, Some(_)) => None,
        (None, None) => Some(Path::new(DEFAULT_FOLDER)),
    };
    let mut served = match folder {
        Some(folder) => EmulatedFleet::from_folder(folder)?,
        None => EmulatedFleet::new(),
    };
    if let Some(fleet) = request.fleet {
        served = served.and(EmulatedFleet::synthetic(&SyntheticFleet {
            devices: fleet.devices,
            seed: request.seed,
            away: fleet.away,
            away_for: fleet.away_for,
        }));
    }
    let fleet = request.disallow.iter();
    Ok(fleet.fold(served, |fleet, group| fleet.disallow(group)))
}
