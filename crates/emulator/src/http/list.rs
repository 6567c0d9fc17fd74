//! Lists: filter, order and paging (`$filter`, `$orderby`, `$skip`, `$top`,
//! `$count`).

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::faults::{Fault, FaultSwitch};
use crate::http::filter::{ODataFilter, PropertyType, Schema};

/// Largest `$top` that the service accepts.
const TOP_MAX: usize = 10_000;

pub(crate) type Entity<'a> = Cow<'a, Map<String, Value>>;

/// The query options of a list call.
#[derive(Debug)]
pub(crate) struct ListQuery {
    filter: Option<ODataFilter>,
    filter_text: Option<String>,
    /// Property, and whether the order is descending.
    order: Option<(&'static str, bool)>,
    order_text: Option<String>,
    skip: usize,
    top: Option<usize>,
    count: bool,
}

impl ListQuery {
    /// **Errors**: the message of the 400 response.
    pub(crate) fn parse(query: &str, schema: Schema) -> Result<Self, String> {
        let mut options = Self {
            filter: None,
            filter_text: None,
            order: None,
            order_text: None,
            skip: 0,
            top: None,
            count: false,
        };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let number = || {
                value
                    .parse::<usize>()
                    .map_err(|_| format!("Invalid value '{value}' for {name}."))
            };
            match name.as_ref() {
                "$filter" => {
                    options.filter = Some(ODataFilter::parse(&value, schema)?);
                    options.filter_text = Some(value.into_owned());
                }
                "$orderby" => {
                    options.order = Some(parse_order(&value, schema)?);
                    options.order_text = Some(value.into_owned());
                }
                "$skip" => options.skip = number()?,
                "$top" => match number()? {
                    top if top <= TOP_MAX => options.top = Some(top),
                    top => return Err(format!("$top {top} exceeds the limit of {TOP_MAX}.")),
                },
                "$count" => options.count = value.eq_ignore_ascii_case("true"),
                unknown if unknown.starts_with('$') => {
                    return Err(format!("The query option '{unknown}' is not supported."));
                }
                _ => {}
            }
        }
        Ok(options)
    }

    /// The query of the link to the next page.
    fn next_query(&self, skip: usize, top: Option<usize>) -> String {
        let encoded = |text: &str| -> String {
            url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
        };
        let mut parts = Vec::new();
        if let Some(filter) = &self.filter_text {
            parts.push(format!("$filter={}", encoded(filter)));
        }
        if let Some(order) = &self.order_text {
            parts.push(format!("$orderby={}", encoded(order)));
        }
        if self.count {
            parts.push("$count=true".into());
        }
        if let Some(top) = top {
            parts.push(format!("$top={top}"));
        }
        parts.push(format!("$skip={skip}"));
        parts.join("&")
    }
}

fn parse_order(text: &str, schema: Schema) -> Result<(&'static str, bool), String> {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    let (name, _) = schema
        .iter()
        .find(|(property, _)| *property == name)
        .ok_or_else(|| format!("Could not find a property named '{name}'."))?;
    match (words.next(), words.next()) {
        (None | Some("asc"), None) => Ok((name, false)),
        (Some("desc"), None) => Ok((name, true)),
        _ => Err(format!("Syntax error in $orderby '{text}'.")),
    }
}

/// JSON of a page.
#[derive(Debug, Serialize)]
pub(crate) struct ListPage<'a> {
    #[serde(rename = "@odata.context")]
    context: String,
    #[serde(rename = "@odata.count", skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(rename = "@odata.nextLink", skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    value: Vec<Entity<'a>>,
}

/// Settings of a page.
pub(crate) struct Listing<'a> {
    pub query: &'a ListQuery,
    pub schema: Schema,
    pub page_size: usize,
    pub faults: &'a FaultSwitch,
    /// Number of list calls before this one.
    pub call: u64,
    /// `https://host/api/machineactions`, for the next link.
    pub address: String,
    pub context: String,
}

impl Listing<'_> {
    pub(crate) fn page<'e>(&self, entities: Vec<Entity<'e>>) -> ListPage<'e> {
        let mut all = entities;
        if let Some(filter) = &self.query.filter {
            all.retain(|entity| filter.matches(entity));
        }
        self.sort(&mut all);
        let total = all.len();
        let skip = self.query.skip;
        let size = self
            .page_size(total)
            .min(self.query.top.unwrap_or(usize::MAX));
        let end = skip.saturating_add(size).min(total);
        let begin = self.begin().min(end);
        let remaining = self.query.top.map(|top| top - (end - skip.min(end)));
        let has_next = end < total && remaining != Some(0);
        let next = has_next.then(|| {
            let query = self.query.next_query(end, remaining);
            format!("{}?{query}", self.address)
        });
        all.truncate(end);
        all.drain(..begin);
        ListPage {
            context: self.context.clone(),
            count: self.query.count.then_some(total),
            next,
            value: all,
        }
    }

    fn page_size(&self, total: usize) -> usize {
        match self.faults.active(Fault::SmallPages) {
            Some(hit) => {
                // About eight pages by default: with tiny pages, a large fleet
                // would exceed the rate limit of lists.
                let most = hit.value_or(total as u64 / 4).max(1);
                (1 + pseudo_random(self.call, "page") % most) as usize
            }
            None => self.page_size.max(1),
        }
    }

    /// Start of the page: before `$skip` if entries are repeated.
    fn begin(&self) -> usize {
        let hit = self.faults.active(Fault::Duplicates);
        let repeated = hit.map_or(0, |hit| hit.value_or(2) as usize);
        self.query.skip.saturating_sub(repeated)
    }

    fn sort(&self, all: &mut [Entity<'_>]) {
        if let Some((name, descending)) = self.query.order {
            let property = self.schema.iter().find(|(property, _)| *property == name);
            let kind = property.map_or(PropertyType::Text, |(_, kind)| *kind);
            all.sort_by(|a, b| {
                let order = compare_property(a.get(name), b.get(name), kind);
                if descending { order.reverse() } else { order }
            });
        } else if self.faults.active(Fault::Reordered).is_some() {
            all.sort_by_cached_key(|entity| {
                let id = entity.get("id").and_then(Value::as_str);
                pseudo_random(self.call, id.unwrap_or_default())
            });
        }
    }
}

