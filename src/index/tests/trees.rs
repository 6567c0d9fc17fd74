//! Any tree of texts, fields, AND, OR and NOT against a judging of whole texts
//! member by member: wherever the search chooses to look, it finds the same.

use super::oracle::{Wanted, scan};
use super::*;

/// A query, and whether a member matches it by its raw text.
enum Tree {
    Text(Query, Wanted),
    Device(String),
    /// Of this second and later.
    Since(&'static str),
    And(Vec<Tree>),
    Or(Vec<Tree>),
    Not(Box<Tree>),
}

impl Tree {
    fn query(&self) -> Query {
        match self {
            Self::Text(query, _) => query.clone(),
            Self::Device(name) => Query::Field(Field::Device, name.clone()),
            Self::Since(time) => Query::Time {
                since: time.parse().ok(),
                until: None,
            },
            Self::And(trees) => Query::And(trees.iter().map(Self::query).collect()),
            Self::Or(trees) => Query::Or(trees.iter().map(Self::query).collect()),
            Self::Not(tree) => Query::Not(Box::new(tree.query())),
        }
    }

    fn judges(&self, member: &Member) -> bool {
        match self {
            Self::Text(_, wanted) => wanted.is_in(member),
            Self::Device(name) => member.device.starts_with(&format!("{name}.")),
            Self::Since(since) => {
                let since = Time::from_text(*since);
                member.time.as_ref().is_some_and(|time| *time >= since)
            }
            Self::And(trees) => trees.iter().all(|tree| tree.judges(member)),
            Self::Or(trees) => trees.iter().any(|tree| tree.judges(member)),
            Self::Not(tree) => !tree.judges(member),
        }
    }

    /// The texts outside any NOT: their lines are hits.
    fn listed(&self, lists: bool) -> Vec<&Wanted> {
        match self {
            Self::Text(_, wanted) if lists => vec![wanted],
            Self::Text(..) | Self::Device(_) | Self::Since(_) => Vec::new(),
            Self::And(trees) | Self::Or(trees) => {
                trees.iter().flat_map(|tree| tree.listed(lists)).collect()
            }
            Self::Not(tree) => tree.listed(!lists),
        }
    }

    fn random(random: &mut Random, depth: usize, text: &dyn Fn(&mut Random) -> Self) -> Self {
        let some = |random: &mut Random| -> Vec<Self> {
            (0..2 + random.below(2))
                .map(|_| Self::random(random, depth - 1, text))
                .collect()
        };
        match random.below(if depth == 0 { 5 } else { 12 }) {
            0 => Self::Device(format!("PC{}", random.below(5))),
            1..5 => text(random),
            5..9 => Self::And(some(random)),
            9 => Self::Or(some(random)),
            10 => Self::Since("2026-02-04T15:37:25Z"),
            _ => Self::Not(Box::new(Self::random(random, depth - 1, text))),
        }
    }

