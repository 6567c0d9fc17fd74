//! Presence of a device over time: `lastSeen` and `healthStatus`.

use jiff::{SignedDuration, Timestamp};

use crate::synthetic::device::Presence;

/// Interval between the reports of a device. The reports of the service are
/// less frequent. A device that returns reports at once.
const REPORT_S: i64 = 3600;

/// Absences and reports of a device on the emulator's clock.
#[derive(Clone, Debug)]
pub(crate) struct PresenceTimetable {
    absences: Vec<(Timestamp, Timestamp)>,
    away_health: &'static str,
    /// Time of the reports within an interval. **Units**: seconds.
    phase: i64,
}

impl PresenceTimetable {
    pub(crate) fn new(mut presence: Presence, start: Timestamp, phase: u64) -> Self {
        presence.absences.sort_unstable();
        let at = |seconds: i64| {
            let after = SignedDuration::from_secs(seconds);
            // A time outside the calendar means forever.
            start.checked_add(after).unwrap_or(Timestamp::MAX)
        };
        let absences = presence
            .absences
            .iter()
            .filter(|(from, until)| from < until)
            .map(|(from, until)| (at(*from), at(*until)))
            .collect();
        Self {
            absences,
            away_health: presence.away_health,
            phase: (phase % REPORT_S as u64) as i64,
        }
    }

    fn absence(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let mut absences = self.absences.iter().copied();
        absences.find(|(from, until)| *from <= now && now < *until)
    }

    /// The first time at or after `at` at which the device is online.
    pub(crate) fn online_from(&self, mut at: Timestamp) -> Timestamp {
        // Absences are sorted: one can begin before the previous one ends.
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

    /// Time of the last report.
    pub(crate) fn last_seen(&self, now: Timestamp) -> Timestamp {
        let online_until = self.absence(now).map_or(now, |(from, _)| from);
        let returned = self
            .absences
            .iter()
            .map(|(_, until)| *until)
            .filter(|until| *until <= online_until)
            .max();
        let second = online_until.as_second();
        let report_second = second - (second - self.phase).rem_euclid(REPORT_S);
        let report = Timestamp::from_second(report_second).unwrap_or(online_until);
        returned.map_or(report, |returned| returned.max(report))
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
        PresenceTimetable::new(presence, second(0), 0)
    }

    #[test]
    fn returning_device_reports_at_once() {
        let table = table(&[(-1800, 5000)]);
        assert_eq!(table.health(second(4999)), "Inactive");
        assert_eq!(table.last_seen(second(4999)), second(-3600));
        assert_eq!(table.health(second(5000)), "Active");
        assert_eq!(table.last_seen(second(5001)), second(5000));
        assert_eq!(table.last_seen(second(7300)), second(7200));
        assert_eq!(table.online_from(second(10)), second(5000));
        assert_eq!(table.online_from(second(6000)), second(6000));
    }

    #[test]
    fn adjacent_absences_are_merged_and_an_end_beyond_the_calendar_is_never() {
        let table = table(&[(200, i64::MAX), (0, 100), (100, 200)]);
        assert_eq!(table.online_from(second(50)), Timestamp::MAX);
        assert_eq!(table.online_from(second(-1)), second(-1));
    }
}
