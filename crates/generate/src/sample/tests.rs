use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::MemorySink;
use crate::sample::*;
use crate::tests::texts_of;
use evidence::Action;

type Files = BTreeMap<String, Vec<u8>>;

fn written() -> Files {
    let memory = MemorySink::default();
    sample(&memory).unwrap();
    memory.into_files()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sample-data")
}

fn read_folder(folder: &Path, below: &str, files: &mut Files) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read_folder(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

/// With `AFTERACTION_REMAKE_SAMPLE=1` the folder is rewritten.
#[test]
fn sample_folder_equals_the_generated_files() {
    let written = written();
    if std::env::var_os("AFTERACTION_REMAKE_SAMPLE").is_some() {
        remake(&written);
    }
    let mut lying = Files::new();
    read_folder(&folder(), "", &mut lying);
    assert!(lying.remove("README.md").is_some());
    assert_eq!(
        lying.keys().collect::<Vec<_>>(),
        written.keys().collect::<Vec<_>>()
    );
    for (path, bytes) in &written {
        assert!(
            lying[path] == *bytes,
            "{path} differs: run again with AFTERACTION_REMAKE_SAMPLE=1"
        );
    }
    let size: usize = lying.values().map(Vec::len).sum();
    assert!(size < 1_500_000, "{size} bytes");
}

fn remake(files: &Files) {
    for entry in fs::read_dir(folder()).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else if path.extension().is_some_and(|e| e == "json") {
            fs::remove_file(path).unwrap();
        }
    }
    let folder = crate::DirectorySink(folder());
    files
        .iter()
        .for_each(|(path, bytes)| folder.put(path, bytes).unwrap());
}

fn actions(files: &Files) -> Vec<Action> {
    let listed = files
        .iter()
        .filter(|(path, _)| !path.contains('/') && *path != "machines.json");
    listed
        .map(|(_, json)| Action::from_json(json).unwrap())
        .collect()
}

/// Matching lines, found by unpacking and reading everything. Terms joined by
/// AND are in one text; `device:` is a name.
fn answers(query: &str, files: &Files) -> Vec<(String, String)> {
    let devices: BTreeMap<_, _> = actions(files)
        .into_iter()
        .map(|action| (action.id.to_string(), action.device.unwrap()))
        .collect();
    let (only, words): (Vec<_>, Vec<_>) = query
        .split(" AND ")
        .partition(|word| word.starts_with("device:"));
    let patterns: Vec<_> = words.iter().map(|word| pattern(word)).collect();
    let mut found = Vec::new();
    for (reference, text) in texts_of(files) {
        let device = &devices[&reference[..36]];
        let short = format!("device:{}", device.split('.').next().unwrap());
        let wanted = only.iter().all(|only| *only == short);
        if wanted && patterns.iter().all(|pattern| pattern.is_match(&text)) {
            let lines = text.lines();
            let lines = lines.filter(|line| patterns.iter().any(|pattern| pattern.is_match(line)));
            found.extend(lines.map(|line| (device.clone(), format!("{reference} {line}"))));
        }
    }
    found
}

fn pattern(words: &str) -> Regex {
    let pattern = match words.strip_prefix("--regex ") {
        Some(pattern) => pattern.trim_matches('\'').to_string(),
        None => {
            let words = words.split(" OR ").map(|word| word.trim_matches('"'));
            words.map(regex::escape).collect::<Vec<_>>().join("|")
        }
    };
    Regex::new(&format!("(?i){pattern}")).unwrap()
}

fn counted(query: &str, files: &Files) -> (usize, usize) {
    let found = answers(query, files);
    let devices: BTreeSet<_> = found.iter().map(|(device, _)| device).collect();
    for (device, place) in &found {
        println!("{query}: {device} {place}");
    }
    (found.len(), devices.len())
}

#[test]
fn every_row_of_the_readme_has_the_stated_number_of_hits() {
    let files = written();
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let mut rows = 0;
    for row in readme.lines().filter(|row| row.contains("? | `")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let (hits, devices) = counted(cells[1].trim_matches('`'), &files);
        assert_eq!(cells[2], format!("{hits} on {devices}"), "{row}");
        rows += 1;
    }
    assert_eq!(rows, 8);
}

#[test]
fn every_question_has_the_stated_hits_and_is_in_the_readme() {
    let files = written();
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    for question in &QUESTIONS {
        let query = if question.regex {
            format!("--regex '{}'", question.query)
        } else {
            question.query.to_string()
        };
        assert_eq!(counted(&query, &files), (question.hits, question.devices));
        assert!(readme.contains(&format!("`{query}`")), "{query}");
    }
}

#[test]
fn unusual_formats_are_present() {
    let files = written();
    let transcripts: Vec<_> = files
        .iter()
        .filter(|(path, _)| path.contains('/') && path.ends_with(".json"))
        .map(|(_, bytes)| bytes.as_slice())
        .collect();
    let strict = |bytes: &&&[u8]| serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
    let holding = |part: &[u8]| {
        let holds = |bytes: &&&[u8]| memchr::memmem::find(bytes, part).is_some();
        transcripts.iter().filter(holds).count()
    };
    assert_eq!(
        transcripts.len() - transcripts.iter().filter(strict).count(),
        2
    );
    assert_eq!(holding(br"\u0000\u0000\u0000"), 1);
    assert_eq!(holding(b"\xff\xfe{"), 1);
    assert_eq!(holding(b"\r\n  \"exit_code\""), 1);
    let texts = texts_of(&files);
    let nested = texts
        .keys()
        .filter(|reference| reference.matches('!').count() == 3);
    assert_eq!(nested.count(), 5);
}

#[test]
fn quarantined_script_requires_its_password() {
    let files = written();
    let locked = files.iter().find_map(|(path, bytes)| {
        let mut file = Vec::new();
        let mut gzip = flate2::read::GzDecoder::new(bytes.as_slice());
        let named = gzip.header()?.filename()? == b"quarantine.zip";
        (named && path.ends_with(".gz")).then(|| gzip.read_to_end(&mut file).unwrap())?;
        Some(file)
    });
    let mut zip = zip::ZipArchive::new(Cursor::new(locked.unwrap())).unwrap();
    assert!(zip.by_index(0).is_err());
    assert!(zip.by_index_decrypt(0, b"wrong").is_err());
    assert!(zip.by_index_decrypt(0, b"infected").is_ok());
}

#[test]
fn six_results_are_missing_for_five_reasons() {
    let files = written();
    let mut missing = Vec::new();
    for action in actions(&files) {
        for command in action.commands.iter().filter(|c| c.has_result()) {
            let below = format!("{}/{}.", action.id, command.index);
            if !files.keys().any(|path| path.starts_with(&below)) {
                missing.push((action.status.clone(), command.status.clone()));
            }
        }
    }
    missing.sort();
    let as_text: Vec<_> = missing.iter().map(|(a, c)| format!("{a}/{c}")).collect();
    assert_eq!(
        as_text,
        [
            "Cancelled/Created",
            "Failed/Created",
            "Pending/Created",
            "Pending/Created",
            "Succeeded/Completed",
            "TimeOut/Failed"
        ]
    );
}
