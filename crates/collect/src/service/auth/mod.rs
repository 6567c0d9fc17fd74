//! TODO-DOC collect/service/auth

pub(crate) mod certificate;
pub(crate) mod jwt;
pub(crate) mod secret;
pub(crate) mod sign_in;
