//! Arguments → settings → app → rendering. The only room that reads the
//! environment, knows whether somebody watches, and decides exit codes.

mod args;
mod collect;
mod compare;
mod connect;
#[cfg(feature = "emulator")]
mod demo;
mod emulate;
mod fleet;
mod help;
mod import;
mod keyring;
mod library;
mod log;
mod notes;
mod output;
mod profile;
mod progress;
mod read;
mod render;
mod runtime;
mod search;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::app::{ArchiveSession, Failure, FailureKind};
use crate::cli::args::{Cli, Command, Global};

/// How a command ended, as the shell sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    /// No hits, and everything was searched.
    Nothing = 1,
    Error = 2,
    /// Done, with gaps or problems; or no hits where not everything could be
    /// searched.
    Incomplete = 3,
    /// What is on disk differs from what was recorded.
    Damaged = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs the program.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = grammar()
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(refusal) => {
            let _ = refusal.print();
            return if refusal.use_stderr() {
                Exit::Error
            } else {
                Exit::Done
            }
            .into();
        }
    };
    if let Some(targets) = cli.global.log.clone() {
        log::init(targets);
    }
    match obey(&cli.global, cli.command) {
        Ok(exit) => exit.into(),
        // Whoever read our output has seen enough.
        Err(failure) if failure.is_broken_pipe() => Exit::Done.into(),
        Err(failure) => {
            complain(&failure);
            match failure.kind {
                FailureKind::Damaged => Exit::Damaged,
                _ => Exit::Error,
            }
            .into()
        }
    }
}

/// The argument parser, with the list of faults in the help of `emulate`.
fn grammar() -> clap::Command {
    let command = Cli::command();
    #[cfg(feature = "emulator")]
    let command = command.mut_subcommand("emulate", |emulate| {
        let faults: String = crate::app::fault_names()
            .map(|(name, what)| format!("  {name:<16} {what}\n"))
            .collect();
        let syntax = crate::app::FAULT_SYNTAX;
        emulate.after_help(format!("Faults: {syntax}\n{faults}"))
    });
    command
}

fn obey(global: &Global, command: Command) -> Result<Exit, Failure> {
    match command {
        #[cfg(feature = "emulator")]
        Command::Demo(typed) => crate::cli::emulate::demo(global, &typed),
        #[cfg(not(feature = "emulator"))]
        Command::Demo(_) => Err(Failure::usage("this build has no emulator, so no demo")
            .hint("build with the default features")),
        Command::Collect(typed) => crate::cli::collect::collect(global, &typed),
        Command::Run(typed) => crate::cli::fleet::run::run(global, &typed),
        Command::Fleet(typed) => crate::cli::fleet::status::fleet(global, &typed),
        Command::Coverage(typed) => crate::cli::fleet::coverage::coverage(global, &typed),
        Command::Library(typed) => crate::cli::library::library(global, &typed),
        Command::Action(typed) => crate::cli::library::action(global, &typed),
        Command::Package(typed) => crate::cli::library::package(global, &typed),
        Command::Import(typed) => crate::cli::import::import(global, typed),
        Command::Search(typed) => crate::cli::search::search(global, &typed),
        Command::Stack(typed) => crate::cli::compare::stack(global, &typed),
        Command::Diff(typed) => crate::cli::compare::diff(global, &typed),
        Command::Outliers(typed) => crate::cli::compare::twins(global, &typed),
        Command::Baseline(typed) => crate::cli::compare::baseline(global, &typed),
        Command::Templates(typed) => crate::cli::compare::templates(global, &typed),
        Command::Show(typed) => crate::cli::read::show(global, &typed),
        Command::List(typed) => crate::cli::read::list(global, &typed),
        Command::Status(typed) => crate::cli::read::status(global, &typed),
        Command::Gaps(typed) => crate::cli::read::gaps(global, &typed),
        Command::Problems(typed) => crate::cli::read::problems(global, &typed),
        Command::Verify(typed) => crate::cli::read::verify(global, &typed),
        Command::Index(typed) => crate::cli::import::index(global, &typed),
        #[cfg(feature = "emulator")]
        Command::Emulate(typed) => crate::cli::emulate::emulate(global, &typed),
        Command::Bench(crate::cli::args::Bench::Generate {
            dir,
            seed,
            devices,
            megabytes,
            shape,
        }) => crate::cli::emulate::generate(global, &dir, seed, devices, megabytes, &shape),
        Command::Help { words } => crate::cli::help::print(grammar(), &words).map(|()| Exit::Done),
        Command::Query => {
            crate::cli::help::print(grammar(), &["query".into()]).map(|()| Exit::Done)
        }
        Command::Completions { shell } => {
            // Into memory first: it panics where it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut grammar(), "afteraction", &mut script);
            std::io::stdout().write_all(&script)?;
            Ok(Exit::Done)
        }
        Command::Man { dir } => {
            std::fs::create_dir_all(&dir)
                .and_then(|()| clap_mangen::generate_to(grammar(), &dir))
                .and_then(|()| crate::cli::help::write_man(&dir))
                .map_err(|e| crate::cli::output::unwritable(&dir, e))?;
            Ok(Exit::Done)
        }
    }
}

fn complain(failure: &Failure) {
    eprintln!("error: {}", crate::cli::output::visible(&failure.chain()));
    if let Some((text, at)) = failure.points_at() {
        eprintln!("{}", crate::cli::output::pointed(text, at));
    }
    if let Some(hint) = failure.advice() {
        eprintln!("hint: {}", crate::cli::output::visible(hint));
    }
}

/// The archive that was named.
fn archive(global: &Global) -> Result<PathBuf, Failure> {
    global.archive.clone().ok_or_else(|| {
        Failure::usage("no archive was named").hint("add --archive DIR, or set AFTERACTION_ARCHIVE")
    })
}

/// A session on the archive that was named.
fn session(global: &Global) -> Result<ArchiveSession, Failure> {
    Ok(ArchiveSession::new(archive(global)?))
}

/// What is worth saying to a person, on stderr, unless told to be quiet.
fn say(global: &Global, text: &str) {
    if !global.quiet {
        eprintln!("{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_contradict_nobody() {
        grammar().debug_assert();
    }
}
