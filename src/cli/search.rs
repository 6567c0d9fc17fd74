use crate::app::{self, Failure, SearchRequest};

use super::args::{self, Global};
use super::output::{Form, Output, counted};
use super::{Exit, archive, say};

pub fn search(global: &Global, typed: &args::Search) -> Result<Exit, Failure> {
    let request = SearchRequest {
        query: typed.query.clone(),
        regex: typed.regex.clone(),
        fixed: typed.fixed.clone(),
        ignore_case: typed.ignore_case,
        device: typed.device.clone(),
        since: typed.since.clone(),
        until: typed.until.clone(),
        context: typed.context,
        limit: typed.limit,
    };
    let dir = archive(global)?;
    let out = Output::open(typed.form.output.as_deref(), global.no_color)?;
    let form = Form::from(&typed.form);
    let summary = if typed.count {
        let mut rows = out.rows(form);
        let (counts, summary) = app::count(&dir, &request, typed.by.as_deref())?;
        counts.iter().try_for_each(|row| rows.write(row))?;
        rows.finish()?;
        summary
    } else {
        let mut rows = out.rows(form);
        let summary = app::search(&dir, &request, &mut |row| Ok(rows.write(&row)?))?;
        rows.finish()?;
        summary
    };
    explain(global, form, &summary);
    Ok(match (summary.hits, summary.is_whole()) {
        (1.., _) => Exit::Done,
        (0, true) => Exit::Nothing,
        (0, false) => Exit::Incomplete,
    })
}

/// What a person must know to trust the answer.
fn explain(global: &Global, form: Form, summary: &app::SearchSummary) {
    if summary.unindexed > 0 {
        say(
            global,
            &format!(
                "note: {} not indexed yet and not searched; run `index`",
                counted(summary.unindexed, "result")
            ),
        );
    }
    if summary.unreadable > 0 && (summary.hits == 0 || global.verbose) {
        say(
            global,
            &format!(
                "note: {} that hide text; `problems` names them",
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
    if let Some(lines) = summary.scanned_lines {
        let lines = counted(lines, "distinct line");
        say(
            global,
            &format!("note: read {lines} one by one: no word of the query narrows them down"),
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
