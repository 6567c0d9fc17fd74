//! Commands that compare: stack, diff, twins, baseline, templates.

pub mod args;
mod render;

use std::io::{IsTerminal, Write};
use std::path::Path;

use crate::app;
use crate::app::{
    ArchiveSession, CompareRequest, CompareSummary, DiffRequest, Failure, IndexWait, LearnRequest,
    RULES, RuleSet, SearchRequest, Sides, StackRequest, TwinsRequest, Verdict,
};

use crate::cli::args::Global;
use crate::cli::compare::args::{Baseline, By, Diff, Learn, Select, Stack, Templates, Twins};
use crate::cli::notes::{Qualified, print_notes};
use crate::cli::output::{Form, Output, Row, counted, visible, write_visible};
use crate::cli::profile;
use crate::cli::progress::Progress;
use crate::cli::{Exit, say, session};

pub fn stack(global: &Global, typed: &Stack) -> Result<Exit, Failure> {
    let request = StackRequest {
        compare: request(&typed.select, &typed.query, &typed.device)?,
        by: match typed.by {
            By::Line => app::By::Line,
            By::Error => app::By::Error,
            By::Hash => app::By::Hash,
            By::Name => app::By::Name,
            By::Path => app::By::Path,
            By::Exit => app::By::Exit,
        },
        devices_max: typed.max_devices,
        limit: typed.limit,
        raw_max: typed.variants,
        context: typed.context,
    };
    let what = if typed.max_devices.is_some() {
        "rare row"
    } else {
        "row"
    };
    let compared = |summary: &CompareSummary| {
        format!(
            "{} of {} on {} in {}",
            counted(summary.rows, what),
            counted(summary.texts, "different text"),
            counted(summary.devices, "device"),
            counted(summary.members, "member")
        )
    };
    compare(global, &typed.form, &compared, |session, watched, take| {
        app::stack(
            session,
            &request,
            &mut watched.waits(),
            &mut watched.reads(),
            take,
        )
    })
}

pub fn diff(global: &Global, typed: &Diff) -> Result<Exit, Failure> {
    let a = typed.a.clone();
    let request = DiffRequest {
        compare: request(&typed.select, &typed.query, &None)?,
        sides: match (&typed.b, &typed.split) {
            (Some(b), _) => Sides::Between(a, b.clone()),
            (None, Some(at)) => Sides::Since(a, at.clone()),
            (None, None) if typed.over_time => Sides::OverTime(a),
            (None, None) => Sides::Rest(a),
        },
        all: typed.all,
        counts: typed.counts,
        others_max: typed.max_devices,
        limit: typed.limit,
        context: typed.context,
    };
    let compared = |summary: &CompareSummary| {
        format!(
            "{}, {} the same",
            counted(summary.rows, "difference"),
            counted(summary.same, "line")
        )
    };
    compare(global, &typed.form, &compared, |session, watched, take| {
        app::diff(
            session,
            &request,
            &mut watched.waits(),
            &mut watched.reads(),
            take,
        )
    })
}

pub fn twins(global: &Global, typed: &Twins) -> Result<Exit, Failure> {
    let request = TwinsRequest {
        compare: request(&typed.select, &typed.query, &typed.device)?,
        limit: Some(typed.limit).filter(|limit| *limit > 0),
        lines: typed.lines,
    };
    let compared = |summary: &CompareSummary| {
        format!(
            "{} of {}, by {}",
            counted(summary.rows, "device"),
            counted(summary.devices, "device"),
            counted(summary.texts, "different text")
        )
    };
    compare(global, &typed.form, &compared, |session, watched, take| {
        app::twins(
            session,
            &request,
            &mut watched.waits(),
            &mut watched.reads(),
            take,
        )
    })
}

/// Whoever takes the rows.
type Take<'t, R> = &'t mut dyn FnMut(R) -> Result<(), Failure>;

/// Runs a comparison, writes its rows, and says what it came to.
fn compare<R: Row>(
    global: &Global,
    typed: &crate::cli::args::Form,
    compared: &dyn Fn(&CompareSummary) -> String,
    run: impl FnOnce(&ArchiveSession, &Watched<'_>, Take<'_, R>) -> Result<CompareSummary, Failure>,
) -> Result<Exit, Failure> {
    let session = session(global)?;
    let form = Form::from(typed);
    let mut rows = Output::open(typed.output.as_deref(), global.no_color)?.rows(form);
    let watched = Watched::new(global);
    let summary = run(&session, &watched, &mut |row| Ok(rows.write(&row)?))?;
    drop(watched);
    rows.finish()?;
    tell(global, form, &summary, &compared(&summary));
    Ok(exit(&summary))
}

