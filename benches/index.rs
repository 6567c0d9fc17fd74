//! The index alone, its edges swapped for a generator: catch-up in MB of text
//! per CPU second, size on disk, peak memory, and search latencies, each
//! answer compared with a scan of the raw text.
//!
//! `cargo bench --bench index` · `INDEX_BENCH_MB` sets the text of each corpus
//! (256 by default); `-- catch-up` leaves the searches out.

use std::ops::ControlFlow;
use std::time::Instant;

use criterion::Criterion;
use evidence::{ActionId, CommandIndex, ResultId, ResultKey, ResultKind, Seq, Sha256, Version};
use index::{
    IndexId, IndexSettings, IndexWriter, Occurrence, Query, ResultMetadata, SearchOptions, Searcher,
};
use sha2::Digest;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

const WORDS: [&str; 40] = [
    "svchost.exe",
    "Services",
    "Console",
    "Running",
    "Stopped",
    "Microsoft",
    "Corporation",
    "Windows",
    "System32",
    "drivers",
    "Update",
    "Task",
    "Scheduler",
    "Defender",
    "Security",
    "Health",
    "Service",
    "Host",
    "Process",
    "Network",
    "LocalSystem",
    "AUTHORITY",
    "Automatic",
    "Manual",
    "Disabled",
    "KB5034441",
    "Hotfix",
    "TCP",
    "LISTENING",
    "ESTABLISHED",
    "UDP",
    "explorer.exe",
    "chrome.exe",
    "OneDrive",
    "Teams",
    "Outlook",
    "Intel",
    "Realtek",
    "Audio",
    "Print",
];

