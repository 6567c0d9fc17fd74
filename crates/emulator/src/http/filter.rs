//! `$filter`: the part of OData the service takes. Strict where the service is:
//! strings in quotes, GUIDs and dates bare, unknown properties refused.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::{Map, Value};

/// Parentheses and `not` in one another.
const DEPTH_MAX: usize = 64;

/// What a property holds, which decides how its literals are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PropertyType {
    Text,
    Guid,
    Time,
    Number,
    Flag,
    /// A list of texts, which `any` looks into.
    Texts,
}

/// The properties of an entity that can be named.
pub(crate) type Schema = &'static [(&'static str, PropertyType)];

pub(crate) const ACTIONS: Schema = &[
    ("id", PropertyType::Guid),
    ("type", PropertyType::Text),
    ("status", PropertyType::Text),
    ("machineId", PropertyType::Text),
    ("computerDnsName", PropertyType::Text),
    ("requestor", PropertyType::Text),
    ("requestorComment", PropertyType::Text),
    ("creationDateTimeUtc", PropertyType::Time),
    ("lastUpdateDateTimeUtc", PropertyType::Time),
];

pub(crate) const MACHINES: Schema = &[
    ("id", PropertyType::Text),
    ("computerDnsName", PropertyType::Text),
    ("healthStatus", PropertyType::Text),
    ("osPlatform", PropertyType::Text),
    ("version", PropertyType::Text),
    ("riskScore", PropertyType::Text),
    ("exposureLevel", PropertyType::Text),
    ("rbacGroupName", PropertyType::Text),
    ("machineTags", PropertyType::Texts),
    ("rbacGroupId", PropertyType::Number),
    ("lastIpAddress", PropertyType::Text),
    ("firstSeen", PropertyType::Time),
    ("lastSeen", PropertyType::Time),
    ("isAadJoined", PropertyType::Flag),
];

