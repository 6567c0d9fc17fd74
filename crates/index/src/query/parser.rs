//! Reading a typed query.
//!
//! ```text
//! query  = either { OR either }        mimikatz OR sekurlsa
//! either = unary { [AND] unary }       evil.exe 10.0.0.5
//! unary  = [NOT | -] (group | phrase | regex | field | word)
//! group  = ( query )
//! phrase = "text as it stands"         "" inside stands for one "
//!        | "some words"~5              within five other words of a line
//! regex  = /pattern/ | /pattern/i      within a line
//! field  = name:value                  device:pc17 path:"C:\Temp\*"
//!        | name:>value | name:[a TO b] exit:>0 time:[2026-02-01 TO 2026-02-04]
//!        | name:IN [a b]               device:IN [pc17 pc18]
//! word   = anything up to a blank      mimi* 10.0.0.5:4444 C:\Windows f(x)
//!        | word~1                      within one or two changed characters
//!        | address/bits                10.0.0.0/8 fe80::/10
//! ```

use jiff::Timestamp;

use crate::codec::tokenizer::is_word;
use crate::matcher::ip_network::IpNetwork;
use crate::query::ast::{Field, Query, SyntaxError, Text};
use crate::query::lexer::{Bound, Token, Value, differ_by_one, read_tokens};
pub use crate::query::time::read_time;
use crate::query::time::{Span, read_span};
use evidence::ResultKind;

/// Characters of a word that others may be like.
const FUZZY_MAX: usize = 64;
/// Groups and NOTs within each other: enough for a person, little for a stack.
const DEPTH_MAX: usize = 64;

impl Query {
    /// Reads a typed query; `now` is what relative times count from.
    ///
    /// **Errors**: where, what, and what was probably meant.
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, SyntaxError> {
        let tokens = read_tokens(text)?;
        let mut parser = Parser {
            end: text.chars().count(),
            tokens,
            at: 0,
            now,
        };
        if parser.tokens.is_empty() {
            return Ok(Self::All);
        }
        let query = parser.either(0)?;
        match parser.peek() {
            None => Ok(query),
            Some((at, _)) => Err(SyntaxError::new(*at, "a `)` closes nothing")
                .hint("put text with parentheses in quotes")),
        }
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    end: usize,
    now: Timestamp,
}

impl Parser {
    fn peek(&self) -> Option<&(usize, Token)> {
        self.tokens.get(self.at)
    }

    fn place(&self) -> usize {
        self.peek().map_or(self.end, |(at, _)| *at)
    }

    fn take(&mut self, wanted: &Token) -> bool {
        let found = self.peek().is_some_and(|(_, token)| token == wanted);
        self.at += usize::from(found);
        found
    }

    fn either(&mut self, depth: usize) -> Result<Query, SyntaxError> {
        let mut queries = vec![self.every(depth)?];
        while self.take(&Token::Or) {
            queries.push(self.every(depth)?);
        }
        Ok(one_or(queries, Query::Or))
    }

    fn every(&mut self, depth: usize) -> Result<Query, SyntaxError> {
        let mut queries = vec![self.unary(depth)?];
        loop {
            let explicit = self.take(&Token::And);
            match self.peek() {
                None | Some((_, Token::Or | Token::Close)) if !explicit => break,
                _ => queries.push(self.unary(depth)?),
            }
        }
        Ok(one_or(queries, Query::And))
    }

    fn unary(&mut self, depth: usize) -> Result<Query, SyntaxError> {
        let place = self.place();
        if depth > DEPTH_MAX {
            return Err(SyntaxError::new(place, "the query is nested too deeply"));
        }
        if self.take(&Token::Not) {
            let query = self.unary(depth + 1)?;
            if query == Query::All {
                return Err(SyntaxError::new(place, "this leaves nothing to be found")
                    .hint("`*` is everything; put it in quotes to find it as text"));
            }
            return Ok(Query::Not(Box::new(query)));
        }
        let Some((at, token)) = self.peek().cloned() else {
            return Err(SyntaxError::new(place, "something is missing at the end"));
        };
        self.at += 1;
        match token {
            Token::Open => {
                let query = self.either(depth + 1)?;
                self.at += 1;
                Ok(query)
            }
            Token::Phrase(text, within) => phrase(text, within, at),
            Token::Regex(pattern, ignore_case) => Ok(Query::regex(pattern, ignore_case)),
            Token::Word(word) => term(word, at),
            Token::Field(name, value) => self.field(&name, value, at),
            Token::And | Token::Or | Token::Not | Token::Close => {
                Err(SyntaxError::new(at, "something is missing here")
                    .hint("put AND, OR, NOT in quotes to find them as text"))
            }
        }
    }

