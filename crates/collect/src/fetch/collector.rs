//! The run: a lister that adds to the queue, slots that take from it, seals
//! that settle beside them, and an end at which nothing is under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::clock::{Clock, Moment};
use crate::fetch::circuit_breaker::Outage;
use crate::fetch::claimed::Taken;
use crate::fetch::counters::Tally;
use crate::fetch::download;
use crate::fetch::download::{Body, Step};
use crate::fetch::poller;
use crate::fetch::queue::{Queue, Want};
use crate::fetch::retry::Trouble;
use crate::fetch::writer::End;
use crate::fleet;
use crate::fleet::FleetRunner;
use crate::service::api::{Api, LOOK_FOR_ROOM};
use crate::{
    ApiCall, CollectError, CollectProgress, CollectSettings, Events, Report, ResultSink, SinkError,
};
use evidence::{Gap, GapReason};

/// Bodies that wait for their commit while their slots go on: the vault groups
/// commits, and a slot that waited for each would be bound by its sync.
const SEALING_MAX: u32 = 256;
/// Bytes such bodies may hold in memory, in units of [`SEALING_UNIT`].
const SEALING_BYTES_MAX: u64 = 32 * 1024 * 1024;
const SEALING_UNIT: u64 = 4 * 1024;
/// A larger body stands in a file of its own and holds no memory.
const SMALL_BYTES_MAX: u64 = 1024 * 1024;
/// Room asked for beyond what is known to be missing: twice a commit's bodies.
/// The vault keeps some in reserve and refuses below it, so a margin no greater
/// than that would find room where the vault finds none.
const ROOM_MARGIN: u64 = 2 * SEALING_BYTES_MAX;

/// What the parts of a run share.
pub(crate) struct Run {
    pub settings: CollectSettings,
    pub api: Api,
    pub vault: Arc<dyn ResultSink>,
    pub clock: Clock,
    pub tally: Arc<Tally>,
    pub blob_outage: Outage,
    /// Held by every writer's thread: when all are gone nothing writes.
    pub alive: mpsc::Sender<()>,
    pub queue: Queue,
    /// The fleet run whose results these are.
    pub fleet: Option<Arc<FleetRunner>>,
    sealing: Arc<Semaphore>,
    halt: watch::Sender<bool>,
    failure: Mutex<Option<CollectError>>,
    /// Shared with the thread that looks up what is sealed.
    pub taken: Arc<Mutex<Taken>>,
    disk_full: Mutex<bool>,
}

/// Collects until everything is settled, or, watching, until stopped.
///
/// The report is whole whatever happened; the error says what ended the run
/// before its time. `stop` set to true ends it cleanly: what is sealed is
/// sealed, what is under way stays for the next run.
pub async fn collect(
    settings: CollectSettings,
    vault: Arc<dyn ResultSink>,
    events: Events,
    stop: watch::Receiver<bool>,
) -> (Report, Option<CollectError>) {
    pump(settings, vault, events, stop, None).await
}

