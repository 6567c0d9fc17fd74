//! What a person sees while a fleet run goes on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::app::collect::{Events, Progress as Step};
use crate::cli::args::Global;
use crate::cli::output::{human_bytes, visible};
use crate::cli::progress::Progress;

pub struct View {
    verbose: bool,
    bar: Mutex<Option<Progress>>,
    devices: u64,
    sealed: AtomicU64,
}

impl View {
    pub fn new(global: &Global, devices: u64) -> Arc<Self> {
        Arc::new(Self {
            verbose: global.verbose,
            bar: Mutex::new(Some(Progress::of_items(global.quiet, "starting"))),
            devices,
            sealed: AtomicU64::new(0),
        })
    }

    pub fn events(self: Arc<Self>) -> Events {
        Arc::new(move |step| self.hear(step))
    }

    fn hear(&self, step: Step) {
        match step {
            Step::Fleet(counts) => self.with_bar(|bar| {
                let sealed = self.sealed.load(Ordering::Relaxed);
                bar.say(format!(
                    "{} open, {} waiting, {} away, {sealed} results",
                    counts.open, counts.waiting, counts.away
                ));
                bar.set(counts.settled as u64, self.devices);
            }),
            Step::Sealed { .. } => {
                self.sealed.fetch_add(1, Ordering::Relaxed);
            }
            Step::DiskFull { needed } => self.line(&format!(
                "the disk is full: make room for {}; the run goes on by itself",
                human_bytes(needed)
            )),
            Step::RoomAgain => self.line("room again, the run goes on"),
            Step::Notice(text) if self.verbose => self.line(&visible(&text)),
            Step::Notice(text) => self.with_bar(|bar| bar.say(visible(&text))),
            _ => {}
        }
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
