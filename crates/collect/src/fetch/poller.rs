//! The lister: reads the list of actions, once or at every tick, keeps what it
//! read, plans and feeds the queue.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use crate::clock::Moment;
use crate::fetch::collector::Run;
use crate::fetch::plan;
use crate::fetch::plan::{FirstAsk, Plan};
use crate::fetch::retry::{Tries, Trouble};
use crate::service::api::CallError;
use crate::service::list;
use crate::service::list::{Known, PAGES_MAX, Page, Reach, Round};
use crate::settings::is_on;
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
pub(crate) async fn feed(run: Arc<Run>) {
    let fed = run.unless_halted(run.feed()).await;
    if let Some(Err(error)) = fed {
        run.fail(error);
    }
    // Nobody looks again: what is left now ends with the connection.
    run.api.endless.set(false);
    run.queue.close();
}

impl Run {
    async fn feed(&self) -> Result<(), CollectError> {
        let mut known = Known::default();
        if let Some(fleet) = &self.fleet {
            let ended = fleet.ended_actions().await?;
            ended.into_iter().for_each(|action| known.recall(action));
        }
        let mut from = None;
        let mut whole_at = Moment::default();
        loop {
            let next = self.next_poll();
            let now = self.clock.now();
            if now.since(whole_at) >= self.clock.real(LIST_WHOLE_EVERY) {
                (from, whole_at) = (None, now);
                self.give_second_chances();
            }
            // What ends during a tick may end after its plan was made.
            let was_at_rest = self.is_at_rest();
            let reach = self.reach(from, &known);
            match self.tick(&mut known, reach).await {
                Ok(_) if was_at_rest && self.is_at_rest() => {
                    self.note_unknown(&known);
                    return Ok(());
                }
                Ok(listed_at) => from = look_from(&known, listed_at).or(from),
                Err(error) if self.settings.watch.is_some() && may_pass(&error) => {
                    self.tally
                        .notice(format!("{error}; the next poll tries again"));
                }
                Err(error) => return Err(error),
            }
            let Some(next) = next else {
                self.look_for_missing(&mut known).await?;
                self.note_unmatched(&known);
                return Ok(());
            };
            self.tally.tell(CollectProgress::NextPoll {
                at: next.timestamp(),
            });
            self.clock.sleep_until(next).await;
        }
    }

    /// What could not be had is planned once more, unless that was done before
    /// and it still waits for its turn.
    fn give_second_chances(&self) {
        let mut taken = self.lock_taken();
        for key in self.tally.gaps_worth_retrying() {
            if !self.queue.holds(key) {
                taken.forget(key);
            }
        }
    }

    /// A fleet run needs what its own sessions need, and everybody's open ones.
    fn reach(&self, from: Option<Timestamp>, known: &Known) -> Reach {
        match &self.fleet {
            None => Reach {
                from,
                with_open: false,
            },
            Some(fleet) => Reach {
                from: fleet
                    .look_from(known.open_since())
                    .and_then(|from| from.checked_sub(LOOK_BACK).ok()),
                with_open: true,
            },
        }
    }

    fn is_at_rest(&self) -> bool {
        self.fleet.as_ref().is_some_and(|fleet| fleet.is_at_rest())
    }

    /// A session of the run that never came to be planned leaves it incomplete.
    fn note_unknown(&self, known: &Known) {
        let sessions = self.fleet.iter().flat_map(|fleet| fleet.sessions());
        let unknown = sessions.filter(|id| known.get(*id).is_none());
        let unmatched: Vec<_> = unknown.map(|id| id.to_string()).collect();
        self.tally.count(|report| report.unmatched = unmatched);
    }

    /// A fresh action stays invisible for minutes: looks again for those asked
    /// for by id, and where the service shows nothing at all.
    async fn look_for_missing(&self, known: &mut Known) -> Result<(), CollectError> {
        let mut tries = Tries::default();
        while let Some(missing) = self.missing(known) {
            let Some(wait) = tries.next(Trouble::NotFound) else {
                self.tally.notice(missing);
                return Ok(());
            };
            self.tally.tell(CollectProgress::Notice(format!(
                "{missing}; a fresh one stays invisible for up to two minutes: looking again"
            )));
            self.clock.sleep(wait).await;
            self.tick(known, Reach::default()).await?;
        }
        Ok(())
    }

