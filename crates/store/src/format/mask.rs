//! Keystream mask of the archive's files. It keeps an antivirus from deleting a
//! pack because of one malware sample in it.
//!
//! It protects no secret: the key is stored unencrypted in every file header.

use chacha20::ChaCha8;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};

/// The keystream of one file. Equal bytes at two offsets, or in two files,
/// have different masked forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mask {
    pub(crate) key: [u8; 32],
    pub(crate) nonce: [u8; 12],
}

/// **Units**: bytes of keystream used, 128 GiB; ChaCha provides almost twice as
/// many. Only a single-body pack can be longer.
const KEYSTREAM_LEN: u64 = 1 << 37;

impl Mask {
    /// Masks `plain` into `out`, which has the same length, for `offset` of
    /// the file.
    pub(crate) fn copy(&self, offset: u64, plain: &[u8], out: &mut [u8]) {
        let mut cipher = ChaCha8::new(&self.key.into(), &self.nonce.into());
        let fits = offset % KEYSTREAM_LEN + plain.len() as u64 <= KEYSTREAM_LEN;
        cipher.seek(offset % KEYSTREAM_LEN);
        if !fits || cipher.apply_keystream_b2b(plain, out).is_err() {
            out.copy_from_slice(plain);
            self.apply(offset, out);
        }
    }

    /// Masks or unmasks bytes at `offset` of the file. After the end of the
    /// keystream, it starts from its beginning.
    pub(crate) fn apply(&self, offset: u64, bytes: &mut [u8]) {
        let offset = offset % KEYSTREAM_LEN;
        let mut cipher = ChaCha8::new(&self.key.into(), &self.nonce.into());
        let until_end = usize::try_from(KEYSTREAM_LEN - offset).unwrap_or(usize::MAX);
        let (head, rest) = bytes.split_at_mut(bytes.len().min(until_end));
        cipher.seek(offset);
        cipher.apply_keystream(head);
        if !rest.is_empty() {
            self.apply(0, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_unmasks_correctly_when_cut_at_any_offset() {
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
    fn keystream_restarts_after_its_end() {
        let mask = Mask {
            key: [1; 32],
            nonce: [2; 12],
        };
        let mut bytes = vec![5; 300];
        mask.apply(KEYSTREAM_LEN - 100, &mut bytes);
        mask.apply(KEYSTREAM_LEN - 100, &mut bytes);
        assert_eq!(bytes, vec![5; 300]);
    }
}
