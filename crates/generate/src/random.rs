//! Seeded random numbers, equal on every platform and in every version of this
//! crate. No dependency guarantees this.

/// xoshiro256++ seeded by splitmix64. Not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream at `path` below `seed`. Streams of different paths are
    /// independent, so units can be generated in any order.
    pub fn new(seed: u64, path: &[u64]) -> Self {
        let mut mixed = split_mix(seed);
        for step in path {
            mixed = split_mix(mixed ^ split_mix(*step ^ 0x5851_f42d_4c95_7f2d));
        }
        let mut state = [0; 4];
        for word in &mut state {
            mixed = split_mix(mixed);
            *word = mixed;
        }
        Self { state }
    }

    pub fn draw(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let drawn = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let mut next = [a, b, c ^ a, d ^ b];
        next[1] ^= next[2];
        next[0] ^= next[3];
        next[2] ^= b << 17;
        next[3] = next[3].rotate_left(45);
        self.state = next;
        drawn
    }

    /// A number in `0..limit`; 0 if the limit is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(limit)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True with probability 1/n.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }

    /// Appends `bytes` random bytes in hexadecimal.
    pub fn hex_to(&mut self, text: &mut String, bytes: usize, upper: bool) {
        let digits: &[u8; 16] = if upper {
            b"0123456789ABCDEF"
        } else {
            b"0123456789abcdef"
        };
        let mut word = 0;
        for i in 0..bytes {
            if i % 8 == 0 {
                word = self.draw();
            }
            text.push(digits[(word >> 4 & 15) as usize] as char);
            text.push(digits[(word & 15) as usize] as char);
            word >>= 8;
        }
    }

    pub fn hex(&mut self, bytes: usize) -> String {
        let mut text = String::with_capacity(2 * bytes);
        self.hex_to(&mut text, bytes, false);
        text
    }

    pub fn hex_upper(&mut self, bytes: usize) -> String {
        let mut text = String::with_capacity(2 * bytes);
        self.hex_to(&mut text, bytes, true);
        text
    }

    /// Bytes of a random GUID (version 4).
    pub fn guid_bytes(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.draw().to_le_bytes());
        bytes[8..].copy_from_slice(&self.draw().to_le_bytes());
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        bytes
    }

    pub fn guid(&mut self) -> String {
        evidence::ActionId::from_bytes(self.guid_bytes()).to_string()
    }
}

fn split_mix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_is_stable_across_versions() {
        let mut random = Random::new(7, &[1, 2]);
        let drawn: Vec<_> = (0..3).map(|_| random.draw()).collect();
        assert_eq!(drawn, KNOWN);
    }

    const KNOWN: [u64; 3] = [
        12_603_014_944_349_365_435,
        7_749_881_877_837_681_057,
        6_308_911_692_973_237_889,
    ];

    #[test]
    fn streams_of_different_paths_differ() {
        let first = |path: &[u64]| Random::new(7, path).draw();
        let firsts = [first(&[]), first(&[0]), first(&[0, 0]), first(&[1])];
        for (i, a) in firsts.iter().enumerate() {
            assert!(!firsts[i + 1..].contains(a));
        }
    }

    #[test]
    fn choices_cover_exactly_their_range() {
        let mut random = Random::new(1, &[]);
        let mut seen = [0; 6];
        for _ in 0..600 {
            seen[random.between(2, 7) as usize - 2] += 1;
        }
        assert!(seen.iter().all(|n| (50..150).contains(n)), "{seen:?}");
    }
}
