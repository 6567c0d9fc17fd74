//! The console blocks of README.md and docs/ show what the program prints.
//!
//! `AFTERACTION_RECORD=1 cargo test --test it docs` writes the current output
//! into the pages.

use std::fs;
use std::path::{Path, PathBuf};

use super::support::{Case, Ran, sample_data};

/// An archive with the sample incident.
fn incident() -> Case {
    let case = Case::new();
    case.run(&["import", &sample_data().display().to_string()]);
    case
}

fn page(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Splits a command line as a shell does; single quotes only.
fn shell_words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in command.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}

/// Runs a command line of a page and returns it with its output.
fn console(case: &Case, line: &str) -> String {
    let words = shell_words(line.strip_prefix("afteraction ").unwrap());
    let mut command = case.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
    command.current_dir(case.path(""));
    let ran = Ran::of(command);
    format!("$ {line}\n{}{}", ran.stdout, ran.stderr)
}

/// Runs the commands of all console blocks of a page in their order; returns
/// the page with their current output, and how many commands it has.
fn rerun(case: &Case, text: &str) -> (String, usize) {
    let mut page = String::new();
    let mut commands = 0;
    for (n, part) in text.split("```console\n").enumerate() {
        if n == 0 {
            page += part;
            continue;
        }
        let (block, rest) = part.split_once("```").unwrap();
        page += "```console\n";
        for line in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
            page += &console(case, line);
            commands += 1;
        }
        page += "```";
        page += rest;
    }
    (page, commands)
}

fn check(name: &str, least: usize) {
    let case = incident();
    let text = fs::read_to_string(page(name)).unwrap();
    let (current, commands) = rerun(&case, &text);
    assert!(commands >= least, "{name} has {commands} commands");
    if std::env::var_os("AFTERACTION_RECORD").is_some() {
        fs::write(page(name), current).unwrap();
    } else {
        assert_eq!(text, current, "{name}");
    }
}

#[test]
fn readme_shows_the_output_of_the_program() {
    check("README.md", 1);
}

#[test]
fn search_page_shows_the_output_of_the_program() {
    check("docs/search.md", 9);
}

#[test]
fn compare_page_shows_the_output_of_the_program() {
    check("docs/compare.md", 8);
}

#[test]
fn readme_is_short() {
    let text = fs::read_to_string(page("README.md")).unwrap();
    let words = text.split_whitespace().count();
    assert!(words <= 1_200, "{words} words");
}

/// Every link of README.md and docs/ to a file of the repository works.
#[test]
fn links_between_pages_work() {
    let mut pages = vec![
        page("README.md"),
        page("ARCHITECTURE.md"),
        page("CONTRIBUTING.md"),
    ];
    pages.extend(
        fs::read_dir(page("docs"))
            .unwrap()
            .map(|e| e.unwrap().path()),
    );
    let mut links = 0;
    for file in pages {
        let text = fs::read_to_string(&file).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            let target = target.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = file.parent().unwrap().join(target);
            assert!(path.exists(), "{}: {target}", file.display());
            links += 1;
        }
    }
    assert!(links > 10, "{links}");
}
