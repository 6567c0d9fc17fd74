//! Stack and diff against a reading of the raw texts, line by line, that
//! knows no index.

use std::collections::{BTreeMap, BTreeSet};

use analyze::{Change, Groups, Learner, Pairing, RuleSet, Templates, differing};
use evidence::{
    ActionId, CommandIndex, Layer, ResultId, ResultKey, ResultKind, Seq, Sha256, Time, Version,
};
use index::{
    Field, IndexId, IndexSettings, IndexWriter, LinePosition, MemberSet, Occurrence, Query,
    ResultMetadata, Searcher,
};

use crate::app::compare::aggregate::{Side, Sweep};
use crate::app::compare::normalizer::Lens;
use crate::app::compare::template_cache::Kept;

/// One member as it was taken in.
#[derive(Clone)]
struct Member {
    id: ResultId,
    device: Option<String>,
    script: String,
    time: Option<Time>,
    texts: Vec<(Option<Layer>, String)>,
}

impl Member {
    fn content(&self) -> Sha256 {
        let mut all = String::new();
        for (part, text) in &self.texts {
            all.push_str(part.as_ref().map_or("", |part| part.as_str()));
            all.push('\u{1}');
            all.push_str(text);
        }
        Sha256::of(all.as_bytes())
    }

    /// Its lines without their ends, in reading order.
    fn lines(&self) -> Vec<&str> {
        let texts = self.texts.iter();
        texts
            .flat_map(|(_, text)| text.split_terminator('\n'))
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
            .collect()
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn line(random: &mut Random, device: u64) -> String {
    let n = random.below(40);
    match random.below(12) {
        0 => format!("Process ID: {}", random.below(9_000)),
        1 => format!(
            "  TCP  10.0.0.{device}:{}  198.51.100.{n}:443  ESTABLISHED {}",
            49_200 + n,
            n * 4
        ),
        2 => format!(
            "PC{device}\\admin logged on at 2026-02-03 02:11:{:02}",
            n % 60
        ),
        3 => format!("PC{}.contoso.example answers", random.below(6)),
        4 => format!("{{5382f7ea-7557-4ab7-9782-d5048002{n:04}}} installed"),
        5 => format!("rare {}", random.below(100_000)),
        6 => format!("nul \0 esc \u{1b}[2J bidi \u{202e} {n}"),
        7 => String::new(),
        8 => format!("wide {} {n}", "x ".repeat(random.below(400) as usize)),
        9 => format!("C:\\Users\\user{n}\\AppData\\Local\\Temp\\tmp{n:X}.tmp"),
        _ => format!("service {n} of everybody"),
    }
}

fn text(random: &mut Random, device: u64) -> String {
    let mut text = String::new();
    for _ in 0..random.below(60) {
        text.push_str(&line(random, device));
        text.push_str(["\n", "\r\n"][random.below(2) as usize]);
    }
    if random.below(2) == 0 {
        text.push_str(&line(random, device));
    }
    text
}

fn members(seed: u64, count: u64) -> Vec<Member> {
    let mut random = Random(seed);
    let mut members: Vec<Member> = Vec::new();
    for n in 0..count {
        let device = random.below(6);
        let texts = match random.below(4) {
            0 if n > 0 => members[random.below(n) as usize].texts.clone(),
            1 => vec![
                (Some(Layer::output()), text(&mut random, device)),
                (Some(Layer::errors()), text(&mut random, device)),
            ],
            _ => vec![(None, text(&mut random, device))],
        };
        let mut action = [0u8; 16];
        action[..8].copy_from_slice(&random.below(u64::MAX).to_be_bytes());
        let key = ResultKey::new(ActionId::from_bytes(action), CommandIndex(0));
        let seconds = random.below(60);
        members.push(Member {
            id: ResultId::new(key, Version(1)),
            device: (random.below(12) > 0).then(|| format!("pc{device}.contoso.example")),
            script: ["a.ps1", "b.ps1"][random.below(2) as usize].into(),
            time: (random.below(5) > 0)
                .then(|| Time::from_text(format!("2026-02-04T15:37:{seconds:02}Z"))),
            texts,
        });
    }
    members
}

fn indexed(members: &[Member]) -> (tempfile::TempDir, Searcher) {
    let folder = tempfile::tempdir().unwrap();
    let identity = IndexId {
        archive: [1; 16],
        generation: 1,
        extractor_version: 1,
    };
    // Segments small enough that everything crosses their borders.
    let settings = IndexSettings {
        text_max: 24 << 10,
        distinct_max: 24 << 10,
        lines_max: 400,
        key: None,
    };
    let mut writer = IndexWriter::open(folder.path(), identity.clone(), settings).unwrap();
    for (seq, member) in (1u64..).zip(members) {
        for (part, text) in &member.texts {
            writer.begin(part.clone());
            writer.text(text).unwrap();
            writer.finish(member.content()).unwrap();
        }
        writer.result(ResultMetadata {
            device: member.device.clone(),
            script: Some(member.script.clone()),
            time: member.time.clone(),
            ..ResultMetadata::new(member.id, Seq(seq), ResultKind::Transcript)
        });
        let content = member.content();
        writer.occurrence(Occurrence::new(member.id, Vec::new(), content, 0));
        if seq % 9 == 0 || seq == members.len() as u64 {
            writer.publish(Seq(seq)).unwrap();
        }
    }
    drop(writer);
    let searcher = Searcher::open(folder.path(), Some(&identity), None).unwrap();
    assert!(searcher.stats().segments > 2);
    (folder, searcher)
}

/// What is said of a text: devices, hits, first and last rank, variants, and
/// the number of its line in the first member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Said {
    devices: BTreeSet<String>,
    hits: u64,
    first: Option<u32>,
    last: Option<u32>,
    variants: BTreeSet<String>,
    line: Option<u64>,
}

type Answer = BTreeMap<String, Said>;

/// Members in the order of a search.
fn ranked(members: &[Member]) -> Vec<&Member> {
    let mut ranked: Vec<&Member> = members.iter().collect();
    let time = |m: &Member| m.time.as_ref().and_then(Time::nanoseconds);
    ranked.sort_by_key(|m| (time(m).unwrap_or(i64::MAX), m.id));
    ranked
}

/// The oracle: every line of every member, one by one.
fn read(ranked: &[&Member], templates: &Templates, keep: &dyn Fn(&str) -> bool) -> Answer {
    let mut answer = Answer::new();
    for (rank, member) in (0u32..).zip(ranked) {
        let own = member
            .device
            .as_deref()
            .and_then(|d| templates.machine_of(d));
        let mut number = 0;
        for (_, text) in &member.texts {
            number = if member.texts.len() > 1 { 0 } else { number };
            for raw in text.split_terminator('\n') {
                number += 1;
                let line = raw.strip_suffix('\r').unwrap_or(raw);
                if !keep(line) {
                    continue;
                }
                let said = answer.entry(templates.of(line, own)).or_default();
                said.devices.extend(member.device.clone());
                said.hits += 1;
                said.variants.insert(line.to_string());
                if said.first.is_none() {
                    said.first = Some(rank);
                    said.line = Some(number);
                }
                if member.time.is_some() {
                    said.last = Some(rank);
                }
            }
        }
    }
    answer
}

/// What the groups of a sweep say.
fn told(selection: &MemberSet<'_>, groups: &Groups, into: &mut Answer) {
    let mut spots = selection.spots();
    for number in groups.numbers() {
        let held = groups.held(number, 0);
        let Some(first) = held.first else {
            continue;
        };
        let (segment, document, index) = first.place;
        let spot = LinePosition {
            segment,
            document,
            index,
        };
        let devices = held.devices.iter();
        let said = Said {
            devices: devices
                .filter_map(|device| selection.devices()[device as usize].name.clone())
                .collect(),
            hits: held.hits,
            first: Some(first.rank),
            last: held.last,
            // Their number; the texts are not kept.
            variants: (0..groups.variants(number))
                .map(|n| n.to_string())
                .collect(),
            line: Some(spots.at(spot).unwrap().line),
        };
        let known = into.insert(groups.text(number).to_string(), said);
        assert!(known.is_none(), "{:?} twice", groups.text(number));
    }
}

/// What all groups of a sweep say.
fn answer(selection: &MemberSet<'_>, sweep: &Sweep<'_>) -> Answer {
    let mut answer = Answer::new();
    let mut take = |groups| {
        told(selection, &groups, &mut answer);
        Ok(())
    };
    sweep.each(&mut |_, _| {}, &mut take).unwrap();
    answer
}

fn assert_same(mut told: Answer, mut read: Answer, what: &str) {
    for (text, said) in &mut read {
        let told = told
            .get_mut(text)
            .unwrap_or_else(|| panic!("{what}: no {text:?}"));
        let most = said.variants.len().min(analyze::VARIANTS_COUNTED + 1);
        assert_eq!(told.variants.len(), most, "{what}: {text:?}");
        told.variants.clear();
        said.variants.clear();
        assert_eq!(told, said, "{what}: {text:?}");
    }
    assert_eq!(told.len(), read.len(), "{what}");
}

fn names() -> Vec<String> {
    (0..6).map(|n| format!("pc{n}.contoso.example")).collect()
}

fn templates() -> Templates {
    let templates = Templates::new(&RuleSet::default()).unwrap();
    templates.with_machines(names().iter().map(String::as_str))
}

fn lens() -> Lens {
    Lens::new(RuleSet::default(), Vec::new(), names(), [7; 16]).unwrap()
}

#[test]
fn a_stack_says_what_a_reading_of_the_raw_texts_says() {
    for seed in 0..4 {
        let members = members(seed, 50);
        let (_folder, searcher) = indexed(&members);
        let selection = searcher.select(&Query::All).unwrap();
        let expected = read(&ranked(&members), &templates(), &|_| true);
        let lens = lens();
        for (threads, passes) in [(1, 1), (2, 1), (5, 1), (2, 3), (1, 8)] {
            let sweep = Sweep::new(&selection, &lens).over(threads, passes);
            let (mut answer, mut count) = (Answer::new(), 0);
            sweep
                .each(&mut |_, _| {}, &mut |groups| {
                    told(&selection, &groups, &mut answer);
                    count += 1;
                    Ok(())
                })
                .unwrap();
            assert!(count >= passes, "{count} of {passes}");
            assert_same(
                answer,
                expected.clone(),
                &format!("seed {seed}, {threads}, {passes}"),
            );
        }
    }
}

#[test]
fn what_was_seen_once_is_told_again_and_what_is_damaged_is_looked_at_anew() {
    let members = members(11, 50);
    let (folder, searcher) = indexed(&members);
    let expected = read(&ranked(&members), &templates(), &|_| true);
    let lens = lens();
    let kept = Kept::new(folder.path(), &lens).unwrap().with_the_least();
    let selection = searcher.select(&Query::All).unwrap();
    let holds = |segment| selection.held(segment, None, 1).unwrap();
    let are_kept = || {
        let segments = 0..selection.segments();
        let mut all = segments.filter(|segment| !holds(*segment).is_empty());
        all.all(|segment| kept.replay(&holds(segment), &lens, &mut |_| ()))
    };
    let ask = |threads, passes, what: &str| {
        let sweep = Sweep::new(&selection, &lens).kept_by(Some(kept.clone()));
        let sweep = sweep.over(threads, passes);
        assert_same(answer(&selection, &sweep), expected.clone(), what);
        assert!(are_kept(), "{what}");
    };
    assert!(!are_kept());
    ask(2, 1, "seen");
    ask(2, 1, "again");
    ask(1, 3, "again in passes");
    let files = std::fs::read_dir(folder.path().join("templates")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty());
    for damage in [
        (|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1)) as fn(&mut Vec<u8>),
        |bytes| bytes.clear(),
        |bytes| bytes[60] ^= 1,
        // The end comes before the first page.
        |bytes| bytes[..4].fill(0xff),
    ] {
        for file in &files {
            let mut bytes = std::fs::read(file).unwrap();
            damage(&mut bytes);
            std::fs::write(file, bytes).unwrap();
        }
        assert!(!are_kept());
        ask(2, 1, "after damage");
    }
    // Other lines of the same segments.
    let query = Query::Field(Field::Script, "a.ps1".into());
    let some = searcher.select(&query).unwrap();
    let mut chosen = members.clone();
    chosen.retain(|member| member.script == "a.ps1");
    let sweep = Sweep::new(&some, &lens).kept_by(Some(kept.clone()));
    let read = read(&ranked(&chosen), &templates(), &|_| true);
    assert_same(answer(&some, &sweep), read, "by script");
}

