//! Transcripts: valid, invalid and truncated.

use crate::tests::*;

fn transcript(json: &str) -> Recording {
    record(json.as_bytes(), ResultKind::Transcript)
}

#[test]
fn transcript_values_are_read_in_any_order() {
    let recording = transcript(
        r#"{"script_output":"line\r\n\"q\" \\ \u00fc \ud83d\ude80\u0000","exit_code":-5,
            "script_errors":"bad","script_name":"x.ps1"}"#,
    );
    assert_eq!(
        recording.part(TextPart::Output),
        Some("line\r\n\"q\" \\ ü 🚀\0")
    );
    assert_eq!(recording.part(TextPart::Errors), Some("bad"));
    assert_eq!(recording.part(TextPart::Other), None);
    let facts = recording.facts.clone().unwrap();
    assert_eq!(facts.script_name.as_deref(), Some("x.ps1"));
    assert_eq!(facts.exit_code, Some(-5));
    assert_eq!(recording.problems, []);
}

#[test]
fn alternative_spellings_of_the_keys_are_accepted() {
    let recording = transcript(r#"{"name":"a","exit_code":"7","output":"o","errors":"e"}"#);
    assert_eq!(recording.part(TextPart::Output), Some("o"));
    assert_eq!(recording.part(TextPart::Errors), Some("e"));
    assert_eq!(recording.facts.unwrap().exit_code, Some(7));
    let recording = transcript(r#"{"script_output":"o","script_error":"e"}"#);
    assert_eq!(recording.part(TextPart::Errors), Some("e"));
}

#[test]
fn unknown_and_repeated_values_are_kept_in_part_other() {
    let recording = transcript(
        r#"{"script_output":"one","machine":{"a":[1,"}x"]},"output":"two","script_errors":null,"exit_code":{}}"#,
    );
    assert_eq!(recording.part(TextPart::Output), Some("one"));
    let other = recording.part(TextPart::Other).unwrap();
    assert!(other.contains(r#"machine: {"a":[1,"}x"]}"#), "{other}");
    assert!(other.contains("output: two\n"), "{other}");
    assert!(other.contains("exit_code: {}"), "{other}");
}

#[test]
fn transcript_without_output_yields_an_empty_document() {
    let recording =
        transcript(r#"{"script_name":"x","exit_code":0,"script_output":"","script_errors":""}"#);
    assert_eq!(recording.documents.len(), 1);
    assert_eq!(recording.part(TextPart::Output), Some(""));
    assert_eq!(recording.problems, []);
}

#[test]
fn invalid_json_is_read_and_reported() {
    for (json, output, reported) in [
        ("{\"script_output\":\"a\nb\u{1}\"}", "a\nb\u{1}", "control"),
        (
            r#"{"script_output":"C:\Windows\qmd"}"#,
            "C:\\Windows\\qmd",
            "escapes",
        ),
        (r#"{"script_output":"\ud800x"}"#, "\u{fffd}x", "surrogate"),
        (
            r#"{"script_output":"he said "hi", then "bye"","exit_code":0}"#,
            "he said \"hi\", then \"bye\"",
            "quotes",
        ),
        (
            "{\"script_output\":\"a\"}\0\0\0garbage",
            "a",
            "after the end",
        ),
        (r#"{"script_output":"a" "exit_code":0,}"#, "a", ""),
        ("\u{feff}{\"script_output\":\"a\"}", "a", "byte order mark"),
    ] {
        let recording = transcript(json);
        assert_eq!(recording.part(TextPart::Output), Some(output), "{json}");
        let problem = recording
            .problems
            .iter()
            .find(|p| p.kind == ProblemKind::Repaired);
        assert!(
            problem.is_some_and(|p| p.message.contains(reported)),
            "{json}: {:?}",
            recording.problems
        );
    }
}

#[test]
fn nul_padding_after_the_object_is_reported() {
    let recording = transcript("{\"script_output\":\"a\",\"exit_code\":0}\n\0\0\0\0");
    assert_eq!(recording.part(TextPart::Output), Some("a"));
    assert_eq!(recording.part(TextPart::Other), None);
    assert!(recording.has(ProblemKind::Repaired));
}

#[test]
fn utf16_transcripts_are_read() {
    let json = "{\"script_output\":\"größe\",\"exit_code\":3}";
    for mark in [&[0xff, 0xfe][..], &[]] {
        let bytes = [mark, &utf16(json, false)].concat();
        let recording = record(&bytes, ResultKind::Transcript);
        assert_eq!(recording.part(TextPart::Output), Some("größe"));
        assert_eq!(recording.facts.clone().unwrap().exit_code, Some(3));
        assert!(recording.has(ProblemKind::Repaired));
    }
}

#[test]
fn truncated_transcript_keeps_the_text_before_the_cut() {
    let json = r#"{"script_name":"x.ps1","exit_code":12,"script_output":"some \u00fc\n text","script_errors":"e"}"#;
    for cut in 1..json.len() {
        let recording = transcript(&json[..cut]);
        assert!(recording.has(ProblemKind::Repaired), "cut at {cut}");
        let text: String = recording
            .documents
            .iter()
            .map(|d| d.text.as_str())
            .collect();
        if cut > 60 {
            assert!(text.contains("some"), "cut at {cut}: {recording:?}");
        }
    }
}

#[test]
fn transcript_that_is_not_json_is_plain_text_with_a_problem() {
    for text in ["Access is denied.\r\n", "{ not json at all", "{\"foo\": 1}"] {
        let recording = transcript(text);
        assert_eq!(recording.whole(), text);
        assert!(recording.has(ProblemKind::Repaired));
        assert_eq!(recording.facts, None);
    }
}

#[test]
fn file_is_a_transcript_if_it_has_enough_keys() {
    let recording = file(br#"{"script_name":"x","script_output":"found","exit_code":0}"#);
    assert_eq!(recording.part(TextPart::Output), Some("found"));
    // The same bytes yield the same text in every kind of result.
    let own = r#"{"script_output":"first\nsecond\n"}"#;
    assert_eq!(
        file(own.as_bytes()).part(TextPart::Output),
        Some("first\nsecond\n")
    );
    assert_eq!(
        transcript(own).part(TextPart::Output),
        Some("first\nsecond\n")
    );
    let config = br#"{"name":"x","output":"found"}"#;
    assert_eq!(file(config).whole().as_bytes(), config);
}

#[test]
fn transcript_larger_than_the_window_is_streamed() {
    let line = "Process \"svchost.exe\" C:\\Windows\tü\r\n";
    let output = line.repeat(20_000);
    let json = serde_json::json!({"script_output": output, "script_name": "big.ps1"}).to_string();
    let recording = transcript(&json);
    assert!(recording.part(TextPart::Output) == Some(output.as_str()));
    assert_eq!(
        recording.facts.unwrap().script_name.as_deref(),
        Some("big.ps1")
    );
    assert_eq!(recording.problems, []);
}
