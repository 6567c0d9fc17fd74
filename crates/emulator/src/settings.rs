use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::faults::Faults;
use crate::state::rate_limits::ServiceLimits;
use crate::synthetic::fleet::EmulatedFleet;
use crate::timeline::clock::ClockOrigin;
use crate::timeline::latency::Latency;

/// What an emulator is started with. The default serves an empty fleet on a
/// free port of the loopback, in real time, with real limits and no faults.
#[derive(Clone)]
pub struct EmulatorSettings {
    /// Loopback unless told otherwise; port 0 takes any free one.
    pub bind: SocketAddr,
    /// Emulated seconds for each real one, 1 to 100.
    pub time_scale: f64,
    /// The clock to go on with; `None` takes the state file's, else a fresh one.
    pub origin: Option<ClockOrigin>,
    /// Where clock and budgets are kept across restarts.
    pub state_file: Option<PathBuf>,
    pub limits: ServiceLimits,
    /// Entries of a list's page.
    pub page_size: usize,
    /// Emulated life of a link.
    pub link_life: Duration,
    /// Emulated life of a token.
    pub token_life: Duration,
    pub tenant: String,
    pub client_id: String,
    pub client_secret: String,
    /// Certificate (PEM, of an RSA key) that may sign in in place of the
    /// secret.
    pub certificate: Option<String>,
    /// The `roles` claim of tokens.
    pub roles: Vec<String>,
    /// How what clients start proceeds.
    pub latency: Latency,
    /// Live response sessions that others have taken.
    pub sessions_held: usize,
    pub faults: Faults,
    /// Decides every chance of a fault, and what comes of what clients start.
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
    /// The default with a fleet.
    pub fn serving(fleet: EmulatedFleet) -> Self {
        Self {
            fleet,
            ..Self::default()
        }
    }
}