    /// What should have been listed and was not.
    fn missing(&self, known: &Known) -> Option<String> {
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
    fn note_unmatched(&self, known: &Known) {
        let filter = &self.settings.filter;
        let idle = |device: &&String| !known.actions().any(|action| is_on(action, device));
        let devices: Vec<String> = filter.devices.iter().filter(idle).cloned().collect();
        for device in &devices {
            self.tally
                .notice(format!("no action listed on {device} matches the filter"));
        }
        let actions = known.missing(&filter.actions).map(|id| id.to_string());
        let unmatched: Vec<_> = devices.into_iter().chain(actions).collect();
        if known.len() == 0 && !filter.is_empty() && unmatched.is_empty() {
            self.tally.notice("no action listed matches the filter");
        }
        self.tally.count(|report| report.unmatched = unmatched);
    }

    fn next_poll(&self) -> Option<Moment> {
        let every = self.clock.real(self.settings.watch?);
        Some(self.clock.now().after(every))
    }

    /// One look at the service: everything listed is kept, planned, queued.
    /// Returns the service's clock when it began.
    async fn tick(
        &self,
        known: &mut Known,
        reach: Reach,
    ) -> Result<Option<Timestamp>, CollectError> {
        let mut listed_at = None;
        let began = self.clock.now();
        known.unreadable = 0;
        for first in list::first_pages(&self.api.base, &self.settings.filter, reach) {
            let date = self.read_list(&first, known).await?;
            listed_at = listed_at.or(date);
        }
        if let Some(fleet) = &self.fleet {
            fleet.listed(listed_at, began, self.clock.now());
            // Found outside of lists, and perhaps over: no list need show them.
            let found = fleet.take_found();
            found.into_iter().for_each(|action| known.recall(action));
        }
        self.note_unreadable(known.unreadable);
        self.tally.count(|report| report.actions = known.len());
        self.tally.tell(CollectProgress::Listed {
            actions: known.len(),
        });
        let first_ask = self.first_ask(listed_at, began).await;
        self.plan(known, first_ask).await?;
        Ok(listed_at)
    }

    /// Polls meet the same entries again: told when there are more than ever.
    fn note_unreadable(&self, unreadable: u64) {
        let mut is_news = false;
        self.tally.count(|report| {
            is_news = unreadable > report.unreadable;
            report.unreadable = report.unreadable.max(unreadable);
        });
        if is_news {
            self.tally.notice(format!(
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
        known: &mut Known,
    ) -> Result<Option<Timestamp>, CollectError> {
        let mut round = Round::default();
        let mut began = None;
        let mut idle = 0;
        let mut ordered = Some(list::in_order(first));
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
        known: &mut Known,
        round: &mut Round,
    ) -> Result<Pages, CollectError> {
        let mut pages = Pages::default();
        let mut url = first.clone();
        let mut visited = HashSet::new();
        loop {
            visited.insert(url.clone());
            let merge = |page: &Page<'_>| {
                let is_ours = |id| self.fleet.as_ref().is_some_and(|fleet| fleet.owns(id));
                let news = known.merge(page, &self.settings.filter, is_ours, round);
                (news, page.next.clone(), page.count)
            };
            let ((news, next, count), date) = self.read_page(&url, merge).await?;
            pages.pages += 1;
            pages.date = pages.date.or(date);
            pages.count = count.or(pages.count);
            if !news.seen.is_empty() {
                let seen = news.seen;
                self.with_vault("keep the actions as received", move |vault| {
                    vault.note_actions(&seen)
                })
                .await?;
            }
            // Only what is kept counts: a kill must not lose what has ended.
            if let Some(fleet) = &self.fleet {
                let ours = news.meant.iter().filter_map(|id| known.get(*id));
                fleet.saw(ours.chain(&news.others_open), self.clock.now());
            }
            let next = next.filter(|next| !next.is_empty());
            let next = next.and_then(|next| list::next_page(&self.api.base, &next));
            match follow(next, &visited) {
                Follow::Page(next) => url = next,
                Follow::End => break,
                Follow::Cut => {
                    self.tally.notice(format!(
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
        read: impl FnOnce(&Page<'_>) -> R,
    ) -> Result<(R, Option<Timestamp>), CollectError> {
        let mut tries = Tries::default();
        loop {
            let error = match self.api.page(url).await {
                Ok(answer) => match Page::read(&answer.body) {
                    Ok(page) => return Ok((read(&page), answer.date)),
                    // A proxy's page, or a cut one: passes like a 5xx.
                    Err(why) => CallError::Odd(why),
                },
                Err(error) => error,
            };
            let Some(trouble) = error.may_pass() else {
                return Err(error.into_fatal(ApiCall::List, &self.api.host));
            };
            match tries.next(trouble) {
                Some(wait) => self.clock.sleep(wait).await,
                None => return Err(error.into_fatal(ApiCall::List, &self.api.host)),
            }
        }
    }

    /// A fleet run, which lists every few seconds, knows of commands before
    /// their results are there.
    async fn first_ask(&self, listed: Option<Timestamp>, now: Moment) -> Option<FirstAsk> {
        let fleet = self.fleet.as_ref()?;
        let rooms = self.api.budget.rooms(ApiCall::Link).await;
        Some(FirstAsk {
            after: fleet.pace_asking(&rooms, self.queue.left()),
            listed: listed?,
            now,
            clock: self.clock,
        })
    }

    /// Queues what can be fetched.
    async fn plan(&self, known: &Known, first_ask: Option<FirstAsk>) -> Result<(), CollectError> {
        let (indexes, again) = (self.settings.filter.indexes.clone(), self.settings.again);
        let fleet = self.fleet.as_ref();
        let is_unfinished = |id| fleet.is_some_and(|fleet| fleet.is_unfinished(id));
        let actions = known.actions().filter(|action| !is_unfinished(action.id));
        let actions: Vec<_> = actions.cloned().collect();
        let taken = self.taken.clone();
        let plan = self
            .with_vault_once("look up what is sealed", move |vault| {
                let mut plan = Plan {
                    first_ask,
                    indexes,
                    again,
                    ..Plan::default()
                };
                for action in &actions {
                    // For one action at a time: slots leave results meanwhile.
                    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
                    plan.add(action, &mut taken, |key| vault.standing(key))?;
                }
                Ok(plan)
            })
            .await?;
        self.note_never(&plan).await?;
        self.tally.count(|report| {
            report.already_there += plan.already_there;
            report.pending = plan.pending;
        });
        for key in &plan.known_gaps {
            self.tally.known_gap(*key, GapReason::NeverProduced);
        }
        self.tally.tell(CollectProgress::Planned {
            results: plan.wants.len() as u64,
            already_there: plan.already_there,
        });
        self.queue.add(plan.wants);
        Ok(())
    }

    async fn with_vault_once<R: Send + 'static>(
        &self,
        doing: &'static str,
        verb: impl FnOnce(&dyn ResultSink) -> Result<R, SinkError> + Send + 'static,
    ) -> Result<R, CollectError> {
        let vault = self.vault.clone();
        tokio::task::spawn_blocking(move || verb(vault.as_ref()))
            .await
            .map_err(|e| CollectError::Worker(e.to_string()))?
            .map_err(|error| CollectError::vault(doing, error))
    }

    async fn note_never(&self, plan: &Plan) -> Result<(), CollectError> {
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
        self.with_vault("note gaps", move |vault| vault.note_gaps(&gaps))
            .await?;
        for key in keys {
            self.tally.gap(key, GapReason::NeverProduced);
        }
        Ok(())
    }
}

#[derive(Default)]
struct Pages {
    pages: u32,
    count: Option<u64>,
    date: Option<Timestamp>,
}

/// Where a list goes on.
#[derive(Debug, PartialEq, Eq)]
enum Follow {
    Page(Url),
    /// No further page, or one that was read before.
    End,
    /// There is more, and it is not followed.
    Cut,
}

fn follow(next: Option<Url>, visited: &HashSet<Url>) -> Follow {
    match next {
        Some(next) if visited.contains(&next) => Follow::End,
        Some(_) if visited.len() >= PAGES_MAX => Follow::Cut,
        Some(next) => Follow::Page(next),
        None => Follow::End,
    }
}

/// The next poll's beginning: a while before the oldest action that may still
/// change, and before the last list, since what was created then may not have
/// been visible.
fn look_from(known: &Known, listed_at: Option<Timestamp>) -> Option<Timestamp> {
    let listed_at = listed_at?;
    let oldest = known.oldest_open().map_or(listed_at, |t| t.min(listed_at));
    oldest.checked_sub(LOOK_BACK).ok()
}

fn is_bad_request(error: &CollectError) -> bool {
    matches!(error, CollectError::Service { service, .. } if service.status == 400)
}

/// Whether a watch outlives it.
fn may_pass(error: &CollectError) -> bool {
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
    use crate::fetch::collector::tests::{Bare, action, known, still};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_slot_leaves_during_a_plan_is_planned_again() {
        let state = tempfile::tempdir().unwrap();
        let (stranger, (entered, is_in), (open, gate)) =
            (action(2).id, mpsc::channel(), mpsc::channel());
        let gate = std::sync::Mutex::new(gate);
        let vault = Bare {
            at_gate: Some(Box::new(move |key| {
                if key.action == stranger {
                    entered.send(()).unwrap();
                    gate.lock().unwrap().recv().unwrap();
                }
            })),
            ..Bare::default()
        };
        let run = still(Arc::new(vault), state.path()).await;
        run.plan(&known(&[action(1)]), None).await.unwrap();
        let want = run.queue.take().await.unwrap();
        let key = want.key();
        let both = known(&[action(1), action(2)]);
        let planning = tokio::spawn({
            let run = run.clone();
            async move {
                run.plan(&both, None).await.unwrap();
                both
            }
        });
        is_in.recv().unwrap();
        let leaving = std::thread::spawn({
            let run = run.clone();
            move || run.leave(&want)
        });
        // Time to come in between, where it can.
        std::thread::sleep(Duration::from_millis(100));
        open.send(()).unwrap();
        leaving.join().unwrap();
        let both = planning.await.unwrap();
        run.plan(&both, None).await.unwrap();
        assert!(run.queue.holds(key));
        assert_eq!(run.lock_taken().left(), 0);
    }

    #[tokio::test]
    async fn a_gap_that_waits_for_its_second_turn_is_not_planned_a_third_time() {
        let state = tempfile::tempdir().unwrap();
        let run = still(Arc::new(Bare::default()), state.path()).await;
        let known = known(&[action(1)]);
        run.plan(&known, None).await.unwrap();
        let key = run.queue.take().await.unwrap().key();
        run.tally.gap(key, GapReason::Unreachable);
        run.give_second_chances();
        assert!(run.lock_taken().holds(key), "a slot is at it");
        run.queue.settle(key);
        run.give_second_chances();
        assert!(!run.lock_taken().holds(key));
        run.plan(&known, None).await.unwrap();
        assert!(run.queue.holds(key));
    }

    #[test]
    fn a_list_that_does_not_end_is_cut_and_not_taken_for_whole() {
        let page = |n: usize| Url::parse(&format!("http://h/?skip={n}")).unwrap();
        let visited: HashSet<Url> = (1..PAGES_MAX).map(page).collect();
        assert_eq!(follow(None, &visited), Follow::End);
        assert_eq!(follow(Some(page(7)), &visited), Follow::End);
        let next = Some(page(PAGES_MAX));
        assert_eq!(
            follow(next.clone(), &visited),
            Follow::Page(page(PAGES_MAX))
        );
        let full = visited.into_iter().chain([page(0)]).collect();
        assert_eq!(follow(next, &full), Follow::Cut);
        assert_eq!(follow(None, &full), Follow::End);
    }
}
