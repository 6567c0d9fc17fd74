//! Shapes of volatile parts. Each function returns the end of the part that
//! starts at a position. Context is not considered here.

fn digits(bytes: &[u8], at: usize) -> usize {
    count(bytes, at, |b| b.is_ascii_digit())
}

fn count(bytes: &[u8], at: usize, is: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(at..).unwrap_or(&[]);
    rest.iter().take_while(|b| is(**b)).count()
}

fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// Whether no word or number continues at a position.
pub(crate) fn ends(bytes: &[u8], at: usize) -> bool {
    let b = byte(bytes, at);
    !(b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80)
}

fn value(bytes: &[u8], at: usize, len: usize) -> u64 {
    let digits = bytes.get(at..at + len).unwrap_or(&[]).iter();
    digits.fold(0u64, |n, b| {
        n.saturating_mul(10).saturating_add(u64::from(b & 15))
    })
}

/// Digits of one of the given lengths with a value in a range.
fn field(bytes: &[u8], at: usize, lens: &[usize], from: u64, to: u64) -> Option<usize> {
    let len = digits(bytes, at);
    let fits = lens.contains(&len) && (from..=to).contains(&value(bytes, at, len));
    fits.then_some(at + len)
}

fn is(bytes: &[u8], at: usize, wanted: u8) -> Option<usize> {
    (byte(bytes, at) == wanted).then_some(at + 1)
}

/// `5382f7ea-7557-4ab7-9782-d50480024a4e`
pub(crate) fn guid(bytes: &[u8], at: usize) -> Option<usize> {
    is(bytes, at + 8, b'-')?;
    let mut end = at;
    for (n, len) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if n > 0 {
            end = is(bytes, end, b'-')?;
        }
        if count(bytes, end, |b| b.is_ascii_hexdigit()) != len {
            return None;
        }
        end += len;
    }
    ends(bytes, end).then_some(end)
}

/// The variable part of a machine or domain SID (`S-1-5-21-a-b-c-1001`): from
/// `a`, including the account number unless it is a well-known one below 1000
/// (Administrator, Guest, Domain Admins).
pub(crate) fn sid(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    const HEAD: &[u8] = b"S-1-5-21-";
    if !bytes.get(at..)?.starts_with(HEAD) {
        return None;
    }
    let start = at + HEAD.len();
    let mut end = start;
    for n in 0..3 {
        if n > 0 {
            end = is(bytes, end, b'-')?;
        }
        end += Some(digits(bytes, end)).filter(|len| (1..=10).contains(len))?;
    }
    let account = digits(bytes, end + 1);
    if byte(bytes, end) == b'-' && account > 0 && value(bytes, end + 1, account) >= 1000 {
        end += 1 + account;
    }
    Some((start, end))
}

/// A date, a time, or both: `2026-02-03T02:11:40.123Z`, `2/3/2026 2:14:07 AM`,
/// `02:11`, `20260203`, `03/Feb/2026:02:11:40 +0000`.
pub(crate) fn time(bytes: &[u8], at: usize) -> Option<usize> {
    let Some(end) = date(bytes, at) else {
        return clock(bytes, at);
    };
    Some(joined(bytes, end).unwrap_or(end)).filter(|end| ends(bytes, *end))
}

/// The time after a date.
fn joined(bytes: &[u8], end: usize) -> Option<usize> {
    let gap = match byte(bytes, end) {
        b'T' | b':' | b'_' | b'-' => 1,
        b',' if byte(bytes, end + 1) == b' ' => 2,
        _ => count(bytes, end, |b| b == b' ').min(2),
    };
    let at = end + gap;
    let compact = |at| (gap == 1 && digits(bytes, at) == 6).then_some(at + 6);
    clock(bytes, at).or_else(|| compact(at)).filter(|_| gap > 0)
}

