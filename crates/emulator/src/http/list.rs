//! Lists: `$filter`, `$orderby`, `$skip`, `$top`, `$count` and the pages.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::faults::{Fault, FaultSwitch};
use crate::http::filter::{ODataFilter, PropertyType, Schema};

/// The service refuses to return more at once.
const TOP_MAX: usize = 10_000;

pub(crate) type Entity<'a> = Cow<'a, Map<String, Value>>;

/// What a list call asks for.
#[derive(Debug)]
pub(crate) struct ListQuery {
    filter: Option<ODataFilter>,
    filter_text: Option<String>,
    order: Option<(&'static str, bool)>,
    order_text: Option<String>,
    skip: usize,
    top: Option<usize>,
    count: bool,
}

impl ListQuery {
    /// **Errors**: a sentence for the 400.
    pub(crate) fn parse(query: &str, schema: Schema) -> Result<Self, String> {
        let mut ask = Self {
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
                let read = value.parse::<usize>();
                read.map_err(|_| format!("Invalid value '{value}' for {name}."))
            };
            match name.as_ref() {
                "$filter" => {
                    ask.filter = Some(ODataFilter::parse(&value, schema)?);
                    ask.filter_text = Some(value.into_owned());
                }
                "$orderby" => {
                    ask.order = Some(order(&value, schema)?);
                    ask.order_text = Some(value.into_owned());
                }
                "$skip" => ask.skip = number()?,
                "$top" => match number()? {
                    top if top <= TOP_MAX => ask.top = Some(top),
                    top => return Err(format!("$top {top} exceeds the limit of {TOP_MAX}.")),
                },
                "$count" => ask.count = value.eq_ignore_ascii_case("true"),
                unknown if unknown.starts_with('$') => {
                    return Err(format!("The query option '{unknown}' is not supported."));
                }
                _ => {}
            }
        }
        Ok(ask)
    }

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

fn order(text: &str, schema: Schema) -> Result<(&'static str, bool), String> {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    let known = schema.iter().find(|(known, _)| *known == name);
    let (name, _) = known.ok_or_else(|| format!("Could not find a property named '{name}'."))?;
    match (words.next(), words.next()) {
        (None | Some("asc"), None) => Ok((name, false)),
        (Some("desc"), None) => Ok((name, true)),
        _ => Err(format!("Syntax error in $orderby '{text}'.")),
    }
}

/// One page as it is answered.
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

/// One page and the link to the next.
pub(crate) struct Listing<'a> {
    pub ask: &'a ListQuery,
    pub schema: Schema,
    pub page_size: usize,
    pub faults: &'a FaultSwitch,
    /// How many lists were asked for before.
    pub call: u64,
    /// `https://host/api/machineactions`, for the next link.
    pub address: String,
    pub context: String,
}

impl Listing<'_> {
    pub(crate) fn page<'e>(&self, entities: Vec<Entity<'e>>) -> ListPage<'e> {
        let mut all = entities;
        if let Some(filter) = &self.ask.filter {
            all.retain(|entity| filter.holds(entity));
        }
        self.sort(&mut all);
        let asked = self.ask.top.unwrap_or(usize::MAX);
        let end = self
            .ask
            .skip
            .saturating_add(self.page_size(all.len()).min(asked))
            .min(all.len());
        let begin = self.begin().min(end);
        let total = all.len();
        let rest = self.ask.top.map(|top| top - (end - self.ask.skip.min(end)));
        let goes_on = end < total && rest != Some(0);
        let next = goes_on.then(|| {
            let query = self.ask.next_query(end, rest);
            format!("{}?{query}", self.address)
        });
        all.truncate(end);
        all.drain(..begin);
        ListPage {
            context: self.context.clone(),
            count: self.ask.count.then_some(total),
            next,
            value: all,
        }
    }

    fn page_size(&self, total: usize) -> usize {
        match self.faults.active(Fault::SmallPages) {
            Some(struck) => {
                // By default about eight pages: tiny ones of a large fleet
                // would exhaust the budget of lists instead of testing them.
                let most = struck.value_or(total as u64 / 4).max(1);
                (1 + scatter(self.call, "page") % most) as usize
            }
            None => self.page_size.max(1),
        }
    }

    /// Where the page begins: before `$skip`, where entries come twice.
    fn begin(&self) -> usize {
        let repeated = self.faults.active(Fault::Duplicates);
        let repeated = repeated.map_or(0, |struck| struck.value_or(2) as usize);
        self.ask.skip.saturating_sub(repeated)
    }

    fn sort(&self, all: &mut [Entity<'_>]) {
        if let Some((name, descending)) = self.ask.order {
            let kind = self.schema.iter().find(|(known, _)| *known == name);
            let kind = kind.map_or(PropertyType::Text, |(_, kind)| *kind);
            all.sort_by(|a, b| {
                let order = by_property(a.get(name), b.get(name), kind);
                if descending { order.reverse() } else { order }
            });
        } else if self.faults.active(Fault::Reordered).is_some() {
            all.sort_by_cached_key(|entity| {
                let id = entity.get("id").and_then(Value::as_str);
                scatter(self.call, id.unwrap_or_default())
            });
        }
    }
}

fn by_property(a: Option<&Value>, b: Option<&Value>, kind: PropertyType) -> Ordering {
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

/// A number that looks random and is the same for the same call and word.
fn scatter(call: u64, word: &str) -> u64 {
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
            ask: &ListQuery::parse(query, ACTIONS).unwrap(),
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
        let ids = values.iter().map(|v| v["id"].as_str().unwrap().to_string());
        ids.collect()
    }

    fn walk(query: &str, size: usize, faults: &str) -> Vec<Vec<String>> {
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
    fn a_walk_over_pages_finds_everything_once() {
        let pages = walk("$filter=status+eq+'a'&$count=true", 10, "");
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
        let distinct: HashSet<_> = pages.concat().into_iter().collect();
        assert_eq!(distinct.len(), 25);
        assert_eq!(page("$count=true&$top=1", 10, "", 0)["@odata.count"], 50);
    }

    #[test]
    fn top_is_kept_over_several_pages() {
        let pages = walk("$top=25&$skip=5", 10, "");
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
        assert_eq!(pages[0][0], "005");
    }

    #[test]
    fn small_and_repeating_pages_still_end_and_lose_nothing() {
        let pages = walk("", 10_000, "small-pages@7,duplicates@3");
        let all = pages.concat();
        assert!(pages.len() > 7 && all.len() > 50);
        assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 50);
    }

    #[test]
    fn an_order_asked_for_holds_even_when_lists_come_reordered() {
        let wild = |call| ids(&page("", 50, "reordered", call));
        assert_ne!(wild(0), wild(1));
        let ordered = |call| {
            let query = "$orderby=creationDateTimeUtc desc";
            ids(&page(query, 50, "reordered", call))
        };
        assert_eq!(ordered(0), ordered(1));
        assert_eq!(ordered(0)[0], "000");
    }

    #[test]
    fn options_the_service_does_not_take_are_refused() {
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
