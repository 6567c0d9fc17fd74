//! Poller: reads the list of actions, once or at every interval, stores the
//! actions, plans their downloads and fills the queue.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tracing::Instrument;
use url::Url;

use crate::clock::WallTime;
use crate::fetch::plan;
use crate::fetch::plan::{DownloadPlan, FirstRequest};
use crate::fetch::session::CollectSession;
use crate::service::api::CallError;
use crate::service::list;
use crate::service::list::{ActionPage, ListPass, ListWindow, ListedActions, PAGES_MAX};
use crate::service::retry::{ErrorClass, RetryState};
use crate::{ApiCall, CollectError, CollectProgress};
use evidence::{Gap, GapReason, Origin};

/// Passes over one list while its pages continue to show new ids.
const PASSES_MAX: u32 = 40;
/// Passes without a new id after which the service's count is taken for wrong.
const IDLE_PASSES_MAX: u32 = 3;
/// A list begins this long before the oldest action that may still change:
/// new actions may stay invisible for minutes.
pub(crate) const LIST_OVERLAP: Duration = Duration::from_secs(600);
/// A watch reads the whole list again at this interval: an action that one
/// list did not show may be older than the next list's beginning. Gaps that
/// another attempt may fill are retried at the same time.
///
/// **Units**: service time.
const FULL_LIST_INTERVAL: Duration = Duration::from_secs(3_600);

/// Polls until the source is finished, the single poll is done, or the session
/// stops, and closes the queue.
pub(crate) async fn run(session: Arc<CollectSession>) {
    let mut poller = Poller {
        session: &session,
        listed: ListedActions::default(),
    };
    let ended = session.shutdown.unless_stopped(poller.run()).await;
    if let Some(Err(error)) = ended {
        session.shutdown.fail(error);
    }
    // No later poll would retry: from now on a lost connection ends the session.
    session.api.retry_forever.set(false);
    session.queue.close();
}

struct Poller<'a> {
    session: &'a CollectSession,
    listed: ListedActions,
}

