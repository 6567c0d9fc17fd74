//! The Defender API as a small local server: sign-in, machines, actions, runs,
//! cancels, packages, the library, links and the blob host behind them, with
//! real budgets, a clock that can run faster, and faults on request.
//!
//! A run becomes an action whose every event is drawn by lot and dated when it
//! is posted; asking for it looks the events up. Nothing sleeps, nothing ticks,
//! and a session costs its JSON. Machines may be away and come back, others may
//! hold sessions. The judge notes every call and every run, and says by
//! [`Emulator::judgement`], or at `/emulator/judgement` on the loopback, how
//! full each window was and what ran twice.
//!
//! What outlives a restart is the clock and the calls that take room in a
//! budget, where a state file is given. Runs, packages, uploads and cancels of
//! before are forgotten: a client may be restarted in mid-run, the emulator
//! not.
//!
//! It is the collector's counterpart and its judge, so it knows nothing of it:
//! no type, no parser and no constant is shared, and one misreading of the
//! service cannot hide on both sides. It must never know the store, the index
//! or the network beyond its own listener.
//!
//! Invariants: everything the service would date is read from one clock
//! (`clock`), fault delays excepted; the same seed gives the same faults, and
//! the same results for the same script on the same machine; a body is never
//! held whole unless it was given so.
//!
//! ```no_run
//! use afteraction_emulator::{Emulator, Fleet, Settings};
//!
//! let fleet = Fleet::transcripts(200, 4096, 1);
//! let emulator = Emulator::start_blocking(Settings::serving(fleet))?;
//! println!("{}", emulator.banner());
//! # Ok::<(), afteraction_emulator::Error>(())
//! ```

mod auth;
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

pub use crate::emulator::{Banner, Emulator};
pub use crate::error::{Error, Result};
pub use crate::faults::{Fault, FaultRule, FaultSwitch, FaultTimes, Faults};
pub use crate::settings::EmulatorSettings;
pub use crate::state::conformance::{
    CallStats, ConformanceReport, RepeatedRun, ResultStats, RunStats, SessionRecord, SessionStats,
};
pub use crate::state::journal::{CallJournal, CallKind, RecordedCall, Violation};
pub use crate::state::rate_limits::ServiceLimits;
pub use crate::synthetic::action::{ActionProgress, ScriptedAction, ScriptedCommand};
pub use crate::synthetic::body::{BodyKind, ResultBody};
pub use crate::synthetic::device::{EmulatedDevice, machine_id};
pub use crate::synthetic::fleet::EmulatedFleet;
pub use crate::synthetic::synthetic_fleet::SyntheticFleet;
pub use crate::timeline::clock::{ClockOrigin, ServiceClock};
pub use crate::timeline::latency::Latency;