fn compare_property(a: Option<&Value>, b: Option<&Value>, kind: PropertyType) -> Ordering {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_string);
    let number = |value: Option<&Value>| value.and_then(Value::as_f64);
    match kind {
        PropertyType::Number => number(a).partial_cmp(&number(b)).unwrap_or(Ordering::Equal),
        PropertyType::Time => {
            let time = |value| text(value).and_then(|t| t.parse::<jiff::Timestamp>().ok());
            time(a).cmp(&time(b))
        }
        _ => text(a).cmp(&text(b)),
    }
}

/// A pseudo-random number that depends only on the call and the word.
fn pseudo_random(call: u64, word: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&call.to_le_bytes()).update(word.as_bytes());
    let mut bits = [0u8; 8];
    hasher.finalize_xof().fill(&mut bits);
    u64::from_le_bytes(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Faults;
    use crate::http::filter::ACTIONS;
    use serde_json::json;
    use std::collections::HashSet;

    fn entities(count: usize) -> Vec<Map<String, Value>> {
        let entity = |n: usize| {
            let value = json!({"id": format!("{n:03}"), "status": (["a", "b"][n % 2]),
                "creationDateTimeUtc": format!("2026-01-01T00:{:02}:00Z", 59 - n)});
            value.as_object().unwrap().clone()
        };
        (0..count).map(entity).collect()
    }

    fn page(query: &str, size: usize, faults: &str, call: u64) -> Value {
        let faults = FaultSwitch::new(1, Faults::parse(faults).unwrap());
        let entities = entities(50);
        let page = Listing {
            query: &ListQuery::parse(query, ACTIONS).unwrap(),
            schema: ACTIONS,
            page_size: size,
            faults: &faults,
            call,
            address: "http://host/api/machineactions".into(),
            context: "c".into(),
        }
        .page(entities.iter().map(Cow::Borrowed).collect());
        serde_json::to_value(page).unwrap()
    }

    fn ids(page: &Value) -> Vec<String> {
        let values = page["value"].as_array().unwrap();
        values
            .iter()
            .map(|v| v["id"].as_str().unwrap().to_string())
            .collect()
    }

    fn all_pages(query: &str, size: usize, faults: &str) -> Vec<Vec<String>> {
        let mut query = query.to_string();
        let mut pages = Vec::new();
        for call in 0..200 {
            let page = page(&query, size, faults, call);
            pages.push(ids(&page));
            match page["@odata.nextLink"].as_str() {
                Some(next) => query = next.split_once('?').unwrap().1.to_string(),
                None => break,
            }
        }
        pages
    }

    #[test]
    fn pages_contain_every_entry_once() {
        let pages = all_pages("$filter=status+eq+'a'&$count=true", 10, "");
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
        let distinct: HashSet<_> = pages.concat().into_iter().collect();
        assert_eq!(distinct.len(), 25);
        assert_eq!(page("$count=true&$top=1", 10, "", 0)["@odata.count"], 50);
    }

    #[test]
    fn top_applies_to_all_pages_together() {
        let pages = all_pages("$top=25&$skip=5", 10, "");
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
        assert_eq!(pages[0][0], "005");
    }

    #[test]
    fn small_and_repeating_pages_are_complete() {
        let pages = all_pages("", 10_000, "small-pages@7,duplicates@3");
        let all = pages.concat();
        assert!(pages.len() > 7 && all.len() > 50);
        assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 50);
    }

    #[test]
    fn orderby_takes_precedence_over_the_reordered_fault() {
        let reordered = |call| ids(&page("", 50, "reordered", call));
        assert_ne!(reordered(0), reordered(1));
        let ordered = |call| {
            let query = "$orderby=creationDateTimeUtc desc";
            ids(&page(query, 50, "reordered", call))
        };
        assert_eq!(ordered(0), ordered(1));
        assert_eq!(ordered(0)[0], "000");
    }

    #[test]
    fn unsupported_query_options_are_rejected() {
        for query in [
            "$top=10001",
            "$skip=-1",
            "$select=id",
            "$orderby=colour",
            "$stop=5",
        ] {
            assert!(ListQuery::parse(query, ACTIONS).is_err(), "{query}");
        }
        assert!(ListQuery::parse("%24top=5&other=1", ACTIONS).is_ok());
    }
}
