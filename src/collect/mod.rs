//! The network's way in: finds every live response action through the Defender
//! API, decides per command what can be fetched, asks for a link when a slot is
//! free, streams the body into the vault and says at the end what is there,
//! what is missing and why.
//!
//! **Must never know**: how the vault keeps bytes (packs, catalogue, index),
//! the terminal, the environment. It sees a [`Vault`] and is told everything
//! else in [`Settings`].
//!
//! **Invariants**: a result counts as sealed only when the vault has said so.
//! No call leaves before its budget has room for it and the call log holds it.
//! Links and tokens reach no log, no error, no `Debug` text and no disk; the
//! bearer token goes to the API host alone, a link goes out byte for byte.
//!
//! **The data's road**: `api` lists and asks links → `plan` decides → `queue`
//! orders → a slot (`download`) streams chunks over a bounded channel to a
//! `writer` thread → the vault seals → `tally` counts.

mod api;
mod asking;
mod backoff;
mod blob;
mod budget;
mod call_log;
mod certificate;
mod check;
mod clock;
mod download;
mod error;
pub mod fleet;
mod http;
mod jwt;
mod library;
mod link;
mod list;
mod lister;
mod outage;
mod package;
mod plan;
mod pump;
mod queue;
mod report;
mod secret;
mod settings;
mod sign_in;
mod single;
mod system;
mod taken;
mod tally;
mod vault;
mod writer;

pub use budget::Call;
pub use check::{CheckLine, CheckState, check};
pub use error::{CollectError, ServiceError};
pub use library::{LIBRARY_FILE_BYTES_MAX, Library, LibraryFile, Upload};
pub use package::start_package;
pub use pump::collect;
pub use report::{Events, Progress, Report};
pub use secret::Secret;
pub use settings::{Cloud, Filter, Pace, Settings, SignIn, Timeouts, TokenSource, state_dir};
pub use sign_in::secret_from_command;
pub use single::{await_package, cancel_action, look_at_action};
pub use vault::{Download, Sealed, SeenAction, Standing, Vault, VaultError};
