//! A random text of every kind that can be asked for, most of them cut from
//! what some member holds.

use crate::tests::trees::*;

pub(crate) fn text(random: &mut Random, members: &[Member]) -> Tree {
    let text = raw(random, members);
    loop {
        let asked = match random.below(11) {
            0 => common(random),
            1 => term(random, text),
            2 => wildcard(random, text),
            3 => prefix(random, text),
            4 => alike(random, text),
            5 => near(random, text),
            6 => network(random),
            7 => phrase(random, text),
            8 => multiline(random, text),
            9 => fixed(random, text),
            _ => regex(random, text),
        };
        if let Some((query, wanted)) = asked {
            return Tree::text(members, query, &wanted);
        }
    }
}

type Pair = Option<(Query, Wanted)>;

/// Some text that is not empty.
fn raw<'a>(random: &mut Random, members: &'a [Member]) -> &'a str {
    loop {
        let member = &members[random.below(members.len())];
        let text = &member.texts[random.below(member.texts.len())].1;
        if !text.trim().is_empty() {
            return text;
        }
    }
}

fn word<'a>(random: &mut Random, text: &'a str) -> &'a str {
    let words: Vec<&str> = text.split_whitespace().collect();
    words[random.below(words.len())]
}

/// A piece of a text: up to so many characters from anywhere on.
fn piece(random: &mut Random, text: &str, most: usize) -> String {
    let from = random.below(text.chars().count());
    let len = 1 + random.below(most);
    text.chars().skip(from).take(len).collect()
}

/// A piece of a line without what ends it.
fn piece_of_line(random: &mut Random, text: &str, most: usize) -> Option<String> {
    let lines: Vec<&str> = text.split('\n').collect();
    let line = lines[random.below(lines.len())].trim_end_matches('\r');
    (!line.is_empty()).then(|| piece(random, line, most))
}

/// Each character in one case or the other, where that changes nothing else.
fn any_case(random: &mut Random, text: &str) -> String {
    let other = |c: char| {
        let upper: Vec<char> = c.to_uppercase().collect();
        match upper[..] {
            [upper] if oracle::one_case(upper) == oracle::one_case(c) => upper,
            _ => c,
        }
    };
    let chars = text.chars();
    chars
        .map(|c| if random.below(2) == 0 { c } else { other(c) })
        .collect()
}

/// A word that is everywhere.
fn common(random: &mut Random) -> Pair {
    let word = random.pick(&["the", "evil.exe", "mimikatz", "東京都", "foo_bar"]);
    let query = Query::Text(Text::Term(word.to_string()));
    Some((query, Wanted::Term(word.to_string())))
}

fn term(random: &mut Random, text: &str) -> Pair {
    let word = word(random, text);
    let query = Query::Text(Text::Term(any_case(random, word)));
    Some((query, Wanted::Term(word.to_string())))
}

/// A piece of a word in which something is left open.
fn wildcard(random: &mut Random, text: &str) -> Pair {
    let word = word(random, text);
    let word = piece(random, word, 12);
    let mut pattern = String::from(random.pick(&["", "*", "*", "?"]));
    for c in any_case(random, &word).chars() {
        match random.below(9) {
            0 => pattern.push('?'),
            1 => pattern.push('*'),
            2 => pattern.extend(['*', c]),
            _ => pattern.push(c),
        }
    }
    pattern.push_str(random.pick(&["", "*", "*", "?", "??"]));
    let is_some = pattern.chars().any(|c| c != '*');
    let query = Query::Text(Text::Wildcard(pattern.clone()));
    is_some.then_some((query, Wanted::Wildcard(pattern)))
}

/// How a word begins, of up to more characters than are indexed of one.
fn prefix(random: &mut Random, text: &str) -> Pair {
    let word = word(random, text);
    let len = 1 + random.below(20);
    let begin: String = word.chars().take(len).chain(['*']).collect();
    let query = Query::Text(Text::Wildcard(any_case(random, &begin)));
    Some((query, Wanted::Wildcard(begin)))
}

/// A word that was changed at up to three places.
fn alike(random: &mut Random, text: &str) -> Pair {
    let words: Vec<&str> = text
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
        .collect();
    let mut word: Vec<char> = words
        .get(random.below(words.len().max(1)))?
        .chars()
        .collect();
    word.truncate(64);
    for _ in 0..random.below(4) {
        let at = random.below(word.len());
        match random.below(4) {
            0 if word.len() > 1 => drop(word.remove(at)),
            1 => word.insert(at, 'q'),
            2 if at > 0 => word.swap(at - 1, at),
            _ => word[at] = 'ö',
        }
    }
    let word: String = word.into_iter().take(64).collect();
    let distance = 1 + random.below(2);
    let query = Query::Text(Text::Fuzzy {
        word: any_case(random, &word),
        distance: distance as u8,
    });
    Some((query, Wanted::Alike(word, distance)))
}

