//! The keys of a transcript. Each list starts with the documented spelling.

pub(crate) const NAME_KEYS: [&str; 2] = ["script_name", "name"];
pub(crate) const EXIT_KEYS: [&str; 1] = ["exit_code"];
pub(crate) const OUTPUT_KEYS: [&str; 2] = ["script_output", "output"];
pub(crate) const ERROR_KEYS: [&str; 3] = ["script_errors", "script_error", "errors"];
