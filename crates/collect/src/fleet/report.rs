//! The report of a run, printed when its process ends.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::Report;
use crate::clock::{Clock, WallTime};
use crate::fleet::device::{DeviceRecord, DeviceState, FleetCounts, Outcome};
use crate::fleet::plan::lower_bound::{LowerBound, Workload};
use crate::fleet::record::RunRecord;
use crate::fleet::run_id::RunId;
use crate::fleet::schedule::Schedule;

/// Result of a run, or of the part that one process ran.
#[derive(Clone, Debug, Serialize)]
pub struct FleetReport {
    pub run: RunId,
    /// Devices of the run.
    pub devices: u64,
    /// Settled devices by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    #[serde(flatten)]
    pub counts: FleetCounts,
    /// Every device is settled.
    pub is_over: bool,
    pub is_paused: bool,
    /// Sessions started, including those that were parked later.
    pub starts: u64,
    /// The shortest possible duration of this work.
    pub bound: LowerBound,
    /// From the first start to the last result, or to the last settled device
    /// if no result came later.
    ///
    /// **Units**: service time.
    pub took: Duration,
    /// Report of the downloads.
    pub collected: Report,
}

impl FleetReport {
    /// Whether every device is done and every result is stored.
    pub fn is_complete(&self) -> bool {
        let done = self.outcomes.get(&Outcome::Done).copied().unwrap_or(0);
        done == self.devices && self.collected.is_complete()
    }
}

pub(crate) fn report(
    header: &RunRecord,
    schedule: &Schedule,
    clock: Clock,
    collected: Report,
) -> FleetReport {
    let devices: Vec<&DeviceRecord> = schedule.devices().collect();
    let collected_until = (collected.sealed > 0).then(|| clock.now());
    let (bound, took) = measure(&devices, collected_until, clock);
    FleetReport {
        run: header.id,
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

/// The lower bound of the settled work, and its duration in service time.
fn measure(
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
            let steps = device.planned.steps.iter();
            links += steps.filter(|step| step.has_result()).count() as u64;
        }
    }
    let bound = LowerBound::new(Workload {
        starts,
        links,
        session_time,
    });
    let took = first
        .zip(last)
        .map(|(first, last)| clock.service(last.since(first)));
    (bound, took.unwrap_or_default())
}
