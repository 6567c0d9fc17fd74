use crate::app;
use crate::app::{ArchiveSession, Failure, IndexWait, Note, Search, SearchRequest, Verdict};

use crate::cli::args;
use crate::cli::args::Global;
use crate::cli::notes::{Qualified, print_notes};
use crate::cli::output::{Form, Output, check_place, counted};
use crate::cli::progress::Progress;
use crate::cli::{Exit, render, say, session};

pub fn search(global: &Global, typed: &args::Search) -> Result<Exit, Failure> {
    let request = request(typed);
    let session = session(global)?;
    let out = Output::open(typed.form.output.as_deref(), global.no_color)?;
    typed.certificate.as_deref().map_or(Ok(()), check_place)?;
    let form = Form::from(&typed.form);
    let mut search = open(global, &session, &request)?;
    answer(typed, form, out, &mut search).inspect_err(|failure| {
        if typed.certificate.is_some() && failure.is_broken_pipe() {
            eprintln!("note: no certificate: the output was closed before the search had ended");
        }
    })?;
    if let Some(file) = &typed.certificate {
        let by = typed.count.then(|| typed.by.as_deref().unwrap_or(""));
        search.certify(&session, file, by)?;
    }
    tell(global, form, search.summary());
    if typed.explain {
        match &search.summary().explained {
            Some(how) => eprintln!("{}", render::explained(how)),
            None => eprintln!("explain: there is no index, so nothing was searched"),
        }
    }
    Ok(match search.summary().verdict() {
        Verdict::Found => Exit::Done,
        Verdict::Nothing => Exit::Nothing,
        Verdict::Incomplete => Exit::Incomplete,
    })
}

fn request(typed: &args::Search) -> SearchRequest {
    SearchRequest {
        query: typed.query.clone(),
        regex: typed.regex.clone(),
        fixed: typed.fixed.clone(),
        multiline: typed.multiline,
        ignore_case: typed.ignore_case,
        device: typed.device.clone(),
        since: typed.since.clone(),
        until: typed.until.clone(),
        exclude_baseline: typed.exclude_baseline.clone(),
        sort: match typed.sort {
            args::Sort::Time => app::Sort::Time,
            args::Sort::Rarity => app::Sort::Rarity,
        },
        context: typed.context,
        limit: typed.limit,
        plain: Form::from(&typed.form) != Form::People,
        wait: typed.wait,
    }
}

/// Opens the search; with --wait says what is waited for, once.
fn open(
    global: &Global,
    session: &ArchiveSession,
    request: &SearchRequest,
) -> Result<Search, Failure> {
    let mut progress: Option<(IndexWait, Progress)> = None;
    Search::open(session, request, &mut |waiting, done, total| {
        if progress.as_ref().is_none_or(|(was, _)| *was != waiting) {
            let what = match waiting {
                IndexWait::OtherProcess => "waiting for another process to index",
                IndexWait::ThisProcess => "indexing",
            };
            drop(progress.take());
            let bar = Progress::of_bytes(global.quiet, what);
            if bar.is_hidden() && total > 0 {
                say(global, &format!("note: {what}"));
            }
            progress = Some((waiting, bar));
        }
        if let Some((_, bar)) = &progress {
            bar.set(done, total);
        }
    })
}

fn answer(
    typed: &args::Search,
    form: Form,
    out: Output,
    search: &mut Search,
) -> Result<(), Failure> {
    if typed.count {
        let mut rows = out.rows(form);
        let counts = search.count(typed.by.as_deref())?;
        counts.iter().try_for_each(|row| rows.write(row))?;
        rows.finish()?;
    } else {
        let mut rows = out.rows(form);
        search.hits(|row| rows.write(&row).map_err(Failure::from))?;
        rows.finish()?;
    }
    Ok(())
}

/// What a person must know to trust the answer.
fn tell(global: &Global, form: Form, summary: &app::SearchSummary) {
    let is_shown = |note: &&Note| match note {
        Note::TextUnreadable { .. } => summary.hits == 0 || global.verbose,
        _ => true,
    };
    let notes = summary.notes.iter().filter(is_shown);
    print_notes(global, Qualified::Search, notes);
    if form == Form::People {
        let devices = summary
            .devices_hit
            .map(|devices| format!(" on {}", counted(devices, "device")))
            .unwrap_or_default();
        say(
            global,
            &format!(
                "{} in {}{devices}, of {} searched",
                counted(summary.hits, "hit"),
                counted(summary.members_hit, "member"),
                counted(summary.members, "member")
            ),
        );
    }
}