#[derive(Debug)]
pub(crate) enum ODataFilter {
    And(Box<ODataFilter>, Box<ODataFilter>),
    Or(Box<ODataFilter>, Box<ODataFilter>),
    Not(Box<ODataFilter>),
    Compare(&'static str, FilterOperator, FilterLiteral),
    In(&'static str, Vec<FilterLiteral>),
    StartsWith(&'static str, String),
    /// One of the property's texts satisfies the condition on [`EACH`].
    Any(&'static str, Box<ODataFilter>),
}

/// Under this name a condition of `any` sees the text it looks at.
const EACH: &str = "each";
const TEXTS: Schema = &[(EACH, PropertyType::Text)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilterOperator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

#[derive(Debug, PartialEq)]
pub(crate) enum FilterLiteral {
    Null,
    Text(String),
    Time(Timestamp),
    Number(f64),
    Flag(bool),
}

impl ODataFilter {
    /// **Errors**: a sentence for the 400.
    pub(crate) fn parse(text: &str, schema: Schema) -> Result<Self, String> {
        let words = words(text)?;
        let mut parser = FilterParser {
            words: &words,
            at: 0,
            depth: 0,
            schema,
            variable: None,
        };
        let filter = parser.or()?;
        match parser.peek() {
            None => Ok(filter),
            Some(word) => Err(format!("Syntax error: unexpected '{word}'.")),
        }
    }

    pub(crate) fn holds(&self, entity: &Map<String, Value>) -> bool {
        let value = |name: &str| entity.get(name).unwrap_or(&Value::Null);
        match self {
            Self::And(a, b) => a.holds(entity) && b.holds(entity),
            Self::Or(a, b) => a.holds(entity) || b.holds(entity),
            Self::Not(inner) => !inner.holds(entity),
            Self::Compare(name, operator, literal) => operator.holds(value(name), literal),
            Self::In(name, literals) => {
                let value = value(name);
                literals.iter().any(|l| FilterOperator::Eq.holds(value, l))
            }
            Self::StartsWith(name, prefix) => {
                let text = value(name).as_str().unwrap_or_default();
                // The service compares names without case.
                text.to_lowercase().starts_with(&prefix.to_lowercase())
            }
            Self::Any(name, condition) => {
                let texts = value(name).as_array().map_or(&[][..], Vec::as_slice);
                texts.iter().any(|text| {
                    let each = Map::from_iter([(EACH.to_string(), text.clone())]);
                    condition.holds(&each)
                })
            }
        }
    }
}

impl FilterOperator {
    fn named(word: &str) -> Option<Self> {
        Some(match word {
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "gt" => Self::Gt,
            "ge" => Self::Ge,
            "lt" => Self::Lt,
            "le" => Self::Le,
            _ => return None,
        })
    }

    fn holds(self, value: &Value, literal: &FilterLiteral) -> bool {
        let order = compare(value, literal);
        match self {
            Self::Eq => order == Some(Ordering::Equal),
            Self::Ne => order != Some(Ordering::Equal),
            Self::Gt => order == Some(Ordering::Greater),
            Self::Ge => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            Self::Lt => order == Some(Ordering::Less),
            Self::Le => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        }
    }
}

/// `None` where the two have no order: null against anything but null.
fn compare(value: &Value, literal: &FilterLiteral) -> Option<Ordering> {
    match (value, literal) {
        (Value::Null, FilterLiteral::Null) => Some(Ordering::Equal),
        (Value::String(text), FilterLiteral::Text(other)) => Some(text.as_str().cmp(other)),
        (Value::String(text), FilterLiteral::Time(time)) => {
            let own: Timestamp = text.parse().ok()?;
            Some(own.cmp(time))
        }
        (Value::Number(number), FilterLiteral::Number(other)) => {
            number.as_f64()?.partial_cmp(other)
        }
        (Value::Bool(flag), FilterLiteral::Flag(other)) => Some(flag.cmp(other)),
        _ => None,
    }
}

/// Cuts a filter into words: parentheses, commas, quoted strings (with their
/// quotes) and whatever stands between blanks.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '(' | ')' | ',' => 1,
            '\'' => quoted_len(rest).ok_or("Syntax error: unterminated string literal.")?,
            _ => rest
                .find(|c: char| c.is_whitespace() || "(),'".contains(c))
                .unwrap_or(rest.len()),
        };
        // The colon of a variable needs no blank after it; those of a time,
        // which begins with a digit, divide nothing.
        let colon = rest[..end].find(':').filter(|_| first.is_alphabetic());
        let end = colon.map_or(end, |colon| colon + 1);
        let (word, tail) = rest.split_at(end);
        words.push(word.to_string());
        rest = tail.trim_start();
    }
    Ok(words)
}

/// Length of the string literal at the start, quotes included; a doubled
/// quote belongs to it.
fn quoted_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'\'', Some(b'\'')) => at += 2,
            (b'\'', _) => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

struct FilterParser<'a> {
    words: &'a [String],
    at: usize,
    depth: usize,
    schema: Schema,
    /// What the condition of an `any` calls the text it looks at.
    variable: Option<String>,
}