/// Words of one line in any order.
fn near(random: &mut Random, text: &str) -> Pair {
    let lines: Vec<&str> = text.split('\n').collect();
    let line: Vec<&str> = lines[random.below(lines.len())]
        .split_whitespace()
        .collect();
    if line.is_empty() {
        return None;
    }
    let mut words = Vec::new();
    for _ in 0..1 + random.below(3) {
        let word = line[random.below(line.len())].trim_matches(['.', ':', ';']);
        words.extend((!word.is_empty()).then(|| word.to_string()));
    }
    let within = random.below(5);
    let query = Query::Text(Text::Near {
        words: words.iter().map(|word| any_case(random, word)).collect(),
        within: within as u32,
    });
    (!words.is_empty()).then_some((query, Wanted::Near(words, within)))
}

fn network(random: &mut Random) -> Pair {
    let network = random.pick(&[
        "10.0.0.0/8",
        "10.1.2.3/32",
        "10.1.2.0/23",
        "172.16.0.0/12",
        "0.0.0.0/0",
        "fe80::/10",
        "2001:db8::/32",
        "2001:db8::1/128",
    ]);
    let (address, bits) = network.split_once('/')?;
    let query = Query::Text(Text::IpNetwork(IpNetwork::read(network)?));
    let wanted = Wanted::IpNetwork(address.parse().ok()?, bits.parse().ok()?);
    Some((query, wanted))
}

/// Words that follow each other, wherever a line ends.
fn phrase(random: &mut Random, text: &str) -> Pair {
    let words: Vec<&str> = text.split_whitespace().collect();
    let count = 2 + random.below(4);
    if words.len() < count {
        return None;
    }
    let from = random.below(words.len() + 1 - count);
    let phrase = words[from..from + count].join(random.pick(&[" ", " ", "  "]));
    // Of its first word all, or what stands behind a border in it.
    let behind = phrase.find(['.', '\\', ':']).map_or(0, |at| at + 1);
    let begin = if random.below(3) == 0 { behind } else { 0 };
    let phrase = phrase[begin..].to_string();
    if phrase.starts_with(' ') || phrase.split_whitespace().count() < 2 {
        return None;
    }
    let query = Query::Text(Text::Phrase(any_case(random, &phrase)));
    Some((query, Wanted::Phrase(phrase)))
}

/// A piece of a text with its line ends in one form or another.
fn multiline(random: &mut Random, text: &str) -> Pair {
    let piece = piece(random, text, 24);
    let mut pattern = String::from(random.pick(&["", "", "^", r"\b", "(?s)"]));
    for part in piece.split_inclusive('\n') {
        let body = part.trim_end_matches(['\n', '\r']);
        for c in body.chars() {
            match random.below(16) {
                0 => pattern.push_str(".+"),
                1 => pattern.push_str("[^x]"),
                2 => pattern.push_str(r"[\s\S]{1,3}"),
                _ => pattern.push_str(&regex::escape(&c.to_string())),
            }
        }
        if part.len() > body.len() {
            pattern.push_str(random.pick(&[r"\r?\n", r"\s+", r"$\s*^", r"$\s", "$"]));
        }
    }
    let ignore_case = random.below(2) == 0;
    let wanted = Wanted::multiline(&pattern, ignore_case);
    Some((Query::multiline(pattern, ignore_case), wanted))
}

/// A piece of a line; that of a line's end is its own too.
fn fixed(random: &mut Random, text: &str) -> Pair {
    let piece = piece(random, text, 16);
    let piece = piece.split('\n').next().filter(|piece| !piece.is_empty())?;
    Some(match random.below(2) {
        0 => {
            let query = Query::fixed(any_case(random, piece), true);
            (query, Wanted::any_case(piece))
        }
        _ => (Query::fixed(piece, false), Wanted::Fixed(piece.to_string())),
    })
}

/// A piece of a line as a pattern.
fn regex(random: &mut Random, text: &str) -> Pair {
    let piece = piece_of_line(random, text, 16)?;
    let escaped = regex::escape(&piece);
    Some(match random.below(3) {
        0 => {
            // In any case: a carriage return before a line's end is none of it.
            let typed = regex::escape(&any_case(random, &piece));
            let wanted = match piece.ends_with('\r') {
                true => Wanted::regex(&format!("(?i){typed}")),
                false => Wanted::any_case(&piece),
            };
            (Query::regex(typed, true), wanted)
        }
        1 => {
            let pattern = format!(r"{escaped}.*\S$|^{escaped}");
            (Query::regex(&pattern, false), Wanted::regex(&pattern))
        }
        _ => (Query::regex(&escaped, false), Wanted::regex(&escaped)),
    })
}
