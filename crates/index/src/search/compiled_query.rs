//! A query made ready: its texts compiled, its tree judging one member.

use std::sync::Arc;

use jiff::Timestamp;

use crate::IndexError;
use crate::codec::tokenizer::fold_text;
use crate::matcher::Matcher;
use crate::matcher::phrase::Crossing;
use crate::matcher::prefilter::Needed;
use crate::matcher::regex_pattern::PATTERNS_MAX;
use crate::query::ast::{Field, Query, SyntaxError, Text};
use crate::search::cross_line_phrases::Crossed;
use crate::segment::metadata::{Occurrence, ResultMetadata};
use evidence::Layer;

/// Texts in one query: each is a bit of a member's mask.
const TEXTS_MAX: usize = 64;

pub(crate) struct Plan {
    tree: Node,
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) phrases: Vec<Phrase>,
}

/// A phrase that may cross line ends.
#[derive(Clone)]
pub(crate) struct Phrase {
    /// Which text of the query it is.
    pub(crate) leaf: usize,
    pub(crate) crossing: Arc<Crossing>,
    /// Lines that end with its beginning.
    pub(crate) head: Leaf,
}

/// A text of the query.
#[derive(Clone)]
pub(crate) struct Leaf {
    /// As it was asked for.
    pub(crate) text: String,
    pub(crate) matcher: Matcher,
    pub(crate) needed: Needed,
    /// Stands outside any NOT: its lines are hits.
    pub(crate) lists: bool,
}

enum Node {
    All,
    Text(usize),
    Field(Field, Pattern),
    Range(Field, Ends),
    Time(Option<Timestamp>, Option<Timestamp>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
}

/// Two values, each with whether it is included.
struct Ends {
    from: Option<(String, bool)>,
    to: Option<(String, bool)>,
}

/// A field's value, with wildcards over the whole of it.
struct Pattern(Vec<char>);

impl Query {
    /// **Errors**: a text that cannot be looked for.
    pub fn check(&self) -> Result<(), IndexError> {
        Ok(Plan::compile(self).map(drop)?)
    }
}

impl Plan {
    pub(crate) fn compile(query: &Query) -> Result<Self, SyntaxError> {
        let mut compiler = Compiler {
            leaves: Vec::new(),
            phrases: Vec::new(),
            pattern_size: PATTERNS_MAX / patterns(query).max(1),
        };
        let tree = compiler.compile(query, true)?;
        let Compiler {
            leaves, phrases, ..
        } = compiler;
        if leaves.len() > TEXTS_MAX {
            return Err(SyntaxError::new(
                0,
                format!("the query asks for more than {TEXTS_MAX} texts"),
            ));
        }
        Ok(Self {
            tree,
            leaves,
            phrases,
        })
    }

    /// Whether a member without any of the texts may match.
    pub(crate) fn may_match_without_text(&self) -> bool {
        may_match(&self.tree)
    }

    /// Judges a member: `mask` has a bit for each text it holds.
    pub(crate) fn judges(
        &self,
        mask: u64,
        result: &ResultMetadata,
        occurrence: &dyn Fn() -> Option<Occurrence>,
    ) -> bool {
        judge(&self.tree, mask, result, occurrence)
    }

    /// The texts every matching member holds.
    pub(crate) fn required(&self) -> Vec<usize> {
        let texts = conjuncts(&self.tree).into_iter();
        let texts = texts.filter_map(|node| match node {
            Node::Text(leaf) => Some(*leaf),
            _ => None,
        });
        texts.collect()
    }

    /// The query for one of its texts alone.
    pub(crate) fn only(&self, leaf: usize) -> Self {
        let phrases = self.phrases.iter().filter(|phrase| phrase.leaf == leaf);
        let phrases = phrases.map(|phrase| Phrase {
            leaf: 0,
            ..phrase.clone()
        });
        Self {
            tree: Node::Text(0),
            leaves: vec![self.leaves[leaf].clone()],
            phrases: phrases.collect(),
        }
    }

