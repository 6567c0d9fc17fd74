//! Emulator of the Defender API: a small local HTTP server for tests and
//! demonstrations.
//!
//! It serves sign-in, machines, actions, live response runs, cancels,
//! investigation packages, the library, links, and the blob host the links
//! lead to. It enforces the rate limits of the service, runs on a clock that
//! can be faster than real time, and injects faults on request
//! ([`Faults`]).
//!
//! A run becomes an action. The times of its state changes are drawn when the
//! run is posted, and each request evaluates them. No timer or background task
//! is needed, and a session costs only its JSON. Devices can be away and
//! return, and sessions can be occupied by other users. The emulator records
//! every call and every run: [`Emulator::conformance`], also served to loopback
//! peers at `/emulator/conformance`, reports the fullest window of each rate
//! limit and the runs that were executed twice.
//!
//! With a state file, the clock and the calls that count against a rate limit
//! survive a restart. Runs, packages, uploads and cancels do not: during a run,
//! restart the client, not the emulator.
//!
//! # Invariants
//!
//! - Every time that the service would report comes from one clock
//!   (`timeline::clock`). Delays of faults use real time.
//! - The same seed gives the same faults, and the same results for the same
//!   script on the same device.
//! - A body is read by offset and never in memory as a whole, unless it was
//!   given as bytes.
//!
//! # Dependencies
//!
//! The emulator is the counterpart of the `collect` crate and checks it. The
//! two share no type, no parser and no constant, so that one misreading of the
//! service cannot be in both. The emulator must not depend on the store or the
//! index, and it opens no connection.
//!
//! Layers, lowest first: `faults`, `synthetic`, `timeline`, `auth`, `state`,
//! `http`. A module uses only modules of its own layer and of lower ones.
//!
//! # Example
//!
//! ```
//! use afteraction_emulator::{EmulatedFleet, Emulator, EmulatorSettings, Faults};
//!
//! // 20 devices, each with one transcript of about 4 KiB.
//! let fleet = EmulatedFleet::transcripts(20, 4096, 1);
//! let emulator = Emulator::start_blocking(EmulatorSettings {
//!     time_scale: 100.0,
//!     faults: Faults::parse("429=3,cut=each")?,
//!     ..EmulatorSettings::serving(fleet)
//! })?;
//! assert!(emulator.api_base().starts_with("http://127.0.0.1:"));
//!
//! // After a client has used it:
//! let report = emulator.conformance();
//! assert!(report.violations.is_empty());
//! assert_eq!(report.results.ready, 20);
//! # Ok::<(), afteraction_emulator::Error>(())
//! ```

mod auth;
mod call_kind;
mod emulator;
mod error;
mod faults;
mod http;
mod settings;
mod state;
mod synthetic;
#[cfg(test)]
mod tests;
mod timeline;

pub use crate::call_kind::CallKind;
pub use crate::emulator::{Banner, Emulator};
pub use crate::error::{Error, Result};
pub use crate::faults::{Fault, FaultRule, FaultSwitch, FaultTimes, Faults};
pub use crate::settings::EmulatorSettings;
pub use crate::state::conformance::{
    CallStats, ConformanceReport, RepeatedRun, ResultStats, RunStats, SessionRecord, SessionStats,
};
pub use crate::state::journal::{CallJournal, RecordedCall, Violation};
pub use crate::state::rate_limits::ServiceLimits;
pub use crate::synthetic::action::{ActionProgress, ScriptedAction, ScriptedCommand};
pub use crate::synthetic::body::{BodyKind, ResultBody};
pub use crate::synthetic::device::EmulatedDevice;
pub use crate::synthetic::fleet::EmulatedFleet;
pub use crate::synthetic::ids::machine_id;
pub use crate::synthetic::synthetic_fleet::SyntheticFleet;
pub use crate::timeline::clock::{ClockOrigin, ServiceClock};
pub use crate::timeline::latency::Latency;