    /// From a word that is everywhere to a piece that stands in one member.
    fn text(random: &mut Random, members: &[Member]) -> Self {
        if random.below(2) == 0 {
            let word = random.pick(&["the", "evil.exe", "mimikatz", "東京都", "foo_bar"]);
            let wanted = Wanted::Term(word.to_string());
            return Self::Text(Query::Text(Text::Term(word.to_string())), wanted);
        }
        loop {
            let (_, text) = &members[random.below(members.len())].texts[0];
            let lines: Vec<&str> = text.split('\n').collect();
            let line = lines[random.below(lines.len())].trim_end_matches('\r');
            let piece: String = line.chars().skip(random.below(9)).take(14).collect();
            if piece.len() < 4 {
                continue;
            }
            let escaped = regex::escape(&piece);
            return match random.below(2) {
                0 => Self::Text(Query::fixed(&piece, false), Wanted::Fixed(piece)),
                _ => Self::Text(Query::regex(&escaped, false), Wanted::regex(&escaped)),
            };
        }
    }
}

/// Every line that is a hit, each once; a member's first line where it matches
/// without any.
fn expected(members: &[Member], tree: &Tree) -> Vec<(String, String, u64)> {
    let mut lines = Vec::new();
    for member in members.iter().filter(|member| tree.judges(member)) {
        let before = lines.len();
        for wanted in tree.listed(true) {
            let hits = scan(std::slice::from_ref(member), wanted, |_| true);
            lines.extend(hits.into_iter().map(|hit| (hit.0, hit.1, hit.2)));
        }
        if lines.len() == before {
            let texts = member.texts.iter();
            let part = texts
                .filter(|(_, text)| !text.is_empty())
                .find_map(|(part, _)| part.clone());
            let mut layers = member.layers.clone();
            layers.extend(part);
            lines.push((member.id.to_string(), plan::joined(&layers), 1));
        }
    }
    lines.sort();
    lines.dedup();
    lines
}

/// Compares random trees, by the index and by reading; says how many were
/// looked for in some members only.
fn compare(
    members: &[Member],
    searcher: &Searcher,
    random: &mut Random,
    trees: usize,
    text: &dyn Fn(&mut Random) -> Tree,
) -> usize {
    let mut looked_within = 0;
    for _ in 0..trees {
        let tree = Tree::random(random, 2, text);
        let query = tree.query();
        let plan = plan::Plan::compile(&query).unwrap();
        looked_within += usize::from(searcher.within(&plan).unwrap().0.is_some());
        for scan in [false, true] {
            let options = Options {
                scan,
                ..Options::default()
            };
            let hits = hits(searcher, &query, &options);
            let mut found: Vec<_> = hits
                .iter()
                .map(answer)
                .map(|hit| (hit.0, hit.1, hit.2))
                .collect();
            found.sort();
            assert_eq!(found, expected(members, &tree), "{query:?}, scan {scan}");
        }
    }
    looked_within
}

#[test]
fn any_tree_finds_what_judging_every_member_finds() {
    let mut looked_within = 0;
    for seed in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let mut members = members(seed + 60, 70);
        // One text that takes several segments.
        let mut random = Random(seed ^ 5);
        let pool: Vec<String> = (0..2_000).map(|_| line(&mut random)).collect();
        members[33].texts = vec![(None, pool.join("\n"))];
        members[33].content = content(&members[33].texts);
        build(folder.path(), &members, tiny(), 17);
        let searcher = open(folder.path(), &tiny());
        let text = |random: &mut Random| Tree::text(random, &members);
        looked_within += compare(&members, &searcher, &mut random, 60, &text);
    }
    assert!(looked_within > 40, "only {looked_within} were narrowed");
}

#[test]
fn a_line_in_parts_is_judged_as_any_other() {
    let mut members = members(90, 30);
    let mut random = Random(90);
    for (n, begin) in [(4, "headq 東京都 "), (9, "headq mimikatz "), (21, "x ")] {
        let line = format!("{begin}{}xx tailq{n} end", "ab é".repeat(240_000));
        let text = format!("first\n{line}\nlast evil.exe\n");
        members[n].texts = vec![(None, text)];
        members[n].content = content(&members[n].texts);
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::default();
    build(folder.path(), &members, settings.clone(), 9);
    let searcher = open(folder.path(), &settings);
    let text = |random: &mut Random| {
        let fixed = |text: &str| {
            let query = Query::fixed(text, false);
            Tree::Text(query, Wanted::Fixed(text.into()))
        };
        let pattern = |pattern: &str| {
            let query = Query::regex(pattern, false);
            Tree::Text(query, Wanted::regex(pattern))
        };
        match random.below(8) {
            0 => pattern("headq.*tailq4"),
            1 => pattern("^x .*tail"),
            2 => pattern("headq.*xx tailq. end$"),
            3 => pattern("tailq.*headq"),
            4 => fixed("xx tailq9"),
            5 => fixed("evil.exe"),
            6 => fixed("headq mimi"),
            _ => fixed("the"),
        }
    };
    let looked_within = compare(&members, &searcher, &mut random, 40, &text);
    assert!(looked_within > 10, "only {looked_within} were narrowed");
}
