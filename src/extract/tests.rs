mod words;

use super::*;
use crate::evidence::ProblemKind;

/// A document as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Document {
    head: Head,
    text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Taken {
    documents: Vec<Document>,
    facts: Option<TranscriptFacts>,
    problems: Vec<Problem>,
}

impl Sink for Taken {
    fn document(&mut self, head: Head) -> ControlFlow<()> {
        assert!(
            self.documents.iter().all(|d| d.head.part != head.part),
            "a part came twice"
        );
        self.documents.push(Document {
            head,
            text: String::new(),
        });
        ControlFlow::Continue(())
    }

    fn text(&mut self, piece: &str) -> ControlFlow<()> {
        self.documents.last_mut().unwrap().text.push_str(piece);
        ControlFlow::Continue(())
    }

    fn transcript(&mut self, facts: &TranscriptFacts) {
        assert!(self.facts.is_none());
        self.facts = Some(facts.clone());
    }

    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}

impl Taken {
    fn part(&self, part: Part) -> Option<&str> {
        let found = self.documents.iter().find(|d| d.head.part == part);
        found.map(|d| d.text.as_str())
    }

    fn whole(&self) -> &str {
        self.part(Part::Whole).unwrap()
    }

    fn encoding(&self) -> &'static str {
        self.documents[0].head.encoding
    }

    fn has(&self, kind: ProblemKind) -> bool {
        self.problems.iter().any(|p| p.kind == kind)
    }
}

/// Reads in chunks of a seeded random size.
struct Chunked<'a> {
    bytes: &'a [u8],
    seed: u64,
}

fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

impl Read for Chunked<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = 1 + next(&mut self.seed) as usize % 700;
        let n = wanted.min(buf.len()).min(self.bytes.len());
        buf[..n].copy_from_slice(&self.bytes[..n]);
        self.bytes = &self.bytes[n..];
        Ok(n)
    }
}

fn take_by(bytes: &[u8], kind: ResultKind, seed: u64, step: usize) -> Taken {
    let mut taken = Taken::default();
    let hint = Hint { name: None, kind };
    extract_by(
        &mut Chunked { bytes, seed },
        hint,
        Settings::default(),
        &mut taken,
        step,
    )
    .unwrap();
    taken
}

/// Extracts, and asserts that no way of cutting the bytes changes the answer.
fn take(bytes: &[u8], kind: ResultKind) -> Taken {
    let mut taken = Taken::default();
    let hint = Hint { name: None, kind };
    extract(&mut &bytes[..], hint, Settings::default(), &mut taken).unwrap();
    for (seed, step) in [(1, feed::WINDOW_BYTES), (7, 1), (99, 5), (3, 1000)] {
        if step == 1 && bytes.len() > 100_000 {
            continue;
        }
        let other = take_by(bytes, kind, seed, step);
        assert!(other == taken, "step {step} gives another text");
    }
    taken
}

fn file(bytes: &[u8]) -> Taken {
    take(bytes, ResultKind::File)
}

fn utf16(text: &str, big: bool) -> Vec<u8> {
    text.encode_utf16()
        .flat_map(|unit| {
            if big {
                unit.to_be_bytes()
            } else {
                unit.to_le_bytes()
            }
        })
        .collect()
}

fn utf32(text: &str) -> Vec<u8> {
    text.chars()
        .flat_map(|c| (c as u32).to_le_bytes())
        .collect()
}

const SENTENCE: &str = "Grüße aus Łódź: служба «Планировщик» läuft 🚀\r\nschtasks.exe /create\r\n";

// ---- text --------------------------------------------------------------

#[test]
fn every_unicode_reads_the_same_with_its_mark() {
    for (mark, bytes, encoding) in [
        (&[][..], SENTENCE.as_bytes().to_vec(), "utf-8"),
        (
            &[0xef, 0xbb, 0xbf][..],
            SENTENCE.as_bytes().to_vec(),
            "utf-8",
        ),
        (&[0xff, 0xfe][..], utf16(SENTENCE, false), "utf-16le"),
        (&[0xfe, 0xff][..], utf16(SENTENCE, true), "utf-16be"),
        (&[0xff, 0xfe, 0, 0][..], utf32(SENTENCE), "utf-32le"),
    ] {
        let taken = file(&[mark, &bytes].concat());
        assert_eq!(taken.whole(), SENTENCE, "{encoding}");
        assert_eq!(taken.encoding(), encoding);
        assert_eq!(taken.problems, [], "{encoding}");
    }
}

