//! When a machine is there, and what `lastSeen` and `healthStatus` say of it.

use jiff::{SignedDuration, Timestamp};

/// A machine reports this often while it is there; the service's own reports
/// are rarer still. A machine that comes back reports at once.
const REPORT_S: i64 = 3600;

/// A machine's absences, counted from the emulator's start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presence {
    /// From and until, seconds after the start (before it: negative).
    pub absences: Vec<(i64, i64)>,
    /// What the service calls it while it is away.
    pub away_health: &'static str,
}

/// The same on the emulator's clock.
#[derive(Clone, Debug)]
pub(crate) struct PresenceTimetable {
    absences: Vec<(Timestamp, Timestamp)>,
    away_health: &'static str,
    /// When in the hour its reports come.
    phase: i64,
}

impl Presence {
    pub(crate) fn placed(mut self, start: Timestamp, phase: u64) -> PresenceTimetable {
        self.absences.sort_unstable();
        let at = |seconds: i64| {
            let after = SignedDuration::from_secs(seconds);
            // An end beyond the calendar is no end.
            start.checked_add(after).unwrap_or(Timestamp::MAX)
        };
        let absences = self.absences.iter().filter(|(from, until)| from < until);
        PresenceTimetable {
            absences: absences
                .map(|(from, until)| (at(*from), at(*until)))
                .collect(),
            away_health: self.away_health,
            phase: (phase % REPORT_S as u64) as i64,
        }
    }
}

impl PresenceTimetable {
    fn absence(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let mut absences = self.absences.iter().copied();
        absences.find(|(from, until)| *from <= now && now < *until)
    }

    /// The first instant from `at` on when the machine is there.
    pub(crate) fn there_from(&self, mut at: Timestamp) -> Timestamp {
        // In order, so that one absence may end in the next.
        for (from, until) in &self.absences {
            if *from <= at && at < *until {
                at = *until;
            }
        }
        at
    }

    pub(crate) fn health(&self, now: Timestamp) -> &'static str {
        match self.absence(now) {
            Some(_) => self.away_health,
            None => "Active",
        }
    }

    /// Its last report.
    pub(crate) fn last_seen(&self, now: Timestamp) -> Timestamp {
        let (heard_until, now) = match self.absence(now) {
            Some((from, _)) => (from, from),
            None => (now, now),
        };
        let ended = self.absences.iter().map(|(_, until)| *until);
        let back = ended.filter(|until| *until <= now).max();
        let second = heard_until.as_second();
        let report = second - (second - self.phase).rem_euclid(REPORT_S);
        let report = Timestamp::from_second(report).unwrap_or(heard_until);
        back.map_or(report, |back| back.max(report))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(n: i64) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        start + SignedDuration::from_secs(n)
    }

    fn table(absences: &[(i64, i64)]) -> PresenceTimetable {
        let presence = Presence {
            absences: absences.to_vec(),
            away_health: "Inactive",
        };
        presence.placed(second(0), 0)
    }

    #[test]
    fn a_machine_that_comes_back_reports_at_once() {
        let table = table(&[(-1800, 5000)]);
        assert_eq!(table.health(second(4999)), "Inactive");
        assert_eq!(table.last_seen(second(4999)), second(-3600));
        assert_eq!(table.health(second(5000)), "Active");
        assert_eq!(table.last_seen(second(5001)), second(5000));
        assert_eq!(table.last_seen(second(7300)), second(7200));
        assert_eq!(table.there_from(second(10)), second(5000));
        assert_eq!(table.there_from(second(6000)), second(6000));
    }

    #[test]
    fn absences_that_meet_are_one_and_one_without_an_end_lasts() {
        let table = table(&[(200, i64::MAX), (0, 100), (100, 200)]);
        assert_eq!(table.there_from(second(50)), Timestamp::MAX);
        assert_eq!(table.there_from(second(-1)), second(-1));
    }
}
