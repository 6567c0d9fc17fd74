//! The lister: reads the list of actions, once or at every tick, keeps what it
//! read, plans and feeds the queue.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use crate::clock::WallTime;
use crate::fetch::collector::CollectSession;
use crate::fetch::plan;
use crate::fetch::plan::{DownloadPlan, FirstRequest};
use crate::service::api::CallError;
use crate::service::list;
use crate::service::list::{ActionPage, ListPass, ListWindow, ListedActions, PAGES_MAX};
use crate::service::retry::{ErrorClass, RetryState};
use crate::settings::ran_on;
use crate::{ApiCall, CollectError, CollectProgress, ResultSink, SinkError};
use evidence::{Gap, GapReason, Origin};

/// Rounds of one list while its pages keep bringing new ids.
const ROUNDS_MAX: u32 = 40;
/// Rounds without a new id after which a count is taken for wrong.
const IDLE_ROUNDS_MAX: u32 = 3;
/// A poll asks from so long before the oldest action not yet final.
pub(crate) const LOOK_BACK: Duration = Duration::from_secs(600);
/// A watch lists everything again after this long, service time: absence from
/// one list proves nothing, and what was absent then may be old by now. What
/// could not be had is asked for again then, too.
const LIST_WHOLE_EVERY: Duration = Duration::from_secs(3_600);

/// Lists and plans, once or at every tick.
pub(crate) async fn feed(session: Arc<CollectSession>) {
    let fed = session.unless_halted(session.feed()).await;
    if let Some(Err(error)) = fed {
        session.fail(error);
    }
    // Nobody looks again: what is left now ends with the connection.
    session.api.endless.set(false);
    session.queue.close();
}

impl CollectSession {
    async fn feed(&self) -> Result<(), CollectError> {
        let mut known = ListedActions::default();
        if let Some(fleet) = &self.fleet {
            let ended = fleet.ended_actions().await?;
            ended
                .into_iter()
                .for_each(|action| known.insert_recorded(action));
        }
        let mut from = None;
        let mut whole_at = WallTime::default();
        loop {
            let next = self.next_poll();
            let now = self.clock.now();
            if now.since(whole_at) >= self.clock.real(LIST_WHOLE_EVERY) {
                (from, whole_at) = (None, now);
                self.release_retryable_gaps();
            }
            // What ends during a tick may end after its plan was made.
            let was_at_rest = self.is_at_rest();
            let reach = self.reach(from, &known);
            match self.poll(&mut known, reach).await {
                Ok(_) if was_at_rest && self.is_at_rest() => {
                    self.note_unknown(&known);
                    return Ok(());
                }
                Ok(listed_at) => from = next_window_start(&known, listed_at).or(from),
                Err(error) if self.settings.watch.is_some() && error_class(&error) => {
                    self.counters
                        .notify(format!("{error}; the next poll tries again"));
                }
                Err(error) => return Err(error),
            }
            let Some(next) = next else {
                self.look_for_missing(&mut known).await?;
                self.note_unmatched(&known);
                return Ok(());
            };
            self.counters.emit(CollectProgress::NextPoll {
                at: next.timestamp(),
            });
            self.clock.sleep_until(next).await;
        }
    }

    /// What could not be had is planned once more, unless that was done before
    /// and it still waits for its turn.
    fn release_retryable_gaps(&self) {
        let mut claimed = self.lock_claimed();
        for key in self.counters.retryable_gaps() {
            if !self.queue.contains(key) {
                claimed.unclaim(key);
            }
        }
    }

    /// A fleet run needs what its own sessions need, and everybody's open ones.
    fn reach(&self, from: Option<Timestamp>, known: &ListedActions) -> ListWindow {
        match &self.fleet {
            None => ListWindow {
                from,
                include_open: false,
            },
            Some(fleet) => ListWindow {
                from: fleet
                    .look_from(known.open_created())
                    .and_then(|from| from.checked_sub(LOOK_BACK).ok()),
                include_open: true,
            },
        }
    }