#[test]
fn utf16_is_known_without_its_mark() {
    for text in [
        SENTENCE,
        "Имя компьютера: СЕРВЕР-7\r\nадрес 10.0.0.7\r\n",
        "a\r\n",
    ] {
        for big in [false, true] {
            let taken = file(&utf16(text, big));
            assert_eq!(taken.whole(), text);
            assert_eq!(taken.encoding(), if big { "utf-16be" } else { "utf-16le" });
        }
    }
}

#[test]
fn text_of_a_code_page_is_read_by_it() {
    let taken = file(b"Benutzer: M\xfcller, Stra\xdfe \x80 5\r\n");
    assert_eq!(taken.whole(), "Benutzer: Müller, Straße € 5\r\n");
    assert_eq!(taken.encoding(), "windows-1252");
    assert!(taken.has(ProblemKind::Encoding));
    let mut other = Taken::default();
    let settings = Settings {
        code_page: CodePage::from_number(1251).unwrap(),
    };
    let hint = Hint {
        name: None,
        kind: ResultKind::File,
    };
    extract(
        &mut &b"\xcf\xf0\xe8\xe2\xe5\xf2"[..],
        hint,
        settings,
        &mut other,
    )
    .unwrap();
    assert_eq!(other.whole(), "Привет");
}

#[test]
fn a_code_page_of_two_bytes_a_character_is_read_too() {
    let (bytes, _, _) = encoding_rs::SHIFT_JIS.encode("サービス開始 mimikatz 日本語\r\n");
    let settings = Settings {
        code_page: CodePage::from_number(932).unwrap(),
    };
    let hint = Hint {
        name: None,
        kind: ResultKind::File,
    };
    let mut taken = Taken::default();
    extract(&mut &bytes[..], hint, settings, &mut taken).unwrap();
    assert_eq!(taken.whole(), "サービス開始 mimikatz 日本語\r\n");
}

#[test]
fn stray_bytes_in_utf8_are_kept_as_the_code_page_has_them() {
    let taken = file(
        "naïve "
            .repeat(20)
            .as_bytes()
            .iter()
            .chain(b"M\xfcller\n")
            .copied()
            .collect::<Vec<_>>()
            .as_slice(),
    );
    assert!(taken.whole().ends_with("naïve Müller\n"));
    assert_eq!(taken.encoding(), "utf-8");
    assert!(
        taken.problems[0].message.contains("1 bytes"),
        "{:?}",
        taken.problems
    );
}

#[test]
fn utf16_appended_to_a_log_of_bytes_stays_readable() {
    for order_mark in [&b""[..], b"\xff\xfe"] {
        let mut bytes = b"first line in ascii\r\nl\xc3\xa4uft\r\n".to_vec();
        bytes.extend_from_slice(order_mark);
        bytes.extend_from_slice(&utf16("second line, Größe 5 €, wide\r\n", false));
        bytes.extend_from_slice(b"third line narrow\r\n");
        bytes.extend_from_slice(&utf16("fourth\r\n", false));
        let taken = file(&bytes);
        assert_eq!(
            taken.whole(),
            "first line in ascii\r\nläuft\r\nsecond line, Größe 5 €, wide\r\nthird line narrow\r\nfourth\r\n"
        );
        assert!(taken.has(ProblemKind::Encoding));
    }
}

#[test]
fn bytes_appended_to_utf16_stay_readable() {
    for big in [false, true] {
        let mut bytes = if big {
            vec![0xfe, 0xff]
        } else {
            vec![0xff, 0xfe]
        };
        bytes.extend_from_slice(&utf16("erste Zeile\r\n", big));
        // an odd number of bytes puts what follows out of step
        bytes.extend_from_slice(b"appended by cmd, odd number\r\n");
        bytes.extend_from_slice(&utf16("und weiter, breit\r\n", big));
        let taken = file(&bytes);
        assert_eq!(
            taken.whole(),
            "erste Zeile\r\nappended by cmd, odd number\r\nund weiter, breit\r\n",
            "big {big}"
        );
    }
}

#[test]
fn ideographs_are_not_taken_for_bytes() {
    // both halves of many of these are ASCII
    let chinese = "系统服务已启动，用户登录成功。慢慢来浡湡整潮瑡獥".repeat(40);
    let japanese = "サービスがかいしされました、ログオンせいこう".repeat(40);
    for text in [chinese, japanese] {
        let bytes = [&[0xff, 0xfe][..], &utf16(&text, false)].concat();
        let taken = file(&bytes);
        assert_eq!(taken.whole(), text);
        assert_eq!(taken.problems, []);
    }
}