    /// The fields every matching member has; `None` where any will do.
    pub(crate) fn required_fields(&self) -> Option<Fields<'_>> {
        let mut nodes = conjuncts(&self.tree);
        nodes.retain(|node| node.is_field());
        (!nodes.is_empty()).then_some(Fields(nodes))
    }

    /// Bits of the texts whose phrases these are.
    pub(crate) fn mask_of(&self, crossed: &[Crossed]) -> u64 {
        let leaves = crossed.iter().map(|c| self.phrases[c.phrase].leaf);
        leaves.fold(0, |mask, leaf| mask | 1 << leaf)
    }

    /// Bits of the texts whose lines are hits.
    pub(crate) fn listed(&self) -> u64 {
        let bits = self.leaves.iter().enumerate();
        bits.filter(|(_, leaf)| leaf.lists)
            .fold(0, |mask, (n, _)| mask | 1 << n)
    }
}

/// Fields that must all be as asked for.
pub(crate) struct Fields<'a>(Vec<&'a Node>);

impl Fields<'_> {
    pub(crate) fn are_of(
        &self,
        result: &ResultMetadata,
        occurrence: &dyn Fn() -> Option<Occurrence>,
    ) -> bool {
        let mut fields = self.0.iter();
        fields.all(|node| judge(node, 0, result, occurrence))
    }
}

/// Patterns of a query, among which the room for them is divided.
fn patterns(query: &Query) -> usize {
    match query {
        Query::Text(Text::Regex { .. } | Text::Multiline { .. } | Text::Fixed { .. }) => 1,
        Query::And(queries) | Query::Or(queries) => queries.iter().map(patterns).sum(),
        Query::Not(query) => patterns(query),
        _ => 0,
    }
}

struct Compiler {
    leaves: Vec<Leaf>,
    phrases: Vec<Phrase>,
    /// **Units**: bytes a compiled pattern may take.
    pattern_size: usize,
}

impl Compiler {
    fn compile(&mut self, query: &Query, lists: bool) -> Result<Node, SyntaxError> {
        Ok(match query {
            Query::All => Node::All,
            Query::Text(text) => Node::Text(self.leaf(text, lists)?),
            Query::Field(field, value) => Node::Field(*field, Pattern::new(value)),
            Query::Range { field, from, to } => {
                let end = |end: &Option<(String, bool)>| {
                    end.as_ref()
                        .map(|(value, included)| (fold_text(value), *included))
                };
                let (from, to) = (end(from), end(to));
                Node::Range(*field, Ends { from, to })
            }
            Query::Time { since, until } => Node::Time(*since, *until),
            Query::And(queries) => Node::And(self.all(queries, lists)?),
            Query::Or(queries) => Node::Or(self.all(queries, lists)?),
            Query::Not(query) => Node::Not(Box::new(self.compile(query, !lists)?)),
        })
    }

    fn all(&mut self, queries: &[Query], lists: bool) -> Result<Vec<Node>, SyntaxError> {
        let queries = queries.iter();
        queries.map(|query| self.compile(query, lists)).collect()
    }

    fn leaf(&mut self, text: &Text, lists: bool) -> Result<usize, SyntaxError> {
        let place = self.leaves.len();
        if let Text::Phrase(phrase) = text {
            self.phrases.extend(Phrase::new(phrase, place)?);
        }
        let (matcher, needed) = Matcher::compile(text, self.pattern_size)?;
        self.leaves.push(Leaf {
            text: text.to_string(),
            matcher,
            needed,
            lists,
        });
        Ok(place)
    }
}

