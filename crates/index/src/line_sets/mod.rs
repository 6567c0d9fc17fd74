//! TODO-DOC index/line_sets

pub(crate) mod line_holders;
pub(crate) mod line_position;
pub(crate) mod member_set;
pub(crate) mod text_reader;