#[test]
fn a_stack_of_a_query_holds_the_lines_it_finds_and_no_others() {
    let members = members(7, 50);
    let (_folder, searcher) = indexed(&members);
    let lens = lens();
    let mut checked = 0;
    for needle in [
        "everybody",
        "nul \0",
        "esc \u{1b}",
        "answers",
        "of",
        "no such thing",
    ] {
        let selection = searcher.select(&Query::fixed(needle, false)).unwrap();
        let mut holding = members.clone();
        holding.retain(|m| m.lines().iter().any(|line| line.contains(needle)));
        let expected = read(&ranked(&holding), &templates(), &|line| {
            line.contains(needle)
        });
        let answer = answer(&selection, &Sweep::new(&selection, &lens));
        checked += answer.len();
        assert_same(answer, expected, needle);
    }
    assert!(checked > 40);
    let query = Query::Field(Field::Script, "a.ps1".into());
    let selection = searcher.select(&query).unwrap();
    let mut chosen = members.clone();
    chosen.retain(|member| member.script == "a.ps1");
    assert_same(
        answer(&selection, &Sweep::new(&selection, &lens)),
        read(&ranked(&chosen), &templates(), &|_| true),
        "by script",
    );
}

#[test]
fn a_baseline_hides_exactly_what_it_learned_and_says_how_much() {
    let members = members(9, 40);
    let (_folder, searcher) = indexed(&members);
    let all = read(&ranked(&members), &templates(), &|_| true);
    let known: BTreeSet<&String> = all.keys().step_by(2).collect();
    let mut learner = Learner::default();
    known
        .iter()
        .for_each(|template| learner.add(template).unwrap());
    let facts = analyze::BaselineFacts {
        name: "half".into(),
        version: 1,
        learned_at: Time::from_text(""),
        learned_by: String::new(),
        learned_from: String::new(),
        devices: 0,
        members: 0,
        rules: RuleSet::default(),
    };
    let page = learner.learned(facts).unwrap().page();
    let selection = searcher.select(&Query::All).unwrap();
    // Whether the rules are those of the baseline or others.
    for rules in [RuleSet::default(), RuleSet::none()] {
        let baseline = analyze::Baseline::read(&page).unwrap();
        let lens = Lens::new(rules, vec![baseline], names(), [7; 16]).unwrap();
        let sweep = Sweep::new(&selection, &lens).over(2, 3);
        let mut hits = 0;
        sweep
            .each(&mut |_, _| {}, &mut |groups| {
                hits += groups
                    .numbers()
                    .map(|n| groups.held(n, 0).hits)
                    .sum::<u64>();
                Ok(())
            })
            .unwrap();
        let hidden = all.iter().filter(|(text, _)| known.contains(text));
        assert_eq!(
            sweep.hidden(),
            hidden.map(|(_, said)| said.hits).sum::<u64>()
        );
        let seen = all.iter().filter(|(text, _)| !known.contains(text));
        assert_eq!(hits, seen.map(|(_, said)| said.hits).sum::<u64>());
    }
}

