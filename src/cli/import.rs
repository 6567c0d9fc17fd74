use std::collections::HashSet;
use std::path::Path;

use crate::app;
use crate::app::{ArchiveSession, DeviceFrom, Failure, IndexReport};
use evidence::ActionId;

use crate::cli::args;
use crate::cli::args::Global;
use crate::cli::notes::{Qualified, print_notes};
use crate::cli::output::{Output, counted, human_bytes, human_count, visible};
use crate::cli::progress::Progress;
use crate::cli::{Exit, archive, say};

pub fn import(global: &Global, typed: args::Import) -> Result<Exit, Failure> {
    let dir = archive(global)?;
    let device = match (typed.device, typed.device_from_folder, typed.device_pattern) {
        (Some(name), ..) => DeviceFrom::Name(name),
        (_, true, _) => DeviceFrom::FirstFolder,
        (.., Some(pattern)) => DeviceFrom::pattern(&pattern)?,
        _ => DeviceFrom::Action,
    };
    let progress = Progress::of_items(global.quiet, "importing");
    let mut report = app::import(&dir, &typed.paths, &device, &mut |done, total| {
        progress.set(done, total);
    })?;
    drop(progress);
    for left in &report.left_out {
        let text = format!("left out {}: {}", left.path, left.reason);
        say(global, &visible(&text));
    }
    say(
        global,
        &format!(
            "imported {} ({}), {} already there, {}, {}",
            counted(report.sealed, "result"),
            human_bytes(report.bytes),
            human_count(report.already_there),
            counted(report.actions, "action"),
            counted(report.gaps, "gap")
        ),
    );
    if report.gaps > 0 {
        say(global, "`gaps` says why");
    }
    print_notes(global, Qualified::Listing, &report.notes());
    if !typed.no_index {
        report.problems = Some(index_these(global, &dir, &report.of)?);
    }
    if typed.json {
        print_json(Output::open(None, true)?, &report)?;
    }
    Ok(if report.is_complete() {
        Exit::Done
    } else {
        Exit::Incomplete
    })
}

/// Brings the index up to date and counts the problems inside the results of
/// these actions, old ones too: what was wrong yesterday still is.
pub fn index_these(global: &Global, dir: &Path, of: &HashSet<ActionId>) -> Result<u64, Failure> {
    update_index(global, dir, false)?;
    let problems = app::count_problems(&ArchiveSession::new(dir), of)?;
    if problems > 0 {
        let counted = counted(problems, "problem");
        say(global, &format!("{counted} inside; `problems` says which"));
    }
    Ok(problems)
}

pub fn index(global: &Global, typed: &args::Index) -> Result<Exit, Failure> {
    let dir = archive(global)?;
    if let Some(file) = &typed.passwords {
        let added = app::add_passwords(&dir, file)?;
        say(
            global,
            &format!("{} to try", counted(added, "new password")),
        );
    }
    let mut rebuild = typed.rebuild;
    if let Some(number) = typed.code_page {
        rebuild |= app::set_code_page(&dir, number)?;
    }
    let caught = update_index(global, &dir, rebuild)?;
    Ok(if caught.problems > 0 {
        Exit::Incomplete
    } else {
        Exit::Done
    })
}

/// Brings the index up to date and says what came of it.
fn update_index(global: &Global, dir: &Path, rebuild: bool) -> Result<IndexReport, Failure> {
    let progress = Progress::of_bytes(global.quiet, "indexing");
    let caught = app::update_index(dir, rebuild, &mut |done, total| progress.set(done, total))?;
    drop(progress);
    if let Some(why) = &caught.rebuilt {
        say(global, &format!("index built anew: {why}"));
    }
    if caught.results > 0 {
        say(
            global,
            &format!(
                "indexed {}: {}, {} of new text, {}",
                counted(caught.results, "result"),
                counted(caught.members, "member"),
                human_bytes(caught.text_bytes),
                counted(caught.problems, "problem")
            ),
        );
    }
    Ok(caught)
}

pub fn print_json(mut out: Output, value: &impl serde::Serialize) -> Result<(), Failure> {
    use std::io::Write;
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}