#[test]
fn halves_of_surrogate_pairs_become_one_replacement_each_and_one_problem() {
    let mut bytes = vec![0xff, 0xfe];
    bytes.extend_from_slice(&utf16("vor ", false));
    bytes.extend_from_slice(&[0x00, 0xd8]);
    bytes.extend_from_slice(&utf16("nach ", false));
    bytes.extend_from_slice(&[0x00, 0xdc]);
    let taken = file(&bytes);
    assert_eq!(taken.whole(), "vor \u{fffd}nach \u{fffd}");
    assert_eq!(taken.problems.len(), 1);
    assert!(taken.problems[0].message.contains("2 places"));
}

#[test]
fn nuls_in_text_stay_and_no_word_is_lost() {
    let mut bytes = b"begin\0middle\0\0\0end of the text, long enough\n".to_vec();
    bytes.extend_from_slice(&[0; 5000]);
    let taken = file(&bytes);
    let expected = String::from_utf8(bytes.clone()).unwrap();
    assert_eq!(taken.whole(), expected);
    assert_eq!(taken.documents[0].head.form, Form::Text);
}

#[test]
fn an_empty_leaf_is_an_empty_text() {
    assert_eq!(file(b"").whole(), "");
    let taken = take(b"", ResultKind::Transcript);
    assert_eq!(taken.whole(), "");
    assert!(taken.has(ProblemKind::Repaired));
}

#[test]
fn characters_cut_by_every_step_come_out_whole() {
    let text = "äöü€🚀 ".repeat(13_000);
    assert_eq!(file(text.as_bytes()).whole(), text);
    let wide = [&[0xff, 0xfe][..], &utf16(&text, false)].concat();
    assert_eq!(file(&wide).whole(), text);
}

// ---- strings -----------------------------------------------------------

fn binary() -> Vec<u8> {
    let mut bytes = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff".to_vec();
    bytes.extend((0..600u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 & 0x9f | 0x80));
    bytes
}

#[test]
fn a_program_gives_its_strings_in_both_widths() {
    let mut bytes = binary();
    bytes.extend_from_slice(b"\x01!This program cannot be run\0abc\xff\xff");
    bytes.extend_from_slice(&utf16("CompanyName\0Größe Служба\0ab\0", false));
    bytes.push(0xff);
    bytes.extend_from_slice(&utf16("odd offset", false));
    let taken = file(&bytes);
    let lines: Vec<&str> = taken.whole().lines().collect();
    assert_eq!(
        lines,
        [
            "!This program cannot be run",
            "CompanyName",
            "Größe Служба",
            "odd offset"
        ]
    );
    assert_eq!(taken.documents[0].head.form, Form::Strings);
    assert_eq!(taken.problems, []);
}

#[test]
fn a_string_longer_than_every_window_stays_one_line() {
    let mut bytes = binary();
    bytes.extend(std::iter::repeat_n(b'A', 200_000));
    bytes.push(0);
    bytes.extend_from_slice(&utf16(&"B".repeat(100_000), false));
    let taken = file(&bytes);
    let lengths: Vec<usize> = taken.whole().lines().map(str::len).collect();
    assert_eq!(lengths, [200_000, 100_000]);
}

#[test]
fn emptiness_gives_nothing() {
    let taken = file(&[0; 300_000]);
    assert_eq!(taken.whole(), "");
    assert_eq!(taken.documents[0].head.form, Form::Strings);
}

// ---- transcripts -------------------------------------------------------

fn transcript(json: &str) -> Taken {
    take(json.as_bytes(), ResultKind::Transcript)
}

#[test]
fn a_transcript_gives_its_values_in_any_order() {
    let taken = transcript(
        r#"{"script_output":"line\r\n\"q\" \\ \u00fc \ud83d\ude80\u0000","exit_code":-5,
            "script_errors":"bad","script_name":"x.ps1"}"#,
    );
    assert_eq!(taken.part(Part::Output), Some("line\r\n\"q\" \\ ü 🚀\0"));
    assert_eq!(taken.part(Part::Errors), Some("bad"));
    assert_eq!(taken.part(Part::Other), None);
    let facts = taken.facts.clone().unwrap();
    assert_eq!(facts.script_name.as_deref(), Some("x.ps1"));
    assert_eq!(facts.exit_code, Some(-5));
    assert_eq!(taken.problems, []);
}