fn date(bytes: &[u8], at: usize) -> Option<usize> {
    let len = digits(bytes, at);
    let mark = byte(bytes, at + len);
    match (len, mark) {
        (4, b'-' | b'/') => year_first(bytes, at, mark),
        (1 | 2, b'/' | b'.') => year_last(bytes, at, mark).or_else(|| with_month(bytes, at)),
        (1 | 2, b' ' | b'-') => with_month(bytes, at),
        (8 | 14, _) => compact(bytes, at),
        _ => None,
    }
}

/// `2026-02-03`
fn year_first(bytes: &[u8], at: usize, mark: u8) -> Option<usize> {
    let end = field(bytes, at, &[4], 1601, 2200)?;
    let end = field(bytes, is(bytes, end, mark)?, &[1, 2], 1, 12)?;
    field(bytes, is(bytes, end, mark)?, &[1, 2], 1, 31)
}

/// `2/3/2026`, `03.02.2026`
fn year_last(bytes: &[u8], at: usize, mark: u8) -> Option<usize> {
    let end = field(bytes, at, &[1, 2], 1, 31)?;
    let end = field(bytes, is(bytes, end, mark)?, &[1, 2], 1, 31)?;
    field(bytes, is(bytes, end, mark)?, &[4], 1601, 2200)
}

/// `03/Feb/2026`, `3 February 2026`
fn with_month(bytes: &[u8], at: usize) -> Option<usize> {
    let end = field(bytes, at, &[1, 2], 1, 31)?;
    let mark = byte(bytes, end);
    let end = month(bytes, end + 1).filter(|_| b" /-".contains(&mark))?;
    field(bytes, is(bytes, end, mark)?, &[4], 1601, 2200)
}

/// `20260203`, `20260203021140`
fn compact(bytes: &[u8], at: usize) -> Option<usize> {
    let len = digits(bytes, at);
    let within = |from, len, low, high| (low..=high).contains(&value(bytes, at + from, len));
    let is_date = within(0, 4, 1980, 2099) && within(4, 2, 1, 12) && within(6, 2, 1, 31);
    let is_time = || within(8, 2, 0, 23) && within(10, 2, 0, 59) && within(12, 2, 0, 59);
    match len {
        8 if is_date => Some(at + 8),
        14 if is_date && is_time() => Some(at + 14),
        _ => None,
    }
}

/// `2:14:07 AM`, `02:11:40.1234567+02:00`, `14:03`
fn clock(bytes: &[u8], at: usize) -> Option<usize> {
    let end = field(bytes, at, &[1, 2], 0, 23)?;
    let mut end = field(bytes, is(bytes, end, b':')?, &[2], 0, 59)?;
    if let Some(seconds) = is(bytes, end, b':') {
        end = field(bytes, seconds, &[2], 0, 60)?;
        let part = digits(bytes, end + 1);
        if b".,".contains(&byte(bytes, end)) && part > 0 {
            end += 1 + part;
        }
    }
    if byte(bytes, end) == b':' {
        return None;
    }
    let noon = count(bytes, end, |b| b == b' ').min(1) + end;
    let half = bytes.get(noon..noon + 2).unwrap_or(b"");
    if half.eq_ignore_ascii_case(b"AM") || half.eq_ignore_ascii_case(b"PM") {
        end = noon + 2;
    } else {
        end = zone(bytes, end);
    }
    ends(bytes, end).then_some(end)
}

/// After a time: `Z`, `+02:00`, ` +0000`, ` GMT`, ` UTC`.
fn zone(bytes: &[u8], at: usize) -> usize {
    if byte(bytes, at) == b'Z' && ends(bytes, at + 1) {
        return at + 1;
    }
    let sign = at + count(bytes, at, |b| b == b' ').min(1);
    let name = bytes.get(sign..sign + 3).unwrap_or(b"");
    if sign > at && (name == b"GMT" || name == b"UTC") && ends(bytes, sign + 3) {
        return sign + 3;
    }
    if b"+-".contains(&byte(bytes, sign)) {
        let hours = sign + 1;
        if digits(bytes, hours) == 4 {
            return hours + 4;
        }
        let is_zone = digits(bytes, hours) == 2
            && byte(bytes, hours + 2) == b':'
            && digits(bytes, hours + 3) == 2;
        if is_zone {
            return hours + 5;
        }
    }
    at
}

