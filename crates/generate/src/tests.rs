//! Checks the answers by unpacking and scanning the collection, without the
//! code that generates it.

use std::collections::{BTreeMap, HashSet};
use std::io::{Cursor, Read};

use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::*;

type Files = BTreeMap<String, Vec<u8>>;

fn made(settings: &GenerateSettings) -> (Files, CollectionSummary) {
    let memory = MemorySink::default();
    let summary = generate(settings, &memory).unwrap();
    (memory.into_files(), summary)
}

/// All texts of a collection by REF.
pub(crate) fn texts_of(files: &Files) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for (path, bytes) in files {
        if let Some((action, file)) = path.split_once('/') {
            let index = file.split('.').next().unwrap();
            unpack(&format!("{action}/{index}"), bytes, &mut texts);
        }
    }
    texts
}

fn unpack(reference: &str, bytes: &[u8], texts: &mut BTreeMap<String, String>) {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut gzip = GzDecoder::new(bytes);
        let mut inner = Vec::new();
        gzip.read_to_end(&mut inner).unwrap();
        let name = gzip.header().unwrap().filename();
        let name = name.map_or("#0".into(), |name| {
            String::from_utf8_lossy(name).into_owned()
        });
        unpack(&format!("{reference}!{name}"), &inner, texts);
    } else if bytes.starts_with(b"PK") {
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        for n in 0..zip.len() {
            // The password is ignored for unencrypted members.
            let mut member = zip.by_index_decrypt(n, b"infected").unwrap();
            let name = member.name().unwrap().to_string();
            let mut inner = Vec::new();
            member.read_to_end(&mut inner).unwrap();
            drop(member);
            unpack(&format!("{reference}!{name}"), &inner, texts);
        }
    } else if let Ok(Value::Object(transcript)) = serde_json::from_slice(bytes) {
        for (field, layer) in [("script_output", "output"), ("script_errors", "errors")] {
            let text = transcript[field].as_str().unwrap();
            texts.insert(format!("{reference}!{layer}"), text.to_string());
        }
    } else if let Some(wide) = bytes.strip_prefix(&[0xff, 0xfe]) {
        let units: Vec<_> = wide
            .chunks(2)
            .map(|c| u16::from_le_bytes([c[0], c[1]]))
            .collect();
        let narrow = String::from_utf16(&units).unwrap();
        unpack(reference, narrow.as_bytes(), texts);
    } else if bytes.starts_with(b"{\"script_name\"") {
        // Raw line feeds inside strings: replaced with blanks, the JSON is
        // valid.
        let text = String::from_utf8_lossy(bytes).replace('\n', " ");
        unpack(reference, text.as_bytes(), texts);
    } else {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        texts.insert(reference.to_string(), text);
    }
}

fn check_answers(settings: &GenerateSettings) -> CollectionSummary {
    let (files, summary) = made(settings);
    let texts = texts_of(&files);
    let total: usize = texts.values().map(String::len).sum();
    assert_eq!(total as u64, summary.text_bytes);
    for needle in &summary.needles {
        let mut found = Vec::new();
        for (reference, text) in &texts {
            for (offset, _) in text.match_indices(&needle.text) {
                let line = 1 + text[..offset].matches('\n').count() as u64;
                found.push((reference.clone(), line, offset as u64));
            }
        }
        let mut said: Vec<_> = needle
            .places
            .iter()
            .map(|place| (place.reference.clone(), place.line, place.offset))
            .collect();
        said.sort();
        found.sort();
        assert_eq!(found, said, "{}", needle.text);
        assert_eq!(needle.count, said.len() as u64);
    }
    for common in &summary.common {
        let lines = texts.values().flat_map(|text| text.lines());
        let lines = lines.filter(|line| line.contains(common.text)).count();
        assert_eq!(lines as u64, common.lines, "{}", common.text);
    }
    let lines: Vec<_> = texts
        .values()
        .flat_map(|text| text.split_inclusive('\n'))
        .collect();
    let distinct: HashSet<_> = lines.iter().collect();
    let bytes: usize = distinct.iter().map(|line| line.len()).sum();
    assert_eq!(bytes as u64, summary.distinct_line_bytes);
    assert_eq!(lines.len() as u64, summary.lines);
    let answers: Value = serde_json::from_slice(&files["answers.json"]).unwrap();
    assert_eq!(
        answers["needles"].as_array().unwrap().len(),
        summary.needles.len()
    );
    println!(
        "{:?}: share {:.3}, stored {:.3}",
        settings.shape,
        summary.distinct_line_share,
        summary.stored_bytes as f64 / summary.text_bytes as f64
    );
    summary
}

