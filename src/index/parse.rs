//! Reading a typed query.
//!
//! ```text
//! query  = either { OR either }        mimikatz OR sekurlsa
//! either = unary { [AND] unary }       evil.exe 10.0.0.5
//! unary  = [NOT | -] (group | phrase | field | word)
//! group  = ( query )
//! phrase = "text as it stands"         "" inside stands for one "
//! field  = name:value                  device:pc17 path:"C:\Temp\*"
//! word   = anything up to a blank      mimi* 10.0.0.5:4444 C:\Windows
//! ```

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::query::{Field, Query, SyntaxError, Text};

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

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Open,
    Close,
    Or,
    And,
    Not,
    Phrase(String),
    Word(String),
    /// Name, value, and whether the value was quoted.
    Field(String, String, bool),
}

fn read_tokens(text: &str) -> Result<Vec<(usize, Token)>, SyntaxError> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut open = 0usize;
    let mut at = 0;
    while let Some(&c) = characters.get(at) {
        let begin = at;
        let token = match c {
            c if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '(' => {
                open += 1;
                at += 1;
                Token::Open
            }
            ')' if open > 0 => {
                open -= 1;
                at += 1;
                Token::Close
            }
            '"' => Token::Phrase(read_quoted(&characters, &mut at)?),
            '-' if characters
                .get(at + 1)
                .is_some_and(|c| *c == '"' || *c == '(' || c.is_alphanumeric()) =>
            {
                at += 1;
                Token::Not
            }
            _ => read_word(&characters, &mut at, open)?,
        };
        tokens.push((begin, token));
    }
    if open > 0 {
        return Err(
            SyntaxError::new(at, "a `(` is not closed").hint("put text with parentheses in quotes")
        );
    }
    Ok(tokens)
}

fn read_quoted(characters: &[char], at: &mut usize) -> Result<String, SyntaxError> {
    let begin = *at;
    let mut text = String::new();
    *at += 1;
    loop {
        match (characters.get(*at), characters.get(*at + 1)) {
            (Some('"'), Some('"')) => {
                text.push('"');
                *at += 2;
            }
            (Some('"'), _) => {
                *at += 1;
                return Ok(text);
            }
            (Some(c), _) => {
                text.push(*c);
                *at += 1;
            }
            (None, _) => {
                return Err(SyntaxError::new(begin, "a quote is not closed")
                    .hint("end it with `\"`; a quote inside quotes is written twice"));
            }
        }
    }
}

fn read_word(characters: &[char], at: &mut usize, open: usize) -> Result<Token, SyntaxError> {
    let begin = *at;
    let mut word = String::new();
    while let Some(&c) = characters.get(*at) {
        if c.is_whitespace() || (c == ')' && open > 0) {
            break;
        }
        word.push(c);
        *at += 1;
        if c == ':' && is_field_name(&word[..word.len() - 1]) {
            word.pop();
            return read_value(word, characters, at, open, begin);
        }
    }
    Ok(match word.as_str() {
        "AND" | "&&" => Token::And,
        "OR" | "||" => Token::Or,
        "NOT" => Token::Not,
        _ => {
            refuse_misspelled_field(&word, begin)?;
            Token::Word(word)
        }
    })
}

fn read_value(
    name: String,
    characters: &[char],
    at: &mut usize,
    open: usize,
    begin: usize,
) -> Result<Token, SyntaxError> {
    if characters.get(*at) == Some(&'"') {
        let value = read_quoted(characters, at)?;
        return Ok(Token::Field(name, value, true));
    }
    let mut value = String::new();
    while let Some(&c) = characters.get(*at) {
        if c.is_whitespace() || (c == ')' && open > 0) {
            break;
        }
        value.push(c);
        *at += 1;
    }
    if value.is_empty() {
        return Err(SyntaxError::new(begin, format!("`{name}:` has no value"))
            .hint(format!("write it without a blank, as in {name}:value")));
    }
    Ok(Token::Field(name, value, false))
}

fn is_field_name(word: &str) -> bool {
    Field::from_word(word).is_some()
        || word.eq_ignore_ascii_case("since")
        || word.eq_ignore_ascii_case("until")
}

/// `devise:pc17` would find nothing and look like an answer.
fn refuse_misspelled_field(word: &str, at: usize) -> Result<(), SyntaxError> {
    let Some((name, _)) = word.split_once(':') else {
        return Ok(());
    };
    let name = name.to_lowercase();
    let known = Field::ALL.iter().map(|field| field.as_str());
    match known
        .chain(["since", "until"])
        .filter(|_| name.len() > 3)
        .find(|known| differ_by_one(known, &name))
    {
        Some(known) => Err(
            SyntaxError::new(at, format!("there is no field `{name}:`")).hint(format!(
                "did you mean {known}:? put it in quotes to find it as text"
            )),
        ),
        None => Ok(()),
    }
}

