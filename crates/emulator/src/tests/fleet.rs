//! A made-up fleet, as large as fleets are.

use std::collections::HashSet;

use crate::tests::*;

fn made(devices: usize) -> EmulatedFleet {
    EmulatedFleet::synthetic(&SyntheticFleet {
        devices,
        away: 0.1,
        ..SyntheticFleet::default()
    })
}

async fn names(plain: &Plain, filter: &str) -> Vec<String> {
    let page = plain.json(&format!("machines?$filter={filter}")).await;
    let values = page["value"].as_array().unwrap_or_else(|| panic!("{page}"));
    let name = |machine: &Value| machine["computerDnsName"].as_str().unwrap().to_string();
    values.iter().map(name).collect()
}

#[tokio::test]
async fn a_fleet_of_thousands_is_listed_page_by_page() {
    let emulator = serving(made(12_000), "");
    let plain = Plain::of(&emulator).await;
    let first = plain.json("machines?$count=true").await;
    assert_eq!(first["value"].as_array().unwrap().len(), 10_000);
    assert_eq!(first["@odata.count"], 12_000);
    let next = first["@odata.nextLink"].as_str().unwrap();
    let next = plain.http.get(next).bearer_auth(&plain.token).send();
    let next: Value = next.await.unwrap().json().await.unwrap();
    assert_eq!(next["value"].as_array().unwrap().len(), 2000);
    let pages = [&first, &next];
    let machines = pages
        .iter()
        .flat_map(|page| page["value"].as_array().unwrap());
    let ids: HashSet<_> = machines.map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 12_000);
}

#[tokio::test]
async fn machines_are_found_by_name_tag_group_and_last_report() {
    let emulator = serving(made(300), "");
    let plain = Plain::of(&emulator).await;
    let all = plain.json("machines").await["value"].clone();
    let count = |fits: &dyn Fn(&Value) -> bool| {
        let machines = all.as_array().unwrap().iter();
        machines.filter(|machine| fits(machine)).count()
    };
    let first = all[0]["computerDnsName"].as_str().unwrap();
    let found = names(&plain, &format!("computerDnsName eq '{first}'")).await;
    assert_eq!(found, [first]);
    let id = all[1]["id"].as_str().unwrap();
    assert_eq!(names(&plain, &format!("id in ('{id}')")).await.len(), 1);
    let servers = names(&plain, "startswith(computerDnsName,'srv-')").await;
    let group = names(&plain, "rbacGroupName eq 'Servers'").await;
    assert!(!servers.is_empty() && servers == group);
    let tagged = names(&plain, "machineTags/any(tag: tag eq 'VIP')").await;
    let vip = json!("VIP");
    let is_vip = |machine: &Value| machine["machineTags"].as_array().unwrap().contains(&vip);
    assert!(!tagged.is_empty() && tagged.len() == count(&is_vip));
    let inactive = names(&plain, "healthStatus ne 'Active'").await;
    assert!((5..60).contains(&inactive.len()), "{}", inactive.len());
    let since = emulator.clock().now() - jiff::SignedDuration::from_secs(3600);
    let fresh = names(&plain, &format!("lastSeen ge {since}")).await;
    assert!((240..300).contains(&fresh.len()), "{}", fresh.len());
    let odd = plain.call("machines?$filter=machineTags eq 'VIP'").await;
    assert_eq!(odd.status(), 400);
}

#[tokio::test]
async fn a_made_fleet_stands_beside_a_folder_and_its_results_come_again_by_seed() {
    let transcript = |seed| async move {
        let emulator = Emulator::start_blocking(EmulatorSettings {
            seed,
            ..quick(small_fleet().and(made(2)))
        })
        .unwrap();
        let plain = Plain::of(&emulator).await;
        assert_eq!(
            plain.json("machines").await["value"]
                .as_array()
                .unwrap()
                .len(),
            3
        );
        let all = plain.json("machines").await;
        let device = all["value"][1]["computerDnsName"].as_str().unwrap();
        let text = order("CASE-42").to_string();
        let text = text.replace("a.ps1", "inventory.ps1");
        let order = serde_json::from_str(&text.replace("b.exe", "collector.exe"));
        let action = plain.started(device, &order.unwrap()).await;
        plain
            .until(action["id"].as_str().unwrap(), "Succeeded")
            .await;
        let link = plain.link(result(&action, 1)).await;
        plain.blob(&link).await.text().await.unwrap()
    };
    let one = transcript(7).await;
    assert_eq!(one, transcript(7).await);
    assert_ne!(one, transcript(8).await);
}