impl Poller<'_> {
    async fn run(&mut self) -> Result<(), CollectError> {
        let session = self.session;
        let (clock, source) = (session.api.clock, &session.source);
        self.insert_recorded_actions().await?;
        let mut changed_since = None;
        let mut full_list_at = WallTime::default();
        loop {
            let next_poll = self.next_poll();
            let now = clock.now();
            if now.since(full_list_at) >= clock.real(FULL_LIST_INTERVAL) {
                (changed_since, full_list_at) = (None, now);
                unclaim_retryable_gaps(session);
            }
            // A source that finishes during a poll may do so after its plan.
            let was_finished = source.is_finished();
            let window = source.next_window(changed_since, &self.listed);
            match self
                .poll(window)
                .instrument(tracing::debug_span!("poll"))
                .await
            {
                Ok(_) if was_finished && source.is_finished() => {
                    self.report_unmatched();
                    return Ok(());
                }
                Ok(listed_at) => {
                    changed_since = next_list_start(&self.listed, listed_at).or(changed_since);
                }
                Err(error) if session.settings.watch.is_some() && is_transient(&error) => {
                    let counters = &session.api.counters;
                    counters.notify(format!("{error}; the next poll tries again"));
                }
                Err(error) => return Err(error),
            }
            let Some(next_poll) = next_poll else {
                self.poll_for_missing().await?;
                self.report_unmatched();
                return Ok(());
            };
            session.api.counters.emit(CollectProgress::NextPoll {
                at: next_poll.timestamp(),
            });
            clock.sleep_until(next_poll).await;
        }
    }

    async fn insert_recorded_actions(&mut self) -> Result<(), CollectError> {
        let source = self.session.source.clone();
        let recorded = tokio::task::spawn_blocking(move || source.recorded_actions())
            .await
            .map_err(|e| CollectError::Worker(e.to_string()))?
            .map_err(|error| CollectError::sink("read the recorded actions of the run", error))?;
        for action in recorded {
            self.listed.insert_recorded(action);
        }
        Ok(())
    }

    /// Time of the next poll; `None` for a single poll.
    fn next_poll(&self) -> Option<WallTime> {
        let clock = self.session.api.clock;
        let interval = clock.real(self.session.settings.watch?);
        Some(clock.now().after(interval))
    }

    /// Polls again while an action that should be listed is missing, for as
    /// long as a new action may stay invisible.
    async fn poll_for_missing(&mut self) -> Result<(), CollectError> {
        let session = self.session;
        let mut retries = RetryState::default();
        while let Some(missing) = session.source.missing(&self.listed) {
            let Some(delay) = retries.next_delay(ErrorClass::NotFound) else {
                session.api.counters.notify(missing);
                return Ok(());
            };
            session.api.counters.emit(CollectProgress::Notice(format!(
                "{missing}; new actions stay invisible for up to two minutes, reading the list again"
            )));
            session.api.clock.sleep(delay).await;
            self.poll(ListWindow::default()).await?;
        }
        Ok(())
    }

    /// Reports devices and actions without a listed action. The collection is
    /// incomplete then.
    fn report_unmatched(&self) {
        let unmatched = self.session.source.unmatched(&self.listed);
        let counters = &self.session.api.counters;
        for notice in unmatched.notices {
            counters.notify(notice);
        }
        counters.update(|report| report.unmatched = unmatched.names);
    }

    /// Reads the list once: all its actions are stored, planned and queued.
    /// Returns the service's time at the beginning of the list.
    async fn poll(&mut self, window: ListWindow) -> Result<Option<Timestamp>, CollectError> {
        let session = self.session;
        let began = session.api.clock.now();
        let mut listed_at = None;
        self.listed.unreadable = 0;
        for first in list::first_page_urls(&session.api.base, &session.settings.filter, window) {
            let date = self.read_list(&first).await?;
            listed_at = listed_at.or(date);
        }
        let now = session.api.clock.now();
        // Actions found outside of lists may be final and appear in no list.
        for action in session.source.list_completed(listed_at, began, now) {
            self.listed.insert_recorded(action);
        }
        tracing::debug!(
            actions = self.listed.len(),
            unreadable = self.listed.unreadable,
            duration_ms = now.since(began).as_millis() as u64,
            "list read"
        );
        report_unreadable(session, self.listed.unreadable);
        let actions = self.listed.len();
        let counters = &session.api.counters;
        counters.update(|report| report.actions = actions);
        counters.emit(CollectProgress::Listed { actions });
        let first_request = first_request(session, listed_at, began).await;
        plan_downloads(session, &self.listed, first_request).await?;
        Ok(listed_at)
    }

    /// Reads a list to its end. Pages that move while they are read can hide
    /// actions, so a list of several pages is read again until the service's
    /// count is reached or a pass shows nothing new. Later passes request an
    /// order: this is undocumented, but keeps the pages stable if supported.
    async fn read_list(&mut self, first: &Url) -> Result<Option<Timestamp>, CollectError> {
        let mut pass = ListPass::default();
        let mut began = None;
        let mut idle_passes = 0;
        let mut ordered = Some(list::ordered_by_creation(first));
        for nth in 0..PASSES_MAX {
            let ids_before = pass.ids.len();
            pass.unreadable = 0;
            let url = ordered.as_ref().filter(|_| nth > 0).unwrap_or(first);
            let summary = match self.read_pages(url, &mut pass).await {
                Err(error) if url != first && is_bad_request(&error) => {
                    ordered = None;
                    continue;
                }
                summary => summary?,
            };
            began = began.or(summary.date);
            let entries = pass.ids.len() as u64 + pass.unreadable;
            let is_complete = summary.count.is_some_and(|count| entries >= count);
            if summary.pages <= 1 || is_complete {
                break;
            }
            idle_passes = if pass.ids.len() > ids_before {
                0
            } else {
                idle_passes + 1
            };
            if idle_passes >= IDLE_PASSES_MAX || (summary.count.is_none() && idle_passes > 0) {
                break;
            }
        }
        self.listed.unreadable += pass.unreadable;
        Ok(began)
    }

    async fn read_pages(
        &mut self,
        first: &Url,
        pass: &mut ListPass,
    ) -> Result<ListSummary, CollectError> {
        let session = self.session;
        let mut summary = ListSummary::default();
        let mut url = first.clone();
        let mut visited = HashSet::new();
        loop {
            visited.insert(url.clone());
            let merge = |page: &ActionPage<'_>| {
                let is_owned = |id| session.source.owns(id);
                let filter = &session.settings.filter;
                let changes = self.listed.merge(page, filter, is_owned, pass);
                (changes, page.next.clone(), page.count)
            };
            let ((changes, next, count), date) = read_page(session, &url, merge).await?;
            summary.pages += 1;
            summary.date = summary.date.or(date);
            summary.count = count.or(summary.count);
            if !changes.changed.is_empty() {
                let changed = changes.changed;
                session
                    .sink
                    .call("store the listed actions", move |sink| {
                        sink.record_actions(&changed)
                    })
                    .await?;
            }
            // Only after they are stored: a killed process must not lose an
            // action that the source takes for ended.
            let selected = changes
                .selected
                .iter()
                .filter_map(|id| self.listed.get(*id));
            let mut seen = selected.chain(&changes.open_others);
            session.source.seen(&mut seen, session.api.clock.now());
            let next = next
                .filter(|next| !next.is_empty())
                .and_then(|next| list::next_page_url(&session.api.base, &next));
            match next_page(next, &visited) {
                NextPage::Url(next) => url = next,
                NextPage::End => break,
                NextPage::Truncated => {
                    session.api.counters.notify(format!(
                        "the list has more than {PAGES_MAX} pages; the rest was not read, narrow the list with --since"
                    ));
                    break;
                }
            }
        }
        Ok(summary)
    }
}