#[test]
fn fleet_is_repetitive_and_its_answers_are_correct() {
    let summary = check_answers(&GenerateSettings::new(Shape::Fleet, 30, 6_000_000));
    let share = summary.distinct_line_share;
    assert!((0.12..0.22).contains(&share), "{share}");
    let near = summary.text_bytes as f64 / 6e6;
    assert!((0.8..1.25).contains(&near), "{near}");
}

#[test]
fn unique_text_is_hardly_repetitive_and_its_answers_are_correct() {
    let summary = check_answers(&GenerateSettings::new(Shape::Unique, 20, 4_000_000));
    let share = summary.distinct_line_share;
    assert!((0.53..0.68).contains(&share), "{share}");
}

#[test]
fn every_needle_is_planted_on_the_requested_number_of_devices() {
    let settings = GenerateSettings::new(Shape::Fleet, 60, 1_000_000);
    let (_, summary) = made(&settings);
    for (needle, hidden) in summary.needles.iter().zip(&settings.hidden) {
        let devices: HashSet<_> = needle.places.iter().map(|place| &place.device).collect();
        assert_eq!(devices.len() as u64, hidden.devices, "{}", needle.kind);
    }
}

#[test]
fn more_needles_than_devices_are_planted_once_on_each() {
    let settings = GenerateSettings::new(Shape::Unique, 3, 100_000);
    let (_, summary) = made(&settings);
    let software = summary
        .needles
        .iter()
        .find(|n| n.kind == "software")
        .unwrap();
    assert_eq!(software.count, 3);
}

/// Changes only with the generator, then equally on every platform.
const KNOWN: &str = "a9cac700a83ba815c514bcdcff38de403fd5ebb66c8aa6bd8a5daac0b1579698";

#[test]
fn equal_settings_give_equal_bytes_on_every_platform() {
    let hash_of = |seed| {
        let mut settings = GenerateSettings::new(Shape::Fleet, 5, 500_000);
        settings.seed = seed;
        let mut hash = Sha256::new();
        for (path, bytes) in made(&settings).0 {
            hash.update(path);
            hash.update(bytes);
        }
        data_encoding::HEXLOWER.encode(&hash.finalize())
    };
    assert_eq!(hash_of(7), KNOWN);
    assert_ne!(hash_of(8), KNOWN);
}

#[test]
fn output_is_independent_of_the_number_of_threads() {
    let settings = GenerateSettings::new(Shape::Unique, 7, 700_000);
    let on = |threads| {
        let memory = MemorySink::default();
        collection::generate_on(threads, &settings, &memory).unwrap();
        memory.into_files()
    };
    assert!(on(1) == on(3));
}

#[test]
fn shape_is_parsed_from_its_name() {
    assert_eq!("unique".parse(), Ok(Shape::Unique));
    assert!("flat".parse::<Shape>().is_err());
}

#[test]
fn every_result_belongs_to_a_completed_command_of_a_listed_device() {
    let (files, summary) = made(&GenerateSettings::new(Shape::Fleet, 8, 2_000_000));
    let machines: Value = serde_json::from_slice(&files["machines.json"]).unwrap();
    let machines: HashSet<_> = machines["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|machine| machine["id"].as_str().unwrap().to_string())
        .collect();
    assert_eq!(machines.len(), 8);
    let mut results = 0;
    for (path, bytes) in files.iter().filter(|(path, _)| is_action(path)) {
        let action = evidence::Action::from_json(bytes).unwrap();
        assert_eq!(format!("{}.json", action.id), *path);
        assert!(machines.contains(action.machine_id.as_deref().unwrap()));
        for command in action.commands.iter().filter(|c| c.has_result()) {
            let ending = |e| format!("{}/{}.{e}", action.id, command.index);
            assert!(files.contains_key(&ending("gz")) || files.contains_key(&ending("json")));
            results += 1;
        }
    }
    assert_eq!(results, summary.results);
}

fn is_action(path: &str) -> bool {
    !path.contains('/') && path != "machines.json" && path != "answers.json"
}

#[test]
fn collection_without_devices_is_rejected() {
    let none = GenerateSettings::new(Shape::Fleet, 0, 1);
    assert!(matches!(
        generate(&none, &MemorySink::default()),
        Err(GenerateError::NoDevices)
    ));
}