impl FilterParser<'_> {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(String::as_str)
    }

    fn next(&mut self) -> Result<&str, String> {
        let word = self.words.get(self.at);
        self.at += 1;
        word.map(String::as_str)
            .ok_or_else(|| "Syntax error: the expression ends too early.".to_string())
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn require(&mut self, word: &str) -> Result<(), String> {
        match self.eat(word) {
            true => Ok(()),
            false => Err(format!("Syntax error: '{word}' expected.")),
        }
    }

    fn or(&mut self) -> Result<ODataFilter, String> {
        let mut left = self.and()?;
        while self.eat("or") {
            left = ODataFilter::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<ODataFilter, String> {
        let mut left = self.one()?;
        while self.eat("and") {
            left = ODataFilter::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<ODataFilter, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("The expression is nested too deeply.".into());
        }
        let filter = if self.eat("not") {
            ODataFilter::Not(Box::new(self.one()?))
        } else if self.eat("(") {
            let inner = self.or()?;
            self.require(")")?;
            inner
        } else if self.eat("startswith") {
            self.starts_with()?
        } else if let Some(name) = self.list_of_any() {
            self.any(name)?
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn starts_with(&mut self) -> Result<ODataFilter, String> {
        self.require("(")?;
        let (name, kind) = self.property()?;
        self.require(",")?;
        let FilterLiteral::Text(prefix) = self.literal(PropertyType::Text)? else {
            return Err("startswith needs a string.".into());
        };
        self.require(")")?;
        match kind {
            PropertyType::Text => Ok(ODataFilter::StartsWith(name, prefix)),
            _ => Err(format!("startswith does not apply to '{name}'.")),
        }
    }

    /// The list that the next words look into: `machineTags/any`.
    fn list_of_any(&self) -> Option<&'static str> {
        let list = self.peek()?.strip_suffix("/any")?;
        let known = self.schema.iter().find(|(name, _)| *name == list);
        known
            .filter(|(_, kind)| *kind == PropertyType::Texts)
            .map(|(name, _)| *name)
    }

    /// `machineTags/any(tag: tag eq 'x')`.
    fn any(&mut self, name: &'static str) -> Result<ODataFilter, String> {
        self.next()?;
        self.require("(")?;
        let variable = self.next()?;
        let named = variable.strip_suffix(':').filter(|name| !name.is_empty());
        let named = named.ok_or("Syntax error: 'any' needs a variable and a colon.")?;
        let named = named.to_string();
        let outer = self.variable.replace(named);
        let schema = std::mem::replace(&mut self.schema, TEXTS);
        let condition = self.or()?;
        self.schema = schema;
        self.variable = outer;
        self.require(")")?;
        Ok(ODataFilter::Any(name, Box::new(condition)))
    }

    fn comparison(&mut self) -> Result<ODataFilter, String> {
        let (name, kind) = self.property()?;
        let word = self.next()?.to_string();
        if word == "in" {
            self.require("(")?;
            let mut literals = vec![self.literal(kind)?];
            while self.eat(",") {
                literals.push(self.literal(kind)?);
            }
            self.require(")")?;
            return Ok(ODataFilter::In(name, literals));
        }
        let operator = FilterOperator::named(&word)
            .ok_or_else(|| format!("Syntax error: '{word}' is no operator."))?;
        Ok(ODataFilter::Compare(name, operator, self.literal(kind)?))
    }

    fn property(&mut self) -> Result<(&'static str, PropertyType), String> {
        let schema = self.schema;
        let variable = self.variable.clone();
        let word = self.next()?;
        if variable.as_deref() == Some(word) {
            return Ok((EACH, PropertyType::Text));
        }
        let known = schema.iter().find(|(name, _)| *name == word);
        known
            .copied()
            .ok_or_else(|| format!("Could not find a property named '{word}'."))
    }

    fn literal(&mut self, kind: PropertyType) -> Result<FilterLiteral, String> {
        let word = self.next()?.to_string();
        let unfit = || format!("The literal {word} does not fit its property.");
        if word == "null" {
            return Ok(FilterLiteral::Null);
        }
        let inside = word
            .strip_prefix('\'')
            .and_then(|word| word.strip_suffix('\''));
        match (kind, inside) {
            (PropertyType::Text, Some(text)) => Ok(FilterLiteral::Text(text.replace("''", "'"))),
            (PropertyType::Guid, None) => {
                let id: evidence::ActionId = word.parse().map_err(|_| unfit())?;
                Ok(FilterLiteral::Text(id.to_string()))
            }
            (PropertyType::Time, None) => {
                read_time(&word).map(FilterLiteral::Time).ok_or_else(unfit)
            }
            (PropertyType::Number, None) => {
                word.parse().map(FilterLiteral::Number).map_err(|_| unfit())
            }
            (PropertyType::Flag, None) => {
                word.parse().map(FilterLiteral::Flag).map_err(|_| unfit())
            }
            _ => Err(unfit()),
        }
    }
}

/// An instant with a zone, or a bare date.
fn read_time(word: &str) -> Option<Timestamp> {
    word.parse()
        .ok()
        .or_else(|| format!("{word}T00:00:00Z").parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(filter: &str) -> bool {
        let action = json!({
            "id": "5382f7ea-7557-4ab7-9782-d50480024a4e", "type": "LiveResponse",
            "status": "Succeeded", "machineId": "m1", "requestor": "o'neil@contoso.example",
            "requestorComment": null, "computerDnsName": "WS-001.contoso.example",
            "creationDateTimeUtc": "2026-02-04T15:36:52.7788848Z"
        });
        ODataFilter::parse(filter, ACTIONS)
            .unwrap()
            .holds(action.as_object().unwrap())
    }

    #[test]
    fn comparisons_hold_as_odata_says() {
        for filter in [
            "type eq 'LiveResponse'",
            "type eq 'LiveResponse' and creationDateTimeUtc ge 2026-02-04T15:36:52Z",
            "creationDateTimeUtc lt 2026-02-05",
            "creationDateTimeUtc gt 2026-02-04T15:36:52.778884Z",
            "id eq 5382F7EA-7557-4ab7-9782-d50480024a4e",
            "requestor eq 'o''neil@contoso.example'",
            "startswith(computerDnsName,'ws-001')",
            "status in ('Failed', 'Succeeded')",
            "not (status eq 'Failed')",
            "status eq 'Failed' or machineId eq 'm1' and type ne 'Isolate'",
            "requestorComment eq null",
            "requestor ne null",
        ] {
            assert!(holds(filter), "{filter}");
        }
        for filter in [
            "type eq 'liveresponse'",
            "creationDateTimeUtc ge 2026-02-04T15:36:53Z",
            "(status eq 'Succeeded' or machineId eq 'm1') and type eq 'Isolate'",
            "requestorComment gt 'a'",
            "status in ('Failed')",
        ] {
            assert!(!holds(filter), "{filter}");
        }
    }

    #[test]
    fn any_looks_into_a_list() {
        let machine = json!({"machineTags": ["Lund", "VIP"], "computerDnsName": "ws"});
        let holds = |filter: &str| {
            let filter = ODataFilter::parse(filter, MACHINES).unwrap();
            filter.holds(machine.as_object().unwrap())
        };
        assert!(holds("machineTags/any(tag: tag eq 'VIP')"));
        assert!(holds(
            "computerDnsName eq 'ws' and machineTags/any(t:t eq 'Lund' or t eq 'x')"
        ));
        assert!(holds(
            "machineTags/any(t: startswith(t, 'vi')) and computerDnsName ne 'x'"
        ));
        assert!(!holds("machineTags/any(tag: tag eq 'vip')"));
        for filter in [
            "machineTags/any(tag eq 'VIP')",
            "machineTags/any(tag: computerDnsName eq 'ws')",
            "computerDnsName/any(c: c eq 'ws')",
            "machineTags eq 'VIP'",
        ] {
            assert!(ODataFilter::parse(filter, MACHINES).is_err(), "{filter}");
        }
    }

    #[test]
    fn what_the_service_refuses_is_refused() {
        for filter in [
            "",
            "type",
            "type eq",
            "type eq LiveResponse",
            "type eq 'x",
            "id eq '5382f7ea-7557-4ab7-9782-d50480024a4e'",
            "creationDateTimeUtc ge '2026-02-04T15:36:52Z'",
            "creationDateTimeUtc ge yesterday",
            "colour eq 'red'",
            "type like 'x'",
            "type eq 'a' type eq 'b'",
            "(type eq 'a'",
            "contains(type,'a')",
            "startswith(id,'5')",
            "status in ()",
            "type eq 'ä' or ü",
        ] {
            assert!(ODataFilter::parse(filter, ACTIONS).is_err(), "{filter}");
        }
        let deep = format!("{}type eq 'a'{}", "(".repeat(500), ")".repeat(500));
        assert!(ODataFilter::parse(&deep, ACTIONS).is_err());
    }
}