    fn is_at_rest(&self) -> bool {
        self.fleet.as_ref().is_some_and(|fleet| fleet.is_at_rest())
    }

    /// A session of the run that never came to be planned leaves it incomplete.
    fn note_unknown(&self, known: &ListedActions) {
        let sessions = self.fleet.iter().flat_map(|fleet| fleet.sessions());
        let unknown = sessions.filter(|id| known.get(*id).is_none());
        let unmatched: Vec<_> = unknown.map(|id| id.to_string()).collect();
        self.counters.update(|report| report.unmatched = unmatched);
    }

    /// A fresh action stays invisible for minutes: looks again for those asked
    /// for by id, and where the service shows nothing at all.
    async fn look_for_missing(&self, known: &mut ListedActions) -> Result<(), CollectError> {
        let mut tries = RetryState::default();
        while let Some(missing) = self.missing(known) {
            let Some(wait) = tries.next_delay(ErrorClass::NotFound) else {
                self.counters.notify(missing);
                return Ok(());
            };
            self.counters.emit(CollectProgress::Notice(format!(
                "{missing}; a fresh one stays invisible for up to two minutes: looking again"
            )));
            self.clock.sleep(wait).await;
            self.poll(known, ListWindow::default()).await?;
        }
        Ok(())
    }

    /// What should have been listed and was not.
    fn missing(&self, known: &ListedActions) -> Option<String> {
        let filter = &self.settings.filter;
        if known.len() == 0 && filter.is_empty() {
            return Some("the service lists no action at all".into());
        }
        let ids: Vec<_> = known.missing(&filter.actions).collect();
        let first = ids.first()?;
        let others = match ids.len() - 1 {
            0 => String::new(),
            n => format!(" and {n} others"),
        };
        Some(format!("the service does not list action {first}{others}"))
    }

    /// What was asked for by name and is not there is no clean end.
    fn note_unmatched(&self, known: &ListedActions) {
        let filter = &self.settings.filter;
        let idle = |device: &&String| !known.actions().any(|action| ran_on(action, device));
        let devices: Vec<String> = filter.devices.iter().filter(idle).cloned().collect();
        for device in &devices {
            self.counters
                .notify(format!("no action listed on {device} matches the filter"));
        }
        let actions = known.missing(&filter.actions).map(|id| id.to_string());
        let unmatched: Vec<_> = devices.into_iter().chain(actions).collect();
        if known.len() == 0 && !filter.is_empty() && unmatched.is_empty() {
            self.counters.notify("no action listed matches the filter");
        }
        self.counters.update(|report| report.unmatched = unmatched);
    }

    fn next_poll(&self) -> Option<WallTime> {
        let every = self.clock.real(self.settings.watch?);
        Some(self.clock.now().after(every))
    }

    /// One look at the service: everything listed is kept, planned, queued.
    /// Returns the service's clock when it began.
    async fn poll(
        &self,
        known: &mut ListedActions,
        reach: ListWindow,
    ) -> Result<Option<Timestamp>, CollectError> {
        let mut listed_at = None;
        let began = self.clock.now();
        known.unreadable = 0;
        for first in list::first_page_urls(&self.api.base, &self.settings.filter, reach) {
            let date = self.read_list(&first, known).await?;
            listed_at = listed_at.or(date);
        }
        if let Some(fleet) = &self.fleet {
            fleet.listed(listed_at, began, self.clock.now());
            // Found outside of lists, and perhaps over: no list need show them.
            let found = fleet.take_found();
            found
                .into_iter()
                .for_each(|action| known.insert_recorded(action));
        }
        self.note_unreadable(known.unreadable);
        self.counters.update(|report| report.actions = known.len());
        self.counters.emit(CollectProgress::Listed {
            actions: known.len(),
        });
        let first_ask = self.first_ask(listed_at, began).await;
        self.plan(known, first_ask).await?;
        Ok(listed_at)
    }

    /// Polls meet the same entries again: told when there are more than ever.
    fn note_unreadable(&self, unreadable: u64) {
        let mut is_news = false;
        self.counters.update(|report| {
            is_news = unreadable > report.unreadable;
            report.unreadable = report.unreadable.max(unreadable);
        });
        if is_news {
            self.counters.notify(format!(
                "{unreadable} entries of the list describe no action, or one too large to keep, and are left out"
            ));
        }
    }

