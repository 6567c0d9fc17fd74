//! Addresses within a network, found in text as they are usually written.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::{ControlFlow, Range};

use super::matcher::{Take, first_of};
use super::token::is_word;

/// A network: the addresses that share its first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
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
    pub(super) fn fixed_parts(&self) -> Vec<Vec<String>> {
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
    pub(super) fn find(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        first_of(|take| self.each(text, from, take))
    }

    /// Every such address of a line.
    pub(super) fn each(&self, text: &str, from: usize, take: Take<'_>) -> ControlFlow<()> {
        let bytes = text.as_bytes();
        let mut at = run_start(bytes, from.min(bytes.len()));
        while let Some(begin) = bytes[at..].iter().position(|b| is_part(*b)) {
            let start = at + begin;
            let len = bytes[start..].iter().take_while(|b| is_part(**b)).count();
            at = start + len;
            self.each_in_run(text, start..at, from, take)?;
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
        let mut start = match self.address {
            IpAddr::V4(_) => run.start.max(from),
            // Where an address begins depends on those before it.
            IpAddr::V6(_) => run.start,
        };
        while start < run.end {
            let behind = start == run.start || matches!(bytes[start - 1], b'.' | b':');
            let address = match behind {
                true => read_address(text, start..run.end),
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
                Some((end, address)) if address.is_ipv6() && self.address.is_ipv6() => end,
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
/// where it ends.
fn read_address(text: &str, run: Range<usize>) -> Option<(usize, IpAddr)> {
    let before = text.get(..run.start)?.chars().next_back();
    if before.is_some_and(is_word) {
        return None;
    }
    let bytes = text.as_bytes();
    let last = run.end.min(run.start + ADDRESS_MAX);
    let is_end = |end: &usize| *end == run.end || matches!(bytes[*end], b'.' | b':');
    let mut ends = (run.start + 1..=last).rev().filter(is_end);
    ends.find_map(|end| {
        let after = text.get(end..)?.chars().next();
        let written = text.get(run.start..end)?;
        let address = if after.is_some_and(is_word) {
            None
        } else if written.contains(':') {
            written.parse().ok().map(IpAddr::V6)
        } else {
            read_ipv4(written, &text[..run.start], &text[end..]).map(IpAddr::V4)
        };
        address.map(|address| (end, address))
    })
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

impl std::fmt::Display for Network {
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
        let network = Network::read(network).unwrap();
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

    #[test]
    fn a_long_run_takes_no_long_time() {
        let network = Network::read("10.0.0.0/8").unwrap();
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
            let network = Network::read(network).unwrap();
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
            assert!(Network::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_fixed_parts_are_whole_bytes() {
        let parts = |text: &str| Network::read(text).unwrap().fixed_parts();
        let (ten, one) = (vec!["010", "10", "ffff"], vec!["001", "01", "1", "ffff"]);
        assert_eq!(parts("10.1.0.0/16"), [ten, one]);
        assert_eq!(parts("172.16.0.0/12"), [["172", "ffff"]]);
        assert!(parts("0.0.0.0/0").is_empty() && parts("fe80::/10").is_empty());
    }
}
