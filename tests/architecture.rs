//! Boundaries that Cargo does not check: where calls to the operating system
//! are, and what the modules of the root package import. Imports between the
//! crates are checked by the compiler, through their manifests.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a source directory") {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

fn root(dir: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)
}

#[test]
fn app_does_not_import_cli() {
    for file in sources(&root("src/app")) {
        let text = fs::read_to_string(&file).expect("a source file");
        assert!(!text.contains("crate::cli"), "{}", file.display());
    }
}

/// The crates of the workspace, by the name they are imported with.
fn crate_names() -> Vec<String> {
    fs::read_dir(root("crates"))
        .expect("crates")
        .map(|entry| entry.expect("a crate").file_name())
        .map(|name| name.into_string().expect("a name"))
        .collect()
}

/// Whether a line of code has a path that begins with this crate. `a::index::b`
/// and `items.collect::<Vec<_>>()` do not.
fn names_crate(line: &str, name: &str) -> bool {
    let path = format!("{name}::");
    let is_ident = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(&path).any(|(at, _)| {
        let before = &line[..at];
        match before.strip_suffix("::") {
            Some(parent) => !parent.ends_with(|c| is_ident(c) || c == '>'),
            None => !before.ends_with(|c| is_ident(c) || c == '.'),
        }
    })
}

#[test]
fn cli_names_no_crate_of_the_workspace_but_evidence() {
    assert!(names_crate("use ::collect::Report;", "collect"));
    assert!(names_crate("let x: &index::Hit;", "index"));
    assert!(!names_crate("crate::cli::collect::collect()", "collect"));
    assert!(!names_crate("x.collect::<Vec<_>>()", "collect"));
    let mut names = crate_names();
    names.retain(|name| name != "evidence");
    for file in sources(&root("src/cli")) {
        let text = fs::read_to_string(&file).expect("a source file");
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for name in &names {
                assert!(!names_crate(line, name), "{}: {line}", file.display());
            }
        }
    }
}

#[test]
fn app_starts_no_runtime_and_handles_no_signal() {
    let needles = ["runtime::", "block_on", "signal::", "process::exit"];
    for file in sources(&root("src/app")) {
        let text = fs::read_to_string(&file).expect("a source file");
        for needle in needles {
            assert!(!text.contains(needle), "{} uses {needle}", file.display());
        }
    }
}

#[test]
fn calls_to_the_operating_system_are_in_system_files() {
    let needles = ["std::os::unix", "std::os::windows", "libc::", "windows_sys"];
    let crates = fs::read_dir(root("crates")).expect("crates");
    let mut dirs: Vec<PathBuf> = crates
        .map(|entry| entry.expect("a crate").path().join("src"))
        .collect();
    dirs.push(root("src"));
    for file in dirs.iter().flat_map(|dir| sources(dir)) {
        if file.file_name().is_some_and(|n| n == "system.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        for needle in needles {
            assert!(!text.contains(needle), "{} uses {needle}", file.display());
        }
    }
}
