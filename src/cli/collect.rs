use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use crate::app;
use crate::app::{CollectReport, Failure};
use ::collect::{ActionFilter, CheckState, CollectProgress as Step, CollectSettings, Events};

use crate::cli::args;
use crate::cli::args::Global;
use crate::cli::connect;
use crate::cli::import::{index_these, print_json};
use crate::cli::output::{Output, counted, human_bytes, human_count, visible};
use crate::cli::progress::Progress;
use crate::cli::{Exit, archive, say};

pub fn collect(global: &Global, typed: &args::Collect) -> Result<Exit, Failure> {
    let settings = settings(typed)?;
    let dir = archive(global)?;
    if typed.check {
        return check(global, &dir, settings);
    }
    let seen = Seen::new(global);
    let indexer =
        (typed.watch && !typed.no_index).then(|| Indexer::start(dir.clone(), seen.clone()));
    let collected = app::collect_into(&dir, settings, seen.clone().events());
    drop(indexer);
    seen.end();
    let mut collected = collected?;
    tell(global, &collected);
    let indexed = match typed.no_index {
        true => Ok(None),
        false => index_these(global, &dir, &collected.of).map(Some),
    };
    if let Ok(problems) = &indexed {
        collected.problems = *problems;
    }
    if typed.json {
        print_json(Output::open(None, true)?, &collected)?;
    }
    if let Some(failure) = collected.failed.take() {
        return Err(failure);
    }
    // What was collected is told first: the index can be caught up later.
    indexed?;
    Ok(if collected.is_complete() {
        Exit::Done
    } else {
        Exit::Incomplete
    })
}

fn settings(typed: &args::Collect) -> Result<CollectSettings, Failure> {
    let now = Timestamp::now();
    let time = |text: &Option<String>, is_end| {
        let text = text.as_deref();
        text.map(|t| app::parse_time(t, now, is_end)).transpose()
    };
    let mut settings = connect::settings(&typed.connect)?;
    settings.workers = usize::from(typed.slots);
    settings.redownload = typed.again;
    settings.watch = typed.watch.then(|| Duration::from_secs(typed.interval));
    settings.filter = ActionFilter {
        since: time(&typed.since, false)?,
        until: time(&typed.until, true)?,
        devices: typed.device.clone(),
        actions: typed
            .action
            .iter()
            .map(|a| app::parse_action(a))
            .collect::<Result<_, _>>()?,
        indexes: typed.index.clone(),
        comment: typed.comment.clone(),
        packages: typed.packages,
    };
    Ok(settings)
}

fn check(global: &Global, dir: &Path, settings: CollectSettings) -> Result<Exit, Failure> {
    let lines = app::check_collect(dir, settings)?;
    let mut out = Output::open(None, global.no_color)?;
    let paint = out.paint;
    let mut failed = false;
    for line in &lines {
        let mark = match line.state {
            CheckState::Ok => paint.green("ok  "),
            CheckState::Warn => paint.yellow("warn"),
            CheckState::Fail => {
                failed = true;
                paint.red("FAIL")
            }
        };
        writeln!(out, "{mark}  {:<12} {}", line.what, visible(&line.message))?;
        if let Some(hint) = &line.hint {
            writeln!(out, "      {:<12} {}", "", paint.dim(&visible(hint)))?;
        }
    }
    out.flush()?;
    Ok(if failed { Exit::Error } else { Exit::Done })
}

/// Notices shown at the end; --verbose told all while they happened, --json
/// has the rest.
const NOTICES_SHOWN: usize = 10;

fn tell(global: &Global, collected: &CollectReport) {
    let report = &collected.report;
    let shown = if global.verbose { 0 } else { NOTICES_SHOWN };
    for notice in collected
        .notices
        .iter()
        .chain(report.notices.iter().take(shown))
    {
        say(global, &format!("note: {}", visible(notice)));
    }
    if collected.failed.is_some() && report.sealed == 0 {
        return;
    }
    say(
        global,
        &format!(
            "collected {} ({}) of {} in {:.1} s; {} already there",
            counted(report.sealed, "result"),
            human_bytes(report.bytes),
            counted(report.actions, "action"),
            report.duration_ms as f64 / 1000.0,
            human_count(report.already_there)
        ),
    );
    for (reason, count) in &report.gaps {
        say(
            global,
            &format!("missing   {:>6}  {reason}", human_count(*count)),
        );
    }
    if report.pending > 0 {
        say(
            global,
            &format!(
                "pending   {:>6}  commands not finished yet; collect again later",
                human_count(report.pending)
            ),
        );
    }
    if report.left > 0 {
        say(
            global,
            &format!(
                "left      {:>6}  not reached; collect again",
                human_count(report.left)
            ),
        );
    }
    if !report.gaps.is_empty() {
        say(global, "`gaps` says why");
    }
}

