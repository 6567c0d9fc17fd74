//! Parser and evaluation of `$filter`: the subset of OData that the service
//! supports. As strict as the service: strings are quoted, GUIDs and times are
//! not, unknown properties are rejected.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde_json::{Map, Value};

/// Maximum nesting of parentheses and `not`.
const DEPTH_MAX: usize = 64;

/// Type of a property; it determines the syntax of its literals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PropertyType {
    Text,
    Guid,
    Time,
    Number,
    Flag,
    /// A list of texts, for `any`.
    Texts,
}

/// The properties of an entity that a filter can use.
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

/// A parsed filter.
#[derive(Debug)]
pub(crate) enum ODataFilter {
    And(Box<ODataFilter>, Box<ODataFilter>),
    Or(Box<ODataFilter>, Box<ODataFilter>),
    Not(Box<ODataFilter>),
    Compare(&'static str, FilterOperator, FilterLiteral),
    In(&'static str, Vec<FilterLiteral>),
    StartsWith(&'static str, String),
    /// A text of the list satisfies a condition on [`EACH`].
    Any(&'static str, Box<ODataFilter>),
}

/// Property name of the current text in the condition of an `any`.
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
    /// **Errors**: the message of the 400 response.
    pub(crate) fn parse(text: &str, schema: Schema) -> Result<Self, String> {
        let tokens = tokens(text)?;
        let mut parser = FilterParser {
            tokens: &tokens,
            at: 0,
            depth: 0,
            schema,
            variable: None,
        };
        let filter = parser.parse_or()?;
        match parser.peek() {
            None => Ok(filter),
            Some(token) => Err(format!("Syntax error: unexpected '{token}'.")),
        }
    }

    pub(crate) fn matches(&self, entity: &Map<String, Value>) -> bool {
        let value = |name: &str| entity.get(name).unwrap_or(&Value::Null);
        match self {
            Self::And(a, b) => a.matches(entity) && b.matches(entity),
            Self::Or(a, b) => a.matches(entity) || b.matches(entity),
            Self::Not(inner) => !inner.matches(entity),
            Self::Compare(name, operator, literal) => operator.matches(value(name), literal),
            Self::In(name, literals) => {
                let value = value(name);
                literals
                    .iter()
                    .any(|l| FilterOperator::Eq.matches(value, l))
            }
            Self::StartsWith(name, prefix) => {
                let text = value(name).as_str().unwrap_or_default();
                // Like the service, ignore case.
                text.to_lowercase().starts_with(&prefix.to_lowercase())
            }
            Self::Any(name, condition) => {
                let texts = value(name).as_array().map_or(&[][..], Vec::as_slice);
                texts.iter().any(|text| {
                    let each = Map::from_iter([(EACH.to_string(), text.clone())]);
                    condition.matches(&each)
                })
            }
        }
    }
}

impl FilterOperator {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "gt" => Self::Gt,
            "ge" => Self::Ge,
            "lt" => Self::Lt,
            "le" => Self::Le,
            _ => return None,
        })
    }

    fn matches(self, value: &Value, literal: &FilterLiteral) -> bool {
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

/// `None` if the two cannot be compared, such as null and a text.
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

/// Splits a filter into tokens: parentheses, commas, string literals with their
/// quotes, and words separated by whitespace.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '(' | ')' | ',' => 1,
            '\'' => quoted_len(rest).ok_or("Syntax error: unterminated string literal.")?,
            _ => rest
                .find(|c: char| c.is_whitespace() || "(),'".contains(c))
                .unwrap_or(rest.len()),
        };
        // A colon after a variable ends the token. Times, which begin with a
        // digit, contain colons.
        let colon = rest[..len].find(':').filter(|_| first.is_alphabetic());
        let (token, tail) = rest.split_at(colon.map_or(len, |colon| colon + 1));
        tokens.push(token.to_string());
        rest = tail.trim_start();
    }
    Ok(tokens)
}

