//! Addresses within a network, found in text as they are usually written.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::{ControlFlow, Range};

use crate::codec::tokenizer::is_word;
use crate::matcher::{Take, first_of};

/// A network: the addresses that share its first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork {
    address: IpAddr,
    bits: u32,
}

impl IpNetwork {
    /// Reads `10.0.0.0/8` or `fe80::/10`; `None` for anything else.
    pub fn read(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let is_number = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
        let bits: u32 = bits.parse().ok().filter(|_| is_number)?;
        let max = if address.is_ipv4() { 32 } else { 128 };
        (bits <= max).then_some(Self { address, bits })
    }

    /// Whether an address lies in it. An IPv4 address written as IPv6 is both.
    pub fn holds(&self, address: IpAddr) -> bool {
        let same =
            |a: u128, b: u128, width: u32| self.bits == 0 || (a ^ b) >> (width - self.bits) == 0;
        match (self.address, address) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            (IpAddr::V4(a), IpAddr::V6(b)) => b
                .to_ipv4_mapped()
                .is_some_and(|b| same(a.to_bits().into(), b.to_bits().into(), 32)),
            (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// What every address in it is written with: for each of these one of its
    /// forms as a whole word. Zeros may stand before a part, and an IPv4
    /// address may be written in IPv6's digits, behind `ffff`.
    pub(crate) fn fixed_parts(&self) -> Vec<Vec<String>> {
        match self.address {
            IpAddr::V4(address) => {
                let parts = address.octets().into_iter().take(self.bits as usize / 8);
                let forms = |part: u8| {
                    let mut forms = vec![MAPPED.to_string()];
                    forms.extend([
                        format!("{part}"),
                        format!("{part:02}"),
                        format!("{part:03}"),
                    ]);
                    forms.sort_unstable();
                    forms.dedup();
                    forms
                };
                parts.map(forms).collect()
            }
            // Zeros may be left out, and others written with zeros before.
            IpAddr::V6(_) => Vec::new(),
        }
    }

    /// The first address of a line that lies in it and begins from `from` on.
    pub(crate) fn find(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        first_of(|take| self.each(text, from, take))
    }

    /// Where an address begins depends on those before it in its run of digits
    /// and colons, however long that is.
    pub(crate) fn depends_on_run(&self) -> bool {
        self.address.is_ipv6()
    }

    /// Whether a run may go through all of a piece of a line.
    pub(crate) fn may_cover(&self, text: &str) -> bool {
        self.depends_on_run() && text.bytes().all(is_part)
    }

    /// Every such address of a line.
    pub(crate) fn each(&self, text: &str, from: usize, take: Take<'_>) -> ControlFlow<()> {
        let bytes = text.as_bytes();
        let mut at = run_start(bytes, from.min(bytes.len()));
        while let Some(begin) = bytes[at..].iter().position(|b| is_part(*b)) {
            let start = at + begin;
            let len = bytes[start..].iter().take_while(|b| is_part(**b)).count();
            at = start + len;
            if may_hold_one(&bytes[start..at]) {
                self.each_in_run(text, start..at, from, take)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Every address in a run of digits, dots and colons that begins from
    /// `from` on: at the run's beginning, or behind a dot or colon that is no
    /// part of it, such as that of a label before it.
    fn each_in_run(
        &self,
        text: &str,
        run: Range<usize>,
        from: usize,
        take: Take<'_>,
    ) -> ControlFlow<()> {
        let bytes = text.as_bytes();
        let v6 = self.address.is_ipv6() || holds_mapped(&bytes[run.clone()]);
        let mut start = match self.address {
            IpAddr::V4(_) => run.start.max(from),
            IpAddr::V6(_) => run.start,
        };
        while start < run.end {
            let behind = start == run.start || matches!(bytes[start - 1], b'.' | b':');
            let address = match behind {
                true => read_address(text, start..run.end, v6),
                false => None,
            };
            start = match address {
                Some((end, address)) if self.holds(address) => {
                    if start >= from {
                        take(start, end)?;
                    }
                    end
                }
                // A part of an IPv6 address is none; IPv4 may end one.
                Some((end, address)) if address.is_ipv6() && self.address.is_ipv6() => {
                    behind_label(&bytes[start..end]).map_or(end, |label| start + label)
                }
                _ => start + 1,
            };
        }
        ControlFlow::Continue(())
    }
}

/// What an IPv4 address in IPv6's digits always has.
const MAPPED: &str = "ffff";
/// **Units**: bytes of the longest address there is, `::ffff:` written out and
/// an IPv4 address behind it.
const ADDRESS_MAX: usize = 45;

/// The longest address that begins with a run of digits, dots and colons, and
/// where it ends; IPv6 only where `v6`.
fn read_address(text: &str, run: Range<usize>, v6: bool) -> Option<(usize, IpAddr)> {
    let before = text.get(..run.start)?.chars().next_back();
    if before.is_some_and(is_word) {
        return None;
    }
    let ends = Ends::of(text.as_bytes(), &run, v6);
    ends.longest_first().find_map(|(end, is_v6)| {
        let after = text.get(end..)?.chars().next();
        let written = text.get(run.start..end)?;
        let address = if after.is_some_and(is_word) {
            None
        } else if is_v6 {
            written.parse().ok().map(IpAddr::V6)
        } else {
            read_ipv4(written, &text[..run.start], &text[end..]).map(IpAddr::V4)
        };
        address.map(|address| (end, address))
    })
}

/// The most ends there are: of eight groups, and the digits of an IPv4 address
/// in place of the last two.
const ENDS_MAX: usize = 12;

/// Where an address may end, by its dots and colons, and whether it is IPv6.
#[derive(Default)]
struct Ends {
    known: [(usize, bool); ENDS_MAX],
    len: usize,
}

impl Ends {
    fn of(bytes: &[u8], run: &Range<usize>, v6: bool) -> Self {
        let mut ends = Self::default();
        let (mut colons, mut dots, mut is_short) = (0, 0, false);
        let last = run.end.min(run.start + ADDRESS_MAX);
        for at in run.start..=last {
            let byte = bytes.get(at).filter(|_| at < run.end);
            let is_end = at > run.start && byte.is_none_or(|b| matches!(b, b'.' | b':'));
            if is_end && let Some(is_v6) = shape(colons, dots, is_short) {
                ends.push(at, is_v6);
            }
            match byte {
                // Behind the digits of an IPv4 address is nothing more.
                Some(b':') if dots > 0 || !v6 => break,
                Some(b':') => {
                    is_short |= at > run.start && bytes[at - 1] == b':';
                    colons += 1;
                }
                Some(b'.') => dots += 1,
                _ => {}
            }
            // An address that is written short has a colon more.
            if colons > 8 || dots > 3 {
                break;
            }
        }
        ends
    }

    fn push(&mut self, end: usize, is_v6: bool) {
        if let Some(next) = self.known.get_mut(self.len) {
            *next = (end, is_v6);
            self.len += 1;
        }
    }

    fn longest_first(&self) -> impl Iterator<Item = (usize, bool)> {
        self.known[..self.len].iter().rev().copied()
    }
}

/// Whether something with so many colons and dots may be an IPv6 address, or an
/// IPv4 one; `None` where it is neither. `is_short`: it holds `::`.
fn shape(colons: usize, dots: usize, is_short: bool) -> Option<bool> {
    match (colons, dots) {
        (0, 3) => Some(false),
        (7, 0) | (6, 3) => Some(true),
        (2..=8, 0 | 3) if is_short => Some(true),
        _ => None,
    }
}

/// Whether a run of digits, dots and colons is long enough for an address.
fn may_hold_one(run: &[u8]) -> bool {
    let parts = run.iter().filter(|b| matches!(b, b'.' | b':'));
    parts.take(2).count() == 2
}

/// Whether an IPv4 address may stand in a run in IPv6's digits.
fn holds_mapped(run: &[u8]) -> bool {
    let mut pieces = run.windows(MAPPED.len());
    pieces.any(|piece| piece.eq_ignore_ascii_case(MAPPED.as_bytes()))
}

/// How long the first group of an IPv6 address is with its colon, where it may
/// as well be a label before one: `face:2001:db8::1`.
fn behind_label(address: &[u8]) -> Option<usize> {
    let colon = address.iter().position(|b| *b == b':')?;
    let is_label = colon > 0 && address[..colon].iter().all(u8::is_ascii_alphabetic);
    is_label.then_some(colon + 1)
}

/// Four decimal parts of up to three digits each, that are not part of a
/// longer row of them.
fn read_ipv4(written: &str, before: &str, after: &str) -> Option<Ipv4Addr> {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let head = before.strip_suffix('.').map(str::as_bytes);
    let tail = after.strip_prefix('.').map(str::as_bytes);
    let goes_on = head.is_some_and(|head| is_digit(head.last()))
        || tail.is_some_and(|tail| is_digit(tail.first()));
    let mut octets = [0; 4];
    let mut parts = written.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        let is_number = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        *octet = part.parse().ok().filter(|_| is_number)?;
    }
    (!goes_on && parts.next().is_none()).then(|| octets.into())
}

impl std::fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte == b'.' || byte == b':'
}

/// The beginning of the run a place lies in.
fn run_start(bytes: &[u8], at: usize) -> usize {
    let inside = bytes[..at].iter().rev().take_while(|b| is_part(**b));
    at - inside.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(network: &str, text: &str) -> Option<String> {
        let network = IpNetwork::read(network).unwrap();
        let (start, end) = network.find(text, 0)?;
        Some(text[start..end].to_string())
    }

    #[test]
    fn addresses_are_found_as_they_are_written() {
        for (network, text, found) in [
            ("10.0.0.0/8", "TCP 10.1.2.3:4444 LISTEN", "10.1.2.3"),
            ("10.0.0.0/8", "at 10.1.2.3.", "10.1.2.3"),
            ("10.0.0.0/8", "[::ffff:10.1.2.3]:80", "::ffff:10.1.2.3"),
            ("10.1.2.0/23", "9.9.9.9, 10.1.3.255", "10.1.3.255"),
            ("0.0.0.0/0", "1.2.3.4", "1.2.3.4"),
            ("10.1.2.3/32", "(10.1.2.3)", "10.1.2.3"),
            ("fe80::/10", "Link fe80::1c2e:5%eth0", "fe80::1c2e:5"),
            ("2001:db8::/32", "x 2001:0db8:0:0::1 y", "2001:0db8:0:0::1"),
            ("10.0.0.0/8", "TCP 10.1.2.3:https ESTABLISHED", "10.1.2.3"),
            ("10.0.0.0/8", "TCP 10.1.2.3:epmap 0.0.0.0:0", "10.1.2.3"),
            ("10.0.0.0/8", "remote_ip:10.1.2.3", "10.1.2.3"),
            ("10.0.0.0/8", "addr:10.1.2.3 x", "10.1.2.3"),
            ("10.0.0.0/8", "src:10.1.2.3:443", "10.1.2.3"),
            ("10.0.0.0/8", "host...10.1.2.3...", "10.1.2.3"),
            ("10.0.0.0/8", "at 10.1.2.3.Then", "10.1.2.3"),
            ("10.0.0.0/8", "010.001.002.003", "010.001.002.003"),
            ("10.0.0.0/8", "9.0.0.1:10.0.0.2", "10.0.0.2"),
            ("10.0.0.0/8", "::ffff:0a01:0203", "::ffff:0a01:0203"),
            (
                "10.0.0.0/8",
                "0:0:0:0:0:FFFF:a01:203",
                "0:0:0:0:0:FFFF:a01:203",
            ),
            ("10.0.0.0/8", "64:ff9b::10.1.2.3", "10.1.2.3"),
            ("fe80::/10", "addr:fe80::1", "fe80::1"),
            ("fe80::/10", "src:fe80::1:", "fe80::1"),
            ("fe80::/10", "at fe80::1:https.", "fe80::1"),
            ("fe80::/10", "from fe80::1.", "fe80::1"),
            ("::1/128", "local:::1", "::1"),
            ("fe80::/10", "feed:fe80::1", "fe80::1"),
            ("2001:db8::/32", "face:2001:db8::1", "2001:db8::1"),
            ("fe80::/10", "fe80:1:2:3:4:5:6::", "fe80:1:2:3:4:5:6::"),
            ("fe80::/10", "fe80:1:2:3:4:5:6:7:8", "fe80:1:2:3:4:5:6:7"),
            ("::/0", "::2:3:4:5:6:7:8", "::2:3:4:5:6:7:8"),
            ("::/0", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:1.2.3.4"),
            ("::/0", "2::1.2.3.4.5", "2::1.2.3.4"),
            (
                "10.0.0.0/8",
                "0:0:0:0:0:ffff:10.1.2.3",
                "0:0:0:0:0:ffff:10.1.2.3",
            ),
        ] {
            assert_eq!(finds(network, text).as_deref(), Some(found), "{text}");
        }
        for (network, text) in [
            ("10.0.0.0/8", "11.0.0.1 110.0.0.1 1.10.0.0.1 10.0.0.256"),
            (
                "10.0.0.0/8",
                "v10.0.0.1 10.0.0.1x 10.0.0 10.0.0.1.2 0010.0.0.1",
            ),
            ("10.0.0.0/8", "2001:db8::1 ip_10.0.0.1 ::ffff:0b01:0203"),
            ("fe80::/10", "2001:db8:fe80::1 1:2:3:4:5:6:fe80:8"),
            ("10.1.2.0/23", "10.1.4.0"),
            ("fe80::/10", "face::1 12:30:45"),
        ] {
            assert_eq!(finds(network, text), None, "{text}");
        }
    }

    /// Every place and every length, the first place and there the longest.
    fn slow(network: &IpNetwork, text: &str) -> Option<(usize, usize)> {
        let wordly = |c: Option<char>| c.is_some_and(is_word);
        (0..text.len()).find_map(|start| {
            let before = text[..start].chars().next_back();
            let ends = (start + 1..=text.len()).rev();
            let mut ends = ends.filter(|end| !wordly(text[*end..].chars().next()));
            let read = |end: usize| -> Option<IpAddr> {
                let written = &text[start..end];
                match written.contains(':') {
                    true => written.parse().ok().map(IpAddr::V6),
                    false => read_ipv4(written, &text[..start], &text[end..]).map(IpAddr::V4),
                }
            };
            let address = ends.find_map(|end| Some((end, read(end)?)));
            let (end, address) = address.filter(|_| !wordly(before))?;
            network.holds(address).then_some((start, end))
        })
    }

    #[test]
    fn an_address_is_found_wherever_trying_every_place_finds_one() {
        let mut random = crate::tests::Random(12);
        let pieces = [
            "10", "1", "fe80", "ffff", "0", ":", ":", "::", ".", ".", " ", "10.0.0.1", "x", "300",
        ];
        let four = IpNetwork::read("10.0.0.0/8").unwrap();
        let six = IpNetwork::read("::/0").unwrap();
        let mut found = 0;
        for _ in 0..30_000 {
            let text: String = (0..random.below(16))
                .map(|_| random.pick(&pieces))
                .collect();
            let expected = slow(&four, &text);
            assert_eq!(four.find(&text, 0), expected, "{text}");
            // Whatever is an address lies in it, so nothing is jumped over.
            assert_eq!(
                six.find(&text, 0).is_some(),
                slow(&six, &text).is_some(),
                "{text}"
            );
            found += usize::from(expected.is_some());
        }
        assert!(found > 1_000, "only {found}");
    }

    #[test]
    fn a_dump_of_bytes_takes_no_long_time() {
        let mut random = crate::tests::Random(13);
        let dump: Vec<String> = (0..1_000_000)
            .map(|_| format!("{:02x}", random.below(256)))
            .collect();
        let dump = dump.join(":");
        for network in ["fe80::/10", "10.0.0.0/8", "0.0.0.0/0"] {
            let network = IpNetwork::read(network).unwrap();
            let look = || {
                let began = std::time::Instant::now();
                assert_eq!(network.find(&dump, 0), None);
                began.elapsed()
            };
            // Whoever else is at the machine slows some looks and not the code.
            let took = (0..5).map(|_| look()).min().unwrap();
            assert!(took.as_millis() < 400, "{network} took {took:?}");
        }
    }

    #[test]
    fn a_long_run_takes_no_long_time() {
        let network = IpNetwork::read("10.0.0.0/8").unwrap();
        for run in ["1.", ":", "a:", "::a", "10.0.0."] {
            let text = run.repeat(5_000);
            assert_eq!(network.find(&text, 0), None, "{run}");
        }
    }

    #[test]
    fn many_addresses_of_a_line_are_told_in_one_walk() {
        for (network, address) in [
            ("10.0.0.0/8", "10.1.2.3"),
            ("fe80::/10", "fe80::1:2:3:4:5:6"),
        ] {
            let network = IpNetwork::read(network).unwrap();
            let line = [address; 20_000].join(",.");
            let line = format!("{line}:{}", [address; 1_000].join("."));
            let (mut count, mut last) = (0, 0);
            let _ = network.each(&line, 0, &mut |start, end| {
                assert!(start >= last && network.holds(line[start..end].parse().unwrap()));
                (count, last) = (count + 1, end);
                ControlFlow::Continue(())
            });
            assert!(count >= 20_000, "{count}");
        }
    }

    #[test]
    fn only_networks_are_networks() {
        for text in [
            "10.0.0.0",
            "10.0.0.0/33",
            "a/8",
            "1/2",
            "10.0.0.0/+8",
            "fe80::/129",
            "10.0.0.0/",
        ] {
            assert!(IpNetwork::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_fixed_parts_are_whole_bytes() {
        let parts = |text: &str| IpNetwork::read(text).unwrap().fixed_parts();
        let (ten, one) = (vec!["010", "10", "ffff"], vec!["001", "01", "1", "ffff"]);
        assert_eq!(parts("10.1.0.0/16"), [ten, one]);
        assert_eq!(parts("172.16.0.0/12"), [["172", "ffff"]]);
        assert!(parts("0.0.0.0/0").is_empty() && parts("fe80::/10").is_empty());
    }
}
