//! The rules of a run, recorded with it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Rules for absent devices and for starts in doubt.
///
/// **Units**: service time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetRules {
    /// A session that is Pending for this long is cancelled and its device is
    /// parked. `None` never parks; the service then cancels after three days.
    pub park_after: Option<Duration>,
    /// Largest number of sessions that wait for their devices at a time.
    pub parked_max: usize,
    /// A device that is away for this long is given up.
    pub away_max: Duration,
    /// A session in doubt that is not found for this long is left to a person.
    /// New actions were observed to be missing from lists for two minutes.
    #[serde(rename = "lost_for")]
    pub in_doubt_after: Duration,
}

impl Default for FleetRules {
    fn default() -> Self {
        Self {
            park_after: Some(Duration::from_secs(15 * 60)),
            parked_max: 5,
            away_max: Duration::from_secs(3 * 24 * 3_600),
            in_doubt_after: Duration::from_secs(10 * 60),
        }
    }
}
