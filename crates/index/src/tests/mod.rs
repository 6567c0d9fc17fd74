//! The room as a whole, against a raw scan of whole texts that shares no code
//! with it.

mod crashes;
mod every_word_is_found;
mod long_lines;
mod oracle;
mod orders;
mod phrases;
mod prefetch;
mod properties;
mod trees;

use std::ops::ControlFlow;
use std::path::Path;

use crate::*;
use evidence::{
    ActionId, CommandIndex, Layer, ResultId, ResultKey, ResultKind, Seq, Sha256, Time, Version,
};

/// One member: where it was found and its texts.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) id: ResultId,
    pub(crate) layers: Vec<Layer>,
    pub(crate) content: Sha256,
    pub(crate) device: String,
    pub(crate) time: Option<Time>,
    /// Part and text, in order.
    pub(crate) texts: Vec<(Option<Layer>, String)>,
}

pub(crate) fn identity() -> IndexId {
    IndexId {
        archive: [1; 16],
        generation: 1,
        extractor_version: 1,
    }
}

/// Segments small enough that everything crosses their borders.
pub(crate) fn tiny() -> IndexSettings {
    IndexSettings {
        text_max: 48 << 10,
        distinct_max: 32 << 10,
        lines_max: 700,
        key: Some([9; 32]),
    }
}

pub(crate) fn id(n: u64) -> ResultId {
    let mut action = [0u8; 16];
    action[..8].copy_from_slice(&(n / 3).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let key = ResultKey::new(ActionId::from_bytes(action), CommandIndex((n % 3) as u32));
    ResultId::new(key, Version(1))
}

pub(crate) fn content(text: &[(Option<Layer>, String)]) -> Sha256 {
    use sha2::Digest;
    let mut hasher = sha2::Sha256::new();
    for (part, text) in text {
        hasher.update(part.as_ref().map_or("", |part| part.as_str()));
        hasher.update([0]);
        hasher.update(text);
    }
    Sha256(hasher.finalize().into())
}

/// A member with one text.
pub(crate) fn member_of(text: impl Into<String>) -> Member {
    let texts = vec![(None, text.into())];
    Member {
        id: id(1),
        layers: Vec::new(),
        content: content(&texts),
        device: "pc".into(),
        time: None,
        texts,
    }
}

/// A small generator of repeatable numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

const WORDS: &[&str] = &[
    "the",
    "Windows",
    "evil.exe",
    r"C:\Users\Jürgen\AppData",
    "10.0.0.5:4444",
    "foo_bar",
    "東京都",
    "naïve",
    "cafe\u{301}",
    "STRASSE",
    "straße",
    "İstanbul",
    "\u{212a}elvin",
    "σΣς",
    "οδός",
    "ΜTorrent",
    "ſekurlſa",
    "::",
    "--",
    "HKLM\\Software\\Run",
    "{5382F7EA-7557-4ab7-9782-d50480024a4e}",
    "\u{0}",
    "a",
    "e",
    "\t",
    "😀",
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "x=y;",
    "\r",
    "mimikatz",
    "tcp    10.0.0.5",
    "addr:10.0.0.7",
    "::ffff:0a00:0009",
    "(x86)",
];

pub(crate) fn line(random: &mut Random) -> String {
    line_of(random, WORDS)
}

pub(crate) fn line_of(random: &mut Random, from: &[&str]) -> String {
    let words = random.below(9);
    let mut line = String::new();
    for _ in 0..words {
        line.push_str(random.pick(from));
        if random.below(4) > 0 {
            line.push(' ');
        }
        if random.below(6) == 0 {
            line.push_str(&random.below(500).to_string());
        }
    }
    line
}

pub(crate) fn text(
    random: &mut Random,
    pool: &[String],
    line: &dyn Fn(&mut Random) -> String,
) -> String {
    let mut text = String::new();
    for _ in 0..random.below(80) {
        if random.below(3) > 0 {
            text.push_str(&pool[random.below(pool.len())]);
        } else {
            text.push_str(&line(random));
        }
        text.push_str(random.pick(&["\n", "\n", "\r\n"]));
    }
    if random.below(2) == 0 {
        text.push_str(&line(random));
    }
    text
}

/// A small fleet: repeated lines, repeated contents, transcripts in two parts.
pub(crate) fn members(seed: u64, count: u64) -> Vec<Member> {
    members_of(seed, count, &line)
}

pub(crate) fn members_of(
    seed: u64,
    count: u64,
    line: &dyn Fn(&mut Random) -> String,
) -> Vec<Member> {
    let mut random = Random(seed);
    let pool: Vec<String> = (0..60).map(|_| line(&mut random)).collect();
    let mut members: Vec<Member> = Vec::new();
    for n in 0..count {
        let texts = match random.below(4) {
            0 if !members.is_empty() => members[random.below(members.len())].texts.clone(),
            1 => vec![
                (Some(Layer::output()), text(&mut random, &pool, line)),
                (Some(Layer::errors()), text(&mut random, &pool, line)),
            ],
            _ => vec![(None, text(&mut random, &pool, line))],
        };
        let seconds = random.below(50);
        members.push(Member {
            id: id(n),
            layers: match random.below(3) {
                0 => Vec::new(),
                _ => vec![Layer::named("a.zip", 0), Layer::numbered(n as u32)],
            },
            content: content(&texts),
            device: format!("PC{}.contoso.example", random.below(5)),
            time: (random.below(5) > 0)
                .then(|| Time::from_text(format!("2026-02-04T15:37:{seconds:02}Z"))),
            texts,
        });
    }
    members
}

pub(crate) fn add(writer: &mut IndexWriter, member: &Member, n: u64) -> Result<(), IndexError> {
    let mut random = Random(n);
    for (part, text) in &member.texts {
        writer.begin(part.clone());
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let cut = crate::codec::char_boundary::ceil(rest, 1 + random.below(200));
            writer.text(&rest[..cut])?;
            rest = &rest[cut..];
        }
        writer.finish(member.content)?;
    }
    writer.result(ResultMetadata {
        device: Some(member.device.clone()),
        time: member.time.clone(),
        script: Some("triage.ps1".into()),
        exit_code: Some((n % 2) as i64),
        ..ResultMetadata::new(member.id, Seq(n + 1), ResultKind::Transcript)
    });
    writer.occurrence(Occurrence {
        member: crate::search::compiled_query::joined(&member.layers),
        ..Occurrence::new(member.id, member.layers.clone(), member.content, 0)
    });
    Ok(())
}

