//! Authentication: sign-in by secret or certificate, access tokens, and signed
//! links to the blob host.
//!
//! **Invariant**: keys are derived from the settings, so a restarted emulator
//! accepts the tokens and links of the previous run, and no secret is written
//! to disk.

pub(crate) mod assertion;
pub(crate) mod signed_links;
pub(crate) mod tokens;