impl Phrase {
    fn new(text: &str, leaf: usize) -> Result<Option<Self>, SyntaxError> {
        let Some(crossing) = Crossing::new(&fold_text(text))? else {
            return Ok(None);
        };
        let crossing = Arc::new(crossing);
        let head = Leaf {
            text: text.to_string(),
            matcher: Matcher::LineEnd(Arc::clone(&crossing)),
            needed: crossing.needed_at_end(),
            lists: false,
        };
        Ok(Some(Self {
            leaf,
            crossing,
            head,
        }))
    }
}

impl Node {
    fn is_field(&self) -> bool {
        matches!(self, Self::Field(..) | Self::Range(..) | Self::Time(..))
    }
}

/// The parts of a query that must all hold.
fn conjuncts(node: &Node) -> Vec<&Node> {
    match node {
        Node::And(nodes) => nodes.iter().flat_map(conjuncts).collect(),
        node => vec![node],
    }
}

fn may_match(node: &Node) -> bool {
    match node {
        Node::Text(_) => false,
        Node::All | Node::Field(..) | Node::Range(..) | Node::Time(..) | Node::Not(_) => true,
        Node::And(nodes) => nodes.iter().all(may_match),
        Node::Or(nodes) => nodes.iter().any(may_match),
    }
}

fn judge(
    node: &Node,
    mask: u64,
    result: &ResultMetadata,
    occurrence: &dyn Fn() -> Option<Occurrence>,
) -> bool {
    match node {
        Node::All => true,
        Node::Text(leaf) => mask >> leaf & 1 == 1,
        Node::Field(field, pattern) => field_matches(*field, pattern, result, occurrence),
        Node::Range(field, ends) => ends.hold(*field, result, occurrence),
        Node::Time(since, until) => result
            .time
            .as_ref()
            .and_then(|time| time.instant())
            .is_some_and(|time| {
                since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until)
            }),
        Node::And(nodes) => nodes.iter().all(|n| judge(n, mask, result, occurrence)),
        Node::Or(nodes) => nodes.iter().any(|n| judge(n, mask, result, occurrence)),
        Node::Not(node) => !judge(node, mask, result, occurrence),
    }
}

impl Ends {
    fn hold(
        &self,
        field: Field,
        result: &ResultMetadata,
        occurrence: &dyn Fn() -> Option<Occurrence>,
    ) -> bool {
        let Some(value) = value_of(field, result, &occurrence()) else {
            return false;
        };
        let compare = |end: &str| match (field, value.parse::<i64>(), end.parse::<i64>()) {
            (Field::Exit, Ok(value), Ok(end)) => value.cmp(&end),
            _ => fold_text(&value).as_str().cmp(end),
        };
        let above = self.from.as_ref().is_none_or(|(end, included)| {
            let order = compare(end);
            order.is_gt() || *included && order.is_eq()
        });
        let below = self.to.as_ref().is_none_or(|(end, included)| {
            let order = compare(end);
            order.is_lt() || *included && order.is_eq()
        });
        above && below
    }
}

/// What a member has for a field: what counting by it counts.
pub(crate) fn value_of(
    field: Field,
    result: &ResultMetadata,
    occurrence: &Option<Occurrence>,
) -> Option<String> {
    match field {
        Field::Device => result.device.clone().or_else(|| result.machine_id.clone()),
        Field::Script => {
            let own = || occurrence.as_ref()?.script.clone();
            result.script.clone().or_else(own)
        }
        Field::Action => Some(result.id.key.action.to_string()),
        Field::Exit => {
            let own = || occurrence.as_ref()?.exit_code;
            result.exit_code.or_else(own).map(|code| code.to_string())
        }
        Field::Path => match occurrence {
            Some(occurrence) if !occurrence.member.is_empty() => Some(occurrence.member.clone()),
            _ => result.path.clone(),
        },
        Field::Kind => Some(result.kind.to_string()),
        Field::Requestor => result.requestor.clone(),
        Field::Comment => result.comment.clone(),
        Field::Day => day_of(result),
    }
}

