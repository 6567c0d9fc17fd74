//! Authentication: sign-in by secret or certificate, access tokens, and signed
//! links to the blob host.

pub(crate) mod assertion;
pub(crate) mod signed_links;
pub(crate) mod tokens;
