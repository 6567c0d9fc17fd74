//! Tests of the extractors, on every way of splitting the input.

mod encodings;
mod strings;
mod transcripts;
mod words;

use std::io::Read;
use std::ops::ControlFlow;

use crate::*;
use evidence::ResultKind;

/// A document, as the sink received it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Document {
    head: DocumentHead,
    text: String,
}

/// A sink that records everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Recording {
    documents: Vec<Document>,
    facts: Option<TranscriptFacts>,
    problems: Vec<Problem>,
}

impl Sink for Recording {
    fn document(&mut self, head: DocumentHead) -> ControlFlow<()> {
        assert!(
            self.documents.iter().all(|d| d.head.part != head.part),
            "a part occurs twice"
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

impl Recording {
    fn part(&self, part: TextPart) -> Option<&str> {
        self.documents
            .iter()
            .find(|d| d.head.part == part)
            .map(|d| d.text.as_str())
    }

    fn whole(&self) -> &str {
        self.part(TextPart::Whole).unwrap()
    }

    fn encoding(&self) -> &'static str {
        self.documents[0].head.encoding
    }

    fn has(&self, kind: ProblemKind) -> bool {
        self.problems.iter().any(|p| p.kind == kind)
    }
}

/// A stream that reads in chunks of pseudo-random sizes.
struct ChunkedStream<'a> {
    bytes: &'a [u8],
    seed: u64,
}

fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

impl Read for ChunkedStream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = 1 + next(&mut self.seed) as usize % 700;
        let n = wanted.min(buf.len()).min(self.bytes.len());
        buf[..n].copy_from_slice(&self.bytes[..n]);
        self.bytes = &self.bytes[n..];
        Ok(n)
    }
}

/// How the bytes are split, by the stream and by the window.
#[derive(Clone, Copy)]
struct Splitting {
    seed: u64,
    step: usize,
}

fn record_split(bytes: &[u8], kind: ResultKind, page: CodePage, splitting: Splitting) -> Recording {
    let mut recording = Recording::default();
    let mut stream = ChunkedStream {
        bytes,
        seed: splitting.seed,
    };
    let hint = ContentHint { name: None, kind };
    let mut input = Input::new(&mut stream, hint, ExtractSettings { code_page: page });
    input.window.set_step(splitting.step);
    extract(input, &mut recording).unwrap();
    recording
}

/// Extracts with a code page.
fn record_with_page(mut bytes: &[u8], kind: ResultKind, page: CodePage) -> Recording {
    let mut recording = Recording::default();
    let hint = ContentHint { name: None, kind };
    let input = Input::new(&mut bytes, hint, ExtractSettings { code_page: page });
    extract(input, &mut recording).unwrap();
    recording
}

/// Extracts, and asserts that no splitting of the bytes changes the output.
fn record(bytes: &[u8], kind: ResultKind) -> Recording {
    let page = CodePage::default();
    let recording = record_with_page(bytes, kind, page);
    for (seed, step) in [(1, crate::window::WINDOW_BYTES), (7, 1), (99, 5), (3, 1000)] {
        if step == 1 && bytes.len() > 100_000 {
            continue;
        }
        let other = record_split(bytes, kind, page, Splitting { seed, step });
        assert!(other == recording, "step {step} changes the output");
    }
    recording
}

/// Extracts from a file.
fn file(bytes: &[u8]) -> Recording {
    record(bytes, ResultKind::File)
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

/// Random text with many special characters of JSON.
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
fn valid_json_yields_exactly_its_values() {
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
        let splitting = Splitting {
            seed: 1 + round as u64,
            step: 64,
        };
        let recording = record_split(
            json.as_bytes(),
            ResultKind::Transcript,
            CodePage::default(),
            splitting,
        );
        assert_eq!(
            recording.part(TextPart::Output).unwrap_or(""),
            output,
            "{json}"
        );
        assert_eq!(
            recording.part(TextPart::Errors).unwrap_or(""),
            errors,
            "{json}"
        );
        let facts = recording.facts.clone().unwrap();
        assert_eq!(facts.script_name.as_deref(), Some(name.as_str()), "{json}");
        assert_eq!(facts.exit_code, Some(round), "{json}");
        assert!(
            recording.problems.is_empty(),
            "{json}: {:?}",
            recording.problems
        );
    }
}

#[test]
fn arbitrary_bytes_do_not_panic_and_yield_the_same_in_every_splitting() {
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
        record(&bytes, kind);
    }
}

#[test]
fn extraction_ends_when_the_sink_returns_break() {
    struct StoppingSink(usize);
    impl Sink for StoppingSink {
        fn document(&mut self, _: DocumentHead) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }
        fn text(&mut self, _: &str) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Break(())
        }
        fn transcript(&mut self, _: &TranscriptFacts) {
            panic!("called after Break");
        }
        fn problem(&mut self, _: Problem) {}
    }
    let text = "x".repeat(1 << 20);
    let json = format!("{{\"script_output\":\"{text}\"}}");
    for bytes in [
        text.as_bytes(),
        json.as_bytes(),
        &[crate::tests::strings::binary(), text.clone().into_bytes()].concat(),
    ] {
        let mut sink = StoppingSink(0);
        let hint = ContentHint {
            name: None,
            kind: ResultKind::Transcript,
        };
        let mut stream = bytes;
        let input = Input::new(&mut stream, hint, ExtractSettings::default());
        extract(input, &mut sink).unwrap();
        assert_eq!(sink.0, 1);
    }
}

#[test]
fn real_files_are_read_in_their_format() {
    let Some(folder) = std::env::var_os("AFTERACTION_REAL_DATA") else {
        println!("skipped: AFTERACTION_REAL_DATA is not set");
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    let read = |path: &str| std::fs::read(folder.join(path)).unwrap();

    let sample = read("mde_json/defender-docs/runscript_result_doc_example.json");
    let recording = record(&sample, ResultKind::Transcript);
    let output = recording.part(TextPart::Output).unwrap();
    assert!(output.starts_with("Transcript started, output file is C:\\ProgramData\\"));
    assert!(output.ends_with(".dmp.zip\n51 MB\n\0\0\0"), "{output:?}");
    assert_eq!(
        recording.facts.clone().unwrap().script_name.as_deref(),
        Some("minidump.ps1")
    );
    assert_eq!(recording.facts.clone().unwrap().exit_code, Some(0));
    assert!(recording.has(ProblemKind::Repaired));

    let lorem = file(&read("utf16/ugrep/lorem.utf16.txt"));
    assert!(
        lorem.encoding().starts_with("utf-16"),
        "{}",
        lorem.encoding()
    );
    assert!(lorem.whole().contains("Lorem ipsum") || lorem.whole().contains("lorem"));
    let latin = file(&read("utf16/ugrep/lorem.latin1.txt"));
    assert_eq!(latin.documents[0].head.form, TextForm::Text);
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
                TextForm::Strings,
                "{:?}",
                entry.path()
            );
        }
    }
}