/// Length of the string literal at the start of `text`, including its quotes. A
/// doubled quote is part of the literal.
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
    tokens: &'a [String],
    at: usize,
    depth: usize,
    schema: Schema,
    /// Variable of the current `any`.
    variable: Option<String>,
}

impl FilterParser<'_> {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn next(&mut self) -> Result<&str, String> {
        let token = self.tokens.get(self.at);
        self.at += 1;
        token
            .map(String::as_str)
            .ok_or_else(|| "Syntax error: the expression ends too early.".to_string())
    }

    /// Consumes the next token if it is `token`.
    fn accept(&mut self, token: &str) -> bool {
        let is_next = self.peek() == Some(token);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if !self.accept(token) {
            return Err(format!("Syntax error: '{token}' expected."));
        }
        Ok(())
    }

    fn parse_or(&mut self) -> Result<ODataFilter, String> {
        let mut left = self.parse_and()?;
        while self.accept("or") {
            left = ODataFilter::Or(Box::new(left), Box::new(self.parse_and()?));
        }
        Ok(left)
    }

    fn parse_and(&mut self) -> Result<ODataFilter, String> {
        let mut left = self.parse_term()?;
        while self.accept("and") {
            left = ODataFilter::And(Box::new(left), Box::new(self.parse_term()?));
        }
        Ok(left)
    }

    fn parse_term(&mut self) -> Result<ODataFilter, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("The expression is nested too deeply.".into());
        }
        let filter = if self.accept("not") {
            ODataFilter::Not(Box::new(self.parse_term()?))
        } else if self.accept("(") {
            let inner = self.parse_or()?;
            self.expect(")")?;
            inner
        } else if self.accept("startswith") {
            self.parse_starts_with()?
        } else if let Some(name) = self.peek_any() {
            self.parse_any(name)?
        } else {
            self.parse_comparison()?
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn parse_starts_with(&mut self) -> Result<ODataFilter, String> {
        self.expect("(")?;
        let (name, kind) = self.parse_property()?;
        self.expect(",")?;
        let FilterLiteral::Text(prefix) = self.parse_literal(PropertyType::Text)? else {
            return Err("startswith needs a string.".into());
        };
        self.expect(")")?;
        match kind {
            PropertyType::Text => Ok(ODataFilter::StartsWith(name, prefix)),
            _ => Err(format!("startswith does not apply to '{name}'.")),
        }
    }

    /// The list property if the next token is an `any`: `machineTags/any`.
    fn peek_any(&self) -> Option<&'static str> {
        let list = self.peek()?.strip_suffix("/any")?;
        self.schema
            .iter()
            .find(|(name, kind)| *name == list && *kind == PropertyType::Texts)
            .map(|(name, _)| *name)
    }

    /// Parses `machineTags/any(tag: tag eq 'x')`.
    fn parse_any(&mut self, name: &'static str) -> Result<ODataFilter, String> {
        self.next()?;
        self.expect("(")?;
        let variable = self
            .next()?
            .strip_suffix(':')
            .filter(|name| !name.is_empty())
            .ok_or("Syntax error: 'any' needs a variable and a colon.")?
            .to_string();
        let outer_variable = self.variable.replace(variable);
        let outer_schema = std::mem::replace(&mut self.schema, TEXTS);
        let condition = self.parse_or()?;
        self.schema = outer_schema;
        self.variable = outer_variable;
        self.expect(")")?;
        Ok(ODataFilter::Any(name, Box::new(condition)))
    }

    fn parse_comparison(&mut self) -> Result<ODataFilter, String> {
        let (name, kind) = self.parse_property()?;
        let word = self.next()?.to_string();
        if word == "in" {
            self.expect("(")?;
            let mut literals = vec![self.parse_literal(kind)?];
            while self.accept(",") {
                literals.push(self.parse_literal(kind)?);
            }
            self.expect(")")?;
            return Ok(ODataFilter::In(name, literals));
        }
        let operator = FilterOperator::from_name(&word)
            .ok_or_else(|| format!("Syntax error: '{word}' is not an operator."))?;
        Ok(ODataFilter::Compare(
            name,
            operator,
            self.parse_literal(kind)?,
        ))
    }

    fn parse_property(&mut self) -> Result<(&'static str, PropertyType), String> {
        let schema = self.schema;
        let variable = self.variable.clone();
        let word = self.next()?;
        if variable.as_deref() == Some(word) {
            return Ok((EACH, PropertyType::Text));
        }
        schema
            .iter()
            .find(|(name, _)| *name == word)
            .copied()
            .ok_or_else(|| format!("Could not find a property named '{word}'."))
    }

    fn parse_literal(&mut self, kind: PropertyType) -> Result<FilterLiteral, String> {
        let word = self.next()?.to_string();
        let mismatch = || format!("The literal {word} does not match the type of its property.");
        if word == "null" {
            return Ok(FilterLiteral::Null);
        }
        let quoted = word
            .strip_prefix('\'')
            .and_then(|word| word.strip_suffix('\''));
        match (kind, quoted) {
            (PropertyType::Text, Some(text)) => Ok(FilterLiteral::Text(text.replace("''", "'"))),
            (PropertyType::Guid, None) => {
                let id: evidence::ActionId = word.parse().map_err(|_| mismatch())?;
                Ok(FilterLiteral::Text(id.to_string()))
            }
            (PropertyType::Time, None) => parse_time(&word)
                .map(FilterLiteral::Time)
                .ok_or_else(mismatch),
            (PropertyType::Number, None) => word
                .parse()
                .map(FilterLiteral::Number)
                .map_err(|_| mismatch()),
            (PropertyType::Flag, None) => word
                .parse()
                .map(FilterLiteral::Flag)
                .map_err(|_| mismatch()),
            _ => Err(mismatch()),
        }
    }
}