/// What a person sees while collecting.
struct Seen {
    verbose: bool,
    bar: Mutex<Option<Progress>>,
    /// Until when a budget holds calls back.
    waiting: Mutex<Option<Timestamp>>,
    planned: AtomicU64,
    done: AtomicU64,
    sealed: AtomicU64,
    bytes: AtomicU64,
}

impl Seen {
    fn new(global: &Global) -> Arc<Self> {
        Arc::new(Self {
            verbose: global.verbose,
            bar: Mutex::new(Some(Progress::of_items(global.quiet, "collecting"))),
            waiting: Mutex::default(),
            planned: AtomicU64::new(0),
            done: AtomicU64::new(0),
            sealed: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    fn events(self: Arc<Self>) -> Events {
        Arc::new(move |step| self.hear(step))
    }

    fn hear(&self, step: Step) {
        match step {
            Step::Planned { results, .. } => {
                self.planned.fetch_add(results, Ordering::Relaxed);
                self.draw();
            }
            Step::Bytes { bytes, .. } => {
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Step::Sealed { .. } => {
                self.sealed.fetch_add(1, Ordering::Relaxed);
                self.done.fetch_add(1, Ordering::Relaxed);
                self.draw();
            }
            Step::Gap { .. } => {
                self.done.fetch_add(1, Ordering::Relaxed);
                self.draw();
            }
            Step::Waiting { until, .. } => {
                if let Ok(mut waiting) = self.waiting.lock() {
                    *waiting = Some(until);
                }
                self.draw();
            }
            Step::NextPoll { at } => self.message(&format!("next poll {at:.0}")),
            Step::DiskFull { needed } => self.line(&format!(
                "the disk is full: make room for {}; collecting goes on by itself",
                human_bytes(needed)
            )),
            Step::DiskSpaceAvailable => self.line("room again, collecting goes on"),
            Step::Notice(text) if self.verbose => self.line(&visible(&text)),
            Step::Notice(text) => self.message(&visible(&text)),
            Step::Listed { .. } | Step::Fleet(_) => {}
        }
    }

    fn with_bar(&self, draw: impl FnOnce(&Progress)) {
        if let Ok(bar) = self.bar.lock()
            && let Some(bar) = bar.as_ref()
        {
            draw(bar);
        }
    }

    fn draw(&self) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        // What is still under way is drawn, too, and must not hide the wait.
        let waiting = self.waiting.lock().ok().and_then(|until| *until);
        let doing = match waiting.filter(|until| *until > Timestamp::now()) {
            Some(until) => format!("waiting for the call budget until {until:.0}"),
            None => "collecting".into(),
        };
        self.with_bar(|bar| {
            bar.say(format!("{doing} ({})", human_bytes(bytes)));
            bar.set(
                self.done.load(Ordering::Relaxed),
                self.planned.load(Ordering::Relaxed),
            );
        });
    }

    fn message(&self, text: &str) {
        self.with_bar(|bar| bar.say(text));
    }

    fn line(&self, text: &str) {
        self.with_bar(|bar| bar.line(text));
    }

    fn end(&self) {
        if let Ok(mut bar) = self.bar.lock() {
            *bar = None;
        }
    }
}

/// With `--watch`: catches the index up beside the collecting, whenever
/// something was sealed.
struct Indexer {
    stop: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Between two looks: soon enough for a person, seldom enough that small
/// segments do not pile up.
const INDEX_EVERY: Duration = Duration::from_secs(5);

impl Indexer {
    fn start(dir: PathBuf, seen: Arc<Seen>) -> Self {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut indexed = 0;
            while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) =
                stopped.recv_timeout(INDEX_EVERY)
            {
                let sealed = seen.sealed.load(Ordering::Relaxed);
                if sealed == indexed {
                    continue;
                }
                match app::catch_up_unless_busy(&dir) {
                    Ok(Some(_)) => indexed = sealed,
                    // Somebody else is at it; the rest is for the next look.
                    Ok(None) => {}
                    Err(failure) => seen.line(&format!(
                        "note: could not index yet: {}",
                        visible(&failure.chain())
                    )),
                }
            }
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
