//! What a person sees while a fleet run goes on.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::cli::args::Global;
use crate::cli::output::{human_bytes, visible};
use crate::cli::progress::Progress;
use ::collect::fleet::FleetCounts;
use ::collect::{ApiCall, CollectProgress as Step, Events};

/// A wait longer than a minute's budget: said where nobody sees a bar, too.
const LONG_WAIT: SignedDuration = SignedDuration::from_secs(120);

pub struct View {
    verbose: bool,
    quiet: bool,
    bar: Mutex<Option<Progress>>,
    devices: u64,
    shown: Mutex<Shown>,
}

/// What a person sees of a run.
#[derive(Default)]
struct Shown {
    counts: FleetCounts,
    sealed: u64,
    /// What a budget holds back, and until when.
    waiting: Option<(ApiCall, Timestamp)>,
}

impl Shown {
    fn line(&self, now: Timestamp) -> String {
        let counts = self.counts;
        let (open, waiting, away) = (counts.open, counts.waiting, counts.away);
        let sealed = self.sealed;
        let stands = format!("{open} open, {waiting} waiting, {away} away, {sealed} results");
        match self.waiting.filter(|(_, until)| *until > now) {
            Some((call, until)) => format!("{stands}; {}", held_back(call, until)),
            None => stands,
        }
    }
}

fn held_back(call: ApiCall, until: Timestamp) -> String {
    format!(
        "waiting for the budget to {} until {until:.0}",
        call.description()
    )
}

impl View {
    pub fn new(global: &Global, devices: u64) -> Arc<Self> {
        Arc::new(Self {
            verbose: global.verbose,
            quiet: global.quiet,
            bar: Mutex::new(Some(Progress::of_items(global.quiet, "starting"))),
            devices,
            shown: Mutex::default(),
        })
    }

    pub fn events(self: Arc<Self>) -> Events {
        Arc::new(move |step| self.hear(step))
    }

    fn hear(&self, step: Step) {
        match step {
            Step::Fleet(counts) => self.show(|shown| shown.counts = counts),
            Step::Sealed { .. } => self.show(|shown| shown.sealed += 1),
            Step::Waiting { call, until } => self.wait(call, until),
            Step::DiskFull { needed } => self.line(&format!(
                "the disk is full: make room for {}; the run goes on by itself",
                human_bytes(needed)
            )),
            Step::DiskSpaceAvailable => self.line("room again, the run goes on"),
            Step::Notice(text) if self.verbose => self.line(&visible(&text)),
            Step::Notice(text) => self.with_bar(|bar| bar.say(visible(&text))),
            _ => {}
        }
    }

    fn wait(&self, call: ApiCall, until: Timestamp) {
        let wait = until.duration_since(Timestamp::now());
        if wait > LONG_WAIT && !self.quiet {
            self.line(&held_back(call, until));
        }
        self.show(|shown| shown.waiting = Some((call, until)));
    }

    fn show(&self, change: impl FnOnce(&mut Shown)) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut shown);
        self.with_bar(|bar| {
            bar.say(shown.line(Timestamp::now()));
            bar.set(shown.counts.settled as u64, self.devices);
        });
    }

    fn with_bar(&self, draw: impl FnOnce(&Progress)) {
        if let Ok(bar) = self.bar.lock()
            && let Some(bar) = bar.as_ref()
        {
            draw(bar);
        }
    }

    fn line(&self, text: &str) {
        self.with_bar(|bar| bar.line(text));
    }

    pub fn end(&self) {
        if let Ok(mut bar) = self.bar.lock() {
            *bar = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_stands_still_says_what_it_waits_for() {
        let until: Timestamp = "2026-02-04T12:30:00Z".parse().unwrap();
        let shown = Shown {
            waiting: Some((ApiCall::Link, until)),
            ..Shown::default()
        };
        let before = shown.line(until - SignedDuration::from_mins(30));
        assert!(
            before.contains("a result's link until 2026-02-04T12:30:00Z"),
            "{before}"
        );
        assert_eq!(shown.line(until), "0 open, 0 waiting, 0 away, 0 results");
    }
}
