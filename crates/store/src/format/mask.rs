//! The keystream that keeps an antivirus from eating a pack for one sample in
//! it. No secret: the key stands in clear in every file's header.

use chacha20::ChaCha8;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};

/// A keystream of one file: the same bytes at two places, or in two files,
/// look different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mask {
    pub(crate) key: [u8; 32],
    pub(crate) nonce: [u8; 12],
}

/// **Units**: bytes of keystream that are used; it has twice as many, less a
/// block.
const REACH: u64 = 1 << 37;

impl Mask {
    /// Masks `plain`, which will stand at `offset`, into as many bytes of `out`.
    pub(crate) fn copy(&self, offset: u64, plain: &[u8], out: &mut [u8]) {
        let mut cipher = ChaCha8::new(&self.key.into(), &self.nonce.into());
        let within = offset % REACH + plain.len() as u64 <= REACH;
        cipher.seek(offset % REACH);
        if !within || cipher.apply_keystream_b2b(plain, out).is_err() {
            out.copy_from_slice(plain);
            self.apply(offset, out);
        }
    }

    /// Masks bytes that stand at `offset` of the file, or unmasks them.
    /// Beyond the keystream's reach (128 GiB, far above any pack) it starts
    /// anew.
    pub(crate) fn apply(&self, offset: u64, bytes: &mut [u8]) {
        let offset = offset % REACH;
        let mut cipher = ChaCha8::new(&self.key.into(), &self.nonce.into());
        let until_end = usize::try_from(REACH - offset).unwrap_or(usize::MAX);
        let (here, beyond) = bytes.split_at_mut(bytes.len().min(until_end));
        cipher.seek(offset);
        cipher.apply_keystream(here);
        if !beyond.is_empty() {
            self.apply(0, beyond);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_of_a_range_unmasks_to_the_same_bytes() {
        let mask = Mask {
            key: [7; 32],
            nonce: [9; 12],
        };
        let plain: Vec<u8> = (0..1000u32).map(|i| i as u8).collect();
        let mut masked = plain.clone();
        mask.apply(12_345, &mut masked);
        assert_ne!(masked, plain);
        for cut in [0, 1, 63, 64, 65, 999, 1000] {
            let (mut head, mut tail) = (masked[..cut].to_vec(), masked[cut..].to_vec());
            mask.apply(12_345, &mut head);
            mask.apply(12_345 + cut as u64, &mut tail);
            head.append(&mut tail);
            assert_eq!(head, plain, "{cut}");
        }
    }

    #[test]
    fn the_keystream_has_no_end() {
        let mask = Mask {
            key: [1; 32],
            nonce: [2; 12],
        };
        let mut bytes = vec![5; 300];
        mask.apply(REACH - 100, &mut bytes);
        mask.apply(REACH - 100, &mut bytes);
        assert_eq!(bytes, vec![5; 300]);
    }
}