    fn field(&self, name: &str, value: Value, at: usize) -> Result<Query, SyntaxError> {
        let Some(field) = Field::from_word(name) else {
            return self.time(&name.to_lowercase(), value, at);
        };
        match value {
            Value::Text(value) => {
                check_value(field, &value, at)?;
                Ok(Query::Field(field, plain(field, value)))
            }
            Value::In(values) => {
                values
                    .iter()
                    .try_for_each(|value| check_value(field, value, at))?;
                let values = values.into_iter().map(|value| plain(field, value));
                let fields = values.map(|value| Query::Field(field, value));
                Ok(one_or(fields.collect(), Query::Or))
            }
            Value::Range { from, to } => {
                for bound in from.iter().chain(&to) {
                    let days = [&bound.value, "-01", "-01"];
                    let begins_days = (1..=3).any(|n| is_day(&days[..n].concat()));
                    if field != Field::Day || !begins_days {
                        check_value(field, &bound.value, at)?;
                    }
                }
                let end = |bound: Option<Bound>| bound.map(|b| (b.value, b.included));
                Ok(Query::Range {
                    field,
                    from: end(from),
                    to: end(to),
                })
            }
        }
    }

    /// `since:`, `until:` and `time:`, which is one time or a range of them. A
    /// day, a minute or a second is meant as a whole.
    fn time(&self, name: &str, value: Value, at: usize) -> Result<Query, SyntaxError> {
        let unreadable = |text: &str| {
            SyntaxError::new(at, format!("`{text}` is no time"))
                .hint("write 2h, 3d, 2026-02-04, \"2026-02-04 15:30\" or 2026-02-04T15:30:00Z")
        };
        let span = |text: &str| read_span(text, self.now).ok_or_else(|| unreadable(text));
        let read = |text: &str, is_end: bool| {
            read_time(text, self.now, is_end).ok_or_else(|| unreadable(text))
        };
        let bound = |bound: Option<Bound>, end: fn(Span, bool) -> Timestamp| {
            let time = bound.map(|bound| Ok(end(span(&bound.value)?, bound.included)));
            time.transpose()
        };
        let (since, until) = match (name, value) {
            ("since", Value::Text(text)) => (Some(read(&text, false)?), None),
            ("until", Value::Text(text)) => (None, Some(read(&text, true)?)),
            ("time", Value::Text(text)) => {
                let span = span(&text)?;
                if span.is_ago {
                    let error = format!("`time:{text}` is a moment in which nothing ended");
                    return Err(SyntaxError::new(at, error).hint(format!("write since:{text}")));
                }
                (Some(span.begin), Some(span.end))
            }
            ("time", Value::Range { from, to }) => (
                bound(
                    from,
                    |span, included| {
                        if included { span.begin } else { span.end }
                    },
                )?,
                bound(
                    to,
                    |span, included| {
                        if included { span.end } else { span.begin }
                    },
                )?,
            ),
            _ => {
                return Err(SyntaxError::new(at, format!("`{name}:` takes one time"))
                    .hint("write since:2h, until:2026-02-04 or time:[2026-02-01 TO 2026-02-04]"));
            }
        };
        Ok(Query::Time { since, until })
    }
}

/// What no member can have is a mistake, not an answer.
fn check_value(field: Field, value: &str, at: usize) -> Result<(), SyntaxError> {
    let has_wildcard = value.contains(['*', '?']);
    match field {
        Field::Exit if !has_wildcard && value.parse::<i64>().is_err() => {
            Err(SyntaxError::new(at, format!("`{value}` is no exit code"))
                .hint("write a number, as in exit:1 or exit:>0"))
        }
        Field::Kind if !has_wildcard => {
            let kinds = [
                ResultKind::Transcript,
                ResultKind::File,
                ResultKind::Package,
            ];
            let kinds = kinds.map(ResultKind::as_str);
            if kinds.iter().any(|kind| value.eq_ignore_ascii_case(kind)) {
                return Ok(());
            }
            let value = value.to_lowercase();
            let near = kinds.iter().find(|kind| differ_by_one(kind, &value));
            let hint = match near {
                Some(kind) => format!("did you mean kind:{kind}?"),
                None => format!("kinds are {}", kinds.join(", ")),
            };
            Err(SyntaxError::new(at, format!("there is no kind `{value}`")).hint(hint))
        }
        Field::Day if !has_wildcard && !is_day(value) => {
            Err(SyntaxError::new(at, format!("`{value}` is no day"))
                .hint("write it as in day:2026-02-04; since:2d is for days ago"))
        }
        _ => Ok(()),
    }
}

fn is_day(text: &str) -> bool {
    let day = text.parse::<jiff::civil::Date>();
    day.is_ok_and(|day| day.to_string() == text)
}

/// An exit code as it is compared: `01` and `+1` are 1.
fn plain(field: Field, value: String) -> String {
    match value.parse::<i64>() {
        Ok(code) if field == Field::Exit => code.to_string(),
        _ => value,
    }
}

fn one_or(mut queries: Vec<Query>, many: fn(Vec<Query>) -> Query) -> Query {
    match queries.len() {
        1 => queries.remove(0),
        _ => many(queries),
    }
}

fn phrase(text: String, within: Option<u32>, at: usize) -> Result<Query, SyntaxError> {
    if text.trim().is_empty() {
        return Err(SyntaxError::new(at, "the quotes hold nothing"));
    }
    if text.contains(['\n', '\r']) {
        return Err(SyntaxError::new(at, "a phrase is written on one line")
            .hint("a blank in it stands for a line end too"));
    }
    Ok(Query::Text(match within {
        Some(within) => Text::Near {
            words: text.split_whitespace().map(str::to_string).collect(),
            within,
        },
        None if text.contains(char::is_whitespace) => Text::Phrase(text),
        None => Text::Term(text),
    }))
}

fn term(word: String, at: usize) -> Result<Query, SyntaxError> {
    if let Some(fuzzy) = fuzzy(&word, at)? {
        return Ok(Query::Text(fuzzy));
    }
    if let Some(network) = IpNetwork::read(&word) {
        return Ok(Query::Text(Text::IpNetwork(network)));
    }
    if let Some((address, bits)) = word.split_once('/')
        && address.parse::<std::net::IpAddr>().is_ok()
        && !bits.is_empty()
        && bits.chars().all(|c| c.is_ascii_digit())
    {
        return Err(
            SyntaxError::new(at, format!("no network has a prefix of {bits} bits"))
                .hint("32 at most, of IPv6 128; put it in quotes to find it as text"),
        );
    }
    Ok(if !word.contains(['*', '?']) {
        Query::Text(Text::Term(word))
    } else if word.chars().all(|c| c == '*') {
        Query::All
    } else {
        Query::Text(Text::Wildcard(word))
    })
}

/// `word~`, `word~1`, `word~2`: one word of letters and digits.
fn fuzzy(word: &str, at: usize) -> Result<Option<Text>, SyntaxError> {
    let Some((word, distance)) = word.rsplit_once('~') else {
        return Ok(None);
    };
    let is_word = !word.is_empty() && word.chars().all(is_word);
    let distance = match distance {
        _ if !is_word => return Ok(None),
        "" | "1" => 1,
        "2" => 2,
        other if other.chars().all(|c| c.is_ascii_digit()) => {
            return Err(SyntaxError::new(at, format!("`~{other}` is too far")).hint(
                "a word may differ by 1 or 2 characters; put it in quotes to find it as text",
            ));
        }
        _ => return Ok(None),
    };
    if word.chars().count() > FUZZY_MAX {
        let message = format!("a word with `~` has at most {FUZZY_MAX} characters");
        return Err(SyntaxError::new(at, message).hint("find its beginning, as in mimikatz*"));
    }
    Ok(Some(Text::Fuzzy {
        word: word.to_string(),
        distance,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-02-10T12:00:00Z".parse().unwrap()
    }

    fn parse(text: &str) -> Query {
        Query::parse(text, now()).unwrap()
    }

    fn term(text: &str) -> Query {
        Query::Text(Text::Term(text.into()))
    }

    #[test]
    fn words_join_and_operators_bind_as_everywhere() {
        assert_eq!(
            parse("a b OR NOT c AND (d OR \"e f\")"),
            Query::Or(vec![
                Query::And(vec![term("a"), term("b")]),
                Query::And(vec![
                    Query::Not(Box::new(term("c"))),
                    Query::Or(vec![term("d"), Query::Text(Text::Phrase("e f".into())),]),
                ]),
            ])
        );
        assert_eq!(parse(""), Query::All);
        assert_eq!(parse("a -b"), parse("a AND NOT b"));
    }

    #[test]
    fn evidence_is_typed_as_it_is() {
        for text in [
            r"C:\Windows\Temp\evil.exe",
            "10.0.0.5:4444",
            r"HKLM\Software\Run",
            "a@b.example",
            "Invoke-Expression(New-Object)",
            "f(g(x),y)",
            "smile:-)",
            "-EncodedCommand",
            "{5382f7ea-7557-4ab7-9782-d50480024a4e}",
        ] {
            let expected = match text.strip_prefix('-') {
                Some(rest) => Query::Not(Box::new(term(rest))),
                None => term(text),
            };
            assert_eq!(parse(text), expected, "{text}");
        }
        let phrase = r#"say "hi" C:\"#;
        assert_eq!(
            parse(r#""say ""hi"" C:\""#),
            Query::Text(Text::Phrase(phrase.into()))
        );
        assert_eq!(parse("*.exe"), Query::Text(Text::Wildcard("*.exe".into())));
    }

    #[test]
    fn fields_take_quoted_values() {
        assert_eq!(
            parse(r#"Device:pc* path:"C:\Program Files\""#),
            Query::And(vec![
                Query::Field(Field::Device, "pc*".into()),
                Query::Field(Field::Path, r"C:\Program Files\".into()),
            ])
        );
    }

    #[test]
    fn times_are_absolute_or_count_back_from_now() {
        let time = |since: Option<&str>, until: Option<&str>| Query::Time {
            since: since.map(|t| t.parse().unwrap()),
            until: until.map(|t| t.parse().unwrap()),
        };
        assert_eq!(parse("since:2h"), time(Some("2026-02-10T10:00:00Z"), None));
        assert_eq!(
            parse("since:2026-02-04"),
            time(Some("2026-02-04T00:00:00Z"), None)
        );
        assert_eq!(
            parse("until:2026-02-04"),
            time(None, Some("2026-02-05T00:00:00Z"))
        );
        assert_eq!(
            parse("until:\"2026-02-04 15:30\""),
            time(None, Some("2026-02-04T15:30:00Z"))
        );
    }

    #[test]
    fn an_error_points_at_its_place_and_suggests() {
        for (text, at) in [
            ("a AND", 5),
            ("a (b", 2),
            ("x \"open", 2),
            ("a devise:pc", 2),
            ("b since:soon", 2),
            ("device: x", 0),
            ("OR a", 0),
            ("a \"\"", 2),
            ("a exit:abc", 2),
            ("kind:transcrpt", 0),
            ("exit:[1 TO 5", 0),
            ("a \"b c\"~x", 7),
            ("mimikatz~9", 0),
            ("device:IN []", 0),
            ("device:IN [a", 0),
            ("a device:(pc17 OR pc18)", 2),
            ("time:(2026-02-04)", 0),
            ("(a) b)", 5),
            ("(a OR b)) c", 8),
            ("(foo(bar)", 0),
            ("a (b (c) (d", 9),
            ("time:2h", 0),
            ("a -*", 2),
            ("NOT *", 0),
        ] {
            let error = Query::parse(text, now()).unwrap_err();
            assert_eq!(error.at, at, "{text}: {error}");
        }
        let error = Query::parse("devcie:x", now()).unwrap_err();
        assert!(error.hint.unwrap().contains("device:"));
    }

    #[test]
    fn a_minus_before_anything_leaves_it_out() {
        for text in [
            r"/test\d+/",
            "*test*",
            ".tmp",
            "_x",
            r"\\srv\x",
            "\"a b\"",
            "(b OR c)",
            "é",
            "$x",
            "device:pc1",
            "10.0.0.0/8",
        ] {
            let expected = Query::And(vec![term("evil"), Query::Not(Box::new(parse(text)))]);
            assert_eq!(parse(&format!("evil -{text}")), expected, "{text}");
        }
        assert_eq!(parse("evil -- x"), parse("evil \"--\" x"));
        assert_eq!(parse("evil - x"), parse("evil \"-\" x"));
        assert_eq!(parse("evil --x"), parse("evil \"--x\""));
        assert_eq!(parse("(evil -)"), parse("evil \"-\""));
    }

    #[test]
    fn parentheses_within_a_word_belong_to_it() {
        assert_eq!(
            parse("(Invoke-Expression(New-Object) OR IEX) device:pc1"),
            Query::And(vec![
                Query::Or(vec![term("Invoke-Expression(New-Object)"), term("IEX")]),
                Query::Field(Field::Device, "pc1".into()),
            ])
        );
        assert_eq!(
            parse("(path:a(1).txt) (f(x))"),
            Query::And(vec![
                Query::Field(Field::Path, "a(1).txt".into()),
                term("f(x)")
            ])
        );
        assert_eq!(
            parse("(foo( bar)"),
            Query::And(vec![term("foo("), term("bar")])
        );
        assert_eq!(
            parse("foo) bar"),
            Query::And(vec![term("foo)"), term("bar")])
        );
    }

    #[test]
    fn times_and_exit_codes_are_what_they_look_like() {
        let time = |text: &str| match parse(text) {
            Query::Time { since, until } => {
                let text = |end: Option<Timestamp>| end.map_or("*".into(), |end| end.to_string());
                (text(since), text(until))
            }
            query => panic!("{query:?}"),
        };
        for (text, since, until) in [
            (
                "time:\"2026-02-04 15:30\"",
                "2026-02-04T15:30:00Z",
                "2026-02-04T15:31:00Z",
            ),
            (
                "time:2026-02-04T15:30:00Z",
                "2026-02-04T15:30:00Z",
                "2026-02-04T15:30:01Z",
            ),
            (
                "time:[2026-02-04 TO 2026-02-04T15:30:00Z]",
                "2026-02-04T00:00:00Z",
                "2026-02-04T15:30:01Z",
            ),
            (
                "time:{2026-02-04 TO 2026-02-04T15:30:00Z}",
                "2026-02-05T00:00:00Z",
                "2026-02-04T15:30:00Z",
            ),
            ("time:<=2026-02-04T15:30:00Z", "*", "2026-02-04T15:30:01Z"),
            ("time:<2026-02-04T15:30:00Z", "*", "2026-02-04T15:30:00Z"),
            ("time:>2026-02-04T15:30:00Z", "2026-02-04T15:30:01Z", "*"),
            (
                "time:>=2026-02-04T15:30:00.5Z",
                "2026-02-04T15:30:00.5Z",
                "*",
            ),
            ("time:<=2h", "*", "2026-02-10T10:00:00.000000001Z"),
        ] {
            assert_eq!(time(text), (since.into(), until.into()), "{text}");
        }
        assert_eq!(parse("exit:01"), parse("exit:1"));
        assert_eq!(parse("exit:IN [+1 -02]"), parse("exit:IN [1 -2]"));
    }

    #[test]
    fn what_could_never_be_found_is_refused() {
        for text in [
            "day:2026-3-11",
            "day:11.03.2026",
            "day:20260311",
            "day:yesterday",
            "day:2026-13-01",
            "day:IN [2026-03-11 12]",
            "day:[2026-3 TO *]",
            "10.0.0.0/33",
            "x OR fe80::/129",
        ] {
            assert!(Query::parse(text, now()).is_err(), "{text}");
        }
        for text in [
            "day:2026-03-11",
            "day:2026-03-*",
            "day:[2026-03 TO 2026-03-11]",
            "day:>=2026",
            "\"10.0.0.0/33\"",
            "10.0.0/8",
            "fe80::/128",
        ] {
            assert!(Query::parse(text, now()).is_ok(), "{text}");
        }
    }

    #[test]
    fn patterns_stand_between_slashes_and_paths_do_not() {
        assert_eq!(parse("/evil\\d+/"), Query::regex("evil\\d+", false));
        assert_eq!(parse("/a b/i"), Query::regex("a b", true));
        assert_eq!(parse("(/a\\/b/)"), Query::regex("a/b", false));
        for path in ["/usr/bin", "/etc", "/usr/bin/", "//x", "/a/x"] {
            assert_eq!(parse(path), term(path), "{path}");
        }
    }

    #[test]
    fn ranges_lists_and_comparisons() {
        let range = |from: Option<(&str, bool)>, to: Option<(&str, bool)>| Query::Range {
            field: Field::Exit,
            from: from.map(|(value, included)| (value.into(), included)),
            to: to.map(|(value, included)| (value.into(), included)),
        };
        assert_eq!(parse("exit:>0"), range(Some(("0", false)), None));
        assert_eq!(parse("exit:<=5"), range(None, Some(("5", true))));
        assert_eq!(
            parse("exit:[1 TO 5}"),
            range(Some(("1", true)), Some(("5", false)))
        );
        assert_eq!(parse("exit:[* TO -1]"), range(None, Some(("-1", true))));
        let device = |name: &str| Query::Field(Field::Device, name.into());
        for text in [
            "device:IN [pc1 pc2]",
            "device: IN [pc1, pc2]",
            "device:IN[pc1,\"pc2\"]",
        ] {
            assert_eq!(
                parse(text),
                Query::Or(vec![device("pc1"), device("pc2")]),
                "{text}"
            );
        }
        assert_eq!(
            parse("time:[2026-02-01 TO 2026-02-04]"),
            Query::Time {
                since: Some("2026-02-01T00:00:00Z".parse().unwrap()),
                until: Some("2026-02-05T00:00:00Z".parse().unwrap()),
            }
        );
        assert_eq!(
            parse("time:2026-02-04"),
            parse("time:[2026-02-04 TO 2026-02-04]")
        );
    }

    #[test]
    fn words_may_be_near_or_alike_and_addresses_in_a_network() {
        assert_eq!(
            parse("\"new service\"~3"),
            Query::Text(Text::Near {
                words: vec!["new".into(), "service".into()],
                within: 3,
            })
        );
        let fuzzy = |distance| {
            Query::Text(Text::Fuzzy {
                word: "mimikatz".into(),
                distance,
            })
        };
        assert_eq!(parse("mimikatz~"), fuzzy(1));
        assert_eq!(parse("mimikatz~2"), fuzzy(2));
        assert_eq!(parse("\"PROGRA~1\""), term("PROGRA~1"));
        assert_eq!(parse("a\\b~1"), term("a\\b~1"));
        assert!(matches!(
            parse("10.0.0.0/8"),
            Query::Text(Text::IpNetwork(_))
        ));
        assert!(matches!(
            parse("fe80::/10"),
            Query::Text(Text::IpNetwork(_))
        ));
        assert_eq!(parse("1/2"), term("1/2"));
        let long = format!("{}~", "a".repeat(FUZZY_MAX + 1));
        assert!(Query::parse(&long, now()).is_err());
        assert_eq!(parse("\"a b\""), Query::Text(Text::Phrase("a b".into())));
    }

    #[test]
    fn no_query_breaks_the_parser() {
        let deep = "(".repeat(5_000) + "a" + &")".repeat(5_000);
        assert!(Query::parse(&deep, now()).is_err());
        assert!(Query::parse(&"NOT ".repeat(5_000), now()).is_err());
        let pieces = ["(", ")", "\"", "a:", "since:", "-", " ", "OR", "*", "é"];
        for a in pieces {
            for b in pieces {
                for c in pieces {
                    let _ = Query::parse(&format!("{a}{b}{c}"), now());
                }
            }
        }
    }
}
