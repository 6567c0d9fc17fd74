//! A fast hash of line bytes. It only places lines in a table: equality is
//! always decided on the bytes, since part of the evidence is an attacker's.

/// How lines are hashed; the seed is drawn anew by every process, so that
/// nobody can prepare lines that fall together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hasher {
    seed: u64,
    /// All bits a hash may use: tests weaken it to make everything collide.
    mask: u32,
}

impl Hasher {
    pub(crate) fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self {
            seed: RandomState::new().hash_one(0x6c69_6e65u64),
            mask: u32::MAX,
        }
    }

    #[cfg(test)]
    pub(crate) fn weak(mask: u32) -> Self {
        Self { seed: 1, mask }
    }

    pub(crate) fn hash(self, bytes: &[u8]) -> u32 {
        let mut state = self.seed ^ (bytes.len() as u64).wrapping_mul(K0);
        let mut blocks = bytes.chunks_exact(16);
        for block in &mut blocks {
            state = fold(word(block) ^ K1, word(&block[8..]) ^ state);
        }
        let rest = blocks.remainder();
        if !rest.is_empty() {
            // The last 16 bytes, or what there is of them twice.
            let (a, b) = if bytes.len() >= 16 {
                let tail = &bytes[bytes.len() - 16..];
                (word(tail), word(&tail[8..]))
            } else {
                (short(rest, 0), short(rest, 8))
            };
            state = fold(a ^ K2, b ^ state);
        }
        let mixed = fold(state ^ K3, K1);
        (mixed ^ mixed >> 32) as u32 & self.mask
    }
}

/// What hashbrown is given for a 32-bit hash: all its bits matter there.
pub(crate) fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(K0)
}

/// A hash that is the same everywhere and always, for chunk borders: two ends
/// and the length tell lines apart well enough to cut at.
pub(crate) fn border(bytes: &[u8]) -> u32 {
    let tail = &bytes[bytes.len().saturating_sub(8)..];
    let mixed = fold(
        short(bytes, 0) ^ K1 ^ bytes.len() as u64,
        short(tail, 0) ^ K2,
    );
    (mixed >> 32) as u32
}

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xa076_1d64_78bd_642f;
const K2: u64 = 0xe703_7ed1_a0b4_28db;
const K3: u64 = 0x8ebc_6af0_9c88_c6e3;

fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    wide as u64 ^ (wide >> 64) as u64
}

fn word(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

/// Up to eight bytes from `from` on, missing ones zero.
fn short(bytes: &[u8], from: usize) -> u64 {
    let bytes = bytes.get(from..).unwrap_or(&[]);
    if bytes.len() >= 8 {
        return word(bytes);
    }
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}