/// Name of a month by its first three letters.
fn month_of(head: &[u8; 3]) -> Option<&'static str> {
    Some(match head {
        b"jan" => "january",
        b"feb" => "february",
        b"mar" => "march",
        b"apr" => "april",
        b"may" => "may",
        b"jun" => "june",
        b"jul" => "july",
        b"aug" => "august",
        b"sep" => "september",
        b"oct" => "october",
        b"nov" => "november",
        b"dec" => "december",
        _ => return None,
    })
}

/// Name of a weekday by its first three letters.
fn day_of(head: &[u8; 3]) -> Option<&'static str> {
    Some(match head {
        b"mon" => "monday",
        b"tue" => "tuesday",
        b"wed" => "wednesday",
        b"thu" => "thursday",
        b"fri" => "friday",
        b"sat" => "saturday",
        b"sun" => "sunday",
        _ => return None,
    })
}

/// A full name or its first three letters.
fn named(bytes: &[u8], at: usize, name_of: fn(&[u8; 3]) -> Option<&'static str>) -> Option<usize> {
    let head = bytes.get(at..)?.first_chunk::<3>()?.map(|b| b | 32);
    let name = name_of(&head)?;
    let len = count(bytes, at, |b| b.is_ascii_alphabetic());
    let word = bytes.get(at..at + len)?;
    (len == 3 || word.eq_ignore_ascii_case(name.as_bytes())).then_some(at + len)
}

fn month(bytes: &[u8], at: usize) -> Option<usize> {
    named(bytes, at, month_of)
}

/// `Tuesday, February 3, 2026 2:14:07 AM`, `Tue, 03 Feb 2026 02:11:40 GMT`,
/// `Feb  3 02:11:40`
pub(crate) fn named_time(bytes: &[u8], at: usize) -> Option<usize> {
    let blanks = |at: usize| at + count(bytes, at, |b| b == b' ' || b == b',');
    let from = named(bytes, at, day_of).map_or(at, blanks);
    if from > at && byte(bytes, from).is_ascii_digit() {
        return time(bytes, from).filter(|_| date(bytes, from).is_some());
    }
    let day = blanks(month(bytes, from)?);
    let end = field(bytes, day, &[1, 2], 1, 31)?;
    let year = field(bytes, blanks(end), &[4], 1601, 2200).filter(|year| ends(bytes, *year));
    let end = year.unwrap_or(end);
    match clock(bytes, blanks(end)) {
        Some(end) => Some(end),
        None => year,
    }
}

/// `1.02:03:04.5`, `250 ms`, `3.5s`, `PT5M3S`
pub(crate) fn duration(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at..)?.starts_with(b"PT") && byte(bytes, at + 2).is_ascii_digit() {
        let part = bytes.get(at..).unwrap_or(&[]).iter().take(NUMBER_MAX);
        let is_part = |b: &&u8| b.is_ascii_digit() || b"PTHMS.".contains(b);
        let len = part.take_while(is_part).count();
        return ends(bytes, at + len).then_some(at + len);
    }
    let whole = Some(digits(bytes, at)).filter(|len| *len > 0)?;
    if byte(bytes, at + whole) == b'.'
        && digits(bytes, at + whole + 1) == 2
        && byte(bytes, at + whole + 3) == b':'
    {
        return clock(bytes, at + whole + 1);
    }
    let number = at + number(bytes, at);
    let unit = number + count(bytes, number, |b| b == b' ').min(1);
    let len = count(bytes, unit, |b| b.is_ascii_alphabetic());
    // First letters of all units: most words after numbers start differently.
    if len == 0 || !b"mshnu".contains(&(byte(bytes, unit) | 32)) {
        return None;
    }
    let word = bytes.get(unit..unit + len)?;
    const UNITS: [&[u8]; 13] = [
        b"ms",
        b"msec",
        b"milliseconds",
        b"sec",
        b"secs",
        b"second",
        b"seconds",
        b"minute",
        b"minutes",
        b"hour",
        b"hours",
        b"ns",
        b"us",
    ];
    let is = |unit: &[u8]| word.eq_ignore_ascii_case(unit);
    let is_unit = UNITS.iter().any(|unit| is(unit)) || is(b"s") && unit == number;
    (is_unit && ends(bytes, unit + len)).then_some(unit + len)
}

