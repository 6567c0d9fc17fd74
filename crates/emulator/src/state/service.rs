//! The emulated service: everything that a request can use.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use crate::auth::signed_links::ServiceSigner;
use crate::auth::tokens::TokenIssuer;
use crate::faults::FaultSwitch;
use crate::state::fleet_state::FleetState;
use crate::state::journal::CallJournal;
use crate::state::rate_limits::{CallWindows, ServiceLimits};
use crate::state::saved_state::StateFile;
use crate::timeline::clock::ServiceClock;
use crate::timeline::latency::Latency;
use evidence::ResultKey;

/// The emulated service. Requests share it and change it concurrently.
pub(crate) struct Service {
    pub clock: ServiceClock,
    pub signer: ServiceSigner,
    pub tokens: TokenIssuer,
    pub limits: ServiceLimits,
    pub call_windows: Mutex<CallWindows>,
    pub latency: Latency,
    /// Seed of the sessions and packages that clients start.
    pub seed: u64,
    pub faults: FaultSwitch,
    pub journal: CallJournal,
    pub state_file: Option<Mutex<StateFile>>,
    pub fleet: RwLock<FleetState>,
    pub page_size: usize,
    pub link_life: Duration,
    /// `http://127.0.0.1:PORT`, for requests without a `Host` header.
    pub base: String,
    pub request_count: AtomicU64,
    pub list_count: AtomicU64,
    /// How often the ETag of a result has changed.
    pub etag_changes: Mutex<HashMap<ResultKey, u64>>,
    /// Signatures of links that expire during the download (fault
    /// `expire-midway`).
    pub expiring_links: Mutex<HashSet<String>>,
}

impl Service {
    pub(crate) fn fleet(&self) -> RwLockReadGuard<'_, FleetState> {
        self.fleet.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fleet_mut(&self) -> RwLockWriteGuard<'_, FleetState> {
        self.fleet.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn call_windows(&self) -> MutexGuard<'_, CallWindows> {
        lock(&self.call_windows)
    }

    pub(crate) fn state_file(&self) -> Option<MutexGuard<'_, StateFile>> {
        self.state_file.as_ref().map(lock)
    }

    pub(crate) fn etag_changes(&self) -> MutexGuard<'_, HashMap<ResultKey, u64>> {
        lock(&self.etag_changes)
    }

    pub(crate) fn expiring_links(&self) -> MutexGuard<'_, HashSet<String>> {
        lock(&self.expiring_links)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
