//! Addresses within a network, found in text as they are usually written.

use std::net::IpAddr;

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

    /// The parts that every IPv4 address in it is written with.
    pub(super) fn fixed_parts(&self) -> Vec<String> {
        match self.address {
            IpAddr::V4(address) => {
                let parts = address.octets().into_iter().take(self.bits as usize / 8);
                parts.map(|part| part.to_string()).collect()
            }
            // Zeros may be left out, and others written with zeros before.
            IpAddr::V6(_) => Vec::new(),
        }
    }

    /// The first address of a line that lies in it and begins from `from` on.
    pub(super) fn find(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        let bytes = text.as_bytes();
        let mut at = run_start(bytes, from.min(bytes.len()));
        while let Some(begin) = bytes.get(at..)?.iter().position(|b| is_part(*b)) {
            let start = at + begin;
            let len = bytes[start..].iter().take_while(|b| is_part(**b)).count();
            at = start + len;
            if start >= from
                && let Some(end) = self.holds_written(text, start, at)
            {
                return Some((start, end));
            }
        }
        None
    }

    /// Whether a run of digits, dots and colons is an address in it, alone,
    /// before the end of a sentence, or before a port.
    fn holds_written(&self, text: &str, start: usize, end: usize) -> Option<usize> {
        let before = text.get(..start)?.chars().next_back();
        let after = text.get(end..)?.chars().next();
        if before.is_some_and(is_word) || after.is_some_and(is_word) {
            return None;
        }
        let run = text.get(start..end)?;
        let trimmed = run.trim_end_matches('.');
        let whole = [trimmed, trimmed.trim_end_matches(':')];
        let without_port = trimmed
            .split_once(':')
            .filter(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
            .map(|(address, _)| address);
        let found = whole.into_iter().chain(without_port).find(|written| {
            let address = written.parse::<IpAddr>();
            address.is_ok_and(|address| self.holds(address))
        })?;
        Some(start + found.len())
    }
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
        ] {
            assert_eq!(finds(network, text).as_deref(), Some(found), "{text}");
        }
        for (network, text) in [
            ("10.0.0.0/8", "11.0.0.1 110.0.0.1 1.10.0.0.1 10.0.0.256"),
            ("10.0.0.0/8", "v10.0.0.1 10.0.0.1x 10.0.0"),
            ("10.1.2.0/23", "10.1.4.0"),
            ("fe80::/10", "face::1 12:30:45"),
        ] {
            assert_eq!(finds(network, text), None, "{text}");
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
        assert_eq!(parts("10.1.0.0/16"), ["10", "1"]);
        assert_eq!(parts("172.16.0.0/12"), ["172"]);
        assert!(parts("0.0.0.0/0").is_empty() && parts("fe80::/10").is_empty());
    }
}