/// Longest number. A list of numbers can cover the whole line and is read
/// number by number.
///
/// **Units**: bytes.
const NUMBER_MAX: usize = 40;

/// Digits with commas and points: `1,234.5`.
pub(crate) fn number(bytes: &[u8], at: usize) -> usize {
    let mut len = digits(bytes, at);
    while (1..NUMBER_MAX).contains(&len) && b".,".contains(&byte(bytes, at + len)) {
        match digits(bytes, at + len + 1) {
            0 => break,
            more => len += 1 + more,
        }
    }
    len
}

/// Unit of a memory size in a task list, after a number.
pub(crate) fn kilobytes(bytes: &[u8], at: usize) -> Option<usize> {
    let unit = at + count(bytes, at, |b| b == b' ');
    (unit > at && byte(bytes, unit) == b'K' && ends(bytes, unit + 1)).then_some(unit + 1)
}

/// A 64-bit address: `0x7ffb1c2a0000`, `00007FFB1C2A0000`, `fffff800'12345678`.
/// Shorter numbers may be codes and are kept.
pub(crate) fn address(bytes: &[u8], at: usize) -> Option<usize> {
    let hex = |at| count(bytes, at, |b| b.is_ascii_hexdigit());
    if byte(bytes, at) == b'0' && byte(bytes, at + 1) | 32 == b'x' {
        let len = hex(at + 2);
        return ((9..=16).contains(&len) && ends(bytes, at + 2 + len)).then_some(at + 2 + len);
    }
    let head = bytes.get(at..at + 4)?;
    if !(head == b"0000" || head.eq_ignore_ascii_case(b"ffff")) {
        return None;
    }
    let end = match hex(at) {
        16 => at + 16,
        8 if byte(bytes, at + 8) == b'`' && hex(at + 9) == 8 => at + 17,
        _ => return None,
    };
    // Values below 4 GiB may be sizes or offsets.
    let is_high = bytes.get(at + 4..at + 8).is_some_and(|b| b != b"0000");
    (is_high && ends(bytes, end)).then_some(end)
}

/// `10.0.0.5`
pub(crate) fn ipv4(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    for n in 0..4 {
        if n > 0 {
            end = is(bytes, end, b'.')?;
        }
        end = field(bytes, end, &[1, 2, 3], 0, 255)?;
    }
    (ends(bytes, end) && !(byte(bytes, end) == b'.' && digits(bytes, end + 1) > 0)).then_some(end)
}

/// A private IPv4 address, with or without `::ffff:`.
pub(crate) fn private(bytes: &[u8], at: usize) -> Option<usize> {
    const MAPPED: &[u8] = b"::ffff:";
    let is_mapped = bytes.get(at..)?.starts_with(MAPPED);
    let at = if is_mapped { at + MAPPED.len() } else { at };
    let end = ipv4(bytes, at)?;
    let second = at + digits(bytes, at) + 1;
    let (a, b) = (
        value(bytes, at, digits(bytes, at)),
        value(bytes, second, digits(bytes, second)),
    );
    let is_private = match a {
        10 | 127 => true,
        172 => (16..32).contains(&b),
        192 => b == 168,
        169 => b == 254,
        _ => false,
    };
    is_private.then_some(end)
}

/// A dynamic port: 49152 and above.
pub(crate) fn dynamic_port(bytes: &[u8], at: usize) -> Option<usize> {
    field(bytes, at, &[5], 49_152, 65_535).filter(|end| ends(bytes, *end))
}

