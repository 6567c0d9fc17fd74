//! Transcripts, whole, odd and cut.

use crate::tests::*;

fn transcript(json: &str) -> Taken {
    take(json.as_bytes(), ResultKind::Transcript)
}

#[test]
fn a_transcript_gives_its_values_in_any_order() {
    let taken = transcript(
        r#"{"script_output":"line\r\n\"q\" \\ \u00fc \ud83d\ude80\u0000","exit_code":-5,
            "script_errors":"bad","script_name":"x.ps1"}"#,
    );
    assert_eq!(
        taken.part(TextPart::Output),
        Some("line\r\n\"q\" \\ ü 🚀\0")
    );
    assert_eq!(taken.part(TextPart::Errors), Some("bad"));
    assert_eq!(taken.part(TextPart::Other), None);
    let facts = taken.facts.clone().unwrap();
    assert_eq!(facts.script_name.as_deref(), Some("x.ps1"));
    assert_eq!(facts.exit_code, Some(-5));
    assert_eq!(taken.problems, []);
}

#[test]
fn other_spellings_of_the_keys_are_known() {
    let taken = transcript(r#"{"name":"a","exit_code":"7","output":"o","errors":"e"}"#);
    assert_eq!(taken.part(TextPart::Output), Some("o"));
    assert_eq!(taken.part(TextPart::Errors), Some("e"));
    assert_eq!(taken.facts.unwrap().exit_code, Some(7));
    let taken = transcript(r#"{"script_output":"o","script_error":"e"}"#);
    assert_eq!(taken.part(TextPart::Errors), Some("e"));
}

#[test]
fn unknown_and_second_values_are_kept_beside() {
    let taken = transcript(
        r#"{"script_output":"one","machine":{"a":[1,"}x"]},"output":"two","script_errors":null,"exit_code":{}}"#,
    );
    assert_eq!(taken.part(TextPart::Output), Some("one"));
    let other = taken.part(TextPart::Other).unwrap();
    assert!(other.contains(r#"machine: {"a":[1,"}x"]}"#), "{other}");
    assert!(other.contains("output: two\n"), "{other}");
    assert!(other.contains("exit_code: {}"), "{other}");
}

#[test]
fn a_transcript_without_output_still_is_a_document() {
    let taken =
        transcript(r#"{"script_name":"x","exit_code":0,"script_output":"","script_errors":""}"#);
    assert_eq!(taken.documents.len(), 1);
    assert_eq!(taken.part(TextPart::Output), Some(""));
    assert_eq!(taken.problems, []);
}

#[test]
fn what_is_not_strict_is_read_and_told() {
    for (json, output, told) in [
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
        ("{\"script_output\":\"a\"}\0\0\0garbage", "a", "behind"),
        (r#"{"script_output":"a" "exit_code":0,}"#, "a", ""),
        ("\u{feff}{\"script_output\":\"a\"}", "a", "byte order mark"),
    ] {
        let taken = transcript(json);
        assert_eq!(taken.part(TextPart::Output), Some(output), "{json}");
        let problem = taken
            .problems
            .iter()
            .find(|p| p.kind == ProblemKind::Repaired);
        assert!(
            problem.is_some_and(|p| p.message.contains(told)),
            "{json}: {:?}",
            taken.problems
        );
    }
}

#[test]
fn a_nul_tail_behind_the_object_is_told() {
    let taken = transcript("{\"script_output\":\"a\",\"exit_code\":0}\n\0\0\0\0");
    assert_eq!(taken.part(TextPart::Output), Some("a"));
    assert_eq!(taken.part(TextPart::Other), None);
    assert!(taken.has(ProblemKind::Repaired));
}

#[test]
fn utf16_transcripts_are_read() {
    let json = "{\"script_output\":\"größe\",\"exit_code\":3}";
    for mark in [&[0xff, 0xfe][..], &[]] {
        let bytes = [mark, &utf16(json, false)].concat();
        let taken = take(&bytes, ResultKind::Transcript);
        assert_eq!(taken.part(TextPart::Output), Some("größe"));
        assert_eq!(taken.facts.clone().unwrap().exit_code, Some(3));
        assert!(taken.has(ProblemKind::Repaired));
    }
}

#[test]
fn a_cut_transcript_keeps_what_is_there_wherever_it_is_cut() {
    let json = r#"{"script_name":"x.ps1","exit_code":12,"script_output":"some \u00fc\n text","script_errors":"e"}"#;
    for cut in 1..json.len() {
        let taken = transcript(&json[..cut]);
        assert!(taken.has(ProblemKind::Repaired), "cut at {cut}");
        let text: String = taken.documents.iter().map(|d| d.text.as_str()).collect();
        if cut > 60 {
            assert!(text.contains("some"), "cut at {cut}: {taken:?}");
        }
    }
}

#[test]
fn what_is_no_json_is_plain_text_and_told() {
    for text in ["Access is denied.\r\n", "{ not json at all", "{\"foo\": 1}"] {
        let taken = transcript(text);
        assert_eq!(taken.whole(), text);
        assert!(taken.has(ProblemKind::Repaired));
        assert_eq!(taken.facts, None);
    }
}

#[test]
fn a_file_is_a_transcript_only_where_it_says_enough() {
    let taken = file(br#"{"script_name":"x","script_output":"found","exit_code":0}"#);
    assert_eq!(taken.part(TextPart::Output), Some("found"));
    // The same bytes give the same text wherever they are found.
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
fn a_transcript_larger_than_every_window_streams() {
    let line = "Process \"svchost.exe\" C:\\Windows\tü\r\n";
    let output = line.repeat(20_000);
    let json = serde_json::json!({"script_output": output, "script_name": "big.ps1"}).to_string();
    let taken = transcript(&json);
    assert!(taken.part(TextPart::Output) == Some(output.as_str()));
    assert_eq!(taken.facts.unwrap().script_name.as_deref(), Some("big.ps1"));
    assert_eq!(taken.problems, []);
}
