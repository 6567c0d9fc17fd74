//! Lines as they were looked at: which text stands for which.

use hashbrown::HashTable;

use crate::app::compare::normalizer::Seen;
use analyze::{GroupKey, GroupKeys};

/// A line as it was looked at. Looks at one line follow each other: the one for
/// any machine first, then those for the machines that the line names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) line: u32,
    /// Of the machine that it is said by; of any other where there is none.
    pub(super) own: Option<u32>,
    pub(super) raw: GroupKey,
    /// Which text stands for it.
    pub(super) text: u32,
}

/// A text that stands for lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    pub(super) key: GroupKey,
    pub(super) seen: Seen,
    start: usize,
    end: usize,
}

/// Looks at some lines, and the texts that stand for them, each once.
#[derive(Debug, Default)]
pub(super) struct Looks {
    blob: String,
    texts: Vec<Text>,
    table: HashTable<u32>,
    pub(super) looks: Vec<Look>,
}

impl Looks {
    /// **Units**: bytes, about.
    pub(super) fn bytes(&self) -> usize {
        self.blob.len()
            + self.looks.len() * size_of::<Look>()
            + self.texts.len() * (size_of::<Text>() + 8)
    }

    pub(super) fn texts(&self) -> &[Text] {
        &self.texts
    }

    pub(super) fn text(&self, text: &Text) -> &str {
        &self.blob[text.start..text.end]
    }

    /// The number of the text that `write` writes behind what it is given.
    pub(super) fn number_of(
        &mut self,
        keys: &GroupKeys,
        write: impl FnOnce(&mut String) -> Seen,
    ) -> u32 {
        let start = self.blob.len();
        let seen = write(&mut self.blob);
        let key = keys.of(&self.blob[start..]);
        self.keep(start, key, seen)
    }

    /// The number of the text at the blob's end, which goes where it is known.
    fn keep(&mut self, start: usize, key: GroupKey, seen: Seen) -> u32 {
        let Self { blob, texts, .. } = self;
        let (before, new) = blob.split_at(start);
        let is = |number: &u32| {
            let text = texts[*number as usize];
            text.key == key && text.seen == seen && before[text.start..text.end] == *new
        };
        if let Some(known) = self.table.find(key.number(), is) {
            let known = *known;
            blob.truncate(start);
            return known;
        }
        let (number, end) = (texts.len() as u32, blob.len());
        texts.push(Text {
            key,
            seen,
            start,
            end,
        });
        let rehash = |number: &u32| texts[*number as usize].key.number();
        self.table.insert_unique(key.number(), number, rehash);
        number
    }

    /// Takes in others, with their texts.
    pub(super) fn append(&mut self, others: &Self) {
        let numbers: Vec<u32> = others
            .texts
            .iter()
            .map(|text| {
                let start = self.blob.len();
                self.blob.push_str(others.text(text));
                self.keep(start, text.key, text.seen)
            })
            .collect();
        self.looks.extend(others.looks.iter().map(|look| Look {
            text: numbers[look.text as usize],
            ..*look
        }));
    }

    /// Numbers of 32 bits, the like beside each other, which pack well; then
    /// the texts. For looks in which all is [`Seen::Text`].
    pub(super) fn page(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(20 * self.looks.len() + self.blob.len());
        put(&mut page, self.looks.len() as u32);
        put(&mut page, self.texts.len() as u32);
        let mut last = 0;
        for look in &self.looks {
            put(&mut page, look.line.wrapping_sub(last));
            last = look.line;
        }
        let own = |look: &Look| look.own.map_or(0, |own| own.saturating_add(1));
        self.looks.iter().for_each(|look| put(&mut page, own(look)));
        self.looks.iter().for_each(|look| put(&mut page, look.text));
        for look in &self.looks {
            page.extend(look.raw.number().to_le_bytes());
        }
        for text in &self.texts {
            put(&mut page, (text.end - text.start) as u32);
        }
        page.extend(self.blob.as_bytes());
        page
    }

