//! TODO-DOC extract/decode

pub(crate) mod code_page;
pub(crate) mod mixed;
pub(crate) mod single_byte;
pub(crate) mod single_byte_words;
pub(crate) mod utf16;