/// A plain number: `1234`, `0x3E7`.
pub(crate) fn plain(bytes: &[u8], at: usize) -> Option<usize> {
    let is_hex = byte(bytes, at) == b'0' && byte(bytes, at + 1) | 32 == b'x';
    let len = if is_hex {
        2 + count(bytes, at + 2, |b| b.is_ascii_hexdigit())
    } else {
        digits(bytes, at)
    };
    (len > 2 * usize::from(is_hex) && ends(bytes, at + len)).then_some(at + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(shape: fn(&[u8], usize) -> Option<usize>, text: &str) -> bool {
        shape(text.as_bytes(), 0) == Some(text.len())
    }

    #[test]
    fn times_are_recognized_in_all_windows_formats() {
        for text in [
            "2026-02-03T02:11:40.1234567Z",
            "2026-02-03 02:11:40",
            "2026-02-03",
            "2/3/2026 2:14:07 AM",
            "3/26/2019, 3:51:30 PM",
            "03/24/2021  03:15 PM",
            "03.02.2026 14:00",
            "2015/11/22 17:59:28.110",
            "20260203",
            "20260310091235",
            "20260310_091235",
            "03/Feb/2026:02:11:40 +0000",
            "02:11:40,123",
            "14:03",
        ] {
            assert!(whole(time, text), "{text}");
        }
        for text in [
            "Tuesday, February 3, 2026 2:14:07 AM",
            "Tue, 03 Feb 2026 02:11:40 GMT",
            "Feb  3 02:11:40",
            "February 3, 2026",
        ] {
            assert!(whole(named_time, text), "{text}");
        }
        for text in [
            "10:443",
            "1:2:3",
            "99999999",
            "4625",
            "12:34:56:78",
            "25.13.2",
            "1.2",
        ] {
            assert_eq!(time(text.as_bytes(), 0), None, "{text}");
        }
        for text in ["May", "Mar", "March madness", "Mon"] {
            assert_eq!(named_time(text.as_bytes(), 0), None, "{text}");
        }
    }

    #[test]
    fn meaningful_numbers_are_kept() {
        for text in [
            "0x80070005",
            "0x1410",
            "DEADBEEF",
            "0000",
            "12345678",
            "00000000AB",
            "0000000000100000",
        ] {
            assert_eq!(address(text.as_bytes(), 0), None, "{text}");
        }
        for text in ["0x7ffb1c2a0000", "00007FFB1C2A0000", "fffff800`12345678"] {
            assert!(whole(address, text), "{text}");
        }
        for text in ["445", "4444", "49151", "65536", "490000"] {
            assert_eq!(dynamic_port(text.as_bytes(), 0), None, "{text}");
        }
        for text in ["1.02:03:04", "250 ms", "3.5s", "PT5M3S", "12 seconds"] {
            assert!(whole(duration, text), "{text}");
        }
        for text in ["4s4", "12 monkeys", "5 s", "PTA"] {
            assert_eq!(duration(text.as_bytes(), 0), None, "{text}");
        }
    }

    #[test]
    fn identifiers_are_recognized_only_as_a_whole() {
        assert!(whole(guid, "5382f7ea-7557-4ab7-9782-d50480024a4e"));
        assert!(!whole(guid, "5382f7ea-7557-4ab7-9782-d50480024a4e1"));
        let sid = |text: &str| sid(text.as_bytes(), 0).map(|(a, b)| text[a..b].to_string());
        assert_eq!(sid("S-1-5-21-1-2-3-1001").as_deref(), Some("1-2-3-1001"));
        assert_eq!(sid("S-1-5-21-1-2-3-500").as_deref(), Some("1-2-3"));
        assert_eq!(sid("S-1-5-32-544"), None);
        assert!(whole(ipv4, "10.0.0.255") && !whole(ipv4, "10.0.0.256"));
        assert_eq!(ipv4(b"1.2.3.4.5", 0), None);
    }
}
