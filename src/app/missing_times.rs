//! What a search leaves out only because it has no time.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use evidence::{Layer, Locator, ResultId};
use index::{Field, HitMember, IndexError, Query, ResultMetadata, SearchOptions, Searcher};

/// How many members a query leaves out only because they have no time, by the
/// values of a field where one is given.
pub(super) fn undated(
    searcher: &Searcher,
    query: &Query,
    by: Option<Field>,
) -> Result<BTreeMap<String, u64>, IndexError> {
    let mut undated = BTreeMap::new();
    let timeless = timeless(query);
    let has_time = |result: ResultMetadata| result.time.is_some_and(|t| t.instant().is_some());
    if timeless == *query || searcher.results().all(has_time) {
        return Ok(undated);
    }
    for count in searcher.count(&timeless.and(no_time()), by, false, None)?.0 {
        undated.insert(count.value, count.members);
    }
    // A time beside an OR leaves out less.
    for count in searcher
        .count(&query.clone().and(no_time()), by, false, None)?
        .0
    {
        if let Some(members) = undated.get_mut(&count.value) {
            *members = members.saturating_sub(count.members);
        }
    }
    undated.retain(|_, members| *members > 0);
    Ok(undated)
}

/// Hands out those members, each by its place.
///
/// **Memory**: about 100 bytes for each member without a time that the query
/// finds all the same.
pub(super) fn each_undated(
    searcher: &Searcher,
    query: &Query,
    take: &mut dyn FnMut(&HitMember, Locator) -> ControlFlow<()>,
) -> Result<(), IndexError> {
    let mut found = HashSet::new();
    each_member(searcher, &query.clone().and(no_time()), &mut |_, member| {
        found.insert(member);
        ControlFlow::Continue(())
    })?;
    let all = timeless(query).and(no_time());
    each_member(searcher, &all, &mut |row, member| {
        if found.contains(&member) {
            return ControlFlow::Continue(());
        }
        let (id, layers) = member;
        take(
            row,
            Locator {
                layers,
                ..Locator::of_result(id)
            },
        )
    })
}

/// Members that a query finds. The hits of one follow each other.
fn each_member(
    searcher: &Searcher,
    query: &Query,
    take: &mut dyn FnMut(&HitMember, MemberId) -> ControlFlow<()>,
) -> Result<(), IndexError> {
    let mut last = None;
    searcher.search(query, &SearchOptions::default(), &mut |hit| {
        let member = member_of(&hit.member);
        if last.as_ref() == Some(&member) {
            return ControlFlow::Continue(());
        }
        last = Some(member.clone());
        take(&hit.member, member)
    })?;
    Ok(())
}

pub(super) type MemberId = (ResultId, Vec<Layer>);

/// The member a hit stands in: the output and the errors of a transcript are one.
pub(super) fn member_of(member: &HitMember) -> MemberId {
    let mut layers = member.layers.clone();
    let is_part = |layer: &Layer| {
        matches!(layer.as_str(), "output" | "errors" | "other") && layer.as_str() != member.path
    };
    if layers.last().is_some_and(is_part) {
        layers.pop();
    }
    (member.id, layers)
}

fn no_time() -> Query {
    let (since, until) = (None, None);
    Query::Not(Box::new(Query::Time { since, until }))
}

/// The same query where any time will do. What stands in a NOT stays: there,
/// what has no time is not left out.
fn timeless(query: &Query) -> Query {
    let all = |queries: &[Query]| queries.iter().map(timeless).collect();
    match query {
        Query::Time { .. }
        | Query::Field(Field::Day, _)
        | Query::Range {
            field: Field::Day, ..
        } => Query::All,
        Query::And(queries) => Query::And(all(queries)),
        Query::Or(queries) => Query::Or(all(queries)),
        other => other.clone(),
    }
}