pub fn baseline(global: &Global, typed: &Baseline) -> Result<Exit, Failure> {
    let session = session(global)?;
    match typed {
        Baseline::Learn(typed) => learn(global, &session, typed),
        Baseline::List { form } => {
            let out = Output::open(form.output.as_deref(), global.no_color)?;
            let mut rows = out.rows(Form::from(form));
            let listed = app::list_baselines(&session)?;
            print_notes(global, Qualified::Listing, &listed.notes);
            for row in &listed.rows {
                rows.write(row)?;
            }
            if rows.finish()? == 0 && listed.notes.is_empty() {
                say(global, "no baselines");
            }
            Ok(match listed.notes.is_empty() {
                true => Exit::Done,
                false => Exit::Incomplete,
            })
        }
        Baseline::Show { name } => {
            let mut out = Output::open(None, global.no_color)?;
            let row = app::show_baseline(&session, name, &mut |template| {
                write_visible(&mut out, template)?;
                Ok(writeln!(out)?)
            })?;
            out.flush()?;
            say(global, &crate::cli::compare::render::baseline(&row));
            Ok(Exit::Done)
        }
        Baseline::Export { name, output } => {
            if output.is_none() && std::io::stdout().is_terminal() {
                return Err(
                    Failure::usage("an export holds evidence, raw: no terminal takes it")
                        .hint("give it a file (-o FILE), or see it with `baseline show`"),
                );
            }
            let page = app::export_baseline(&session, name)?;
            let mut out = Output::open(output.as_deref(), global.no_color)?;
            out.write_all(&page)?;
            out.flush()?;
            Ok(Exit::Done)
        }
        Baseline::Import { file, name } => {
            let row = app::import_baseline(&session, file, name.as_deref())?;
            say(global, &crate::cli::compare::render::baseline(&row));
            Ok(Exit::Done)
        }
        Baseline::Delete { name } => {
            let deleted = app::delete_baseline(&session, name)?;
            say(global, &format!("deleted {}", counted(deleted, "version")));
            Ok(Exit::Done)
        }
    }
}

fn learn(global: &Global, session: &ArchiveSession, typed: &Learn) -> Result<Exit, Failure> {
    let request = LearnRequest {
        compare: request(&typed.select, &typed.query, &typed.device)?,
        name: typed.name.clone(),
        devices_min: typed.min_devices,
        more: typed.add,
    };
    let watched = Watched::new(global);
    let (row, summary) = app::learn_baseline(
        session,
        &request,
        &mut watched.waits(),
        &mut watched.reads(),
    )?;
    drop(watched);
    tell(global, Form::Json, &summary, "");
    match typed.json {
        true => {
            let mut out = Output::open(None, global.no_color)?;
            serde_json::to_writer_pretty(&mut out, &row).map_err(std::io::Error::from)?;
            writeln!(out)?;
            out.flush()?;
        }
        false => say(global, &crate::cli::compare::render::baseline(&row)),
    }
    Ok(Exit::Done)
}

pub fn templates(global: &Global, typed: &Templates) -> Result<Exit, Failure> {
    let rules = rules(&typed.keep, false, typed.config.as_deref())?;
    let mut out = Output::open(None, global.no_color)?;
    if let Some(line) = &typed.line {
        writeln!(out, "{}", visible(&app::template_of(&rules, line)?))?;
    } else {
        // A rule that is not there is said before anything is listed.
        app::template_of(&rules, "")?;
        for (name, pattern) in &rules.more {
            let name = out.paint.bold(&visible(name));
            writeln!(out, "{name}  yours: {}", visible(pattern))?;
        }
        for rule in RULES {
            let is_off = rules.off.iter().any(|name| name == rule.name);
            let off = if is_off { " (switched off)" } else { "" };
            let (from, to) = rule.example;
            let name = out.paint.bold(rule.name);
            writeln!(out, "{name}{off}  {}\n    {from}\n    {to}", rule.what)?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn request(
    select: &Select,
    query: &Option<String>,
    device: &Option<String>,
) -> Result<CompareRequest, Failure> {
    Ok(CompareRequest {
        search: SearchRequest {
            query: query.clone(),
            device: device.clone(),
            since: select.since.clone(),
            until: select.until.clone(),
            exclude_baseline: select.exclude_baseline.clone(),
            wait: select.wait,
            ..SearchRequest::default()
        },
        script: select.script.clone(),
        rules: rules(&select.keep, select.raw, select.config.as_deref())?,
    })
}

/// The rules that hold: all but those that are switched off, typed or in the
/// config file, and the user's own.
fn rules(keep: &[String], raw: bool, config: Option<&Path>) -> Result<RuleSet, Failure> {
    if raw {
        return Ok(RuleSet::none());
    }
    let mut rules = profile::templates(config)?;
    rules.off.extend_from_slice(keep);
    rules.off.sort();
    rules.off.dedup();
    Ok(rules)
}

/// What takes its time, on stderr where somebody watches.
struct Watched<'a> {
    global: &'a Global,
    waiting: std::cell::RefCell<Option<Progress>>,
    reading: Progress,
}

impl<'a> Watched<'a> {
    fn new(global: &'a Global) -> Self {
        Self {
            global,
            waiting: std::cell::RefCell::new(None),
            reading: Progress::of_items(global.quiet, "reading segments"),
        }
    }

    fn waits(&self) -> impl FnMut(IndexWait, u64, u64) + '_ {
        |waiting, done, total| self.wait(waiting, done, total)
    }

    fn reads(&self) -> impl FnMut(u64, u64) + '_ {
        |done, total| self.read(done, total)
    }

    fn wait(&self, waiting: IndexWait, done: u64, total: u64) {
        let what = match waiting {
            IndexWait::OtherProcess => "waiting for another process to index",
            IndexWait::ThisProcess => "indexing",
        };
        let mut bar = self.waiting.borrow_mut();
        let bar = bar.get_or_insert_with(|| Progress::of_bytes(self.global.quiet, what));
        bar.say(what);
        bar.set(done, total);
    }

    fn read(&self, done: u64, total: u64) {
        self.waiting.borrow_mut().take();
        self.reading.set(done, total);
    }
}

/// What a person must know to trust the answer.
fn tell(global: &Global, form: Form, summary: &CompareSummary, whole: &str) {
    print_notes(global, Qualified::Comparison, &summary.notes);
    if form == Form::People {
        say(global, whole);
    }
}

fn exit(summary: &CompareSummary) -> Exit {
    match summary.verdict() {
        Verdict::Found => Exit::Done,
        Verdict::Nothing => Exit::Nothing,
        Verdict::Incomplete => Exit::Incomplete,
    }
}
