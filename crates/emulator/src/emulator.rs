//! Start and stop of an emulator. It has its own threads and runtime, so that a
//! client needs no runtime. Stopping it drops every connection.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::auth::assertion::RegisteredCertificate;
use crate::auth::signed_links::ServiceSigner;
use crate::auth::tokens::{Application, TokenIssuer};
use crate::error::{Error, Result};
use crate::faults::FaultSwitch;
use crate::http::server::handle;
use crate::settings::EmulatorSettings;
use crate::state::conformance::{self, ConformanceReport, SessionRecord};
use crate::state::fleet_state::FleetState;
use crate::state::journal::CallJournal;
use crate::state::rate_limits::CallWindows;
use crate::state::saved_state::{self, SavedState, StateFile};
use crate::state::service::Service;
use crate::synthetic::body::ResultBody;
use crate::synthetic::fleet::EmulatedFleet;
use crate::timeline::clock::{ClockOrigin, ServiceClock};
use evidence::ResultKey;

/// Two threads serve thousands of small results per second and leave CPU time
/// for the client on a small machine.
const THREADS: usize = 2;

/// A running emulator. Dropping it stops it.
pub struct Emulator {
    addr: SocketAddr,
    service: Arc<Service>,
    tenant: String,
    client_id: String,
    client_secret: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Starts an emulator from async code.
    ///
    /// **Errors**: the address is in use, the state file is unreadable or
    /// invalid, the time scale is out of range, or the certificate is invalid.
    pub async fn start(settings: EmulatorSettings) -> Result<Self> {
        tokio::task::spawn_blocking(move || Self::start_blocking(settings))
            .await
            .map_err(|error| Error::Threads {
                source: std::io::Error::other(error),
            })?
    }

