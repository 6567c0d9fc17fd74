//! Malicious evidence is recorded and has no effect.

use std::fs;
use std::io::Write;

use super::support::{Case, real_data};

#[path = "../../fuzz/bodies/extract.rs"]
mod fuzz_extract;
#[path = "../../fuzz/bodies/members.rs"]
mod fuzz_members;

#[test]
fn hostile_zips_are_imported_searched_and_listed_without_harm() {
    let Some(real) = real_data() else { return };
    let case = Case::new();
    case.write("in/witness.txt", "the witness speaks\n");
    let outside: Vec<_> = listing(&case);
    let ran = case.run(&[
        "import",
        &real.join("hostile_zip").display().to_string(),
        &case.path("in").display().to_string(),
    ]);
    assert_eq!(ran.code, 3, "there are problems\n{}", ran.stderr);
    assert_eq!(
        listing(&case),
        outside,
        "something was written outside the archive"
    );
    let problems = case.ok(&["problems", "--jsonl"]).jsonl();
    assert!(problems.len() > 30, "{} problems", problems.len());
    assert!(
        problems
            .iter()
            .all(|p| !p["message"].as_str().unwrap().is_empty())
    );
    assert_eq!(
        case.ok(&["search", "witness speaks", "--jsonl"])
            .jsonl()
            .len(),
        1
    );
    case.ok(&["verify"]);
    for row in case.ok(&["list", "--jsonl"]).jsonl() {
        let key = format!(
            "{}/{}",
            row["action_id"].as_str().unwrap(),
            row["command_index"]
        );
        assert_eq!(case.run(&["show", &key]).code, 0, "show {key}");
    }
}

/// Names in the folder of the case, besides the archive.
fn listing(case: &Case) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(case.path(""))
        .expect("the case")
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name != "case")
        .collect();
    names.sort();
    names
}

#[test]
fn new_password_opens_locked_members() {
    let Some(real) = real_data() else { return };
    let case = Case::new();
    let locked = real.join("hostile_zip/libzip/encrypt-1234.zip");
    let ran = case.run(&["import", &locked.display().to_string()]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let before = case.ok(&["problems", "--jsonl"]).jsonl();
    assert!(
        before.iter().any(|p| p["kind"] == "encrypted"),
        "{before:?}"
    );
    let words = case.write("words.txt", "wrong\n1234\n");
    case.run(&["index", "--passwords", &words.display().to_string()]);
    let after = case.ok(&["problems", "--jsonl"]).jsonl();
    assert!(!after.iter().any(|p| p["kind"] == "encrypted"), "{after:?}");
    case.run(&["index", "--rebuild"]);
    assert_eq!(
        case.ok(&["problems", "--jsonl"]).jsonl(),
        after,
        "a rebuild knows the password"
    );
}

#[test]
fn transcript_without_valid_json_is_read() {
    let case = Case::new();
    let id = "5382f7ea-7557-4ab7-9782-d50480024a4e";
    for (index, body) in [
        &b"{\"script_name\":\"a.ps1\",\"exit_code\":0,\"script_output\":\"needle one\nraw feed\",\"script_errors\":\"\"}"[..],
        b"{\"script_name\":\"a.ps1\",\"script_output\":\"needle two and then it ends",
        b"needle three, no JSON at all",
        b"\xff\xfe{\0\"\0o\0u\0t\0p\0u\0t\0\"\0:\0\"\0n\0e\0e\0d\0l\0e\0 \x004\0\"\0}\0",
        b"",
    ]
    .iter()
    .enumerate()
    {
        case.write(&format!("in/{id}/{index}.json"), body);
    }
    case.run(&["import", &case.path("in").display().to_string()]);
    let hits = case.ok(&["search", "needle", "--jsonl"]).jsonl();
    let mut found: Vec<_> = hits
        .iter()
        .map(|h| h["command_index"].as_u64().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, [0, 1, 2, 3]);
    let repaired = case.ok(&["problems", "--jsonl"]).jsonl();
    assert!(
        repaired.iter().any(|p| p["kind"] == "repaired"),
        "{repaired:?}"
    );
    case.ok(&["show", &format!("{id}/4")]);
}

fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// Random bytes every fourth time, otherwise a mutated original.
fn mutated(originals: &[Vec<u8>], seed: &mut u64) -> Vec<u8> {
    let which = next(seed) as usize;
    if which.is_multiple_of(4) {
        return (0..which % 999).map(|_| next(seed) as u8).collect();
    }
    let mut bytes = originals[which % originals.len()].clone();
    for _ in 0..1 + next(seed) % 8 {
        let at = next(seed) as usize % bytes.len().max(1);
        match next(seed) % 5 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), next(seed) as u8),
            2 => {
                let part = bytes[at.min(bytes.len())..].to_vec();
                bytes.extend(part.into_iter().take(300));
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = next(seed) as u8;
                }
            }
        }
    }
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::default();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn fuzzer_invariants_hold_for_seeded_bytes() {
    let log = "service started, process 4711\r\n".repeat(50);
    let inner = zip(&[("a.log", log.as_bytes()), ("b", b"small"), ("b2", b"")]);
    let archives = [
        inner.clone(),
        gzip(&inner),
        zip(&[("i.zip", &inner), ("i.zip.gz", &gzip(&inner))]),
        gzip(&gzip(log.as_bytes())),
    ];
    let wide: Vec<u8> = log.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let texts = [
        log.as_bytes().to_vec(),
        [&b"\xff\xfe"[..], &wide, b"appended by a shell\r\n"].concat(),
        [log.as_bytes(), &wide].concat(),
        br#"{"script_name":"a.ps1","exit_code":0,"script_output":"a\u00e4\n \"b","script_errors":"e","more":[1,{"a":"b"}]}"#.to_vec(),
        b"MZ\x90\0\x03\0\0\0 a program \0\xff\xff\x01C\0o\0m\0p\0a\0n\0y\0\0\0".to_vec(),
    ];
    let mut seed = 0x00f0_22ed;
    for _ in 0..300 {
        fuzz_members::run(&mutated(&archives, &mut seed));
        fuzz_extract::run(&mutated(&texts, &mut seed));
    }
}