fn field_matches(
    field: Field,
    pattern: &Pattern,
    result: &ResultMetadata,
    occurrence: &dyn Fn() -> Option<Occurrence>,
) -> bool {
    let is = |text: &Option<String>| text.as_deref().is_some_and(|text| pattern.is(text));
    match field {
        Field::Device => {
            is(&result.machine_id)
                || is(&result.device)
                || result.device.as_deref().is_some_and(|name| {
                    name.split_once('.')
                        .is_some_and(|(short, _)| pattern.is(short))
                })
        }
        Field::Script => match &result.script {
            Some(script) => pattern.is_path(script),
            None => occurrence()
                .and_then(|occurrence| occurrence.script)
                .is_some_and(|script| pattern.is_path(&script)),
        },
        Field::Action => pattern.begins(&result.id.key.action.to_string()),
        Field::Exit => result
            .exit_code
            .or_else(|| occurrence()?.exit_code)
            .is_some_and(|code| pattern.is(&code.to_string())),
        Field::Path => {
            result
                .path
                .as_deref()
                .is_some_and(|path| pattern.is_path(path))
                || occurrence().is_some_and(|occurrence| {
                    pattern.is_path(&occurrence.member)
                        || pattern.is_path(&joined(&occurrence.layers))
                        || occurrence
                            .layers
                            .last()
                            .is_some_and(|layer| pattern.is_path(layer.as_str()))
                })
        }
        Field::Kind => pattern.is(result.kind.as_str()),
        Field::Requestor => {
            is(&result.requestor)
                || result.requestor.as_deref().is_some_and(|name| {
                    name.split_once('@')
                        .is_some_and(|(local, _)| pattern.is(local))
                })
        }
        Field::Comment => result
            .comment
            .as_deref()
            .is_some_and(|comment| pattern.is_within(comment)),
        Field::Day => day_of(result).is_some_and(|day| pattern.is(&day)),
    }
}

pub(crate) fn joined(layers: &[Layer]) -> String {
    let labels: Vec<&str> = layers.iter().map(Layer::as_str).collect();
    labels.join("/")
}

/// **Units**: UTC day, `2026-02-04`.
pub(crate) fn day_of(result: &ResultMetadata) -> Option<String> {
    let instant = result.time.as_ref()?.instant()?;
    Some(instant.to_zoned(jiff::tz::TimeZone::UTC).date().to_string())
}

impl Pattern {
    fn new(value: &str) -> Self {
        Self(fold_text(value).chars().collect())
    }

    /// The whole value, in any case.
    fn is(&self, text: &str) -> bool {
        glob(&self.0, &fold_text(text).chars().collect::<Vec<_>>())
    }

    /// The whole path, or its last component.
    fn is_path(&self, path: &str) -> bool {
        let last = path.rsplit(['\\', '/']).next().unwrap_or(path);
        self.is(path) || self.is(last)
    }

    /// Anywhere, or the whole where there are wildcards.
    fn is_within(&self, text: &str) -> bool {
        let value: String = self.0.iter().collect();
        fold_text(text).contains(&value) || self.is(text)
    }

    fn begins(&self, text: &str) -> bool {
        let value: String = self.0.iter().collect();
        self.is(text) || (value.len() >= 4 && text.starts_with(&value))
    }
}

/// `*` for any characters, `?` for one; linear but for the last `*`.
fn glob(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    p = after;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_values_match_whole_with_wildcards() {
        let is = |value: &str, text: &str| Pattern::new(value).is(text);
        assert!(is("PC17", "pc17") && is("pc*", "PC17.contoso.example") && is("p?17", "PC17"));
        assert!(!is("pc1", "pc17") && !is("p?", "pc17"));
        assert!(Pattern::new("evil.exe").is_path(r"C:\Temp\Evil.exe"));
        assert!(Pattern::new(r"C:\Temp\*").is_path(r"c:\temp\x\y"));
        assert!(Pattern::new("case-42").is_within("for CASE-42, urgent"));
    }
}
