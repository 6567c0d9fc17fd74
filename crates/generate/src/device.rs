//! A synthetic device.

use serde_json::{Value, json};

use crate::clock::UnixTime;
use crate::random::Random;
use crate::words::PEOPLE;

#[derive(Clone, Debug)]
pub(crate) struct SyntheticDevice {
    /// Short name, upper case.
    pub name: String,
    pub domain: &'static str,
    /// Machine id of the service: 40 hexadecimal digits.
    pub machine_id: String,
    pub image: u64,
    pub address: String,
    /// Domain part of its SIDs.
    pub sid: String,
    pub user: String,
    /// Time of the last boot.
    pub booted: UnixTime,
}

impl SyntheticDevice {
    /// Device `number` of a fleet.
    pub fn of_fleet(seed: u64, number: u64, images: u64, start: UnixTime) -> Self {
        let mut random = Random::new(seed, &[DEVICE, number]);
        let kind = ["WS", "LT", "KI", "SV"][random.below(4) as usize];
        Self {
            name: format!(
                "{kind}-{}-{number:05}",
                random.pick(&["OSL", "MIL", "YYZ", "PRG"])
            ),
            domain: "corp.contoso.example",
            machine_id: random.hex(20),
            image: number % images,
            address: format!(
                "10.{}.{}.{}",
                20 + number / 62_500 % 200,
                number / 250 % 250,
                number % 250 + 4
            ),
            sid: format!(
                "S-1-5-21-{}-{}-{}",
                random.between(1_000_000_000, 3_999_999_999),
                random.between(1_000_000_000, 3_999_999_999),
                random.between(1_000_000_000, 3_999_999_999)
            ),
            user: random.pick(PEOPLE).to_string(),
            booted: start.minus(random.between(3_600, 20 * 86_400)),
        }
    }

    /// Fully qualified name, as the service writes it.
    pub fn dns_name(&self) -> String {
        format!("{}.{}", self.name.to_lowercase(), self.domain)
    }

    /// The device as the API lists it.
    pub fn to_json(&self, edition: &str, build: &str, last_seen: UnixTime, health: &str) -> Value {
        let number = |part: usize| build.split('.').nth(part).unwrap_or("0").to_string();
        json!({
            "id": self.machine_id,
            "computerDnsName": self.dns_name(),
            "firstSeen": format!("{}.1416482Z", self.booted.minus(90 * 86_400).iso()),
            "lastSeen": format!("{}.7033114Z", last_seen.iso()),
            "osPlatform": if edition.contains("Server") { "WindowsServer2022" } else { "Windows11" },
            "version": "24H2",
            "osProcessor": "x64",
            "osBuild": number(2).parse::<u64>().unwrap_or(0),
            "lastIpAddress": self.address,
            "healthStatus": health,
            "onboardingStatus": "Onboarded",
            "rbacGroupName": if edition.contains("Server") { "Servers" } else { "Workstations" },
            "riskScore": "None",
            "exposureLevel": "Low",
            "isAadJoined": false,
            "machineTags": [],
        })
    }
}

const DEVICE: u64 = 0x6465_7669;
