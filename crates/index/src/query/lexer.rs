//! From characters to tokens.

use crate::query::ast::{Field, SyntaxError};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Open,
    Close,
    Or,
    And,
    Not,
    Word(String),
    /// What stands in quotes, and how far its words may lie apart.
    Phrase(String, Option<u32>),
    /// A pattern, and whether case is ignored.
    Regex(String, bool),
    Field(String, Value),
}

/// What a field is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Range {
        from: Option<Bound>,
        to: Option<Bound>,
    },
    In(Vec<String>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bound {
    pub(crate) value: String,
    pub(crate) included: bool,
}

/// Tokens and the characters before each.
pub(crate) fn read_tokens(text: &str) -> Result<Vec<(usize, Token)>, SyntaxError> {
    let mut lexer = Lexer {
        characters: text.chars().collect(),
        at: 0,
        open: Vec::new(),
        has_groups: false,
    };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let begin = lexer.at;
        match lexer.next()? {
            Some(token) => tokens.push((begin, token)),
            None => break,
        }
    }
    if let Some(place) = lexer.open.last() {
        return Err(SyntaxError::new(*place, "this `(` is not closed")
            .hint("put text with parentheses in quotes"));
    }
    Ok(tokens)
}

struct Lexer {
    characters: Vec<char>,
    at: usize,
    /// Places of the parentheses that are open.
    open: Vec<usize>,
    /// One was opened: then a `)` that closes nothing is no text.
    has_groups: bool,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn skip_blanks(&mut self) {
        while self.peek(0).is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    /// Takes `text` where it comes next, in any case.
    fn take(&mut self, text: &str) -> bool {
        let here = text.chars().enumerate().all(|(n, wanted)| {
            self.peek(n)
                .is_some_and(|found| found.eq_ignore_ascii_case(&wanted))
        });
        if here {
            self.at += text.chars().count();
        }
        here
    }

    fn next(&mut self) -> Result<Option<Token>, SyntaxError> {
        let Some(c) = self.peek(0) else {
            return Ok(None);
        };
        let token = match c {
            '(' => {
                self.open.push(self.at);
                self.has_groups = true;
                self.at += 1;
                Token::Open
            }
            ')' if self.open.pop().is_some() => {
                self.at += 1;
                Token::Close
            }
            '"' => self.phrase()?,
            '-' if self.peek(1).is_some_and(|c| c != '-' && !self.ends_word(c)) => {
                self.at += 1;
                Token::Not
            }
            '/' => match self.regex() {
                Some(regex) => regex,
                None => self.word()?,
            },
            _ => self.word()?,
        };
        Ok(Some(token))
    }

    fn quoted(&mut self) -> Result<String, SyntaxError> {
        let begin = self.at;
        let mut text = String::new();
        self.at += 1;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('"'), Some('"')) => {
                    text.push('"');
                    self.at += 2;
                }
                (Some('"'), _) => {
                    self.at += 1;
                    return Ok(text);
                }
                (Some(c), _) => {
                    text.push(c);
                    self.at += 1;
                }
                (None, _) => {
                    return Err(SyntaxError::new(begin, "a quote is not closed")
                        .hint("end it with `\"`; a quote inside quotes is written twice"));
                }
            }
        }
    }

    /// `"some words"~5`: how many other words may stand between them.
    fn phrase(&mut self) -> Result<Token, SyntaxError> {
        let text = self.quoted()?;
        if self.peek(0) != Some('~') {
            return Ok(Token::Phrase(text, None));
        }
        let begin = self.at;
        self.at += 1;
        let digits = self.up_to_blank()?;
        match digits.parse() {
            Ok(within) => Ok(Token::Phrase(text, Some(within))),
            Err(_) => Err(
                SyntaxError::new(begin, format!("`~{digits}` is no distance"))
                    .hint("write how many other words may stand between, as in \"new service\"~3"),
            ),
        }
    }

    /// `/pattern/` or `/pattern/i`, where a blank or the end follows: a path
    /// such as /usr/bin is none. A slash in the pattern is written `\/`.
    fn regex(&mut self) -> Option<Token> {
        let mut pattern = String::new();
        let mut at = self.at + 1;
        loop {
            match (*self.characters.get(at)?, self.characters.get(at + 1)) {
                ('\\', Some('/')) => {
                    pattern.push('/');
                    at += 2;
                }
                ('\\', Some(next)) => {
                    pattern.extend(['\\', *next]);
                    at += 2;
                }
                ('/', _) => break,
                (c, _) => {
                    pattern.push(c);
                    at += 1;
                }
            }
        }
        at += 1;
        let ignore_case = self.characters.get(at) == Some(&'i');
        at += usize::from(ignore_case);
        let ends = match self.characters.get(at) {
            None => true,
            Some(c) => c.is_whitespace() || (*c == ')' && !self.open.is_empty()),
        };
        if !ends || pattern.is_empty() {
            return None;
        }
        self.at = at;
        Some(Token::Regex(pattern, ignore_case))
    }

    fn ends_word(&self, c: char) -> bool {
        c.is_whitespace() || (c == ')' && !self.open.is_empty())
    }

    /// The next character of a word or a value. A `)` belongs to it where its
    /// `(` does: `inside` counts those.
    fn next_of_word(&mut self, inside: &mut usize) -> Result<Option<char>, SyntaxError> {
        let Some(c) = self.peek(0) else {
            return Ok(None);
        };
        match c {
            '(' => *inside += 1,
            ')' if *inside > 0 => *inside -= 1,
            ')' if self.open.is_empty() && self.has_groups => {
                return Err(SyntaxError::new(self.at, "a `)` closes nothing")
                    .hint("put text with parentheses in quotes"));
            }
            c if self.ends_word(c) => return Ok(None),
            _ => {}
        }
        self.at += 1;
        Ok(Some(c))
    }

    fn up_to_blank(&mut self) -> Result<String, SyntaxError> {
        let (mut text, mut inside) = (String::new(), 0);
        while let Some(c) = self.next_of_word(&mut inside)? {
            text.push(c);
        }
        Ok(text)
    }

    fn word(&mut self) -> Result<Token, SyntaxError> {
        let begin = self.at;
        let (mut word, mut inside) = (String::new(), 0);
        while let Some(c) = self.next_of_word(&mut inside)? {
            if c == ':' && is_field_name(&word) {
                let value = self.value(&word, begin)?;
                return Ok(Token::Field(word, value));
            }
            word.push(c);
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

    fn value(&mut self, name: &str, begin: usize) -> Result<Value, SyntaxError> {
        let after = self.at;
        self.skip_blanks();
        let is_list = self.take("IN [") || self.take("IN[");
        if is_list {
            return self.list(begin);
        }
        self.at = after;
        match self.peek(0) {
            Some('"') => Ok(Value::Text(self.quoted()?)),
            Some('[' | '{') if self.is_range() => self.range(begin),
            Some('>' | '<') => self.comparison(name, begin),
            Some('(') => Err(SyntaxError::new(begin, format!("`{name}:` takes no group"))
                .hint(format!("write {name}:IN [pc1 pc2], or the value in quotes"))),
            _ => match self.up_to_blank()? {
                value if value.is_empty() => {
                    Err(SyntaxError::new(begin, format!("`{name}:` has no value"))
                        .hint(format!("write it without a blank, as in {name}:value")))
                }
                value => Ok(Value::Text(value)),
            },
        }
    }

    /// A value may begin with a bracket that opens no range.
    fn is_range(&self) -> bool {
        let rest: String = self.characters[self.at..].iter().take(256).collect();
        rest.split([']', '}'])
            .next()
            .is_some_and(|inside| inside.contains(" TO "))
    }

    /// An item of a list or an end of a range.
    fn item(&mut self, ends: &[char]) -> Result<String, SyntaxError> {
        if self.peek(0) == Some('"') {
            return self.quoted();
        }
        let mut item = String::new();
        while let Some(c) = self.peek(0) {
            if c.is_whitespace() || ends.contains(&c) {
                break;
            }
            item.push(c);
            self.at += 1;
        }
        Ok(item)
    }

    fn list(&mut self, begin: usize) -> Result<Value, SyntaxError> {
        let mut items = Vec::new();
        loop {
            while self.peek(0).is_some_and(|c| c.is_whitespace() || c == ',') {
                self.at += 1;
            }
            match self.peek(0) {
                Some(']') => {
                    self.at += 1;
                    break;
                }
                Some(_) => items.push(self.item(&[',', ']'])?),
                None => {
                    return Err(SyntaxError::new(begin, "the list is not closed")
                        .hint("write it as in device:IN [pc1 pc2]"));
                }
            }
        }
        if items.is_empty() {
            return Err(SyntaxError::new(begin, "the list is empty"));
        }
        Ok(Value::In(items))
    }

    /// `[a TO b]`; braces leave the end itself out, `*` leaves it open.
    fn range(&mut self, begin: usize) -> Result<Value, SyntaxError> {
        let from_included = self.peek(0) == Some('[');
        self.at += 1;
        self.skip_blanks();
        let from = self.item(&[])?;
        self.skip_blanks();
        self.take("TO");
        self.skip_blanks();
        let to = self.item(&[']', '}'])?;
        self.skip_blanks();
        let to_included = match self.peek(0) {
            Some(']') => true,
            Some('}') => false,
            _ => {
                return Err(SyntaxError::new(begin, "the range is not closed")
                    .hint("write it as in exit:[1 TO 5]"));
            }
        };
        self.at += 1;
        let bound = |value: String, included| {
            (value != "*" && !value.is_empty()).then_some(Bound { value, included })
        };
        Ok(Value::Range {
            from: bound(from, from_included),
            to: bound(to, to_included),
        })
    }

    fn comparison(&mut self, name: &str, begin: usize) -> Result<Value, SyntaxError> {
        let is_above = self.peek(0) == Some('>');
        self.at += 1;
        let included = self.take("=");
        let value = match self.peek(0) {
            Some('"') => self.quoted()?,
            _ => self.up_to_blank()?,
        };
        if value.is_empty() {
            return Err(SyntaxError::new(begin, format!("`{name}:` has no value"))
                .hint(format!("write it without a blank, as in {name}:>=value")));
        }
        let bound = Some(Bound { value, included });
        Ok(match is_above {
            true => Value::Range {
                from: bound,
                to: None,
            },
            false => Value::Range {
                from: None,
                to: bound,
            },
        })
    }
}

/// Names that are no field of a member and read as one.
const TIMES: [&str; 3] = ["since", "until", "time"];

fn is_field_name(word: &str) -> bool {
    Field::from_word(word).is_some() || TIMES.iter().any(|name| word.eq_ignore_ascii_case(name))
}

/// `devise:pc17` would find nothing and look like an answer.
fn refuse_misspelled_field(word: &str, at: usize) -> Result<(), SyntaxError> {
    let Some((name, _)) = word.split_once(':') else {
        return Ok(());
    };
    let name = name.to_lowercase();
    let known = Field::ALL.iter().map(|field| field.as_str()).chain(TIMES);
    match known
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
pub(crate) fn differ_by_one(a: &str, b: &str) -> bool {
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
