//! Against a small server in the same process.
