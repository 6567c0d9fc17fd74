//! Synthetic fleet: thousands of devices with groups, tags and addresses, some
//! of them away for hours. The same seed gives the same fleet.

use std::time::Duration;

use serde_json::json;

use crate::synthetic::device::EmulatedDevice;
use crate::synthetic::fleet::EmulatedFleet;
use crate::synthetic::seeded_rng::SeededRng;

/// Parameters of a synthetic fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticFleet {
    pub devices: usize,
    pub seed: u64,
    /// Fraction of devices, 0 to 1, that are away at the start.
    pub away: f64,
    /// Mean duration of an absence; each is 50 to 150 % of it.
    pub away_for: Duration,
}

impl Default for SyntheticFleet {
    /// A hundred devices, all of them online.
    fn default() -> Self {
        Self {
            devices: 100,
            seed: 1,
            away: 0.0,
            away_for: Duration::from_secs(4 * 3600),
        }
    }
}

/// Kinds of devices: name prefix, group, operating system, its version and the
/// percentage of the fleet.
const KINDS: [(&str, &str, &str, &str, u64); 4] = [
    ("ws", "Workstations", "Windows11", "24H2", 60),
    ("lt", "Laptops", "Windows10", "22H2", 25),
    ("srv", "Servers", "WindowsServer2022", "21H2", 13),
    ("dc", "Domain Controllers", "WindowsServer2019", "1809", 2),
];
const SITES: [&str; 4] = ["Berlin", "Lund", "Porto", "Kyoto"];

/// Initial files of the library.
const LIBRARY: [(&str, &str); 3] = [
    ("inventory.ps1", "param([switch]$All)\r\nGet-Process\r\n"),
    (
        "collect.ps1",
        "param($Out)\r\n.\\collector.exe --out $Out\r\n",
    ),
    ("collector.exe", "MZ made up"),
];

impl EmulatedFleet {
    /// A synthetic fleet with a small library.
    pub fn synthetic(parameters: &SyntheticFleet) -> Self {
        let fleet = LIBRARY.iter().fold(Self::new(), |fleet, (name, text)| {
            fleet.library(name, *text)
        });
        (1..=parameters.devices).fold(fleet, |fleet, number| {
            fleet.device(parameters.device(number))
        })
    }
}

impl SyntheticFleet {
    fn device(&self, number: usize) -> EmulatedDevice {
        let mut rng = SeededRng::new(self.seed, &["device", &number.to_string()]);
        let mut left = rng.below(100);
        let drawn = KINDS.iter().find(|(.., share)| {
            let is_drawn = left < *share;
            left = left.saturating_sub(*share);
            is_drawn
        });
        let (prefix, group, os, version, _) = *drawn.unwrap_or(&KINDS[0]);
        let group_id = KINDS.iter().position(|kind| kind.1 == group).unwrap_or(0) + 1;
        let mut tags = vec![rng.choose(&SITES).unwrap_or_default()];
        if rng.chance(0.1) {
            tags.push("VIP");
        }
        let address = format!(
            "10.{}.{}.{}",
            rng.below(32),
            rng.below(256),
            1 + rng.below(254)
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
        if rng.chance(self.away) {
            self.absence(device, &mut rng)
        } else {
            device
        }
    }

    /// Away since minutes or hours ago; the service shows two of three absences
    /// as `Inactive`.
    fn absence(&self, device: EmulatedDevice, rng: &mut SeededRng) -> EmulatedDevice {
        let hour = Duration::from_secs(3600);
        let since = rng.duration(&(Duration::from_secs(60)..=hour * 3));
        let half = self.away_for / 2;
        let until = rng.duration(&(half..=self.away_for + half));
        let health = match rng.below(3) {
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
    fn fleet_is_repeatable_and_has_the_given_share_of_absent_devices() {
        let parameters = SyntheticFleet {
            devices: 1000,
            away: 0.1,
            ..SyntheticFleet::default()
        };
        let fleet = EmulatedFleet::synthetic(&parameters);
        let names: HashSet<_> = fleet.devices.iter().map(|d| d.text("id")).collect();
        assert_eq!(names.len(), 1000);
        let presences = fleet.devices.iter().filter_map(|d| d.presence.as_ref());
        let away = presences.filter(|p| !p.absences.is_empty()).count();
        assert!((70..130).contains(&away), "{away}");
        let again = EmulatedFleet::synthetic(&parameters);
        let same = fleet.devices.iter().zip(&again.devices);
        assert!(same.into_iter().all(|(a, b)| a.json == b.json));
        assert_eq!(fleet.library.len(), 3);
    }
}