/// Parses a time with an offset, or a date.
fn parse_time(word: &str) -> Option<Timestamp> {
    word.parse()
        .ok()
        .or_else(|| format!("{word}T00:00:00Z").parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn matches(filter: &str) -> bool {
        let action = json!({
            "id": "5382f7ea-7557-4ab7-9782-d50480024a4e", "type": "LiveResponse",
            "status": "Succeeded", "machineId": "m1", "requestor": "o'neil@contoso.example",
            "requestorComment": null, "computerDnsName": "WS-001.contoso.example",
            "creationDateTimeUtc": "2026-02-04T15:36:52.7788848Z"
        });
        ODataFilter::parse(filter, ACTIONS)
            .unwrap()
            .matches(action.as_object().unwrap())
    }

    #[test]
    fn comparisons_follow_odata() {
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
            assert!(matches(filter), "{filter}");
        }
        for filter in [
            "type eq 'liveresponse'",
            "creationDateTimeUtc ge 2026-02-04T15:36:53Z",
            "(status eq 'Succeeded' or machineId eq 'm1') and type eq 'Isolate'",
            "requestorComment gt 'a'",
            "status in ('Failed')",
        ] {
            assert!(!matches(filter), "{filter}");
        }
    }

    #[test]
    fn any_matches_the_texts_of_a_list() {
        let machine = json!({"machineTags": ["Lund", "VIP"], "computerDnsName": "ws"});
        let matches = |filter: &str| {
            let filter = ODataFilter::parse(filter, MACHINES).unwrap();
            filter.matches(machine.as_object().unwrap())
        };
        assert!(matches("machineTags/any(tag: tag eq 'VIP')"));
        assert!(matches(
            "computerDnsName eq 'ws' and machineTags/any(t:t eq 'Lund' or t eq 'x')"
        ));
        assert!(matches(
            "machineTags/any(t: startswith(t, 'vi')) and computerDnsName ne 'x'"
        ));
        assert!(!matches("machineTags/any(tag: tag eq 'vip')"));
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
    fn filters_that_the_service_rejects_are_rejected() {
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
