//! Snapshots of help texts, errors, hints and notes.
//!
//! `AFTERACTION_RECORD=1 cargo test --test it messages` writes the current
//! texts into `tests/snapshots`; review the diff.

use std::fs;
use std::path::{Path, PathBuf};

use super::support::{Case, Ran, sample_data};

fn snapshot(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/snapshots")
        .join(name)
}

/// Compares a text with its snapshot, or records it.
fn check(name: &str, text: &str) {
    if std::env::var_os("AFTERACTION_RECORD").is_some() {
        fs::write(snapshot(name), text).unwrap();
    }
    let recorded = fs::read_to_string(snapshot(name)).unwrap_or_default();
    assert!(
        recorded.replace('\r', "") == text,
        "{name} differs from its snapshot:\n{text}"
    );
}

/// A command with its output, exit code and without paths of this machine.
fn transcript(case: &Case, args: &[&str]) -> String {
    let mut command = case.command(args);
    command.current_dir(case.path(""));
    let ran = Ran::of(command);
    let case_dir = case.path("").display().to_string();
    let text = format!(
        "$ afteraction {}\n{}{}[exit {}]\n\n",
        args.join(" "),
        ran.stdout,
        ran.stderr,
        ran.code
    );
    text.replace(case_dir.trim_end_matches('/'), "CASE")
        .replace(&sample_data().display().to_string(), "SAMPLE")
}

/// Every command, with its subcommands.
const COMMANDS: &[&[&str]] = &[
    &[],
    &["demo"],
    &["collect"],
    &["run"],
    &["fleet"],
    &["fleet", "status"],
    &["fleet", "pause"],
    &["fleet", "resume"],
    &["fleet", "cancel"],
    &["coverage"],
    &["library"],
    &["library", "list"],
    &["library", "upload"],
    &["library", "delete"],
    &["action"],
    &["package"],
    &["import"],
    &["search"],
    &["stack"],
    &["diff"],
    &["outliers"],
    &["baseline"],
    &["baseline", "learn"],
    &["baseline", "list"],
    &["baseline", "show"],
    &["baseline", "export"],
    &["baseline", "import"],
    &["baseline", "delete"],
    &["templates"],
    &["show"],
    &["list"],
    &["status"],
    &["gaps"],
    &["problems"],
    &["verify"],
    &["index"],
    &["emulate"],
    &["bench"],
    &["bench", "generate"],
    &["completions"],
    &["man"],
];

#[cfg(feature = "emulator")]
#[test]
fn help_of_every_command_matches_its_snapshot() {
    let case = Case::new();
    let text: String = COMMANDS
        .iter()
        .map(|command| transcript(&case, &[command, &["--help"][..]].concat()))
        .collect();
    check("help.txt", &text);
}

#[cfg(feature = "emulator")]
#[test]
fn help_fits_into_80_columns() {
    let case = Case::new();
    for command in COMMANDS {
        let text = transcript(&case, &[command, &["--help"][..]].concat());
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{command:?}: {line}");
        }
    }
}

// Windows words the causes of I/O errors differently.
#[cfg(unix)]
#[test]
fn messages_match_their_snapshot() {
    let case = Case::new();
    let mut text = String::new();
    let mut run = |args: &[&str]| text += &transcript(&case, args);
    run(&["search", "x"]);
    run(&["verify"]);
    run(&["fleet", "status"]);
    run(&["import", "missing"]);
    run(&["import", &sample_data().display().to_string()]);
    for query in [
        "mimikatz devise:fs-01",
        "bogus:1",
        "nothing-here",
        "device:nobody x",
        "(a OR b",
        "day:2026-3-11",
        "10.0.0.0/33",
        "exit:[5 TO 1]",
        "\"open phrase",
        "a~9",
        "AND",
        "",
        "/[/",
        "NOT mimikatz",
        "/\\d{5,}/ device:dc-01",
    ] {
        run(&["search", query, "--limit", "1"]);
    }
    run(&["search", "--regex", "(", "--count"]);
    run(&["search", "mimikatz", "--since", "yesterday"]);
    run(&["search", "mimikatz", "--exclude-baseline", "nope"]);
    run(&["search", "mimikatz", "--count", "--by", "colour"]);
    run(&["search", "nothing-here", "--since", "2026-01-01"]);
    run(&["show", "zz/0"]);
    run(&["show", "00000000-0000-0000-0000-000000000000/0"]);
    run(&[
        "show",
        "0d91c200-4584-4e91-a288-c59e109f2c7b/0",
        "--at",
        "3",
    ]);
    run(&["show", "0d91c200-4584-4e91-a288-c59e109f2c7b/0!nope"]);
    run(&["show", "0d91c200/0", "--raw", "-o", "missing-dir/x"]);
    run(&["list", "--action", "zz"]);
    run(&["gaps"]);
    run(&["problems"]);
    run(&["status"]);
    run(&["verify"]);
    run(&["index"]);
    run(&["index", "--code-page", "1"]);
    run(&["index", "--passwords", "missing.txt"]);
    run(&["stack", "--by", "hash", "--exclude-baseline", "nope"]);
    run(&["stack", "--script", "Nope.ps1"]);
    run(&["stack", "--keep", "nope"]);
    run(&["diff", "fin-ws-07", "fin-ws-07"]);
    run(&["diff", "nobody", "fin-ws-07"]);
    run(&[
        "diff",
        "fin-ws-07",
        "--over-time",
        "--script",
        "Get-Persistence.ps1",
    ]);
    run(&["outliers", "--script", "Nope.ps1"]);
    run(&["baseline", "show", "nope"]);
    run(&["baseline", "learn", "Bad Name"]);
    run(&["baseline", "import", "missing.txt"]);
    run(&["templates", "--keep", "nope"]);
    run(&["collect"]);
    run(&[
        "collect",
        "--tenant",
        "t",
        "--client-id",
        "c",
        "--region",
        "mars",
    ]);
    run(&["collect", "--keyring", "--tenant", "t"]);
    run(&["collect", "--profile", "nope"]);
    run(&["run", "--devices", "ws-1"]);
    run(&[
        "run",
        "--devices",
        "ws-1",
        "--script",
        "a.ps1",
        "--park-after",
        "1m",
    ]);
    run(&["fleet", "resume", "5e2b"]);
    run(&["fleet", "pause"]);
    run(&["bench", "generate", "case"]);
    check("messages.txt", &text);
}
