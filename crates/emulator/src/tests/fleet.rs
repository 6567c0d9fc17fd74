//! Synthetic fleets.

use std::collections::HashSet;

use crate::tests::*;

fn synthetic_fleet(devices: usize) -> EmulatedFleet {
    EmulatedFleet::synthetic(&SyntheticFleet {
        devices,
        away: 0.1,
        ..SyntheticFleet::default()
    })
}

async fn names(client: &TestClient, filter: &str) -> Vec<String> {
    let page = client.json(&format!("machines?$filter={filter}")).await;
    let values = page["value"].as_array().unwrap_or_else(|| panic!("{page}"));
    let name = |machine: &Value| machine["computerDnsName"].as_str().unwrap().to_string();
    values.iter().map(name).collect()
}

#[tokio::test]
async fn fleet_of_12_000_devices_is_listed_in_pages() {
    let emulator = start(synthetic_fleet(12_000), "");
    let client = TestClient::of(&emulator).await;
    let first = client.json("machines?$count=true").await;
    assert_eq!(first["value"].as_array().unwrap().len(), 10_000);
    assert_eq!(first["@odata.count"], 12_000);
    let address = first["@odata.nextLink"].as_str().unwrap();
    let request = client.http.get(address).bearer_auth(&client.token);
    let next: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(next["value"].as_array().unwrap().len(), 2000);
    let pages = [&first, &next];
    let machines = pages
        .iter()
        .flat_map(|page| page["value"].as_array().unwrap());
    let ids: HashSet<_> = machines.map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 12_000);
}

#[tokio::test]
async fn machines_are_filtered_by_name_tag_group_and_last_report() {
    let emulator = start(synthetic_fleet(300), "");
    let client = TestClient::of(&emulator).await;
    let all = client.json("machines").await["value"].clone();
    let count = |fits: &dyn Fn(&Value) -> bool| {
        let machines = all.as_array().unwrap().iter();
        machines.filter(|machine| fits(machine)).count()
    };
    let first = all[0]["computerDnsName"].as_str().unwrap();
    let found = names(&client, &format!("computerDnsName eq '{first}'")).await;
    assert_eq!(found, [first]);
    let id = all[1]["id"].as_str().unwrap();
    assert_eq!(names(&client, &format!("id in ('{id}')")).await.len(), 1);
    let servers = names(&client, "startswith(computerDnsName,'srv-')").await;
    let group = names(&client, "rbacGroupName eq 'Servers'").await;
    assert!(!servers.is_empty() && servers == group);
    let tagged = names(&client, "machineTags/any(tag: tag eq 'VIP')").await;
    let vip = json!("VIP");
    let is_vip = |machine: &Value| machine["machineTags"].as_array().unwrap().contains(&vip);
    assert!(!tagged.is_empty() && tagged.len() == count(&is_vip));
    let inactive = names(&client, "healthStatus ne 'Active'").await;
    assert!((5..60).contains(&inactive.len()), "{}", inactive.len());
    let since = emulator.clock().now() - jiff::SignedDuration::from_secs(3600);
    let fresh = names(&client, &format!("lastSeen ge {since}")).await;
    assert!((240..300).contains(&fresh.len()), "{}", fresh.len());
    let odd = client.call("machines?$filter=machineTags eq 'VIP'").await;
    assert_eq!(odd.status(), 400);
}

#[tokio::test]
async fn fleets_can_be_merged_and_results_are_repeatable_by_seed() {
    let transcript = |seed| async move {
        let emulator = Emulator::start_blocking(EmulatorSettings {
            seed,
            ..fast(one_action_fleet().and(synthetic_fleet(2)))
        })
        .unwrap();
        let client = TestClient::of(&emulator).await;
        assert_eq!(
            client.json("machines").await["value"]
                .as_array()
                .unwrap()
                .len(),
            3
        );
        let all = client.json("machines").await;
        let device = all["value"][1]["computerDnsName"].as_str().unwrap();
        let text = run_body("CASE-42").to_string();
        let text = text.replace("a.ps1", "inventory.ps1");
        let body = serde_json::from_str(&text.replace("b.exe", "collector.exe"));
        let action = client.run_ok(device, &body.unwrap()).await;
        client
            .until(action["id"].as_str().unwrap(), "Succeeded")
            .await;
        let link = client.link(result(&action, 1)).await;
        client.blob(&link).await.text().await.unwrap()
    };
    let one = transcript(7).await;
    assert_eq!(one, transcript(7).await);
    assert_ne!(one, transcript(8).await);
}
