//! Masking of text frames with the archive's keystream. No secrecy: it keeps
//! an antivirus from eating a segment for one sample in it.

use chacha20::ChaCha8;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};

/// The archive's key, which stands in clear beside the packs.
#[derive(Clone)]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Masks or unmasks bytes that stand at `position` of a segment's file.
    pub(crate) fn apply(&self, segment: u64, position: u64, bytes: &mut [u8]) {
        let mut nonce = [0u8; 12];
        nonce[..8].copy_from_slice(&segment.to_le_bytes());
        let mut stream = ChaCha8::new(&self.0.into(), &nonce.into());
        // A segment is far below the 256 GiB the counter reaches.
        if stream.try_seek(position).is_ok() {
            stream.apply_keystream(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masking_twice_gives_the_bytes_back() {
        let key = Key::new([7; 32]);
        let mut bytes = *b"some text";
        key.apply(3, 100_001, &mut bytes);
        assert_ne!(bytes, *b"some text");
        key.apply(3, 100_001, &mut bytes);
        assert_eq!(bytes, *b"some text");
    }
}
