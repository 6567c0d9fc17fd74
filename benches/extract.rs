//! Throughput of extraction: input bytes per second. Each run checks the length
//! of the text.

use std::ops::ControlFlow;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evidence::{Problem, ResultKind};
use extract::{ContentHint, DocumentHead, ExtractSettings, Input, Sink, TranscriptFacts, extract};

const TEXT_BYTES: usize = 32 << 20;

fn text() -> String {
    let mut text = String::with_capacity(TEXT_BYTES + 200);
    let mut seed = 1u64;
    while text.len() < TEXT_BYTES {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(&format!(
            "2026-02-04T15:36:52.{:07}Z svchost.exe pid {} opened \"C:\\Windows\\System32\\{:08x}.dll\"\r\n",
            seed % 10_000_000,
            seed >> 50,
            seed >> 33
        ));
    }
    text
}

#[derive(Default)]
struct TextCount {
    bytes: usize,
    problems: usize,
}

impl Sink for TextCount {
    fn document(&mut self, _: DocumentHead) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn text(&mut self, piece: &str) -> ControlFlow<()> {
        self.bytes += piece.len();
        ControlFlow::Continue(())
    }

    fn transcript(&mut self, _: &TranscriptFacts) {}

    fn problem(&mut self, _: Problem) {
        self.problems += 1;
    }
}

fn count(mut bytes: &[u8], kind: ResultKind) -> usize {
    let mut counts = TextCount::default();
    let hint = ContentHint { name: None, kind };
    let input = Input::new(&mut bytes, hint, ExtractSettings::default());
    extract(input, &mut counts).unwrap();
    counts.bytes
}

fn decode(c: &mut Criterion) {
    let text = text();
    let umlauts = text.replace("svchost", "Prüfung");
    let page: Vec<u8> = umlauts.chars().map(|c| c as u8).collect();
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let transcript = serde_json::json!({"script_name": "a", "script_output": text}).to_string();
    let mut seed = 1u64;
    let noise: Vec<u8> = (0..TEXT_BYTES)
        .map(|_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed as u8
        })
        .collect();

    let mut group = c.benchmark_group("extract");
    group.sample_size(10);
    for (name, bytes, kind, text_bytes) in [
        (
            "utf-8, ascii",
            text.as_bytes(),
            ResultKind::File,
            Some(text.len()),
        ),
        (
            "utf-8, umlauts",
            umlauts.as_bytes(),
            ResultKind::File,
            Some(umlauts.len()),
        ),
        ("windows-1252", &page, ResultKind::File, Some(umlauts.len())),
        ("utf-16le", &wide, ResultKind::File, Some(text.len())),
        (
            "transcript",
            transcript.as_bytes(),
            ResultKind::Transcript,
            Some(text.len()),
        ),
        ("strings of noise", &noise, ResultKind::File, None),
    ] {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let counted = count(bytes, kind);
                assert_eq!(counted, text_bytes.unwrap_or(counted));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