/// Line and offset of each hit, by reference.
fn places(case: &Case, query: &str) -> Vec<(String, u64, u64)> {
    let hits = case.ok(&["search", query, "--jsonl"]).jsonl();
    let mut places: Vec<_> = hits
        .iter()
        .map(|hit| {
            (
                hit["ref"].as_str().unwrap().to_string(),
                hit["line"].as_u64().unwrap(),
                hit["offset"].as_u64().unwrap(),
            )
        })
        .collect();
    places.sort();
    places
}

/// Expected values from `iconv -t UTF-8` and Python's `json`:
/// `text[:at].count(b"
/// ") + 1` and `text.find(word)`.
#[test]
fn hit_positions_equal_those_of_other_programs() {
    let case = Case::new();
    let text = "Grüße aus Łódź\r\nслужба läuft 🚀 needle-one\r\n\r\nзадача: needle-two\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let page = b"Benutzer: M\xfcller\r\nStra\xdfe \x80 5 needle-one\r\n\r\n\xdcber needle-two";
    let id = "5382f7ea-7557-4ab7-9782-d50480024a4e";
    let files = [
        [&b"\xff\xfe"[..], &little].concat(),
        [&b"\xfe\xff"[..], &big].concat(),
        little,
        big,
        page.to_vec(),
    ];
    for (index, bytes) in files.iter().enumerate() {
        let name = format!("text{index}.txt");
        case.write(
            &format!("in/{id}/{index}.gz"),
            gzip(&zip(&[(&name, bytes)])),
        );
    }
    case.write(
        &format!("in/{id}/9.json"),
        r#"{"script_name": "n.ps1", "exit_code": 0, "script_output": "Gr\u00f6\u00dfe\r\nC:\\Windows \ud83d\ude80 needle-one\r\n\tneedle-two\r\n", "script_errors": "f\u00f6rst\nfel: needle-three"}"#,
    );
    case.run(&["import", &case.path("in").display().to_string()]);
    let expected = |wide: (u64, u64), page: (u64, u64), output: (u64, u64)| -> Vec<_> {
        let file =
            |index: u64, (line, offset)| (format!("{id}/{index}!#0!text{index}.txt"), line, offset);
        let mut all: Vec<_> = (0..4).map(|index| file(index, wide)).collect();
        all.push(file(4, page));
        all.push((format!("{id}/9!output"), output.0, output.1));
        all
    };
    assert_eq!(
        places(&case, "\"needle-one\""),
        expected((2, 46), (2, 33), (2, 25))
    );
    assert_eq!(
        places(&case, "\"needle-two\""),
        expected((4, 74), (4, 53), (3, 38))
    );
    assert_eq!(
        places(&case, "\"needle-three\""),
        [(format!("{id}/9!errors"), 2, 12)]
    );
}

#[test]
fn single_byte_word_inside_utf16_is_found_and_shown() {
    let case = Case::new();
    case.write("in/odd.bin", b"a\0b\0c\0 evil\0");
    case.run(&["import", &case.path("in").display().to_string()]);
    let hits = case.ok(&["search", "evil", "--jsonl"]).jsonl();
    assert_eq!(hits.len(), 1);
    let place = hits[0]["ref"].as_str().unwrap();
    assert!(place.ends_with("!other"), "{place}");
    assert_eq!(case.ok(&["show", place]).stdout.trim(), "evil");
}

#[test]
fn verify_locates_a_damaged_custody_note() {
    let case = Case::new();
    case.write("in/a.txt", "a word\n");
    case.run(&["import", &case.path("in").display().to_string()]);
    case.ok(&["search", "word"]);
    let notes = case.archive().join("custody.notes");
    let mut bytes = fs::read(&notes).unwrap();
    bytes[40] ^= 1;
    fs::write(&notes, bytes).unwrap();
    let ran = case.run(&["verify"]);
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    let said = ran.stdout + &ran.stderr;
    assert!(said.contains("byte 1 of custody.notes"), "{said}");
}
