//! Throughput of traversals: decompressed bytes per second, compared with
//! inflate alone. Each run checks the number of bytes.

use std::io::{self, Cursor, Read, Write};
use std::ops::ControlFlow;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evidence::{Layer, Problem};
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::{DeflateEncoder, GzEncoder};
use members::{Member, ResultHint, Scratch, TraverseSettings, Visitor, traverse};

const TEXT_BYTES: usize = 32 << 20;

/// Lines of a log: similar, none twice.
fn text() -> Vec<u8> {
    let mut text = Vec::with_capacity(TEXT_BYTES + 200);
    let mut seed = 1u64;
    while text.len() < TEXT_BYTES {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let line = format!(
            "2026-02-04T15:36:52.{:07}Z svchost.exe pid {} opened C:\\Windows\\System32\\{:08x}.dll\r\n",
            seed % 10_000_000,
            seed >> 50,
            seed >> 33
        );
        text.extend_from_slice(line.as_bytes());
    }
    text.truncate(TEXT_BYTES);
    text
}

/// Counts bytes, and reads them into a buffer.
struct ByteCount(u64, Vec<u8>);

impl Visitor for ByteCount {
    fn member(&mut self, _: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()> {
        while let Ok(n) = bytes.read(&mut self.1) {
            if n == 0 {
                break;
            }
            self.0 += n as u64;
        }
        ControlFlow::Continue(())
    }

    fn problem(&mut self, layers: &[Layer], problem: Problem) {
        panic!("{layers:?}: {problem}");
    }
}

fn count(bytes: &[u8]) -> u64 {
    let mut counts = ByteCount(0, vec![0; 64 << 10]);
    let mut scratch = || Ok(Box::new(Cursor::new(Vec::new())) as Box<dyn Scratch>);
    let settings = TraverseSettings::default();
    traverse(
        &mut Cursor::new(bytes),
        ResultHint::default(),
        &settings,
        &mut scratch,
        &mut counts,
    )
    .unwrap();
    counts.0
}

fn zipped(members: usize, text: &[u8]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (i, part) in text.chunks(text.len() / members).enumerate() {
        writer.start_file(format!("logs/{i}.log"), options).unwrap();
        writer.write_all(part).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn traverse_containers(c: &mut Criterion) {
    let text = text();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&text).unwrap();
    let deflated = encoder.finish().unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&text).unwrap();
    let gzip = encoder.finish().unwrap();
    let few = zipped(4, &text);
    let many = zipped(8192, &text);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&few).unwrap();
    let nested = encoder.finish().unwrap();

    let mut group = c.benchmark_group("members");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(TEXT_BYTES as u64));
    group.bench_function("floor: inflate", |b| {
        b.iter(|| {
            let mut buf = vec![0; 64 << 10];
            let mut decoder = DeflateDecoder::new(&deflated[..]);
            let mut inflated = 0;
            while let Ok(n @ 1..) = decoder.read(&mut buf) {
                inflated += n;
            }
            assert_eq!(inflated, TEXT_BYTES);
        });
    });
    for (name, bytes) in [
        ("gzip", &gzip),
        ("zip of 4", &few),
        ("zip of 8192", &many),
        ("zip in gzip", &nested),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| assert_eq!(count(bytes), TEXT_BYTES as u64));
        });
    }
    group.bench_function("stored", |b| {
        b.iter(|| assert_eq!(count(&text), TEXT_BYTES as u64));
    });
    group.finish();
    let _ = io::stdout().flush();
}

criterion_group!(benches, traverse_containers);
criterion_main!(benches);