/// Reads one page and returns what `parse` makes of it, so that the body is
/// freed before the actions are stored.
async fn read_page<R>(
    session: &CollectSession,
    url: &Url,
    parse: impl FnOnce(&ActionPage<'_>) -> R,
) -> Result<(R, Option<Timestamp>), CollectError> {
    let mut retries = RetryState::default();
    loop {
        let error = match session.api.fetch_page(url).await {
            Ok(response) => match ActionPage::parse(&response.body) {
                Ok(page) => return Ok((parse(&page), response.date)),
                // An error page of a proxy, or a truncated page: retried like
                // a server error.
                Err(why) => CallError::Unexpected(why),
            },
            Err(error) => error,
        };
        match error
            .error_class()
            .and_then(|class| retries.next_delay(class))
        {
            Some(delay) => session.api.clock.sleep(delay).await,
            None => return Err(error.into_fatal(ApiCall::List, &session.api.host)),
        }
    }
}

/// Notifies the user of unreadable entries when there are more than before:
/// later polls read the same entries again.
fn report_unreadable(session: &CollectSession, unreadable: u64) {
    let mut is_new = false;
    session.api.counters.update(|report| {
        is_new = unreadable > report.unreadable;
        report.unreadable = report.unreadable.max(unreadable);
    });
    if is_new {
        session.api.counters.notify(format!(
            "{unreadable} entries of the list skipped: they describe no action, or one too large to store"
        ));
    }
}

/// Time of the first request for each result, if the source knows which
/// results to expect: its lists show a command before its result is available.
async fn first_request(
    session: &CollectSession,
    listed: Option<Timestamp>,
    now: WallTime,
) -> Option<FirstRequest> {
    let expected = session.source.expected_results(session.queue.len())?;
    let capacities = session.api.rate_limiter.capacities(ApiCall::Link).await;
    let delay = session.pacing.update(&capacities, expected);
    Some(FirstRequest {
        delay,
        listed: listed?,
        now,
        clock: session.api.clock,
    })
}

/// Lets the next plan retry gaps that another attempt may fill, except those
/// that still wait in the queue for an earlier retry.
fn unclaim_retryable_gaps(session: &CollectSession) {
    let mut claimed = session.lock_claimed();
    for key in session.api.counters.retryable_gaps() {
        if !session.queue.contains(key) {
            claimed.unclaim(key);
        }
    }
}

/// Plans the listed actions and queues the results that can be downloaded.
async fn plan_downloads(
    session: &CollectSession,
    listed: &ListedActions,
    first_request: Option<FirstRequest>,
) -> Result<(), CollectError> {
    let mut plan = DownloadPlan {
        first_request,
        indexes: session.settings.filter.indexes.clone(),
        redownload: session.settings.redownload,
        ..DownloadPlan::default()
    };
    let actions: Vec<_> = listed
        .actions()
        .filter(|action| !session.source.is_deferred(action.id))
        .cloned()
        .collect();
    let claimed = session.claimed.clone();
    let planning = session
        .sink
        .call_once("look up the stored results", move |sink| {
            for action in &actions {
                // Locked for one action at a time: workers release results
                // meanwhile.
                let mut claimed = claimed.lock().unwrap_or_else(PoisonError::into_inner);
                plan.add(action, &mut claimed, |key| sink.stored_state(key))?;
            }
            Ok(plan)
        });
    let plan = planning.await?;
    record_never_produced(session, &plan).await?;
    let counters = &session.api.counters;
    counters.update(|report| {
        report.already_there += plan.already_there;
        report.pending = plan.unfinished;
    });
    for key in &plan.known_gaps {
        counters.record_known_gap(*key, GapReason::NeverProduced);
    }
    let results = plan.downloads.len() as u64;
    tracing::debug!(
        results,
        already_there = plan.already_there,
        unfinished = plan.unfinished,
        "downloads planned"
    );
    counters.emit(CollectProgress::Planned {
        results,
        already_there: plan.already_there,
    });
    session.queue.add(plan.downloads);
    Ok(())
}

/// Records gaps for commands that ended without a result.
async fn record_never_produced(
    session: &CollectSession,
    plan: &DownloadPlan,
) -> Result<(), CollectError> {
    let now = session.api.clock.stamp();
    let gaps: Vec<Gap> = plan
        .never
        .iter()
        .filter_map(|(action, position)| {
            let command = action.commands.get(*position)?;
            let origin = Origin::Api {
                host: session.api.host.clone(),
            };
            Some(Gap {
                key: action.key(command),
                reason: GapReason::NeverProduced,
                detail: plan::never_detail(action, command),
                noted_at: now.clone(),
                facts: action.facts(command, origin),
            })
        })
        .collect();
    if gaps.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = gaps.iter().map(|gap| gap.key).collect();
    session
        .sink
        .call("record gaps", move |sink| sink.record_gaps(&gaps))
        .await?;
    for key in keys {
        session
            .api
            .counters
            .record_gap(key, GapReason::NeverProduced);
    }
    Ok(())
}

/// One pass over the pages of a list.
#[derive(Default)]
struct ListSummary {
    pages: u32,
    count: Option<u64>,
    date: Option<Timestamp>,
}

/// Continuation of a list.
#[derive(Debug, PartialEq, Eq)]
enum NextPage {
    Url(Url),
    /// No further page, or one that was read before.
    End,
    /// There is a further page beyond the limit.
    Truncated,
}

fn next_page(next: Option<Url>, visited: &HashSet<Url>) -> NextPage {
    match next {
        Some(next) if visited.contains(&next) => NextPage::End,
        Some(_) if visited.len() >= PAGES_MAX => NextPage::Truncated,
        Some(next) => NextPage::Url(next),
        None => NextPage::End,
    }
}

/// Beginning of the next list: before the oldest action that may still change,
/// and before the last list, because actions created then may not have been
/// visible.
fn next_list_start(listed: &ListedActions, listed_at: Option<Timestamp>) -> Option<Timestamp> {
    let listed_at = listed_at?;
    let oldest = listed
        .oldest_open()
        .map_or(listed_at, |oldest| oldest.min(listed_at));
    oldest.checked_sub(LIST_OVERLAP).ok()
}

fn is_bad_request(error: &CollectError) -> bool {
    matches!(error, CollectError::Service { service, .. } if service.status == 400)
}

/// Whether a watch continues after this error.
fn is_transient(error: &CollectError) -> bool {
    match error {
        CollectError::Transport { .. } | CollectError::Response { .. } => true,
        CollectError::Service { service, .. } => service.status >= 500 || service.status == 429,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::fetch::session::tests::{EmptySink, action, idle_session, listed};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn result_released_during_planning_is_planned_again() {
        let state = tempfile::tempdir().unwrap();
        let blocked_action = action(2).id;
        let (entered, has_entered) = mpsc::channel();
        let (unblock, unblocked) = mpsc::channel();
        let unblocked = std::sync::Mutex::new(unblocked);
        let sink = EmptySink {
            on_stored_state: Some(Box::new(move |key| {
                if key.action == blocked_action {
                    entered.send(()).unwrap();
                    unblocked.lock().unwrap().recv().unwrap();
                }
            })),
            ..EmptySink::default()
        };
        let session = idle_session(Arc::new(sink), state.path()).await;
        plan_downloads(&session, &listed(&[action(1)]), None)
            .await
            .unwrap();
        let pending = session.queue.take().await.unwrap();
        let key = pending.key();
        let both = listed(&[action(1), action(2)]);
        let planning = tokio::spawn({
            let session = session.clone();
            async move {
                plan_downloads(&session, &both, None).await.unwrap();
                both
            }
        });
        has_entered.recv().unwrap();
        let releasing = std::thread::spawn({
            let session = session.clone();
            move || session.release(&pending)
        });
        // Gives the release time to run during the plan, if it can.
        std::thread::sleep(Duration::from_millis(100));
        unblock.send(()).unwrap();
        releasing.join().unwrap();
        let both = planning.await.unwrap();
        plan_downloads(&session, &both, None).await.unwrap();
        assert!(session.queue.contains(key));
        assert_eq!(session.lock_claimed().released(), 0);
    }

    #[tokio::test]
    async fn queued_gap_is_not_unclaimed_until_it_is_completed() {
        let state = tempfile::tempdir().unwrap();
        let session = idle_session(Arc::new(EmptySink::default()), state.path()).await;
        let listed = listed(&[action(1)]);
        plan_downloads(&session, &listed, None).await.unwrap();
        let key = session.queue.take().await.unwrap().key();
        session.api.counters.record_gap(key, GapReason::Unreachable);
        unclaim_retryable_gaps(&session);
        assert!(session.lock_claimed().contains(key), "a worker has it");
        session.queue.complete(key);
        unclaim_retryable_gaps(&session);
        assert!(!session.lock_claimed().contains(key));
        plan_downloads(&session, &listed, None).await.unwrap();
        assert!(session.queue.contains(key));
    }

    #[test]
    fn list_beyond_the_page_limit_is_truncated() {
        let page = |n: usize| Url::parse(&format!("http://h/?skip={n}")).unwrap();
        let visited: HashSet<Url> = (1..PAGES_MAX).map(page).collect();
        assert_eq!(next_page(None, &visited), NextPage::End);
        assert_eq!(next_page(Some(page(7)), &visited), NextPage::End);
        let next = page(PAGES_MAX);
        assert_eq!(
            next_page(Some(next.clone()), &visited),
            NextPage::Url(next.clone())
        );
        let full = visited.into_iter().chain([page(0)]).collect();
        assert_eq!(next_page(Some(next), &full), NextPage::Truncated);
        assert_eq!(next_page(None, &full), NextPage::End);
    }
}