/// The same, for the results of a fleet run that goes on beside it.
pub(crate) async fn pump(
    settings: CollectSettings,
    vault: Arc<dyn ResultSink>,
    events: Events,
    stop: watch::Receiver<bool>,
    fleet: Option<Arc<FleetRunner>>,
) -> (Report, Option<CollectError>) {
    let started = Instant::now();
    let tally = Arc::new(Tally::new(events));
    let (alive, mut all_gone) = mpsc::channel(1);
    let mut early = stop.clone();
    let prepared = tokio::select! {
        prepared = prepare(settings, vault, tally.clone(), alive, fleet) => prepared,
        () = stopped(&mut early) => {
            tally.count(|report| report.stopped = true);
            return (tally.report(), None);
        }
    };
    let run = match prepared {
        Ok(run) => Arc::new(run),
        Err(error) => return (tally.report(), Some(error)),
    };
    let forwarder = tokio::spawn(forward(stop, run.halt.clone()));
    let mut tasks = JoinSet::new();
    for _ in 0..run.settings.slots {
        tasks.spawn(serve(run.clone()));
    }
    tasks.spawn(poller::feed(run.clone()));
    if let Some(fleet) = &run.fleet {
        tasks.spawn(fleet::start_all(run.clone(), fleet.clone()));
        tasks.spawn(fleet::tend(run.clone(), fleet.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(panic) = ended {
            run.fail(CollectError::Worker(panic.to_string()));
        }
    }
    // Every seal under way returns its permits.
    let _ = run.sealing.acquire_many(sealing_permits()).await;
    forwarder.abort();
    let mut report = tally.report();
    report.left = run.queue.left();
    report.pending += run.lock_taken().left();
    report.list_calls = run.api.budget.count(ApiCall::List);
    report.link_calls = run.api.budget.count(ApiCall::Link);
    report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let failure = run.take_failure();
    report.stopped = failure.is_none() && *run.halt.borrow();
    drop(run);
    // Ends when the last writer has let go.
    let _: Option<()> = all_gone.recv().await;
    (report, failure)
}

async fn prepare(
    settings: CollectSettings,
    vault: Arc<dyn ResultSink>,
    tally: Arc<Tally>,
    alive: mpsc::Sender<()>,
    fleet: Option<Arc<FleetRunner>>,
) -> Result<Run, CollectError> {
    settings.validate()?;
    let clock = Clock::new(settings.pace.time_scale);
    let api = Api::open(&settings, clock, tally.clone()).await?;
    if let Some(warning) =
        crate::service::preflight::missing_permissions(&api.signer.bearer().await?)
    {
        tally.notice(warning);
    }
    api.endless.set(settings.watch.is_some());
    Ok(Run {
        blob_outage: Outage::new(api.endless.clone()),
        api,
        settings,
        vault,
        clock,
        tally,
        alive,
        queue: Queue::new(clock),
        fleet,
        sealing: Arc::new(Semaphore::new(sealing_permits() as usize)),
        halt: watch::Sender::new(false),
        failure: Mutex::default(),
        taken: Arc::default(),
        disk_full: Mutex::default(),
    })
}

async fn forward(mut stop: watch::Receiver<bool>, halt: watch::Sender<bool>) {
    stopped(&mut stop).await;
    halt.send_replace(true);
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // A sender dropped without a word stops nothing.
        std::future::pending::<()>().await;
    }
}

const fn sealing_permits() -> u32 {
    (SEALING_BYTES_MAX / SEALING_UNIT) as u32
}

/// One slot: takes wants until there are none, or the run halts.
async fn serve(run: Arc<Run>) {
    while let Some(mut want) = run.unless_halted(run.queue.take()).await.flatten() {
        let Some(step) = run.unless_halted(download::fetch(&run, &mut want)).await else {
            return;
        };
        match step {
            Step::Seal(body) => {
                let weight = weight(body.held());
                let permits = run.sealing.clone().acquire_many_owned(weight).await;
                let run = run.clone();
                tokio::spawn(async move {
                    let _permits = permits;
                    run.settle(want, *body).await;
                });
            }
            step => run.step(want, step).await,
        }
    }
}

/// A small body counts with its bytes, and each with enough that no more than
/// [`SEALING_MAX`] wait.
fn weight(bytes: u64) -> u32 {
    let held = if bytes > SMALL_BYTES_MAX { 0 } else { bytes };
    let units = u32::try_from(held / SEALING_UNIT).unwrap_or(u32::MAX);
    units.clamp(sealing_permits() / SEALING_MAX, sealing_permits())
}

impl Run {
    /// `None` when the run halts first; the future is dropped where it stands.
    pub async fn unless_halted<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut halt = self.halt.subscribe();
        tokio::select! {
            biased;
            _ = halt.wait_for(|halt| *halt) => None,
            output = future => Some(output),
        }
    }

    pub fn is_halted(&self) -> bool {
        *self.halt.borrow()
    }

    /// Returns so long after the run was halted.
    pub async fn halted_for(&self, wait: Duration) {
        let mut halt = self.halt.subscribe();
        let _ = halt.wait_for(|halt| *halt).await;
        tokio::time::sleep(wait).await;
    }

    pub fn fail(&self, error: CollectError) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        drop(failure);
        self.halt.send_replace(true);
    }

    fn take_failure(&self) -> Option<CollectError> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    async fn settle(&self, mut want: Want, body: Body) {
        let key = want.key();
        match body.seal(self).await {
            Ok(End::Sealed(sealed)) => {
                self.tally.sealed(key, &sealed);
                self.queue.settle(key);
            }
            Ok(End::Damaged(why)) => self.again(want, Trouble::Damaged, why, None).await,
            Ok(End::Left) => self.queue.put_back(want, self.clock.now()),
            Err(step) => {
                want.tries.forget(Trouble::Broken);
                self.step(want, step).await;
            }
        }
    }

    async fn step(&self, want: Want, step: Step) {
        match step {
            Step::Gap(reason, detail) => self.give_up(want, reason, detail).await,
            Step::Again(trouble, why, wait) => self.again(want, trouble, why, wait).await,
            Step::Room(missing) => {
                // Taken again before that it would cost another link.
                self.unless_halted(self.wait_for_room(missing)).await;
                self.queue.put_back(want, self.clock.now());
            }
            Step::Fatal(error) => self.fail(error),
            Step::Seal(_) => self.queue.settle(want.key()),
        }
    }

    /// Puts a want back with its trouble counted, or settles it as a gap.
    async fn again(&self, mut want: Want, trouble: Trouble, why: String, asked: Option<Duration>) {
        let endless = trouble == Trouble::Lost && self.api.endless.get();
        let wait = match &self.fleet {
            Some(fleet) if trouble == Trouble::NotReady => want.tries.next_even(fleet.ask_every()),
            _ => want.tries.next_or_longest(trouble, endless),
        };
        if let Some(wait) = wait {
            let wait = asked.map_or(wait, |asked| asked.max(wait));
            let at = self.clock.now().after(self.clock.real(wait));
            return self.queue.put_back(want, at);
        }
        let absent = |reason| {
            if want.is_completed() {
                reason
            } else {
                GapReason::NeverProduced
            }
        };
        let reason = match trouble {
            Trouble::NotReady if !want.action().is_final() && !self.queue.is_closed() => {
                return self.leave(&want);
            }
            Trouble::NotReady | Trouble::BlobMissing => absent(GapReason::BlobMissing),
            Trouble::NotFound => absent(GapReason::Expired),
            Trouble::Damaged => GapReason::Damaged,
            _ => GapReason::Unreachable,
        };
        self.give_up(want, reason, why).await;
    }

    /// A fleet run learns from it how long its results take.
    pub fn note_there(&self, want: &mut Want) {
        if let (Some(fleet), Some(ended)) = (&self.fleet, want.ended.take()) {
            let since = |at: Moment| self.clock.service(at.since(ended));
            fleet.met(want.in_vain.map(since), since(self.clock.now()));
        }
    }

    /// The service is still at it: a later poll finds it again. The queue lets
    /// go of it first, or it would refuse what that poll adds.
    pub fn leave(&self, want: &Want) {
        self.queue.settle(want.key());
        self.lock_taken().leave(want.key());
    }

    async fn give_up(&self, want: Want, reason: GapReason, detail: String) {
        let key = want.key();
        let Some(facts) = want.facts(&self.api.host) else {
            return self.queue.settle(key);
        };
        let gap = Gap {
            key,
            reason,
            detail,
            noted_at: self.clock.stamp(),
            facts,
        };
        if want.known_gap != Some(reason) {
            let noted = self.with_vault("note a gap", move |vault| {
                vault.note_gaps(std::slice::from_ref(&gap))
            });
            if let Err(error) = noted.await {
                return self.fail(error);
            }
        }
        self.tally.gap(key, reason);
        self.queue.settle(key);
    }

    /// Runs a verb of the vault off the async threads, waiting while the disk
    /// is full.
    pub async fn with_vault<R: Send + 'static>(
        &self,
        doing: &'static str,
        verb: impl Fn(&dyn ResultSink) -> Result<R, SinkError> + Send + Sync + 'static,
    ) -> Result<R, CollectError> {
        let verb = Arc::new(verb);
        loop {
            let (vault, again) = (self.vault.clone(), verb.clone());
            let done = tokio::task::spawn_blocking(move || again(vault.as_ref()))
                .await
                .map_err(|e| CollectError::Worker(e.to_string()))?;
            match done {
                Ok(done) => return Ok(done),
                Err(SinkError::DiskFull) => {
                    let waited = self.unless_halted(self.wait_for_room(0)).await;
                    if waited.is_none() {
                        return Err(CollectError::vault(doing, SinkError::DiskFull));
                    }
                }
                Err(error) => return Err(CollectError::vault(doing, error)),
            }
        }
    }

    /// Returns when the vault has room for `missing` bytes more, or after a
    /// while where it cannot tell.
    pub async fn wait_for_room(&self, missing: u64) {
        let needed = missing.saturating_add(ROOM_MARGIN);
        if !self.swap_disk_full(true) {
            self.tally.tell(CollectProgress::DiskFull { needed });
        }
        loop {
            tokio::time::sleep(LOOK_FOR_ROOM).await;
            let vault = self.vault.clone();
            let room = tokio::task::spawn_blocking(move || vault.room()).await;
            let enough = match room {
                Ok(Ok(Some(room))) => room >= needed,
                _ => true,
            };
            if enough {
                break;
            }
        }
        if self.swap_disk_full(false) {
            self.tally.tell(CollectProgress::RoomAgain);
        }
    }

    fn swap_disk_full(&self, now: bool) -> bool {
        let mut full = self
            .disk_full
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut full, now)
    }

    pub fn lock_taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::fetch::plan;
    use crate::fetch::queue::Rank;
    use crate::service::list::Known;
    use crate::{BodySink, Cloud, Secret, SeenAction, SignIn, StoredState, TokenSource};
    use evidence::{Action, Facts, ResultKey};

    /// Knows nothing, keeps gaps, and is asked what it knows through a gate.
    #[derive(Default)]
    pub struct Bare {
        pub gaps: Mutex<Vec<Gap>>,
        pub at_gate: Option<Box<dyn Fn(ResultKey) + Send + Sync>>,
    }

    impl ResultSink for Bare {
        fn standing(&self, key: ResultKey) -> Result<StoredState, SinkError> {
            if let Some(gate) = &self.at_gate {
                gate(key);
            }
            Ok(StoredState::Absent)
        }

        fn note_actions(&self, _: &[SeenAction]) -> Result<(), SinkError> {
            Ok(())
        }

        fn note_gaps(&self, gaps: &[Gap]) -> Result<(), SinkError> {
            self.gaps.lock().unwrap().extend_from_slice(gaps);
            Ok(())
        }

        fn download(&self, _: ResultKey, _: Facts) -> Result<Box<dyn BodySink>, SinkError> {
            Err(SinkError::DiskFull)
        }
    }

    /// A run without lister and slots, whose service nobody reaches.
    pub async fn still(vault: Arc<dyn ResultSink>, state: &Path) -> Arc<Run> {
        let nowhere = Some("http://127.0.0.1:1");
        let sign_in = SignIn::Token(TokenSource::Ready(Secret::new("x")));
        let cloud = Cloud::Commercial;
        let settings =
            CollectSettings::new(cloud, nowhere, nowhere, sign_in, state.into()).unwrap();
        let tally = Arc::new(Tally::new(Arc::new(|_| ())));
        let (alive, _) = mpsc::channel(1);
        Arc::new(prepare(settings, vault, tally, alive, None).await.unwrap())
    }

    /// An action under way with one result that may be fetched.
    pub fn action(n: u32) -> Action {
        let json = serde_json::json!({"id": format!("5382f7ea-7557-4ab7-9782-{n:012x}"),
            "status": "InProgress",
            "commands": [{"commandStatus": "Completed", "command": {"type": "GetFile"}}]});
        Action::from_value(&json).unwrap()
    }

    pub fn known(actions: &[Action]) -> Known {
        let mut known = Known::default();
        actions.iter().cloned().for_each(|a| known.recall(a));
        known
    }

    fn impatient_want() -> Want {
        let action = Arc::new(action(1));
        let rank = Rank {
            failed_before: false,
            time: 0,
            key: action.key(&action.commands[0]),
        };
        assert_eq!(
            plan::judge(&action, &action.commands[0]),
            plan::Promise::Fetch
        );
        let mut want = Want::new(action, 0, rank, None);
        while want.tries.next(Trouble::NotReady).is_some() {}
        want
    }

    #[tokio::test]
    async fn a_result_that_does_not_come_is_left_to_the_next_poll_or_is_a_gap() {
        let state = tempfile::tempdir().unwrap();
        let vault = Arc::new(Bare::default());
        let run = still(vault.clone(), state.path()).await;
        let again = async |want| {
            run.queue.add(vec![want]);
            let want = run.queue.take().await.unwrap();
            run.again(want, Trouble::NotReady, "not yet".into(), None)
                .await;
        };
        again(impatient_want()).await;
        assert_eq!((run.queue.left(), run.lock_taken().left()), (0, 1));
        assert!(vault.gaps.lock().unwrap().is_empty());
        let want = impatient_want();
        run.lock_taken().take(want.key());
        run.queue.add(vec![want]);
        run.queue.close();
        let want = run.queue.take().await.unwrap();
        run.again(want, Trouble::NotReady, "not yet".into(), None)
            .await;
        assert_eq!((run.queue.left(), run.lock_taken().left()), (0, 0));
        let gap = vault.gaps.lock().unwrap()[0].reason;
        assert_eq!(gap, GapReason::BlobMissing);
        assert_eq!(run.tally.report().gaps.get(&gap), Some(&1));
    }

    #[test]
    fn bodies_that_wait_for_their_commit_hold_bounded_memory() {
        assert_eq!(sealing_permits() / weight(0), SEALING_MAX);
        assert_eq!(weight(SMALL_BYTES_MAX), 256);
        assert_eq!(weight(3 << 30), weight(0));
    }
}
