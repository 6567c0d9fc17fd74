//! Throughput of the archive, for large bodies and for transcripts.
//!
//! Compared in the same run with the minimum of work (SHA-256, write,
//! fdatasync) and with the same bytes stored as sled values. Each archive is
//! read back and its content compared.
//!
//! Prints the ratios to the minimum, peak memory, and the time to open an
//! archive of 100,000 results, and then the numbers of criterion.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use evidence::{
    ActionId, CommandIndex, Facts, Origin, ResultId, ResultKey, ResultKind, Time, Version,
};
use sha2::{Digest, Sha256};
use store::{Catalogue, OpenOptions, ResponseHeaders, Store};
use tempfile::TempDir;

/// **Units**: bytes of one large body.
const BLOB: usize = 50 << 20;
const BLOBS: usize = 4;
/// **Units**: bytes of one read from the network.
const PART: usize = 64 << 10;
const TRANSCRIPTS: usize = 5_000;
/// **Units**: bytes of the result in the memory measurement.
const HUGE: u64 = 3 << 30;
const MANY: usize = 100_000;

fn main() {
    // First, before the bench allocates its bodies.
    print_peak_memory();
    let blobs: Vec<Vec<u8>> = (0..BLOBS).map(|n| noise(n as u64, BLOB)).collect();
    print_blob_ratios(&blobs);
    print_transcript_rates();
    print_opening();
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    measure(&mut criterion, &blobs);
    criterion.final_summary();
}

fn measure(criterion: &mut Criterion, blobs: &[Vec<u8>]) {
    let blobs = blobs.get(..1).unwrap_or_default();
    let mut group = criterion.benchmark_group("blobs");
    group.throughput(Throughput::Bytes(BLOB as u64));
    group.bench_function("floor", |b| {
        b.iter_custom(|n| (0..n).map(|_| floor(blobs)).sum());
    });
    group.bench_function("archive", |b| {
        b.iter_custom(|n| (0..n).map(|_| archive_blobs(blobs)).sum());
    });
    group.finish();
    let transcripts = transcripts();
    let mut group = criterion.benchmark_group("transcripts");
    group.throughput(Throughput::Elements(TRANSCRIPTS as u64));
    group.bench_function("archive, grouped", |b| {
        b.iter_custom(|n| (0..n).map(|_| archive_transcripts(&transcripts)).sum());
    });
    group.finish();
}

fn folder() -> TempDir {
    // The temporary directory of the system may be in memory.
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// Transcripts of a script, all different.
fn transcripts() -> Vec<Vec<u8>> {
    (0..TRANSCRIPTS)
        .map(|n| {
            let mut text = format!("{{\"script_name\":\"triage.ps1\",\"exit_code\":0,\"pid\":{n}");
            for line in 0..60 {
                let id = blake3::hash(&[n.to_le_bytes(), [line; 8]].concat()).to_hex();
                text += &format!(
                    ",\"svchost.exe {line} Running C:\\\\Windows {}\"",
                    &id[..12]
                );
            }
            text.into_bytes()
        })
        .collect()
}

fn key(n: usize) -> ResultKey {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(&(n / 4).to_le_bytes()).as_bytes()[..16]);
    ResultKey::new(ActionId::from_bytes(id), CommandIndex(n as u32 % 4))
}

fn facts(kind: ResultKind) -> Facts {
    let host = "api-eu.securitycenter.example".into();
    let mut facts = Facts::new(kind, Origin::Api { host });
    facts.device = Some("ws-0417.corp.contoso.example".into());
    facts.machine_id = Some("9d80a1c2e3f405162738495a6b7c8d9e0f1a2b3c".into());
    facts.script = Some("triage.ps1".into());
    facts.ended = Some(now());
    facts.headers = vec![("etag".into(), "\"0x8DB1F0\"".into())];
    facts
}

fn now() -> Time {
    Time::from_text("2026-02-04T15:37:00Z")
}

fn create(dir: &Path) -> Store {
    let options = OpenOptions {
        create: true,
        command: "bench".into(),
    };
    Store::open(dir, options).unwrap()
}

/// The minimum of work: SHA-256, write and fdatasync of each body.
fn floor(bodies: &[Vec<u8>]) -> Duration {
    let dir = folder();
    let start = Instant::now();
    for (n, body) in bodies.iter().enumerate() {
        let mut file = File::create(dir.path().join(n.to_string())).unwrap();
        let mut hash = Sha256::new();
        for part in body.chunks(PART) {
            hash.update(part);
            file.write_all(part).unwrap();
        }
        file.sync_data().unwrap();
        black_box(hash.finalize());
    }
    start.elapsed()
}

fn archive_blobs(bodies: &[Vec<u8>]) -> Duration {
    let dir = folder();
    let store = create(dir.path());
    let start = Instant::now();
    for (n, body) in bodies.iter().enumerate() {
        let mut download = store.download(key(n)).unwrap();
        for part in body.chunks(PART) {
            download.append(part).unwrap();
        }
        download.seal(&facts(ResultKind::File), &now()).unwrap();
    }
    let elapsed = start.elapsed();
    store.close().unwrap();
    check(dir.path(), bodies);
    elapsed
}

fn archive_transcripts(bodies: &[Vec<u8>]) -> Duration {
    let dir = folder();
    let store = create(dir.path());
    let facts = facts(ResultKind::Transcript);
    let start = Instant::now();
    let pending: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(n, body)| store.submit(key(n), &facts, &now(), body).unwrap())
        .collect();
    for commit in pending {
        commit.wait().unwrap();
    }
    let elapsed = start.elapsed();
    store.close().unwrap();
    check(dir.path(), bodies);
    elapsed
}

