//! Addresses of a line: whatever stands between any two places and reads as
//! one.

use std::net::{IpAddr, Ipv4Addr};

use crate::tests::oracle::wordly;

/// Characters of the longest address there is.
const ADDRESS_MAX: usize = 45;

/// The first address in a network: at each place the longest one that begins
/// there counts. Where IPv6 is asked for, no part of another address is one,
/// but for what stands behind a first part that could be a label.
pub(crate) fn find(line: &str, network: IpAddr, bits: usize) -> Option<(usize, usize)> {
    let chars: Vec<char> = line.chars().collect();
    let bytes = |count: usize| chars[..count].iter().map(|c| c.len_utf8()).sum::<usize>();
    let mut start = 0;
    while start < chars.len() {
        let Some((end, address)) = longest(&chars, start) else {
            start += 1;
            continue;
        };
        if is_in(address, network, bits) {
            return Some((bytes(start), bytes(end) - bytes(start)));
        }
        let colon = chars[start..end]
            .iter()
            .position(|c| *c == ':')
            .unwrap_or(0);
        let label = &chars[start..start + colon];
        let is_label = !label.is_empty() && label.iter().all(char::is_ascii_alphabetic);
        start = match network.is_ipv6() && address.is_ipv6() && !is_label {
            true => end,
            false => start + 1,
        };
    }
    None
}

fn longest(chars: &[char], start: usize) -> Option<(usize, IpAddr)> {
    let is_part = |c: &char| c.is_ascii_hexdigit() || matches!(c, '.' | ':');
    let before = start.checked_sub(1).map(|at| &chars[at]);
    if wordly(before) || !is_part(&chars[start]) {
        return None;
    }
    let run = chars[start..].iter().take(ADDRESS_MAX);
    let last = start + run.take_while(|c| is_part(c)).count();
    let mut ends = (start + 1..=last)
        .rev()
        .filter(|end| !wordly(chars.get(*end)));
    ends.find_map(|end| {
        let written: String = chars[start..end].iter().collect();
        let six = written.parse().ok().map(IpAddr::V6);
        let address = six.or_else(|| read_four(chars, start, end).map(IpAddr::V4))?;
        Some((end, address))
    })
}

/// Four numbers of up to three digits, and no fifth one before or behind.
fn read_four(chars: &[char], start: usize, end: usize) -> Option<Ipv4Addr> {
    let digit = |at: Option<usize>| {
        let c = at.and_then(|at| chars.get(at));
        c.is_some_and(char::is_ascii_digit)
    };
    let dot = |at: Option<usize>| at.and_then(|at| chars.get(at)) == Some(&'.');
    let before = dot(start.checked_sub(1)) && digit(start.checked_sub(2));
    if before || dot(Some(end)) && digit(Some(end + 1)) {
        return None;
    }
    let written: String = chars[start..end].iter().collect();
    let parts: Vec<&str> = written.split('.').collect();
    let parts: Option<Vec<u8>> = parts
        .into_iter()
        .map(|part| {
            let is_number = part.len() <= 3 && part.chars().all(|c| c.is_ascii_digit());
            part.parse::<u8>().ok().filter(|_| is_number)
        })
        .collect();
    let octets: [u8; 4] = parts?.try_into().ok()?;
    Some(octets.into())
}

/// By the digits of the two written in binary.
fn is_in(address: IpAddr, network: IpAddr, bits: usize) -> bool {
    let address = match (network, address) {
        (IpAddr::V4(_), IpAddr::V6(six)) => match six.to_ipv4_mapped() {
            Some(four) => IpAddr::V4(four),
            None => return false,
        },
        (_, address) => address,
    };
    let binary = |address: IpAddr| match address {
        IpAddr::V4(four) => format!("{:032b}", four.to_bits()),
        IpAddr::V6(six) => format!("{:0128b}", six.to_bits()),
    };
    address.is_ipv4() == network.is_ipv4() && binary(address)[..bits] == binary(network)[..bits]
}