#[test]
fn other_spellings_of_the_keys_are_known() {
    let taken = transcript(r#"{"name":"a","exit_code":"7","output":"o","errors":"e"}"#);
    assert_eq!(taken.part(Part::Output), Some("o"));
    assert_eq!(taken.part(Part::Errors), Some("e"));
    assert_eq!(taken.facts.unwrap().exit_code, Some(7));
    let taken = transcript(r#"{"script_output":"o","script_error":"e"}"#);
    assert_eq!(taken.part(Part::Errors), Some("e"));
}

#[test]
fn unknown_and_second_values_are_kept_beside() {
    let taken = transcript(
        r#"{"script_output":"one","machine":{"a":[1,"}x"]},"output":"two","script_errors":null,"exit_code":{}}"#,
    );
    assert_eq!(taken.part(Part::Output), Some("one"));
    let other = taken.part(Part::Other).unwrap();
    assert!(other.contains(r#"machine: {"a":[1,"}x"]}"#), "{other}");
    assert!(other.contains("output: two\n"), "{other}");
    assert!(other.contains("exit_code: {}"), "{other}");
}

#[test]
fn a_transcript_without_output_still_is_a_document() {
    let taken =
        transcript(r#"{"script_name":"x","exit_code":0,"script_output":"","script_errors":""}"#);
    assert_eq!(taken.documents.len(), 1);
    assert_eq!(taken.part(Part::Output), Some(""));
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
        assert_eq!(taken.part(Part::Output), Some(output), "{json}");
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
    assert_eq!(taken.part(Part::Output), Some("a"));
    assert_eq!(taken.part(Part::Other), None);
    assert!(taken.has(ProblemKind::Repaired));
}

#[test]
fn utf16_transcripts_are_read() {
    let json = "{\"script_output\":\"größe\",\"exit_code\":3}";
    for mark in [&[0xff, 0xfe][..], &[]] {
        let bytes = [mark, &utf16(json, false)].concat();
        let taken = take(&bytes, ResultKind::Transcript);
        assert_eq!(taken.part(Part::Output), Some("größe"));
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
    assert_eq!(taken.part(Part::Output), Some("found"));
    let config = br#"{"name":"x","output":"found"}"#;
    assert_eq!(file(config).whole().as_bytes(), config);
}

#[test]
fn a_transcript_larger_than_every_window_streams() {
    let line = "Process \"svchost.exe\" C:\\Windows\tü\r\n";
    let output = line.repeat(20_000);
    let json = serde_json::json!({"script_output": output, "script_name": "big.ps1"}).to_string();
    let taken = transcript(&json);
    assert!(taken.part(Part::Output) == Some(output.as_str()));
    assert_eq!(taken.facts.unwrap().script_name.as_deref(), Some("big.ps1"));
    assert_eq!(taken.problems, []);
}

/// Random text of what makes JSON hard.
fn random_text(seed: &mut u64) -> String {
    let alphabet = [
        "a",
        "\"",
        "\\",
        "\n",
        "\r\n",
        ",",
        ":",
        "}",
        "{",
        "]",
        "\"script_errors\":",
        "ü",
        "🚀",
        "\u{0}",
        "\u{1f}",
        " ",
        "\\u0041",
        "\",\"x\":\"",
        "\"}",
        "\u{2028}",
        "/",
    ];
    let len = next(seed) % 40;
    (0..len)
        .map(|_| alphabet[next(seed) as usize % alphabet.len()])
        .collect()
}

#[test]
fn valid_json_gives_exactly_what_a_strict_reader_gives() {
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    for round in 0..400 {
        let (output, errors, name) = (
            random_text(&mut seed),
            random_text(&mut seed),
            random_text(&mut seed),
        );
        let value = serde_json::json!({
            "script_output": output, "exit_code": round, "extra": [random_text(&mut seed)],
            random_text(&mut seed) + "k": random_text(&mut seed),
            "script_errors": errors, "script_name": name,
        });
        let json = if round % 2 == 0 {
            value.to_string()
        } else {
            serde_json::to_string_pretty(&value).unwrap()
        };
        let taken = take_by(
            json.as_bytes(),
            ResultKind::Transcript,
            1 + round as u64,
            64,
        );
        assert_eq!(taken.part(Part::Output).unwrap_or(""), output, "{json}");
        assert_eq!(taken.part(Part::Errors).unwrap_or(""), errors, "{json}");
        let facts = taken.facts.clone().unwrap();
        assert_eq!(facts.script_name.as_deref(), Some(name.as_str()), "{json}");
        assert_eq!(facts.exit_code, Some(round), "{json}");
        assert!(taken.problems.is_empty(), "{json}: {:?}", taken.problems);
    }
}

#[test]
fn arbitrary_bytes_never_panic_and_read_the_same_in_every_step() {
    let mut seed = 42;
    let seeds: [&[u8]; 6] = [
        b"{\"script_output\":\"a\\u00e4\\\"\",\"exit_code\":0}",
        b"\xff\xfea\0b\0c\0d\0",
        b"plain text\r\n with \xfc and \0\0\0\0",
        b"a\0b\0c\0d\0e\0abcdefghijkl mnop\r\n",
        b"MZ\x90\0\x01\x02\x03",
        b"\xef\xbb\xbf{\"output\": \"",
    ];
    for round in 0..600 {
        let mut bytes = Vec::new();
        for _ in 0..next(&mut seed) % 12 {
            let part = seeds[next(&mut seed) as usize % seeds.len()];
            bytes.extend_from_slice(part);
            for _ in 0..next(&mut seed) % 4 {
                bytes.push(next(&mut seed) as u8);
            }
        }
        let kind = if round % 2 == 0 {
            ResultKind::Transcript
        } else {
            ResultKind::File
        };
        take(&bytes, kind);
    }
}

#[test]
fn a_sink_that_says_stop_is_obeyed() {
    struct Stops(usize);
    impl Sink for Stops {
        fn document(&mut self, _: Head) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }
        fn text(&mut self, _: &str) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Break(())
        }
        fn transcript(&mut self, _: &TranscriptFacts) {
            panic!("told after stop");
        }
        fn problem(&mut self, _: Problem) {}
    }
    let text = "x".repeat(1 << 20);
    let json = format!("{{\"script_output\":\"{text}\"}}");
    for bytes in [
        text.as_bytes(),
        json.as_bytes(),
        &[binary(), text.clone().into_bytes()].concat(),
    ] {
        let mut sink = Stops(0);
        let hint = Hint {
            name: None,
            kind: ResultKind::Transcript,
        };
        extract(&mut &bytes[..], hint, Settings::default(), &mut sink).unwrap();
        assert_eq!(sink.0, 1);
    }
}

// ---- real files --------------------------------------------------------

#[test]
fn real_files_read_as_what_they_are() {
    let Some(folder) = std::env::var_os("AFTERACTION_REAL_DATA") else {
        println!("skipped: AFTERACTION_REAL_DATA is not set");
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    let read = |path: &str| std::fs::read(folder.join(path)).unwrap();

    let sample = read("mde_json/defender-docs/runscript_result_doc_example.json");
    let taken = take(&sample, ResultKind::Transcript);
    let output = taken.part(Part::Output).unwrap();
    assert!(output.starts_with("Transcript started, output file is C:\\ProgramData\\"));
    assert!(output.ends_with(".dmp.zip\n51 MB\n\0\0\0"), "{output:?}");
    assert_eq!(
        taken.facts.clone().unwrap().script_name.as_deref(),
        Some("minidump.ps1")
    );
    assert_eq!(taken.facts.clone().unwrap().exit_code, Some(0));
    assert!(taken.has(ProblemKind::Repaired));

    let lorem = file(&read("utf16/ugrep/lorem.utf16.txt"));
    assert!(
        lorem.encoding().starts_with("utf-16"),
        "{}",
        lorem.encoding()
    );
    assert!(lorem.whole().contains("Lorem ipsum") || lorem.whole().contains("lorem"));
    let latin = file(&read("utf16/ugrep/lorem.latin1.txt"));
    assert_eq!(latin.documents[0].head.form, Form::Text);
    assert_eq!(
        file(&read("text/plaso/SAFStore.xml")).encoding(),
        "utf-16le"
    );
    assert!(
        file(&read("text/plaso/setupapi.setup.log"))
            .whole()
            .contains("Device Install")
    );
    for path in [
        "registry",
        "evtx",
        "prefetch",
        "lnk",
        "minidump",
        "sqlite_ese",
    ] {
        let Ok(files) = std::fs::read_dir(folder.join(path)) else {
            continue;
        };
        for entry in files.flatten().filter(|e| e.path().is_file()).take(2) {
            let bytes = std::fs::read(entry.path()).unwrap();
            assert_eq!(
                file(&bytes).documents[0].head.form,
                Form::Strings,
                "{:?}",
                entry.path()
            );
        }
    }
}