    /// Reads a list to its end, and again while pages that moved meanwhile may
    /// hide actions: until the count is met, or nothing new comes. The rounds
    /// after the first ask for an order, which is undocumented but holds pages
    /// still where it is understood.
    async fn read_list(
        &self,
        first: &Url,
        known: &mut ListedActions,
    ) -> Result<Option<Timestamp>, CollectError> {
        let mut round = ListPass::default();
        let mut began = None;
        let mut idle = 0;
        let mut ordered = Some(list::ordered_by_creation(first));
        for nth in 0..ROUNDS_MAX {
            let before = round.ids.len();
            round.unreadable = 0;
            let url = ordered.as_ref().filter(|_| nth > 0).unwrap_or(first);
            let read = match self.read_pages(url, known, &mut round).await {
                Err(error) if url != first && is_bad_request(&error) => {
                    ordered = None;
                    continue;
                }
                read => read?,
            };
            began = began.or(read.date);
            let met = round.ids.len() as u64 + round.unreadable;
            let all = read.count.is_some_and(|count| met >= count);
            if read.pages <= 1 || all {
                break;
            }
            idle = if round.ids.len() > before {
                0
            } else {
                idle + 1
            };
            if idle >= IDLE_ROUNDS_MAX || (read.count.is_none() && idle > 0) {
                break;
            }
        }
        known.unreadable += round.unreadable;
        Ok(began)
    }

