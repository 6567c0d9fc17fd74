use crate::app;
use crate::app::{ArchiveSession, Failure, IndexWait, Search, SearchRequest, Verdict};

use crate::cli::args;
use crate::cli::args::Global;
use crate::cli::output::{Form, Output, check_place, counted};
use crate::cli::progress::Progress;
use crate::cli::{Exit, render, say, say_unheld, session};

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
    if summary.unindexed > 0 {
        say(
            global,
            &format!(
                "note: {} not indexed yet and not searched; run `index`, or search with --wait",
                counted(summary.unindexed, "result")
            ),
        );
    }
    if summary.unreadable > 0 && (summary.hits == 0 || global.verbose) {
        say(
            global,
            &format!(
                "note: text is hidden by {}; `problems` names them",
                counted(summary.unreadable, "problem")
            ),
        );
    }
    if summary.undated > 0 {
        say(
            global,
            &format!(
                "note: left out {} that would match but have no time; search without since and until to see them",
                counted(summary.undated, "member")
            ),
        );
    }
    if summary.cut > 0 {
        let cut = counted(summary.cut, "line or text");
        say(
            global,
            &format!(
                "note: searched {cut} window by window, being too long for this pattern; a match longer than a window may be missed (`help query`)"
            ),
        );
    }
    if summary.hidden > 0 {
        let hidden = counted(summary.hidden, "hit");
        say(
            global,
            &format!("note: left out {hidden} that the baseline knows"),
        );
    }
    if let Some(lines) = summary.scanned_lines {
        let lines = counted(lines, "distinct line");
        say(
            global,
            &format!(
                "note: read {lines} one by one: neither words nor 4-grams of the query narrow them down"
            ),
        );
    }
    say_unheld(global, &summary.unheld_fields);
    if summary.members + summary.undated + summary.unindexed == 0 {
        say(global, "note: nothing is in this archive to search");
    }
    if summary.built_texts {
        say(
            global,
            "note: built every text again, since the pattern may match over line ends",
        );
    }
    for name in summary.seeming_fields.iter().filter(|_| summary.hits == 0) {
        say(
            global,
            &format!(
                "note: there is no field {name}:, searched as text; `help query` lists the fields"
            ),
        );
    }
    if summary.stopped {
        say(global, "note: stopped at --limit; there are more");
    }
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
