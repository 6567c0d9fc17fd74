//! TODO-DOC index/codec

pub(crate) mod char_boundary;
pub(crate) mod directory;
pub(crate) mod error;
pub(crate) mod line_hash;
pub(crate) mod mask;
pub(crate) mod section_file;
pub(crate) mod system;
pub(crate) mod tokenizer;
pub(crate) mod varint;
