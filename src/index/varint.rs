//! Numbers in few bytes: seven bits a byte, small ones first.

pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Ids as runs of consecutive ones: what an unchanged passage of a document
/// is to the index.
pub(super) fn put_runs(out: &mut Vec<u8>, ids: &[u32]) {
    let mut expected = 0i64;
    let mut rest = ids;
    while let Some(&start) = rest.first() {
        let len = rest
            .windows(2)
            .take_while(|pair| pair[0].checked_add(1) == Some(pair[1]))
            .count()
            + 1;
        put_signed(out, i64::from(start) - expected);
        put(out, len as u64);
        expected = i64::from(start) + len as i64;
        rest = &rest[len..];
    }
}

/// Reads what was put. `None` where the bytes end or make no sense: the file
/// is damaged, and the caller says so.
#[derive(Clone, Debug)]
pub(super) struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn next(&mut self) -> Option<u64> {
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

    pub(super) fn next_u32(&mut self) -> Option<u32> {
        self.next()?.try_into().ok()
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let value = self.next()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// Calls `each` for the `count` ids put as runs, as (start, length).
    pub(super) fn runs(&mut self, count: u64, mut each: impl FnMut(u32, u32)) -> Option<()> {
        let mut expected = 0i64;
        let mut left = count;
        while left > 0 {
            let start = expected.checked_add(self.signed()?)?;
            let len = self.next_u32()?;
            left = left.checked_sub(u64::from(len.max(1)))?;
            each(start.try_into().ok()?, len);
            expected = start + i64::from(len);
        }
        Some(())
    }
}

/// The `index`-th little-endian number of a table of them.
pub(super) fn u32_at(table: &[u8], index: usize) -> Option<u32> {
    let bytes = table.get(index.checked_mul(4)?..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

pub(super) fn u64_at(table: &[u8], index: usize) -> Option<u64> {
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
    fn damaged_bytes_end_the_reading() {
        assert_eq!(Bytes::new(&[0xff; 20]).next(), None);
        assert_eq!(Bytes::new(&[2, 0]).runs(1, |_, _| ()), Some(()));
        assert_eq!(Bytes::new(&[2, 9]).runs(1, |_, _| ()), None);
    }
}
