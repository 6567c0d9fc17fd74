//! The drawing in ARCHITECTURE.md, checked: which room may import which, and
//! where calls to the operating system may stand.

use std::fs;
use std::path::{Path, PathBuf};

/// Room and the rooms it may import. All may use `evidence`.
const IMPORTS: &[(&str, &[&str])] = &[
    ("evidence", &[]),
    ("collect", &[]),
    ("store", &[]),
    ("members", &[]),
    ("extract", &[]),
    ("index", &[]),
    ("analyze", &[]),
    ("emulator", &[]),
    ("generate", &[]),
    (
        "app",
        &[
            "collect", "store", "members", "extract", "index", "analyze", "emulator", "generate",
        ],
    ),
    ("cli", &["app"]),
];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder of sources") {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The rooms named behind `crate::` in a source text.
fn rooms_named(text: &str) -> Vec<String> {
    text.split("crate::")
        .skip(1)
        .flat_map(|rest| {
            let rest = rest.trim_start();
            match rest.strip_prefix('{') {
                Some(group) => group
                    .split('}')
                    .next()
                    .unwrap_or("")
                    .split(',')
                    .map(first_word)
                    .collect(),
                None => vec![first_word(rest)],
            }
        })
        .collect()
}

fn first_word(text: &str) -> String {
    text.trim()
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn no_room_imports_a_room_it_must_not_know() {
    let mut wrong = Vec::new();
    for (room, allowed) in IMPORTS {
        let files = sources(&src().join(room));
        assert!(!files.is_empty(), "room {room} is empty");
        for file in files {
            let text = fs::read_to_string(&file).expect("a source file");
            for named in rooms_named(&text) {
                let is_room = IMPORTS.iter().any(|(r, _)| *r == named);
                let fine = named == *room || named == "evidence" || allowed.contains(&&*named);
                if is_room && !fine {
                    wrong.push(format!("{} imports {named}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_room_stands_in_the_table() {
    for entry in fs::read_dir(src()).expect("src") {
        let path = entry.expect("a folder entry").path();
        if path.is_dir() {
            let room = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
            assert!(
                IMPORTS.iter().any(|(r, _)| *r == room),
                "room {room} is not in the table of imports"
            );
        }
    }
}

#[test]
fn calls_to_one_system_stand_in_the_rooms_system_file() {
    let needles = ["std::os::unix", "std::os::windows", "libc::", "windows_sys"];
    for file in sources(&src()) {
        if file.file_name().is_some_and(|n| n == "system.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        for needle in needles {
            assert!(!text.contains(needle), "{} uses {needle}", file.display());
        }
    }
}

#[test]
fn tokio_stops_at_the_stores_door() {
    for room in [
        "evidence", "store", "members", "extract", "index", "analyze", "generate",
    ] {
        for file in sources(&src().join(room)) {
            let text = fs::read_to_string(&file).expect("a source file");
            assert!(!text.contains("tokio::"), "{} uses tokio", file.display());
        }
    }
}
