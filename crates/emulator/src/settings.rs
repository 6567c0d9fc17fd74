//! Settings of an emulator.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::faults::Faults;
use crate::state::rate_limits::ServiceLimits;
use crate::synthetic::fleet::EmulatedFleet;
use crate::timeline::clock::ClockOrigin;
use crate::timeline::latency::Latency;

/// Settings of an emulator. The default serves an empty fleet on a free
/// loopback port, in real time, with the limits of the service and no faults.
#[derive(Clone)]
pub struct EmulatorSettings {
    /// Address to listen on; port 0 selects any free port.
    pub bind: SocketAddr,
    /// Emulated seconds per real second, 1 to 100.
    pub time_scale: f64,
    /// Clock to continue; `None`: the clock of the state file, or a new one.
    pub origin: Option<ClockOrigin>,
    /// File that keeps the clock and the counted calls across restarts.
    pub state_file: Option<PathBuf>,
    pub limits: ServiceLimits,
    /// Maximum number of entries on a page of a list.
    pub page_size: usize,
    /// Lifetime of a link, emulated time.
    pub link_life: Duration,
    /// Lifetime of a token, emulated time.
    pub token_life: Duration,
    pub tenant: String,
    pub client_id: String,
    pub client_secret: String,
    /// Certificate (PEM, RSA key) that is accepted at sign-in instead of the
    /// secret.
    pub certificate: Option<String>,
    /// Application permissions: the `roles` claim of tokens.
    pub roles: Vec<String>,
    /// Durations and outcomes of the runs and packages that clients start.
    pub latency: Latency,
    /// Live response sessions occupied by other users.
    pub sessions_held: usize,
    pub faults: Faults,
    /// Seed of the faults, and of the runs and packages that clients start.
    pub seed: u64,
    pub fleet: EmulatedFleet,
}

impl Default for EmulatorSettings {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            time_scale: 1.0,
            origin: None,
            state_file: None,
            limits: ServiceLimits::default(),
            page_size: 10_000,
            link_life: Duration::from_secs(30 * 60),
            token_life: Duration::from_secs(3599),
            tenant: "contoso.example".into(),
            client_id: "00000000-0000-4000-8000-00000000c0de".into(),
            client_secret: "emulated-secret".into(),
            certificate: None,
            roles: vec![
                "Machine.ReadWrite.All".into(),
                "Machine.LiveResponse".into(),
                "Machine.CollectForensics".into(),
                "Library.Manage".into(),
            ],
            latency: Latency::default(),
            sessions_held: 0,
            faults: Faults::none(),
            seed: 1,
            fleet: EmulatedFleet::new(),
        }
    }
}

impl EmulatorSettings {
    /// The default settings with a fleet.
    pub fn serving(fleet: EmulatedFleet) -> Self {
        Self {
            fleet,
            ..Self::default()
        }
    }
}