    /// Reads what [`Looks::page`] wrote; `None` where it is damaged.
    pub(super) fn read(page: &[u8], keys: &GroupKeys) -> Option<Self> {
        let mut rest = page;
        let looks = take(&mut rest)? as usize;
        let texts = take(&mut rest)? as usize;
        let mut column = |width: usize, count: usize| {
            let (column, behind) = rest.split_at_checked(count.checked_mul(width)?)?;
            rest = behind;
            Some(column)
        };
        let (lines, owns) = (column(4, looks)?, column(4, looks)?);
        let (numbers, raws) = (column(4, looks)?, column(8, looks)?);
        let lengths = column(4, texts)?;
        let blob = std::str::from_utf8(rest).ok()?;
        let mut read = Self::default();
        let mut at = 0usize;
        for length in words(lengths) {
            let end = at.checked_add(length as usize)?;
            let text = blob.get(at..end)?;
            read.number_of(keys, |out| {
                out.push_str(text);
                Seen::Text
            });
            at = end;
        }
        let mut line = 0u32;
        let raws = raws.chunks_exact(8);
        let raws = raws.map(|raw| {
            GroupKey::of_number(u64::from_le_bytes(*raw.first_chunk().unwrap_or(&[0; 8])))
        });
        let columns = words(lines).zip(words(owns)).zip(words(numbers)).zip(raws);
        for (((step, own), text), raw) in columns {
            line = line.wrapping_add(step);
            read.looks.push(Look {
                line,
                own: own.checked_sub(1),
                raw,
                text,
            });
        }
        let are_known =
            read.texts.len() == texts && read.looks.iter().all(|look| (look.text as usize) < texts);
        are_known.then_some(read)
    }
}

fn put(page: &mut Vec<u8>, number: u32) {
    page.extend(number.to_le_bytes());
}

fn take(rest: &mut &[u8]) -> Option<u32> {
    let (number, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u32::from_le_bytes(*number))
}

fn words(column: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let words = column.chunks_exact(4);
    words.map(|word| u32::from_le_bytes(*word.first_chunk().unwrap_or(&[0; 4])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(looks: &mut Looks, keys: &GroupKeys, text: &str) -> u32 {
        looks.number_of(keys, |out| {
            out.push_str(text);
            Seen::Text
        })
    }

    fn some(keys: &GroupKeys) -> Looks {
        let mut looks = Looks::default();
        for (line, own, said) in [
            (7, None, "a <pid>"),
            (9, None, "b"),
            (9, Some(0), "<own>"),
            (3, None, "a <pid>"),
            (u32::MAX, None, ""),
        ] {
            let text = text(&mut looks, keys, said);
            let raw = keys.of(&line.to_string());
            looks.looks.push(Look {
                line,
                own,
                raw,
                text,
            });
        }
        looks
    }

    fn said(looks: &Looks) -> Vec<(u32, Option<u32>, GroupKey, &str)> {
        let texts = looks.texts();
        let each = looks.looks.iter().map(|look| {
            let text = looks.text(&texts[look.text as usize]);
            (look.line, look.own, look.raw, text)
        });
        each.collect()
    }

    #[test]
    fn a_text_that_stands_for_many_lines_is_kept_once() {
        let keys = GroupKeys::new([1; 16]);
        let looks = some(&keys);
        assert_eq!((looks.texts().len(), looks.looks.len()), (4, 5));
        let mut twice = some(&keys);
        twice.append(&looks);
        assert_eq!((twice.texts().len(), twice.looks.len()), (4, 10));
        assert_eq!(said(&twice)[5..], said(&looks)[..]);
    }

    #[test]
    fn what_is_hidden_stays_apart_from_what_is_not() {
        let (keys, mut looks) = (GroupKeys::new([1; 16]), Looks::default());
        let write = |seen| {
            move |out: &mut String| {
                out.push('a');
                seen
            }
        };
        assert_eq!(looks.number_of(&keys, write(Seen::Text)), 0);
        assert_eq!(looks.number_of(&keys, write(Seen::Hidden)), 1);
        assert_eq!(looks.number_of(&keys, write(Seen::Text)), 0);
    }

    #[test]
    fn looks_read_back_as_they_were_written_or_not_at_all() {
        let keys = GroupKeys::new([1; 16]);
        let looks = some(&keys);
        let page = looks.page();
        let read = Looks::read(&page, &keys).unwrap();
        assert_eq!(said(&read), said(&looks));
        for len in 0..page.len() {
            let cut = Looks::read(&page[..len], &keys);
            assert!(cut.is_none(), "{len}");
        }
        let mut wrong = page.clone();
        // The number of a text that is not there.
        wrong[8 + 2 * 5 * 4] = 200;
        assert!(Looks::read(&wrong, &keys).is_none());
    }
}
