//! A made-up fleet: machines by the thousand with groups, tags and addresses,
//! some of them away for hours. The same seed makes the same fleet.

use std::time::Duration;

use serde_json::json;

use crate::synthetic::device::EmulatedDevice;
use crate::synthetic::fleet::EmulatedFleet;
use crate::synthetic::seeded_rng::SeededRng;

/// What a fleet is made with.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticFleet {
    pub devices: usize,
    pub seed: u64,
    /// The share of devices, 0 to 1, that are away at the start.
    pub away: f64,
    /// How long they stay away, from half of it to half more.
    pub away_for: Duration,
}

impl Default for SyntheticFleet {
    /// A hundred devices, all of them there.
    fn default() -> Self {
        Self {
            devices: 100,
            seed: 1,
            away: 0.0,
            away_for: Duration::from_secs(4 * 3600),
        }
    }
}

/// A kind of machine: name, group, operating system and its version, how
/// many in a hundred.
const KINDS: [(&str, &str, &str, &str, u64); 4] = [
    ("ws", "Workstations", "Windows11", "24H2", 60),
    ("lt", "Laptops", "Windows10", "22H2", 25),
    ("srv", "Servers", "WindowsServer2022", "21H2", 13),
    ("dc", "Domain Controllers", "WindowsServer2019", "1809", 2),
];
const SITES: [&str; 4] = ["Berlin", "Lund", "Porto", "Kyoto"];

/// What is in the library from the start.
const LIBRARY: [(&str, &str); 3] = [
    ("inventory.ps1", "param([switch]$All)\r\nGet-Process\r\n"),
    (
        "collect.ps1",
        "param($Out)\r\n.\\collector.exe --out $Out\r\n",
    ),
    ("collector.exe", "MZ made up"),
];

impl EmulatedFleet {
    /// A made-up fleet and a small library.
    pub fn synthetic(made: &SyntheticFleet) -> Self {
        let fleet = LIBRARY.iter().fold(Self::new(), |fleet, (name, text)| {
            fleet.library(name, *text)
        });
        (1..=made.devices).fold(fleet, |fleet, number| fleet.device(made.device(number)))
    }
}

impl SyntheticFleet {
    fn device(&self, number: usize) -> EmulatedDevice {
        let mut lots = SeededRng::of(self.seed, &["device", &number.to_string()]);
        let mut left = lots.below(100);
        let of_kind = KINDS.iter().find(|(.., share)| {
            let found = left < *share;
            left = left.saturating_sub(*share);
            found
        });
        let (prefix, group, os, version, _) = *of_kind.unwrap_or(&KINDS[0]);
        let group_id = KINDS.iter().position(|kind| kind.1 == group).unwrap_or(0) + 1;
        let mut tags = vec![lots.one_of(&SITES).unwrap_or_default()];
        if lots.happens(0.1) {
            tags.push("VIP");
        }
        let address = format!(
            "10.{}.{}.{}",
            lots.below(32),
            lots.below(256),
            1 + lots.below(254)
        );
        let device = EmulatedDevice::new(&format!("{prefix}-{number:05}.contoso.example"))
            .with("osPlatform", os)
            .with("version", version)
            .with("rbacGroupName", group)
            .with("rbacGroupId", group_id)
            .with("machineTags", json!(tags))
            .with("lastIpAddress", address)
            .with("firstSeen", "2025-03-01T08:00:00.0000000Z")
            .reporting();
        match lots.happens(self.away) {
            true => self.absence(device, &mut lots),
            false => device,
        }
    }

    /// Gone for minutes or hours already; two in three are known to be.
    fn absence(&self, device: EmulatedDevice, lots: &mut SeededRng) -> EmulatedDevice {
        let hour = Duration::from_secs(3600);
        let since = lots.within(&(Duration::from_secs(60)..=hour * 3));
        let half = self.away_for / 2;
        let until = lots.within(&(half..=self.away_for + half));
        let health = match lots.below(3) {
            0 => "Active",
            _ => "Inactive",
        };
        device.away(since, until, health)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_made_fleet_is_the_same_for_the_same_seed_and_as_away_as_asked() {
        let made = SyntheticFleet {
            devices: 1000,
            away: 0.1,
            ..SyntheticFleet::default()
        };
        let fleet = EmulatedFleet::synthetic(&made);
        let names: HashSet<_> = fleet.devices.iter().map(|d| d.text("id")).collect();
        assert_eq!(names.len(), 1000);
        let presences = fleet.devices.iter().filter_map(|d| d.presence.as_ref());
        let away = presences.filter(|p| !p.absences.is_empty()).count();
        assert!((70..130).contains(&away), "{away}");
        let again = EmulatedFleet::synthetic(&made);
        let same = fleet.devices.iter().zip(&again.devices);
        assert!(same.into_iter().all(|(a, b)| a.json == b.json));
        assert_eq!(fleet.library.len(), 3);
    }
}
