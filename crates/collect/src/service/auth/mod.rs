//! Authentication: secrets, sign-in with a secret or a certificate, and the
//! renewal of bearer tokens.

pub(crate) mod certificate;
pub(crate) mod jwt;
pub(crate) mod secret;
pub(crate) mod sign_in;
