//! Progress of long work: on stderr, only on a terminal, with rate and time
//! left. Off a terminal nothing is drawn and nothing is slowed.

use std::fmt;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// A bar, or nothing where nobody would see it.
pub struct Progress {
    bar: ProgressBar,
    /// How work is drawn, and that some is left: a bar of nothing looks full.
    template: &'static str,
    working: AtomicBool,
}

/// Redraws a second: smooth to the eye, nothing to the work.
const DRAWS_PER_SECOND: u8 = 8;

impl Progress {
    /// Counts things: results, devices.
    pub fn of_items(quiet: bool, what: &'static str) -> Self {
        Self::new(
            quiet,
            what,
            "{msg} {bar:30} {human_pos}/{human_len} · {rate} · {eta} left",
        )
    }

    /// Counts bytes.
    pub fn of_bytes(quiet: bool, what: &'static str) -> Self {
        Self::new(
            quiet,
            what,
            "{msg} {bar:30} {decimal_bytes}/{decimal_total_bytes} · {decimal_bytes_per_sec} · {eta} left",
        )
    }

    fn new(quiet: bool, what: &'static str, template: &'static str) -> Self {
        let seen = !quiet && std::io::stderr().is_terminal();
        let target = if seen {
            ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target).with_message(what);
        if seen {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        let progress = Self {
            bar,
            template,
            working: AtomicBool::new(false),
        };
        progress.draw_by("{msg}");
        progress
    }

    fn draw_by(&self, template: &str) {
        let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
            // Into a string, which takes everything.
            let _ = write!(out, "{:.1}/s", state.per_sec());
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar
                .set_style(style.with_key("rate", rate).progress_chars("━╸─"));
        }
    }

    pub fn set(&self, done: u64, total: u64) {
        let working = done < total;
        if self.working.swap(working, Ordering::Relaxed) != working {
            self.draw_by(if working { self.template } else { "{msg}" });
        }
        self.bar.set_length(total.max(done));
        self.bar.set_position(done);
    }

    /// Nobody sees it.
    pub fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }

    pub fn say(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// A line above the bar; on stderr where there is no bar.
    pub fn line(&self, text: &str) {
        if self.bar.is_hidden() {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
