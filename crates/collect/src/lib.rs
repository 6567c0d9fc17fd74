//! The network's way in: finds every live response action through the Defender
//! API, decides per command what can be fetched, asks for a link when a slot is
//! free, streams the body into the vault and says at the end what is there,
//! what is missing and why.
//!
//! **Must never know**: how the vault keeps bytes (packs, catalogue, index),
//! the terminal, the environment. It sees a [`ResultSink`] and is told everything
//! else in [`CollectSettings`].
//!
//! **Invariants**: a result counts as sealed only when the vault has said so.
//! No call leaves before its budget has room for it and the call log holds it.
//! Links and tokens reach no log, no error, no `Debug` text and no disk; the
//! bearer token goes to the API host alone, a link goes out byte for byte.
//!
//! **The data's road**: `api` lists and asks links → `plan` decides → `queue`
//! orders → a slot (`download`) streams chunks over a bounded channel to a
//! `writer` thread → the vault seals → `counters` counts.

mod clock;
mod counters;
mod error;
mod fetch;
pub mod fleet;
mod investigation_package;
mod progress;
mod service;
mod settings;
mod sink;
mod system;

pub use crate::error::{CollectError, ServiceError};
pub use crate::fetch::collector::collect;
pub use crate::progress::{CollectProgress, Events, Report};
pub use crate::sink::{BodySink, ResultSink, SealOutcome, ReceivedAction, SinkError, StoredState};
pub use crate::investigation_package::start_package;
pub use crate::service::action::{wait_for_package, cancel_action, get_action};
pub use crate::service::auth::secret::Secret;
pub use crate::service::auth::sign_in::secret_from_command;
pub use crate::service::library::{
    LIBRARY_FILE_BYTES_MAX, LibraryClient, LibraryFile, LibraryUpload,
};
pub use crate::service::preflight::{CheckLine, CheckState, check};
pub use crate::service::rate_limit::ApiCall;
pub use crate::settings::{
    ActionFilter, Cloud, CollectSettings, ServicePace, SignIn, Timeouts, TokenSource, state_dir,
};