/// One character changed, missing, added, or two exchanged.
fn differ_by_one(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[head..], &b[head..]);
    match (a, b) {
        ([], []) => false,
        ([x, y, a @ ..], [z, w, b @ ..]) if x == w && y == z && a == b => true,
        _ => {
            let rest = |list: &[char]| list.get(1..).map(<[char]>::to_vec).unwrap_or_default();
            rest(a) == rest(b) || rest(a) == b || a == rest(b)
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
            return Ok(Query::Not(Box::new(self.unary(depth + 1)?)));
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
            Token::Phrase(text) => phrase(text, at),
            Token::Word(word) => Ok(term(word)),
            Token::Field(name, value, _) => self.field(&name, value, at),
            Token::And | Token::Or | Token::Not | Token::Close => {
                Err(SyntaxError::new(at, "something is missing here")
                    .hint("put AND, OR, NOT in quotes to find them as text"))
            }
        }
    }

    fn field(&self, name: &str, value: String, at: usize) -> Result<Query, SyntaxError> {
        if let Some(field) = Field::from_word(name) {
            return Ok(Query::Field(field, value));
        }
        let since = name.eq_ignore_ascii_case("since");
        let time = read_time(&value, self.now, !since).ok_or_else(|| {
            SyntaxError::new(at, format!("`{value}` is no time"))
                .hint("write 2h, 3d, 2026-02-04, \"2026-02-04 15:30\" or 2026-02-04T15:30:00Z")
        })?;
        Ok(Query::Time {
            since: since.then_some(time),
            until: (!since).then_some(time),
        })
    }
}

fn one_or(mut queries: Vec<Query>, many: fn(Vec<Query>) -> Query) -> Query {
    match queries.len() {
        1 => queries.remove(0),
        _ => many(queries),
    }
}

fn phrase(text: String, at: usize) -> Result<Query, SyntaxError> {
    if text.is_empty() {
        return Err(SyntaxError::new(at, "the quotes hold nothing"));
    }
    if text.contains(['\n', '\r']) {
        return Err(SyntaxError::new(at, "a phrase lies within one line"));
    }
    Ok(Query::Text(Text::Term(text)))
}

fn term(word: String) -> Query {
    if !word.contains(['*', '?']) {
        Query::Text(Text::Term(word))
    } else if word.chars().all(|c| c == '*') {
        Query::All
    } else {
        Query::Text(Text::Wildcard(word))
    }
}

/// A time as typed. A day given as an end is meant to its own end.
pub fn read_time(text: &str, now: Timestamp, is_end: bool) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp);
    }
    if let Some(ago) = read_ago(text) {
        return now.checked_sub(ago).ok();
    }
    let utc = |civil: DateTime| civil.to_zoned(TimeZone::UTC).ok().map(|z| z.timestamp());
    let is_day = text.len() <= 10;
    if is_day && let Ok(day) = text.parse::<Date>() {
        let day = if is_end { day.tomorrow().ok()? } else { day };
        return utc(day.at(0, 0, 0, 0));
    }
    text.parse::<DateTime>().ok().and_then(utc)
}

fn read_ago(text: &str) -> Option<SignedDuration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let count: i64 = text[..digits].parse().ok()?;
    let seconds = match &text[digits..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    Some(SignedDuration::from_secs(count.checked_mul(seconds)?))
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
                    Query::Or(vec![term("d"), term("e f")]),
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
            "-EncodedCommand",
            "{5382f7ea-7557-4ab7-9782-d50480024a4e}",
        ] {
            let expected = match text.strip_prefix('-') {
                Some(rest) => Query::Not(Box::new(term(rest))),
                None => term(text),
            };
            assert_eq!(parse(text), expected, "{text}");
        }
        assert_eq!(parse(r#""say ""hi"" C:\""#), term(r#"say "hi" C:\"#));
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
            ("a (b", 4),
            ("x \"open", 2),
            ("a devise:pc", 2),
            ("b since:soon", 2),
            ("device: x", 0),
            ("OR a", 0),
            ("a \"\"", 2),
        ] {
            let error = Query::parse(text, now()).unwrap_err();
            assert_eq!(error.at, at, "{text}: {error}");
        }
        let error = Query::parse("devcie:x", now()).unwrap_err();
        assert!(error.hint.unwrap().contains("device:"));
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