/// Checks that all bodies are in the archive, and compares the first and the
/// last one.
fn check(dir: &Path, bodies: &[Vec<u8>]) {
    let catalogue = Catalogue::open(dir).unwrap();
    assert_eq!(catalogue.record_count(), bodies.len());
    for n in [0, bodies.len() - 1] {
        let id = ResultId::new(key(n), Version::FIRST);
        let mut bytes = Vec::new();
        std::io::copy(&mut catalogue.reader(id).unwrap(), &mut bytes).unwrap();
        assert!(bytes == bodies[n]);
    }
}

/// Stores the same bytes as values of 64 KiB in sled, with a flush for each
/// body.
fn sled_values(bodies: &[Vec<u8>]) -> Duration {
    let dir = folder();
    let db = sled::Config::new()
        .path(dir.path())
        .flush_every_ms(None)
        .open()
        .unwrap();
    let start = Instant::now();
    for (n, body) in bodies.iter().enumerate() {
        let mut hash = Sha256::new();
        for (part, bytes) in body.chunks(PART).enumerate() {
            hash.update(bytes);
            let key = [n.to_be_bytes(), part.to_be_bytes()].concat();
            db.insert(key, bytes).unwrap();
        }
        db.flush().unwrap();
        black_box(hash.finalize());
    }
    start.elapsed()
}

fn median(mut runs: Vec<f64>) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

fn print_blob_ratios(blobs: &[Vec<u8>]) {
    let megabytes = (BLOB * BLOBS) as f64 / 1e6;
    let rate = |elapsed: Duration| megabytes / elapsed.as_secs_f64();
    let (mut floors, mut archives, mut sleds, mut ratios) = (vec![], vec![], vec![], vec![]);
    for _ in 0..5 {
        let (floor, archive) = (rate(floor(blobs)), rate(archive_blobs(blobs)));
        floors.push(floor);
        archives.push(archive);
        ratios.push(archive / floor);
    }
    sleds.extend((0..2).map(|_| rate(sled_values(blobs))));
    println!(
        "blobs, {BLOBS} of {} MB: floor {:.0} MB/s, archive {:.0} MB/s, ratio {:.2} (median of 5 pairs), \
         sled values (not durable on Linux) {:.0} MB/s",
        BLOB / 1_000_000,
        median(floors),
        median(archives),
        median(ratios),
        median(sleds),
    );
}

fn print_transcript_rates() {
    let bodies = transcripts();
    let rates = |run: fn(&[Vec<u8>]) -> Duration| {
        median(
            (0..3)
                .map(|_| TRANSCRIPTS as f64 / run(&bodies).as_secs_f64())
                .collect(),
        )
    };
    let alone = {
        let dir = folder();
        let store = create(dir.path());
        let start = Instant::now();
        for (n, body) in bodies.iter().take(200).enumerate() {
            store
                .seal(key(n), &facts(ResultKind::Transcript), &now(), body)
                .unwrap();
        }
        200.0 / start.elapsed().as_secs_f64()
    };
    println!(
        "transcripts of {} bytes: {:.0}/s in grouped commits, {alone:.0}/s one by one",
        bodies[0].len(),
        rates(archive_transcripts),
    );
}

fn print_opening() {
    let dir = folder();
    let store = create(dir.path());
    let facts = facts(ResultKind::Transcript);
    let start = Instant::now();
    let mut pending = std::collections::VecDeque::new();
    for n in 0..MANY {
        let body = n.to_string();
        pending.push_back(
            store
                .submit(key(n), &facts, &now(), body.as_bytes())
                .unwrap(),
        );
        if pending.len() > 4_000 {
            pending.pop_front().unwrap().wait().unwrap();
        }
    }
    for commit in pending {
        commit.wait().unwrap();
    }
    let sealed = start.elapsed();
    drop(store);
    let start = Instant::now();
    let catalogue = Catalogue::open(dir.path()).unwrap();
    let read = start.elapsed();
    assert_eq!(catalogue.record_count(), MANY);
    let start = Instant::now();
    let listed = catalogue.records().map(Result::unwrap).count();
    let list = start.elapsed();
    assert_eq!(listed, MANY);
    let start = Instant::now();
    drop(create(dir.path()));
    let write = start.elapsed();
    println!(
        "{MANY} results: sealed in {sealed:.2?}, opened for reading in {read:.3?}, \
         for writing in {write:.3?}; all records listed in {list:.3?}"
    );
}

/// Peak memory of the process, including the data of the bench: an upper limit.
/// Linux only.
///
/// **Units**: bytes.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn reset_peak() {
    // Resets the peak in the kernel. If that fails, the peak of the whole run is
    // reported.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn current_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn print_peak_memory() {
    let dir = folder();
    let store = create(dir.path());
    let part = noise(7, 1 << 20);
    reset_peak();
    let before = current_bytes();
    let start = Instant::now();
    let mut download = store.download(key(0)).unwrap();
    download
        .begin(ResponseHeaders {
            total: Some(HUGE),
            ..ResponseHeaders::default()
        })
        .unwrap();
    while download.offset() < HUGE {
        download.append(&part).unwrap();
    }
    download.seal(&facts(ResultKind::File), &now()).unwrap();
    let elapsed = start.elapsed();
    drop(store);
    let catalogue = Catalogue::open(dir.path()).unwrap();
    assert_eq!(catalogue.records().next().unwrap().unwrap().bytes, HUGE);
    if let (Some(before), Some(peak)) = (before, peak_bytes()) {
        println!(
            "one result of 3 GiB: {elapsed:.1?}, {:.0} MB of memory above the {:.0} MB of the bench",
            peak.saturating_sub(before) as f64 / 1e6,
            before as f64 / 1e6,
        );
    }
}