    /// Starts an emulator from blocking code; see [`start`](Self::start).
    pub fn start_blocking(settings: EmulatorSettings) -> Result<Self> {
        if !(1.0..=100.0).contains(&settings.time_scale) {
            return Err(Error::Scale(settings.time_scale));
        }
        let bind = settings.bind;
        let failed = |source| Error::Bind { addr: bind, source };
        let listener = std::net::TcpListener::bind(bind).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let (tenant, client_id) = (settings.tenant.clone(), settings.client_id.clone());
        let client_secret = settings.client_secret.clone();
        let service = Arc::new(build_service(settings, addr)?);
        let (stop, stopped) = oneshot::channel();
        let thread = serve(listener, service.clone(), stopped)?;
        tracing::info!(target: "emulator", %addr, "listening");
        Ok(Self {
            addr,
            service,
            tenant,
            client_id,
            client_secret,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Address of the listener.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Base URL of the API: the value of `--api-base`.
    pub fn api_base(&self) -> String {
        self.service.base.clone()
    }

    /// Base URL of the login host: the value of `--login-base`.
    pub fn login_base(&self) -> String {
        self.service.base.clone()
    }

    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The secret with which a client signs in.
    pub fn client_secret(&self) -> &str {
        &self.client_secret
    }

    /// The record of all calls.
    pub fn journal(&self) -> CallJournal {
        self.service.journal.clone()
    }

    /// Reports how clients used the service up to now.
    ///
    /// **Cost**: reads every recorded call and every run.
    pub fn conformance(&self) -> ConformanceReport {
        ConformanceReport::new(&self.service)
    }

    /// The sessions that clients started.
    pub fn sessions(&self) -> Vec<SessionRecord> {
        conformance::session_records(&self.service)
    }

    /// For each result of a session that was linked to, the emulated time from
    /// its availability to its first link.
    pub fn lateness(&self) -> Vec<Duration> {
        conformance::lateness(&self.service)
    }

    /// The results that can be linked to now, with their bodies.
    pub fn results(&self) -> Vec<(ResultKey, ResultBody)> {
        let now = self.service.clock.now();
        self.service.fleet().results(now).into_iter().collect()
    }

    /// Sets the number of live response sessions occupied by other users.
    pub fn set_occupied_sessions(&self, count: usize) {
        self.service.fleet_mut().sessions.held = count;
    }

    /// The faults, which can be changed at any time.
    pub fn faults(&self) -> FaultSwitch {
        self.service.faults.clone()
    }

    /// The emulated clock, for a client that uses the same clock.
    pub fn clock(&self) -> ServiceClock {
        self.service.clock
    }

    /// Origin of the clock. Without a state file, pass it to the next emulator
    /// to continue the same clock, links and tokens.
    pub fn origin(&self) -> ClockOrigin {
        self.service.clock.origin()
    }

    /// Adds devices and actions. Times *before start* and *after start* are
    /// relative to the current emulated time.
    pub fn extend(&self, fleet: EmulatedFleet) {
        let now = self.service.clock.now();
        let mut state = self.service.fleet_mut();
        state.add(fleet, now, &self.service.signer);
    }

    /// Text for users: how to connect to the emulator.
    pub fn banner(&self) -> Banner<'_> {
        Banner(self)
    }

    /// Stops the emulator: drops every connection and frees the port.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails if the thread has already ended.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // After a panic of the thread there is nothing to recover.
            let _ = thread.join();
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop();
    }
}

fn build_service(settings: EmulatorSettings, addr: SocketAddr) -> Result<Service> {
    let saved = match &settings.state_file {
        Some(path) => saved_state::read(path)?,
        None => SavedState::default(),
    };
    let origin = settings.origin.or(saved.origin).map_or_else(
        || ClockOrigin::fresh(settings.time_scale),
        |origin| origin.at_scale(settings.time_scale),
    );
    let clock = ServiceClock::start(origin);
    let mut call_windows = CallWindows::new(settings.limits);
    for (kind, at) in &saved.calls {
        call_windows.restore(*kind, *at);
    }
    let state_file = settings
        .state_file
        .as_ref()
        .map(|path| StateFile::create(path, origin, &saved.calls, clock.now()))
        .transpose()?;
    let signer = ServiceSigner::new(&format!("{} {}", settings.client_secret, settings.seed));
    let certificate = settings
        .certificate
        .as_deref()
        .map(|pem| RegisteredCertificate::from_pem(pem).ok_or(Error::Certificate))
        .transpose()?;
    let tokens = TokenIssuer::new(
        Application {
            tenant: settings.tenant,
            client_id: settings.client_id,
            client_secret: settings.client_secret,
            certificate,
            roles: settings.roles,
            token_life: settings.token_life,
        },
        signer.clone(),
    );
    let mut fleet = FleetState::default();
    fleet.add(settings.fleet, origin.emulated, &signer);
    fleet.sessions.held = settings.sessions_held;
    Ok(Service {
        clock,
        signer,
        tokens,
        limits: settings.limits,
        call_windows: Mutex::new(call_windows),
        latency: settings.latency,
        seed: settings.seed,
        faults: FaultSwitch::new(settings.seed, settings.faults),
        journal: CallJournal::default(),
        state_file: state_file.map(Mutex::new),
        fleet: RwLock::new(fleet),
        page_size: settings.page_size,
        link_life: settings.link_life,
        base: format!("http://{}", connect_addr(addr)),
        request_count: AtomicU64::new(0),
        list_count: AtomicU64::new(0),
        etag_changes: Mutex::new(HashMap::new()),
        expiring_links: Mutex::new(HashSet::new()),
    })
}

/// The address to connect to. For a listener on all addresses, the loopback.
fn connect_addr(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        addr.set_ip(match addr {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    addr
}

fn serve(
    listener: std::net::TcpListener,
    service: Arc<Service>,
    stopped: oneshot::Receiver<()>,
) -> Result<JoinHandle<()>> {
    let failed = |source| Error::Threads { source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("emulator")
        .enable_all()
        .build()
        .map_err(failed)?;
    let listener = {
        let _guard = runtime.enter();
        // Head and body are written separately; with Nagle's algorithm each
        // response would take 40 ms longer.
        TcpListener::from_std(listener)
            .map_err(failed)?
            .tap_io(|connection| {
                // If this fails, responses are late but correct.
                let _ = connection.set_nodelay(true);
            })
    };
    let run = move || {
        let router = Router::new()
            .fallback(handle)
            .with_state(service)
            .into_make_service_with_connect_info::<SocketAddr>();
        runtime.block_on(async {
            tokio::select! {
                // Never returns: axum retries a failed accept.
                _ = axum::serve(listener, router) => {}
                _ = stopped => {}
            }
        });
        // Drops active downloads with their connections. Does not wait for
        // reads of files.
        runtime.shutdown_timeout(Duration::from_millis(200));
    };
    std::thread::Builder::new()
        .name("emulator".into())
        .spawn(run)
        .map_err(failed)
}

/// Prints how to connect to an emulator.
pub struct Banner<'a>(&'a Emulator);

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Emulator {
            tenant,
            client_id,
            client_secret,
            ..
        } = self.0;
        let (api, login) = (self.0.api_base(), self.0.login_base());
        writeln!(f, "api base    {api}")?;
        writeln!(f, "login base  {login}")?;
        writeln!(f, "tenant      {tenant}")?;
        writeln!(f, "client id   {client_id}")?;
        writeln!(f, "secret      {client_secret}")?;
        let scale = self.0.origin().scale;
        if scale > 1.0 {
            writeln!(f, "time        runs {scale} times as fast")?;
        }
        writeln!(f, "judgement   {api}/emulator/judgement")?;
        writeln!(f)?;
        writeln!(f, "sign in to it, then collect or run:")?;
        writeln!(
            f,
            "  export AFTERACTION_API_BASE={api} AFTERACTION_LOGIN_BASE={login}"
        )?;
        writeln!(
            f,
            "  export AFTERACTION_TENANT={tenant} AFTERACTION_CLIENT_ID={client_id}"
        )?;
        writeln!(
            f,
            "  export AFTERACTION_CLIENT_SECRET={client_secret} AFTERACTION_ARCHIVE=case.aa"
        )?;
        let time_scale = if scale > 1.0 {
            format!(" --time-scale {scale}")
        } else {
            String::new()
        };
        writeln!(f, "  afteraction collect{time_scale}")?;
        write!(
            f,
            "  afteraction run --devices health:Active --script inventory.ps1 --comment CASE-42{time_scale}"
        )
    }
}
