//! Client of the Defender API: collects the results of live response actions
//! into an archive, and runs live response on a fleet of devices.
//!
//! # Data flow
//!
//! ```text
//! poller ──▶ plan ──▶ download queue ──▶ workers ──▶ writer threads ──▶ ResultSink
//!   │                                      │
//!   └── ResultSource                       ├── Defender API: token, rate limit, link
//!       (filter or fleet run)              └── blob host: the body of a result
//! ```
//!
//! The poller reads the list of actions and stores each action as received.
//! The plan decides for each command whether its result can be downloaded. A
//! worker requests a link, streams the body to a writer thread and has it
//! sealed. A result that cannot be downloaded becomes a gap with its reason.
//!
//! # Layout
//!
//! - `service`: sign-in, rate limits, API calls, responses of the blob host.
//! - `fetch`: poller, plan, queue, workers. It uses `service`.
//! - [`fleet`]: plans and runs of live response sessions. A run is a source of
//!   results for `fetch`.
//!
//! # Invariants
//!
//! - A result counts as sealed only after the sink has sealed it.
//! - A call is sent only when its rate limit allows it and the call log
//!   contains it.
//! - No link, token or secret appears in a message, a `Debug` text, a trace or
//!   a file. The token is sent to the API host only; a link is used byte for
//!   byte.
//! - The functions are async functions. They start no runtime, install no
//!   signal handler and never exit the process; the caller stops them with a
//!   `watch` channel.
//!
//! # Must not depend on
//!
//! The format of the archive (see [`ResultSink`]), the terminal and the
//! environment (see [`CollectSettings`]).
//!
//! # Example
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use afteraction_collect::{
//!     Cloud, CollectError, CollectSettings, ResultSink, Secret, SignIn, collect,
//! };
//! use tokio::sync::watch;
//!
//! async fn collect_one_case(sink: Arc<dyn ResultSink>) -> Result<(), CollectError> {
//!     let sign_in = SignIn::Client {
//!         tenant: "contoso.example".into(),
//!         client_id: "3f1c1f6e-7d0b-4c58-9f6e-2f1f0a7f3c11".into(),
//!         secret: Secret::from_file("client-secret".as_ref())?,
//!     };
//!     let mut settings =
//!         CollectSettings::new(Cloud::Commercial, None, None, sign_in, "state".into())?;
//!     settings.filter.comment = Some("CASE-42".into());
//!
//!     let events = Arc::new(|progress| println!("{progress:?}"));
//!     // Sending `true` stops the collection; the next one resumes it.
//!     let (_stop, stopped) = watch::channel(false);
//!     let (report, error) = collect(settings, sink, events, stopped).await;
//!     println!("{} results sealed, complete: {}", report.sealed, report.is_complete());
//!     error.map_or(Ok(()), Err)
//! }
//! ```

mod api_call;
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

pub use crate::api_call::ApiCall;
pub use crate::error::{CollectError, ServiceError};
pub use crate::fetch::collector::collect;
pub use crate::investigation_package::start_package;
pub use crate::progress::{CollectProgress, Events, Report};
pub use crate::service::action::{cancel_action, get_action, wait_for_package};
pub use crate::service::auth::secret::Secret;
pub use crate::service::auth::sign_in::secret_from_command;
pub use crate::service::clouds::Cloud;
pub use crate::service::library::{
    LIBRARY_FILE_BYTES_MAX, LibraryClient, LibraryFile, LibraryUpload,
};
pub use crate::service::preflight::{CheckLine, CheckState, check};
pub use crate::settings::{
    ActionFilter, CollectSettings, ServicePace, SignIn, Timeouts, TokenSource, state_dir,
};
pub use crate::sink::{BodySink, ReceivedAction, ResultSink, SealOutcome, SinkError, StoredState};