/// Adds all members, publishing after every `every` of them.
pub(crate) fn build(folder: &Path, members: &[Member], settings: IndexSettings, every: usize) {
    let mut writer = IndexWriter::open(folder, identity(), settings).unwrap();
    let done = writer.watermark().0;
    for (n, member) in members.iter().enumerate().skip(done as usize) {
        add(&mut writer, member, n as u64).unwrap();
        if (n + 1) % every == 0 || n + 1 == members.len() {
            writer.publish(Seq(n as u64 + 1)).unwrap();
        }
    }
}

pub(crate) fn open(folder: &Path, settings: &IndexSettings) -> Searcher {
    Searcher::open(folder, Some(&identity()), settings.key).unwrap()
}

/// What identifies a hit: result, layers, line, offset, length.
pub(crate) type Answer = (String, String, u64, u64, u64);

/// Every hit, as many as are counted.
pub(crate) fn hits(searcher: &Searcher, query: &Query, options: &SearchOptions) -> Vec<Hit> {
    let mut hits = Vec::new();
    let summary = searcher
        .search(query, options, &mut |hit| {
            hits.push(hit);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(summary.hits, hits.len() as u64);
    if options.limit.is_none() {
        let (_, counted) = searcher.count(query, None, options.scan, None).unwrap();
        let of = |summary: &SearchStats| (summary.hits, summary.members);
        assert_eq!(of(&counted), of(&summary), "{query:?}, counted");
    }
    hits
}

pub(crate) fn answer(hit: &Hit) -> Answer {
    (
        hit.member.id.to_string(),
        crate::search::compiled_query::joined(&hit.member.layers),
        hit.line,
        hit.offset,
        hit.len,
    )
}

pub(crate) fn answers(searcher: &Searcher, query: &Query) -> Vec<Answer> {
    let hits = hits(searcher, query, &SearchOptions::default());
    hits.iter().map(answer).collect()
}

pub(crate) fn parse(text: &str) -> Query {
    Query::parse(text, "2026-02-10T12:00:00Z".parse().unwrap()).unwrap()
}