fn stable_line(random: &mut Random) -> String {
    let mut line = String::new();
    match random.below(3) {
        0 => line.push_str("HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\"),
        1 => line.push_str("C:\\Windows\\System32\\"),
        _ => {}
    }
    for _ in 0..4 + random.below(5) {
        line.push_str(WORDS[random.below(WORDS.len())]);
        line.push(' ');
    }
    line.push_str(&random.below(2_000).to_string());
    line
}

fn volatile_line(random: &mut Random) -> String {
    let (a, b) = (random.next(), random.next());
    let word = WORDS[random.below(WORDS.len())];
    match random.below(5) {
        0 => format!(
            "2026-02-{:02}T{:02}:{:02}:{:02}.{:07}Z {word} pid={} ppid={} session={}",
            a % 28 + 1,
            a % 24,
            a % 60,
            b % 60,
            b % 10_000_000,
            a % 65_536,
            b % 65_536,
            a % 4
        ),
        1 => format!(
            "{{{:08x}-{:04x}-{:04x}-{:04x}-{:012x}}} {word}",
            a as u32,
            b as u16,
            a >> 48,
            b >> 48,
            b & 0xffff_ffff_ffff
        ),
        2 => format!(
            "{word}  {:016x}{:016x}{:016x}{:016x}",
            a,
            b,
            a ^ b.rotate_left(9),
            b.wrapping_mul(a | 1)
        ),
        3 => format!(
            "TCP  10.{}.{}.{}:{}  172.16.{}.{}:443  ESTABLISHED  {}",
            a % 256,
            a >> 8 & 255,
            a >> 16 & 255,
            b % 65_536,
            b >> 16 & 255,
            b >> 24 & 255,
            b >> 32 & 0xffff
        ),
        _ => format!(
            "C:\\Users\\user{}\\AppData\\Local\\Temp\\{:08x}.tmp {word} {} bytes",
            a % 3_000,
            b as u32,
            a >> 40
        ),
    }
}

/// Texts of documents, one after another, until `bytes` are made.
fn corpus(seed: u64, bytes: usize, volatile_of_1000: usize) -> Vec<String> {
    let mut random = Random(seed);
    let images: Vec<Vec<String>> = (0..5)
        .map(|_| (0..8_000).map(|_| stable_line(&mut random)).collect())
        .collect();
    let (mut texts, mut total) = (Vec::new(), 0);
    while total < bytes {
        let image = &images[random.below(5)];
        let start = random.below(16) * 480;
        let mut text = String::new();
        for line in &image[start..start + 400 + random.below(80)] {
            if random.below(1_000) < volatile_of_1000 {
                text.push_str(&volatile_line(&mut random));
            } else {
                text.push_str(line);
            }
            text.push_str("\r\n");
        }
        if random.below(200) == 0 {
            text.push_str("powershell -enc mimikatz 10.66.6.6:4444\r\n");
        }
        total += text.len();
        texts.push(text);
    }
    texts
}

/// **Units**: CPU seconds of this process, user and system.
#[cfg(unix)]
fn cpu_seconds() -> f64 {
    // SAFETY: fills a structure of plain numbers that is ours.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

#[cfg(not(unix))]
fn cpu_seconds() -> f64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// **Units**: MB the process held at most.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    let kb = peak.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kb.unwrap_or(0) / 1024
}

fn id(n: usize) -> ResultId {
    let mut action = [0u8; 16];
    action[8..].copy_from_slice(&(n as u64).to_be_bytes());
    let key = ResultKey::new(ActionId::from_bytes(action), CommandIndex(0));
    ResultId::new(key, Version(1))
}

fn identity() -> IndexId {
    IndexId {
        archive: [0; 16],
        generation: 1,
        extractor_version: 1,
    }
}

fn catch_up(name: &str, folder: &std::path::Path, texts: &[String], settings: IndexSettings) {
    let bytes: usize = texts.iter().map(String::len).sum();
    // Hashing contents is not this room's work.
    let contents: Vec<Sha256> = texts
        .iter()
        .map(|text| Sha256(sha2::Sha256::digest(text).into()))
        .collect();
    let (cpu, wall) = (cpu_seconds(), Instant::now());
    let mut writer = IndexWriter::open(folder, identity(), settings).unwrap();
    for (n, text) in texts.iter().enumerate() {
        let content = contents[n];
        writer.begin(None);
        for piece in text.as_bytes().chunks(64 << 10) {
            writer.text(std::str::from_utf8(piece).unwrap()).unwrap();
        }
        writer.finish(content).unwrap();
        writer.result(ResultMetadata {
            device: Some(format!("pc{}.contoso.example", n % 2_000)),
            ..ResultMetadata::new(id(n), Seq(n as u64), ResultKind::Transcript)
        });
        let bytes = text.len() as u64;
        writer.occurrence(Occurrence::new(id(n), Vec::new(), content, bytes));
    }
    writer.publish(Seq(texts.len() as u64)).unwrap();
    let cpu = cpu_seconds() - cpu;
    let stats = Searcher::open(folder, None, None).unwrap().stats();
    let mb = bytes as f64 / 1e6;
    println!(
        "{name}: {mb:.0} MB text, {:.1} MB per CPU s, {:.1} MB/s wall, disk {:.3}, distinct {:.3}, \
         {} segments, peak {} MB, parts {:?}",
        mb / cpu,
        mb / wall.elapsed().as_secs_f64(),
        stats.file_bytes as f64 / bytes as f64,
        stats.distinct_bytes as f64 / stats.text_bytes as f64,
        stats.segments,
        peak_mb(),
        stats.parts,
    );
}

fn count(searcher: &Searcher, query: &Query) -> u64 {
    searcher
        .search(query, &SearchOptions::default(), &mut |_| {
            ControlFlow::Continue(())
        })
        .unwrap()
        .hits
}

/// In how many lines of a text a match begins.
fn begun(wanted: &regex::Regex, text: &str) -> u64 {
    let starts = wanted.find_iter(text).map(|found| found.start());
    let mut lines: Vec<_> = starts.map(|at| text[..at].rfind('\n')).collect();
    lines.dedup();
    lines.len() as u64
}

fn latencies(criterion: &mut Criterion, name: &str, folder: &std::path::Path, texts: &[String]) {
    let opening = Instant::now();
    let searcher = Searcher::open(folder, None, None).unwrap();
    let now = "2026-03-01T00:00:00Z".parse().unwrap();
    let typed = |text: &str| Query::parse(text, now).unwrap();
    count(&searcher, &typed("mimikatz"));
    println!("{name}: opened and first answer in {:?}", opening.elapsed());
    let holds = |wanted: &regex::Regex| texts.iter().map(|text| begun(wanted, text)).sum::<u64>();
    let queries = [
        ("rare term", typed("mimikatz"), r"(?i)\bmimikatz\b"),
        ("address", typed("10.66.6.6:4444"), r"\b10\.66\.6\.6:4444\b"),
        (
            "phrase",
            typed("\"Defender Security\""),
            r"(?i)\bdefender(?:[ \t]+|\s*\n\s*)security\b",
        ),
        ("wildcard", typed("mimi*"), r"(?i)\bmimi"),
        (
            "regex",
            Query::regex(r"\d+\.\d+\.\d+\.\d+:4444", false),
            r"\d+\.\d+\.\d+\.\d+:4444",
        ),
        ("fixed", Query::fixed("imikat", false), "imikat"),
    ];
    for (what, query, raw) in queries {
        let hits = count(&searcher, &query);
        assert_eq!(hits, holds(&regex::Regex::new(raw).unwrap()), "{what}");
        criterion.bench_function(&format!("{name}/{what}, {hits} hits"), |bencher| {
            bencher.iter(|| count(&searcher, &query));
        });
    }
}

const NEEDLES: usize = 50;

/// Adds words that stand in one text each.
fn plant(texts: &mut [String]) {
    let step = texts.len() / NEEDLES;
    for (n, text) in texts.iter_mut().step_by(step.max(1)).enumerate() {
        text.push_str(&format!("needle_{n}_in_hay lies here\r\n"));
    }
}

/// How long words and phrases take that stand in one text each.
fn rare(name: &str, folder: &std::path::Path, texts: &[String], settings: IndexSettings) {
    const ROUNDS: usize = 20;
    catch_up(name, folder, texts, settings);
    let now = "2026-03-01T00:00:00Z".parse().unwrap();
    let ask = |searcher: &Searcher, n: usize, is_phrase: bool| {
        let began = Instant::now();
        let typed = match is_phrase {
            true => format!("\"needle_{n}_in_hay lies\""),
            false => format!("needle_{n}_in_hay"),
        };
        let query = Query::parse(&typed, now).unwrap();
        assert_eq!(count(searcher, &query), 1, "{typed}");
        began.elapsed()
    };
    let opening = Instant::now();
    let searcher = Searcher::open(folder, None, None).unwrap();
    ask(&searcher, 0, false);
    let first = opening.elapsed();
    for (what, is_phrase) in [("word", false), ("phrase", true)] {
        let rounds = (0..ROUNDS).flat_map(|_| 0..NEEDLES);
        let mut times: Vec<_> = rounds.map(|n| ask(&searcher, n, is_phrase)).collect();
        times.sort_unstable();
        println!(
            "{name}, {} segments: a {what} of one text: median {:?}, 99 of 100 within {:?}; \
             opening and the first word {first:?}",
            searcher.stats().segments,
            times[times.len() / 2],
            times[times.len() * 99 / 100],
        );
    }
}

fn main() {
    let mb = std::env::var("INDEX_BENCH_MB")
        .ok()
        .and_then(|mb| mb.parse().ok())
        .unwrap_or(256usize);
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_secs(1))
        .configure_from_args();
    for (name, seed, volatile) in [("fleet", 1, 105), ("unique", 2, 560)] {
        let mut texts = corpus(seed, mb << 20, volatile);
        plant(&mut texts);
        let folder = tempfile::tempdir().unwrap();
        println!("{name}: the corpus itself takes {} MB", peak_mb());
        rare(name, folder.path(), &texts, IndexSettings::default());
        if std::env::args().any(|arg| arg == "catch-up") {
            continue;
        }
        latencies(&mut criterion, name, folder.path(), &texts);
        let bytes: usize = texts.iter().map(String::len).sum();
        let many = IndexSettings {
            text_max: bytes as u64 / 100,
            ..IndexSettings::default()
        };
        let folder = tempfile::tempdir().unwrap();
        rare(&format!("{name} in parts"), folder.path(), &texts, many);
    }
}
