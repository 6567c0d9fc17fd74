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
