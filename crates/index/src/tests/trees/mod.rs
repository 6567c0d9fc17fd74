//! Any tree of texts, fields, AND, OR and NOT against a judging of whole texts
//! member by member: wherever the search chooses to look, it finds the same.

mod fleet;
mod kinds;
mod long;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::tests::oracle::{Wanted, scan};
use crate::tests::*;

/// A query, and whether a member matches it by its raw text.
enum Tree {
    Text(Arc<Asked>),
    Device(String),
    /// From the first second on, and before the second.
    Time(Option<&'static str>, Option<&'static str>),
    And(Vec<Tree>),
    Or(Vec<Tree>),
    Not(Box<Tree>),
}

/// A text of a query, and all that a raw scan finds of it.
struct Asked {
    query: Query,
    /// By the member they stand in.
    answers: HashMap<String, BTreeSet<Answer>>,
}

impl Asked {
    fn new(members: &[Member], query: Query, wanted: &Wanted) -> Self {
        let mut answers: HashMap<String, BTreeSet<Answer>> = HashMap::new();
        for answer in scan(members, wanted, |_| true) {
            let of_member = answers.entry(answer.0.clone()).or_default();
            of_member.insert(answer);
        }
        Self { query, answers }
    }

    fn of(&self, id: &str) -> impl Iterator<Item = &Answer> {
        self.answers.get(id).into_iter().flatten()
    }
}

impl Tree {
    fn text(members: &[Member], query: Query, wanted: &Wanted) -> Self {
        Self::Text(Arc::new(Asked::new(members, query, wanted)))
    }

    fn query(&self) -> Query {
        match self {
            Self::Text(asked) => asked.query.clone(),
            Self::Device(name) => Query::Field(Field::Device, name.clone()),
            Self::Time(since, until) => Query::Time {
                since: since.and_then(|time| time.parse().ok()),
                until: until.and_then(|time| time.parse().ok()),
            },
            Self::And(trees) => Query::And(trees.iter().map(Self::query).collect()),
            Self::Or(trees) => Query::Or(trees.iter().map(Self::query).collect()),
            Self::Not(tree) => Query::Not(Box::new(tree.query())),
        }
    }

    fn judges(&self, member: &Member) -> bool {
        match self {
            Self::Text(asked) => asked.answers.contains_key(&member.id.to_string()),
            Self::Device(name) => member.device.starts_with(&format!("{name}.")),
            // All are written alike, so that they compare as they are written.
            Self::Time(since, until) => member.time.as_ref().is_some_and(|time| {
                since.is_none_or(|since| since <= time.text())
                    && until.is_none_or(|until| time.text() < until)
            }),
            Self::And(trees) => trees.iter().all(|tree| tree.judges(member)),
            Self::Or(trees) => trees.iter().any(|tree| tree.judges(member)),
            Self::Not(tree) => !tree.judges(member),
        }
    }

    /// The texts outside any NOT: their lines are hits.
    fn listed(&self, lists: bool) -> Vec<&Asked> {
        match self {
            Self::Text(asked) if lists => vec![asked],
            Self::Text(_) | Self::Device(_) | Self::Time(..) => Vec::new(),
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
            10 => {
                let mut end = |times: [&'static str; 2]| match random.below(3) {
                    0 => None,
                    n => Some(times[n - 1]),
                };
                let since = end(["2026-02-04T15:37:10Z", "2026-02-04T15:37:25Z"]);
                let until = end(["2026-02-04T15:37:26Z", "2026-02-04T15:37:40Z"]);
                Self::Time(since, until)
            }
            _ => Self::Not(Box::new(Self::random(random, depth - 1, text))),
        }
    }
}

/// A line, by what it stands in and its number.
type Line = (String, String, u64);

/// Every line that is a hit, with the place of its first match; a member's
/// first line where it matches without any.
fn expected(members: &[Member], tree: &Tree) -> BTreeMap<Line, u64> {
    let mut lines = BTreeMap::new();
    let listed = tree.listed(true);
    for member in members.iter().filter(|member| tree.judges(member)) {
        let id = member.id.to_string();
        let mut is_bare = true;
        for (_, path, line, offset, _) in listed.iter().flat_map(|asked| asked.of(&id)) {
            let first = lines.entry((id.clone(), path.clone(), *line));
            let first = first.or_insert(*offset);
            *first = (*first).min(*offset);
            is_bare = false;
        }
        if is_bare {
            let texts = member.texts.iter();
            let part = texts
                .filter(|(_, text)| !text.is_empty())
                .find_map(|(part, _)| part.clone());
            let mut layers = member.layers.clone();
            layers.extend(part);
            lines.insert((id, crate::search::compiled_query::joined(&layers), 1), 0);
        }
    }
    lines
}

/// Asserts that a search finds what judging every member does, by the index
/// and by reading; says whether it looked in some members only.
fn compare(members: &[Member], searcher: &Searcher, tree: &Tree) -> bool {
    compare_by(&[false, true], members, searcher, tree);
    let plan = crate::search::compiled_query::Plan::compile(&tree.query()).unwrap();
    searcher.within(&plan).unwrap().0.is_some()
}

fn compare_by(ways: &[bool], members: &[Member], searcher: &Searcher, tree: &Tree) {
    let query = tree.query();
    let expected = expected(members, tree);
    for &scan in ways {
        let options = SearchOptions {
            scan,
            ..SearchOptions::default()
        };
        let hits = hits(searcher, &query, &options);
        let found: BTreeMap<Line, u64> = hits
            .iter()
            .map(answer)
            .map(|hit| ((hit.0, hit.1, hit.2), hit.3))
            .collect();
        assert_eq!(found, expected, "{query:?}, scan {scan}");
        assert_eq!(found.len(), hits.len(), "{query:?} finds a line twice");
        // Of one text alone the length of what matches is known too.
        if let Tree::Text(asked) = tree {
            for hit in hits.iter().map(answer) {
                assert!(asked.answers[&hit.0].contains(&hit), "{query:?}: {hit:?}");
            }
        }
    }
}

/// Seeds to try: a few, or those that a hunt for more asks for, as `40..90`.
fn seeds(few: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("AFTERACTION_SEEDS").unwrap_or_default();
    let ends = asked.split_once("..");
    let read = ends.and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    read.unwrap_or(0..few)
}

#[test]
fn any_tree_finds_what_judging_every_member_finds() {
    let (mut looked_within, mut merged) = (0, 0);
    for seed in seeds(3) {
        let folder = tempfile::tempdir().unwrap();
        let mut random = Random(seed ^ 5);
        let mut members = members_of(seed + 60, 60, &crate::tests::trees::fleet::line);
        // One text that takes several segments.
        let pool: Vec<String> = (0..1_500)
            .map(|_| crate::tests::trees::fleet::line(&mut random))
            .collect();
        members[33].texts = vec![(None, pool.join("\r\n"))];
        members[33].content = content(&members[33].texts);
        let every = [1, 7, 17][seed as usize % 3];
        build(folder.path(), &members, tiny(), every);
        let searcher = open(folder.path(), &tiny());
        merged += usize::from(searcher.stats().segments < members.len() as u64 / every as u64);
        let text = |random: &mut Random| crate::tests::trees::kinds::text(random, &members);
        for _ in 0..25 {
            let depth = random.below(3);
            let tree = Tree::random(&mut random, depth, &text);
            looked_within += usize::from(compare(&members, &searcher, &tree));
        }
    }
    assert!(looked_within > 10, "only {looked_within} were narrowed");
    assert!(merged > 0, "no segments were merged");
}
