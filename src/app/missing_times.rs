//! Members that a query excludes only because they have no time.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use evidence::{Layer, Locator, ResultId};
use index::{Field, HitMember, IndexError, Query, ResultMetadata, SearchOptions, Searcher};

/// Counts these members, by the values of a field if one is given.
pub(super) fn count_without_time(
    searcher: &Searcher,
    query: &Query,
    by: Option<Field>,
) -> Result<BTreeMap<String, u64>, IndexError> {
    let mut excluded = BTreeMap::new();
    let any_time = without_time_clauses(query);
    let has_time = |result: ResultMetadata| result.time.is_some_and(|t| t.instant().is_some());
    if any_time == *query || searcher.results().all(has_time) {
        return Ok(excluded);
    }
    for count in searcher.count(&any_time.and(no_time()), by, false, None)?.0 {
        excluded.insert(count.value, count.members);
    }
    // A time clause in an OR does not exclude all of them.
    let found = query.clone().and(no_time());
    for count in searcher.count(&found, by, false, None)?.0 {
        if let Some(members) = excluded.get_mut(&count.value) {
            *members = members.saturating_sub(count.members);
        }
    }
    excluded.retain(|_, members| *members > 0);
    Ok(excluded)
}

/// Calls `each` for every one of these members, with its locator.
///
/// **Memory**: about 100 bytes for each member without a time that matches the
/// query.
pub(super) fn each_without_time(
    searcher: &Searcher,
    query: &Query,
    each: &mut dyn FnMut(&HitMember, Locator) -> ControlFlow<()>,
) -> Result<(), IndexError> {
    let mut found = HashSet::new();
    each_member(searcher, &query.clone().and(no_time()), &mut |_, member| {
        found.insert(member);
        ControlFlow::Continue(())
    })?;
    let all = without_time_clauses(query).and(no_time());
    each_member(searcher, &all, &mut |hit_member, member| {
        if found.contains(&member) {
            return ControlFlow::Continue(());
        }
        let (id, layers) = member;
        let locator = Locator {
            layers,
            ..Locator::of_result(id)
        };
        each(hit_member, locator)
    })
}

/// Calls `each` for every member that matches. The hits of a member are
/// consecutive.
fn each_member(
    searcher: &Searcher,
    query: &Query,
    each: &mut dyn FnMut(&HitMember, MemberId) -> ControlFlow<()>,
) -> Result<(), IndexError> {
    let mut last = None;
    searcher.search(query, &SearchOptions::default(), &mut |hit| {
        let member = member_of(&hit.member);
        if last.as_ref() == Some(&member) {
            return ControlFlow::Continue(());
        }
        last = Some(member.clone());
        each(&hit.member, member)
    })?;
    Ok(())
}

pub(super) type MemberId = (ResultId, Vec<Layer>);

/// The member of a hit. The parts of a transcript, output and errors, are one
/// member.
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

/// The query without its time clauses. Clauses in a NOT are kept: they do not
/// exclude members without a time.
fn without_time_clauses(query: &Query) -> Query {
    let each = |queries: &[Query]| queries.iter().map(without_time_clauses).collect();
    match query {
        Query::Time { .. }
        | Query::Field(Field::Day, _)
        | Query::Range {
            field: Field::Day, ..
        } => Query::All,
        Query::And(queries) => Query::And(each(queries)),
        Query::Or(queries) => Query::Or(each(queries)),
        other => other.clone(),
    }
}
