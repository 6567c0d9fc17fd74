//! Decoding of bytes to text: Unicode, code pages, and mixtures of them.
//!
//! [`decoder::Decoder`] decodes a text of one [`encoding::TextEncoding`]. The
//! other modules are its parts:
//!
//! | module | decodes |
//! |---|---|
//! | `mixed` | single-byte text and UTF-16 in turn |
//! | `single_byte` | UTF-8, with a code page for invalid UTF-8 |
//! | `utf16`, `utf32` | UTF-16, UTF-32 |
//! | `code_page` | the tables of the code pages |
//! | `single_byte_words` | words that another decoding consumes |
//!
//! **Invariant**: the text depends on the bytes, the encoding and the code page
//! only, not on the size of the pieces passed to the decoder.

pub(crate) mod code_page;
pub(crate) mod decoder;
pub(crate) mod encoding;
mod mixed;
mod single_byte;
pub(crate) mod single_byte_words;
mod stats;
pub(crate) mod utf16;
mod utf32;
