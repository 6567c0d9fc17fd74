use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::Report;
use crate::clock::{Clock, WallTime};
use crate::fleet::schedule::Schedule;
use crate::fleet::{
    DeviceRecord, DeviceState, FleetCounts, LowerBound, Outcome, RunId, RunRecord, Workload,
};

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct FleetReport {
    pub run: RunId,
    pub devices: u64,
    pub outcomes: BTreeMap<Outcome, u64>,
    #[serde(flatten)]
    pub counts: FleetCounts,
    pub is_over: bool,
    pub is_paused: bool,
    /// Sessions started, those that were parked counted.
    pub starts: u64,
    /// The least time this work could have taken.
    pub bound: LowerBound,
    /// From the first start to the last result, or to the last device settled
    /// where no result came after it.
    ///
    /// **Units**: service time.
    pub took: Duration,
    pub collected: Report,
}

impl FleetReport {
    /// Every device is done and every result is here.
    pub fn is_complete(&self) -> bool {
        let done = self.outcomes.get(&Outcome::Done).copied().unwrap_or(0);
        done == self.devices && self.collected.is_complete()
    }
}

pub(crate) fn report(
    head: &RunRecord,
    schedule: &Schedule,
    clock: Clock,
    collected: Report,
) -> FleetReport {
    let devices: Vec<&DeviceRecord> = schedule.devices().collect();
    let collected_until = (collected.sealed > 0).then(|| clock.now());
    let (bound, took) = measured(&devices, collected_until, clock);
    FleetReport {
        run: head.id,
        devices: devices.len() as u64,
        outcomes: schedule.outcomes(),
        counts: schedule.counts(),
        is_over: schedule.is_over(),
        is_paused: schedule.is_paused,
        starts: devices.iter().map(|d| d.attempts.len() as u64).sum(),
        bound,
        took,
        collected,
    }
}

/// The bound of what was done, and the time it took, service time.
fn measured(
    devices: &[&DeviceRecord],
    collected_until: Option<WallTime>,
    clock: Clock,
) -> (LowerBound, Duration) {
    let mut session_time = Duration::ZERO;
    let (mut first, mut last) = (None, collected_until);
    let (mut starts, mut links) = (0, 0);
    for device in devices {
        starts += device.attempts.len() as u64;
        let sent = device.attempts.iter().map(|attempt| attempt.sent);
        first = first.into_iter().chain(sent).min();
        if let (DeviceState::Settled { at, .. }, Some(attempt)) =
            (&device.state, device.attempts.last())
        {
            session_time += clock.service(at.since(attempt.sent));
            last = last.max(Some(*at));
            links += device
                .planned
                .steps
                .iter()
                .filter(|s| s.has_result())
                .count() as u64;
        }
    }
    let bound = LowerBound::new(Workload {
        starts,
        links,
        session_time,
    });
    let took = match (first, last) {
        (Some(first), Some(last)) => clock.service(last.since(first)),
        _ => Duration::ZERO,
    };
    (bound, took)
}
