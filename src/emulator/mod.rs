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
//! use afteraction::emulator::{Emulator, Fleet, Settings};
//!
//! let fleet = Fleet::transcripts(200, 4096, 1);
//! let emulator = Emulator::start_blocking(Settings::serving(fleet))?;
//! println!("{}", emulator.banner());
//! # Ok::<(), afteraction::emulator::Error>(())
//! ```

mod action;
mod api;
mod asked;
mod assertion;
mod blob;
mod body;
mod budget;
mod clock;
mod course;
mod device;
mod disguise;
mod error;
mod fault;
mod filter;
mod fleet;
mod flow;
mod folder;
mod journal;
mod judgement;
mod library;
mod link;
mod list;
mod lots;
mod made;
mod multipart;
mod order;
mod pace;
mod packages;
mod placed;
mod presence;
mod route;
mod running;
mod seeded;
mod server;
mod sessions;
mod settings;
mod state;
mod stock;
#[cfg(test)]
mod tests;
mod token;
mod told;

pub use action::{Action, Command, Progress};
pub use body::{Body, Kind};
pub use budget::Limits;
pub use clock::{Clock, Origin};
pub use device::{Device, machine_id};
pub use error::{Error, Result};
pub use fault::{Fault, FaultSwitch, Faults, Rule, Times};
pub use fleet::Fleet;
pub use journal::{Call, CallKind, Journal, Violation};
pub use judgement::{CallsSeen, Judgement, Ran, ResultsSeen, RunAgain, RunsSeen, SessionsSeen};
pub use made::Made;
pub use pace::Pace;
pub use running::{Banner, Emulator};
pub use settings::Settings;
