//! Start and stop. The emulator runs on threads of its own, so that it serves
//! whatever runtime its client has, or none, and stops like a pulled plug.

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
use crate::auth::tokens::{Application, Tokens};
use crate::error::{Error, Result};
use crate::faults::FaultSwitch;
use crate::http::server::{Service, answer};
use crate::settings::EmulatorSettings;
use crate::state::conformance;
use crate::state::conformance::{ConformanceReport, SessionRecord};
use crate::state::fleet_state::FleetState;
use crate::state::journal::CallJournal;
use crate::state::rate_limits::CallWindows;
use crate::state::saved_state;
use crate::state::saved_state::StateFile;
use crate::synthetic::body::ResultBody;
use crate::synthetic::fleet::EmulatedFleet;
use crate::timeline::clock::{ClockOrigin, ServiceClock};
use evidence::ResultKey;

/// Two serve thousands of small results a second and leave a small machine
/// room for the client.
const THREADS: usize = 2;

/// A running emulator; dropped, it stops.
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
    /// Starts from an async caller. The server has threads of its own.
    ///
    /// **Errors**: the address is taken, the state does not read, the scale is
    /// out of bounds.
    pub async fn start(settings: EmulatorSettings) -> Result<Self> {
        let work = tokio::task::spawn_blocking(move || Self::start_blocking(settings));
        let failed = |source| Error::Threads { source };
        work.await.map_err(std::io::Error::other).map_err(failed)?
    }

    /// Starts from a blocking caller; see [`start`](Self::start).
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
        let service = Arc::new(assemble(settings, addr)?);
        let (stop, stopped) = oneshot::channel();
        let thread = serve(listener, service.clone(), stopped)?;
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

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What `--api-base` takes.
    pub fn api_base(&self) -> String {
        self.service.base.clone()
    }

    /// What `--login-base` takes.
    pub fn login_base(&self) -> String {
        self.service.base.clone()
    }

    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The secret a client signs in with.
    pub fn client_secret(&self) -> &str {
        &self.client_secret
    }

    /// What the judge saw so far.
    pub fn journal(&self) -> CallJournal {
        self.service.journal.clone()
    }

    /// What the judge has to say so far.
    ///
    /// **Cost**: looks at every call kept and every run.
    pub fn conformance(&self) -> ConformanceReport {
        ConformanceReport::of(&self.service)
    }

    /// Every session that clients started.
    pub fn sessions(&self) -> Vec<SessionRecord> {
        conformance::session_records(&self.service)
    }

    /// How late each result of a session was linked to, emulated time: since
    /// it could be.
    pub fn lateness(&self) -> Vec<Duration> {
        conformance::lateness(&self.service)
    }

    /// The results that can be linked to by now, and their bytes.
    pub fn results(&self) -> Vec<(ResultKey, ResultBody)> {
        let results = self.service.stock().results(self.service.clock.now());
        results.into_iter().collect()
    }

    /// So many live response sessions are taken by others from now on.
    pub fn set_occupied_sessions(&self, held: usize) {
        self.service.stock_mut().sessions.held = held;
    }

    /// The switch for faults while it runs.
    pub fn faults(&self) -> FaultSwitch {
        self.service.faults.clone()
    }

    /// The emulated clock: for a client that runs on the same one.
    pub fn clock(&self) -> ServiceClock {
        self.service.clock
    }

    /// What a restart must be given to go on with the same clock, links and
    /// tokens, where no state file keeps it.
    pub fn origin(&self) -> ClockOrigin {
        self.service.clock.origin()
    }

    /// Adds devices and actions while it runs. Actions created *after start*
    /// or *before start* count from now on the emulated clock.
    pub fn extend(&self, fleet: EmulatedFleet) {
        let now = self.service.clock.now();
        let mut stock = self.service.stock_mut();
        stock.add(fleet, now, &self.service.signer);
    }

    /// What to print once it serves.
    pub fn banner(&self) -> Banner<'_> {
        Banner(self)
    }

    /// Stops it: every connection is dropped where it is and the port is free.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself: then nobody listens.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // It holds nothing whose loss a panic there could cause.
            let _ = thread.join();
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop();
    }
}

fn assemble(settings: EmulatorSettings, addr: SocketAddr) -> Result<Service> {
    let kept = match &settings.state_file {
        Some(path) => saved_state::read(path)?,
        None => saved_state::SavedState::default(),
    };
    let origin = settings.origin.or(kept.origin);
    let origin = origin.map_or_else(
        || ClockOrigin::fresh(settings.time_scale),
        |origin| origin.at_scale(settings.time_scale),
    );
    let clock = ServiceClock::start(origin);
    let mut budgets = CallWindows::new(settings.limits);
    for (kind, at) in &kept.calls {
        budgets.remember(*kind, *at);
    }
    let state = match &settings.state_file {
        Some(path) => {
            let file = StateFile::create(path, origin, &kept.calls, clock.now())?;
            Some(Mutex::new(file))
        }
        None => None,
    };
    let signer = ServiceSigner::new(&format!("{} {}", settings.client_secret, settings.seed));
    let pem = settings.certificate.as_deref();
    let read = |pem| RegisteredCertificate::from_pem(pem).ok_or(Error::Certificate);
    let certificate = pem.map(read).transpose()?;
    let tokens = Tokens::new(
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
    let mut stock = FleetState::default();
    stock.add(settings.fleet, origin.emulated, &signer);
    stock.sessions.held = settings.sessions_held;
    Ok(Service {
        clock,
        signer,
        tokens,
        limits: settings.limits,
        budgets: Mutex::new(budgets),
        latency: settings.latency,
        seed: settings.seed,
        faults: FaultSwitch::new(settings.seed, settings.faults),
        journal: CallJournal::default(),
        state,
        stock: RwLock::new(stock),
        page_size: settings.page_size,
        link_life: settings.link_life,
        base: format!("http://{}", reachable(addr)),
        requests: AtomicU64::new(0),
        lists: AtomicU64::new(0),
        etags: Mutex::new(HashMap::new()),
        dying: Mutex::new(HashSet::new()),
    })
}

/// A listener on every address is reached on the loopback.
fn reachable(mut addr: SocketAddr) -> SocketAddr {
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
        let _inside = runtime.enter();
        // Head and body leave in separate writes: waiting to join them would
        // cost 40 ms an answer.
        TcpListener::from_std(listener)
            .map_err(failed)?
            .tap_io(|connection| {
                // Without it answers are late, not wrong.
                let _ = connection.set_nodelay(true);
            })
    };
    let run = move || {
        let router = Router::new().fallback(answer).with_state(service);
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        runtime.block_on(async {
            tokio::select! {
                // It ends only with us: a failed accept is retried inside.
                _ = axum::serve(listener, router) => {}
                _ = stopped => {}
            }
        });
        // Bodies under way are dropped with their connections; a file being
        // read is not waited for.
        runtime.shutdown_timeout(Duration::from_millis(200));
    };
    std::thread::Builder::new()
        .name("emulator".into())
        .spawn(run)
        .map_err(failed)
}

/// How to reach a running emulator, for people.
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
        let fast = match scale > 1.0 {
            true => format!(" --time-scale {scale}"),
            false => String::new(),
        };
        writeln!(f, "  afteraction collect{fast}")?;
        write!(
            f,
            "  afteraction run --devices health:Active --script inventory.ps1 --comment CASE-42{fast}"
        )
    }
}