    async fn read_pages(
        &self,
        first: &Url,
        known: &mut ListedActions,
        round: &mut ListPass,
    ) -> Result<ListSummary, CollectError> {
        let mut pages = ListSummary::default();
        let mut url = first.clone();
        let mut visited = HashSet::new();
        loop {
            visited.insert(url.clone());
            let merge = |page: &ActionPage<'_>| {
                let is_ours = |id| self.fleet.as_ref().is_some_and(|fleet| fleet.owns(id));
                let news = known.merge(page, &self.settings.filter, is_ours, round);
                (news, page.next.clone(), page.count)
            };
            let ((news, next, count), date) = self.read_page(&url, merge).await?;
            pages.pages += 1;
            pages.date = pages.date.or(date);
            pages.count = count.or(pages.count);
            if !news.changed.is_empty() {
                let changed = news.changed;
                self.with_sink("keep the actions as received", move |sink| {
                    sink.note_actions(&changed)
                })
                .await?;
            }
            // Only what is kept counts: a kill must not lose what has ended.
            if let Some(fleet) = &self.fleet {
                let ours = news.selected.iter().filter_map(|id| known.get(*id));
                fleet.saw(ours.chain(&news.open_others), self.clock.now());
            }
            let next = next.filter(|next| !next.is_empty());
            let next = next.and_then(|next| list::next_page_url(&self.api.base, &next));
            match follow(next, &visited) {
                NextPage::ActionPage(next) => url = next,
                NextPage::End => break,
                NextPage::Truncated => {
                    self.counters.notify(format!(
                        "a list goes on behind its page {PAGES_MAX}: what stands there is not looked at; narrow it down with --since"
                    ));
                    break;
                }
            }
        }
        Ok(pages)
    }

    /// One page, read once: its body is gone before what it brought is kept.
    async fn read_page<R>(
        &self,
        url: &Url,
        read: impl FnOnce(&ActionPage<'_>) -> R,
    ) -> Result<(R, Option<Timestamp>), CollectError> {
        let mut tries = RetryState::default();
        loop {
            let error = match self.api.fetch_page(url).await {
                Ok(answer) => match ActionPage::read(&answer.body) {
                    Ok(page) => return Ok((read(&page), answer.date)),
                    // A proxy's page, or a cut one: passes like a 5xx.
                    Err(why) => CallError::Unexpected(why),
                },
                Err(error) => error,
            };
            let Some(trouble) = error.error_class() else {
                return Err(error.into_fatal(ApiCall::List, &self.api.host));
            };
            match tries.next_delay(trouble) {
                Some(wait) => self.clock.sleep(wait).await,
                None => return Err(error.into_fatal(ApiCall::List, &self.api.host)),
            }
        }
    }

    /// A fleet run, which lists every few seconds, knows of commands before
    /// their results are there.
    async fn first_ask(&self, listed: Option<Timestamp>, now: WallTime) -> Option<FirstRequest> {
        let fleet = self.fleet.as_ref()?;
        let capacities = self.api.rate_limiter.capacities(ApiCall::Link).await;
        Some(FirstRequest {
            after: fleet.pace_asking(&capacities, self.queue.unsettled_count()),
            listed: listed?,
            now,
            clock: self.clock,
        })
    }

    /// Queues what can be fetched.
    async fn plan(
        &self,
        known: &ListedActions,
        first_ask: Option<FirstRequest>,
    ) -> Result<(), CollectError> {
        let (indexes, again) = (
            self.settings.filter.indexes.clone(),
            self.settings.redownload,
        );
        let fleet = self.fleet.as_ref();
        let is_unfinished = |id| fleet.is_some_and(|fleet| fleet.is_unfinished(id));
        let actions = known.actions().filter(|action| !is_unfinished(action.id));
        let actions: Vec<_> = actions.cloned().collect();
        let claimed = self.claimed.clone();
        let plan = self
            .with_sink_once("look up what is sealed", move |sink| {
                let mut plan = DownloadPlan {
                    first_ask,
                    indexes,
                    again,
                    ..DownloadPlan::default()
                };
                for action in &actions {
                    // For one action at a time: slots leave results meanwhile.
                    let mut claimed = claimed.lock().unwrap_or_else(PoisonError::into_inner);
                    plan.add(action, &mut claimed, |key| sink.stored_state(key))?;
                }
                Ok(plan)
            })
            .await?;
        self.note_never(&plan).await?;
        self.counters.update(|report| {
            report.already_there += plan.already_there;
            report.pending = plan.pending;
        });
        for key in &plan.known_gaps {
            self.counters
                .record_known_gap(*key, GapReason::NeverProduced);
        }
        self.counters.emit(CollectProgress::Planned {
            results: plan.pending_results.len() as u64,
            already_there: plan.already_there,
        });
        self.queue.add(plan.pending_results);
        Ok(())
    }

    async fn with_sink_once<R: Send + 'static>(
        &self,
        doing: &'static str,
        verb: impl FnOnce(&dyn ResultSink) -> Result<R, SinkError> + Send + 'static,
    ) -> Result<R, CollectError> {
        let sink = self.sink.clone();
        tokio::task::spawn_blocking(move || verb(sink.as_ref()))
            .await
            .map_err(|e| CollectError::Worker(e.to_string()))?
            .map_err(|error| CollectError::sink(doing, error))
    }

    async fn note_never(&self, plan: &DownloadPlan) -> Result<(), CollectError> {
        let now = self.clock.stamp();
        let gaps: Vec<Gap> = plan
            .never
            .iter()
            .filter_map(|(action, place)| {
                let command = action.commands.get(*place)?;
                let origin = Origin::Api {
                    host: self.api.host.clone(),
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
        self.with_sink("note gaps", move |sink| sink.note_gaps(&gaps))
            .await?;
        for key in keys {
            self.counters.record_gap(key, GapReason::NeverProduced);
        }
        Ok(())
    }
}

#[derive(Default)]
struct ListSummary {
    pages: u32,
    count: Option<u64>,
    date: Option<Timestamp>,
}

/// Where a list goes on.
#[derive(Debug, PartialEq, Eq)]
enum NextPage {
    ActionPage(Url),
    /// No further page, or one that was read before.
    End,
    /// There is more, and it is not followed.
    Truncated,
}

fn follow(next: Option<Url>, visited: &HashSet<Url>) -> NextPage {
    match next {
        Some(next) if visited.contains(&next) => NextPage::End,
        Some(_) if visited.len() >= PAGES_MAX => NextPage::Truncated,
        Some(next) => NextPage::ActionPage(next),
        None => NextPage::End,
    }
}

/// The next poll's beginning: a while before the oldest action that may still
/// change, and before the last list, since what was created then may not have
/// been visible.
fn next_window_start(known: &ListedActions, listed_at: Option<Timestamp>) -> Option<Timestamp> {
    let listed_at = listed_at?;
    let oldest = known.oldest_open().map_or(listed_at, |t| t.min(listed_at));
    oldest.checked_sub(LOOK_BACK).ok()
}

fn is_bad_request(error: &CollectError) -> bool {
    matches!(error, CollectError::Service { service, .. } if service.status == 400)
}

/// Whether a watch outlives it.
fn error_class(error: &CollectError) -> bool {
    match error {
        CollectError::Transport { .. } | CollectError::Answer { .. } => true,
        CollectError::Service { service, .. } => service.status >= 500 || service.status == 429,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::fetch::collector::tests::{EmptySink, action, idle_session, known};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_slot_leaves_during_a_plan_is_planned_again() {
        let state = tempfile::tempdir().unwrap();
        let (stranger, (entered, is_in), (open, gate)) =
            (action(2).id, mpsc::channel(), mpsc::channel());
        let gate = std::sync::Mutex::new(gate);
        let sink = EmptySink {
            at_gate: Some(Box::new(move |key| {
                if key.action == stranger {
                    entered.send(()).unwrap();
                    gate.lock().unwrap().recv().unwrap();
                }
            })),
            ..EmptySink::default()
        };
        let session = idle_session(Arc::new(sink), state.path()).await;
        session.plan(&known(&[action(1)]), None).await.unwrap();
        let pending = session.queue.take().await.unwrap();
        let key = pending.key();
        let both = known(&[action(1), action(2)]);
        let planning = tokio::spawn({
            let session = session.clone();
            async move {
                session.plan(&both, None).await.unwrap();
                both
            }
        });
        is_in.recv().unwrap();
        let leaving = std::thread::spawn({
            let session = session.clone();
            move || session.release(&pending)
        });
        // Time to come in between, where it can.
        std::thread::sleep(Duration::from_millis(100));
        open.send(()).unwrap();
        leaving.join().unwrap();
        let both = planning.await.unwrap();
        session.plan(&both, None).await.unwrap();
        assert!(session.queue.contains(key));
        assert_eq!(session.lock_claimed().released(), 0);
    }

    #[tokio::test]
    async fn a_gap_that_waits_for_its_second_turn_is_not_planned_a_third_time() {
        let state = tempfile::tempdir().unwrap();
        let session = idle_session(Arc::new(EmptySink::default()), state.path()).await;
        let known = known(&[action(1)]);
        session.plan(&known, None).await.unwrap();
        let key = session.queue.take().await.unwrap().key();
        session.counters.record_gap(key, GapReason::Unreachable);
        session.release_retryable_gaps();
        assert!(session.lock_claimed().contains(key), "a slot is at it");
        session.queue.settle(key);
        session.release_retryable_gaps();
        assert!(!session.lock_claimed().contains(key));
        session.plan(&known, None).await.unwrap();
        assert!(session.queue.contains(key));
    }

    #[test]
    fn a_list_that_does_not_end_is_cut_and_not_taken_for_whole() {
        let page = |n: usize| Url::parse(&format!("http://h/?skip={n}")).unwrap();
        let visited: HashSet<Url> = (1..PAGES_MAX).map(page).collect();
        assert_eq!(follow(None, &visited), NextPage::End);
        assert_eq!(follow(Some(page(7)), &visited), NextPage::End);
        let next = Some(page(PAGES_MAX));
        assert_eq!(
            follow(next.clone(), &visited),
            NextPage::ActionPage(page(PAGES_MAX))
        );
        let full = visited.into_iter().chain([page(0)]).collect();
        assert_eq!(follow(next, &full), NextPage::Truncated);
        assert_eq!(follow(None, &full), NextPage::End);
    }
}