#[test]
fn a_diff_says_what_two_sets_of_raw_lines_say() {
    let mut found = 0;
    for seed in 20..26 {
        let members = members(seed, 40);
        let (_folder, searcher) = indexed(&members);
        let selection = searcher.select(&Query::All).unwrap();
        let ranked = ranked(&members);
        let side_of = |member: &Member| match member.device.as_deref() {
            Some("pc1.contoso.example") => Side::First,
            Some("pc2.contoso.example") => Side::Second,
            _ => Side::Out,
        };
        let of = |side: Side| -> Answer {
            let mut chosen = ranked.clone();
            chosen.retain(|member| side_of(member) == side);
            read(&chosen, &templates(), &|_| true)
        };
        let (first, second) = (of(Side::First), of(Side::Second));
        let sides = ranked.iter().map(|member| side_of(member)).collect();
        let lens = lens();
        let mut groups = None;
        Sweep::new(&selection, &lens)
            .with_sides(sides)
            .each(&mut |_, _| {}, &mut |all| {
                groups = Some(all);
                Ok(())
            })
            .unwrap();
        let groups = groups.unwrap();
        let pairing = Pairing {
            min: [1; 2],
            max: [0; 2],
            counts: true,
        };
        let (mut removed, mut added, mut counted) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let differing = differing(&groups, &pairing);
        for change in &differing.changes {
            match change {
                Change::Removed(a) => drop(removed.insert(groups.text(*a))),
                Change::Added(b) => drop(added.insert(groups.text(*b))),
                Change::Counted(a) => drop(counted.insert(groups.text(*a))),
                Change::Changed(a, b) => {
                    removed.insert(groups.text(*a));
                    added.insert(groups.text(*b));
                }
            }
        }
        let only = |a: &Answer, b: &Answer| -> BTreeSet<String> {
            a.keys()
                .filter(|text| !b.contains_key(*text))
                .cloned()
                .collect()
        };
        let owned = |set: &BTreeSet<&str>| -> BTreeSet<String> {
            set.iter().map(|text| text.to_string()).collect()
        };
        assert_eq!(owned(&removed), only(&first, &second));
        assert_eq!(owned(&added), only(&second, &first));
        let both = first
            .iter()
            .filter_map(|(text, a)| Some((text, a.hits, second.get(text)?.hits)));
        let (same, other): (Vec<_>, Vec<_>) = both.partition(|(_, a, b)| a == b);
        assert_eq!(
            owned(&counted),
            other.into_iter().map(|(text, ..)| text.clone()).collect()
        );
        assert_eq!(differing.same, same.len() as u64);
        found += differing.changes.len();
    }
    assert!(found > 100, "{found}");
}
