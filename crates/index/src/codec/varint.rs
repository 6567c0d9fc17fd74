//! Numbers in few bytes: seven bits a byte, small ones first.

pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Ids as runs of consecutive ones: what an unchanged passage of a document
/// is to the index. A run mostly goes on where the last one ended, or, after a
/// volatile line, where the one before it did: the nearer end is named.
pub(crate) fn put_runs(out: &mut Vec<u8>, ids: &[u32]) {
    let mut ends = [0i64; 2];
    let mut rest = ids;
    while let Some(&start) = rest.first() {
        let len = rest
            .windows(2)
            .take_while(|pair| pair[0].checked_add(1) == Some(pair[1]))
            .count()
            + 1;
        let start = i64::from(start);
        let which = usize::from((start - ends[1]).abs() < (start - ends[0]).abs());
        let step = start - ends[which];
        let zigzag = ((step << 1) ^ (step >> 63)) as u64;
        put(out, zigzag << 2 | (which as u64) << 1 | u64::from(len > 1));
        if len > 1 {
            put(out, len as u64);
        }
        ends = [start + len as i64, ends[0]];
        rest = &rest[len..];
    }
}

/// Reads what was put. `None` where the bytes end or make no sense: the file
/// is damaged, and the caller says so.
#[derive(Clone, Debug)]
pub(crate) struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn next(&mut self) -> Option<u64> {
        // Most numbers are small.
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Some(u64::from(byte));
        }
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Passes over so many numbers.
    pub(crate) fn skip(&mut self, count: usize) -> Option<()> {
        let mut left = count;
        // Eight bytes at a time, as long as the number behind the last one that
        // is passed over cannot begin in them.
        while let Some((eight, rest)) = self.rest.split_first_chunk() {
            let ends = !u64::from_le_bytes(*eight) & 0x8080_8080_8080_8080;
            let ended = ends.count_ones() as usize;
            if ended >= left {
                break;
            }
            left -= ended;
            self.rest = rest;
        }
        (0..left).try_for_each(|_| self.next().map(drop))
    }

    pub(crate) fn next_u32(&mut self) -> Option<u32> {
        self.next()?.try_into().ok()
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        Some(unzigzag(self.next()?))
    }

    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// Calls `each` for the `count` ids put as runs, as (start, length).
    pub(crate) fn runs(&mut self, count: u64, mut each: impl FnMut(u32, u32)) -> Option<()> {
        let mut ends = [0i64; 2];
        let mut left = count;
        while left > 0 {
            let head = self.next()?;
            let step = unzigzag(head >> 2);
            let end = ends[(head >> 1 & 1) as usize];
            let start = end.checked_add(step)?;
            let len = if head & 1 == 1 { self.next_u32()? } else { 1 };
            left = left.checked_sub(u64::from(len.max(1)))?;
            each(start.try_into().ok()?, len);
            ends = [start + i64::from(len), ends[0]];
        }
        Some(())
    }
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The `index`-th little-endian number of a table of them.
pub(crate) fn u32_at(table: &[u8], index: usize) -> Option<u32> {
    let bytes = table.get(index.checked_mul(4)?..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

pub(crate) fn u64_at(table: &[u8], index: usize) -> Option<u64> {
    let bytes = table.get(index.checked_mul(8)?..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_runs_read_back() {
        let mut out = Vec::new();
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        let signed = [0, -1, 1, i64::MIN, i64::MAX];
        let ids = [7, 8, 9, 3, 4, 9, u32::MAX];
        numbers.iter().for_each(|n| put(&mut out, *n));
        signed.iter().for_each(|n| put_signed(&mut out, *n));
        put_runs(&mut out, &ids);
        let mut bytes = Bytes::new(&out);
        assert!(numbers.iter().all(|n| bytes.next() == Some(*n)));
        assert!(signed.iter().all(|n| bytes.signed() == Some(*n)));
        let mut read = Vec::new();
        bytes
            .runs(7, |start, len| read.extend((0..len).map(|i| start + i)))
            .unwrap();
        assert_eq!(read, ids);
        assert_eq!(bytes.next(), None);
    }

    #[test]
    fn numbers_are_passed_over_as_if_they_were_read() {
        let mut out = Vec::new();
        let numbers: Vec<u64> = (0..300).map(|n| 1 << (n * n % 64) >> (n % 3)).collect();
        numbers.iter().for_each(|n| put(&mut out, *n));
        for from in 0..40 {
            let mut begun = Bytes::new(&out);
            begun.skip(from).unwrap();
            for count in 0..numbers.len() - from {
                let mut bytes = begun.clone();
                bytes.skip(count).unwrap();
                assert_eq!(bytes.next(), Some(numbers[from + count]), "{from} {count}");
            }
        }
        assert_eq!(Bytes::new(&out).skip(numbers.len()), Some(()));
        assert_eq!(Bytes::new(&out).skip(numbers.len() + 1), None);
    }

    #[test]
    fn damaged_bytes_end_the_reading() {
        assert_eq!(Bytes::new(&[0xff; 20]).next(), None);
        assert_eq!(Bytes::new(&[8]).runs(1, |_, _| ()), Some(()));
        assert_eq!(Bytes::new(&[9, 9]).runs(1, |_, _| ()), None);
        assert_eq!(Bytes::new(&[4]).runs(1, |_, _| ()), None);
    }
}
