//! Machines that are away, and come back.

use crate::tests::*;

fn with_absent(until: u64, latency: Latency) -> Emulator {
    let hour = Duration::from_secs(3600);
    let away = EmulatedDevice::new("away").away(hour, Duration::from_secs(until), "Inactive");
    Emulator::start_blocking(EmulatorSettings {
        limits: ServiceLimits {
            sessions: 1,
            ..ServiceLimits::default()
        },
        latency,
        ..quick(machines(1).device(away))
    })
    .unwrap()
}

#[tokio::test]
async fn an_action_waits_for_its_machine_and_takes_a_session_meanwhile() {
    let emulator = with_absent(120, even());
    let plain = Plain::of(&emulator).await;
    let path = format!("machines/{}", machine_id("away"));
    let before = plain.json(&path).await;
    assert_eq!(before["healthStatus"], "Inactive");
    let action = plain.started("away", &order("CASE-42")).await;
    assert_eq!(plain.run("ws-0", &order("CASE-42")).await.status(), 429);
    let id = action["id"].as_str().unwrap();
    let done = plain.until(id, "Succeeded").await;
    let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let start = emulator.origin().emulated;
    let begun = time(&done["commands"][0]["startTime"]).duration_since(start);
    assert!((125..=181).contains(&begun.as_secs()), "{begun}");
    let after = plain.json(&path).await;
    assert_eq!(after["healthStatus"], "Active");
    assert!(time(&after["lastSeen"]) > time(&before["lastSeen"]));
    assert!(time(&before["lastSeen"]) < start);
    // It reported when it was back; times are written without the last digits.
    let back = time(&after["lastSeen"]).duration_since(start);
    assert!((back.as_secs_f64() - 120.0).abs() < 0.001, "{back}");
}

#[tokio::test]
async fn an_action_waits_for_a_machine_that_left_before_it_took_it_up() {
    let leaving = EmulatedDevice::new("leaving");
    let leaving = leaving.leaving(Duration::from_secs(8), Duration::from_secs(50), "Active");
    let emulator = Emulator::start_blocking(quick(machines(0).device(leaving))).unwrap();
    let plain = Plain::of(&emulator).await;
    let action = plain.started("leaving", &order("CASE-42")).await;
    let done = plain
        .until(action["id"].as_str().unwrap(), "Succeeded")
        .await;
    let begun = done["commands"][0]["startTime"].as_str().unwrap();
    let begun: jiff::Timestamp = begun.parse().unwrap();
    let begun = begun.duration_since(emulator.origin().emulated).as_secs();
    assert!(begun >= 50, "{begun}");
}

#[tokio::test]
async fn an_action_is_given_up_after_its_days_in_the_queue() {
    let pace = Latency {
        queue_limit: Duration::from_secs(40),
        ..even()
    };
    let emulator = with_absent(100_000, pace);
    let plain = Plain::of(&emulator).await;
    let action = plain.started("away", &order("CASE-42")).await;
    let id = action["id"].as_str().unwrap();
    let over = plain.until(id, "TimeOut").await;
    assert_eq!(over["commands"][0]["commandStatus"], "Created");
    assert!(over["commands"][0]["startTime"].is_null());
    assert_eq!(plain.link_call(result(&action, 1)).await.status(), 404);
    plain.started("ws-0", &order("CASE-42")).await;
}

#[tokio::test]
async fn machines_can_be_filtered_by_how_they_are_now() {
    let emulator = with_absent(60, even());
    let plain = Plain::of(&emulator).await;
    let inactive = "machines?$filter=healthStatus eq 'Inactive'";
    let found = plain.json(inactive).await;
    assert_eq!(found["value"][0]["computerDnsName"], "away");
    tokio::time::sleep(emulator_span(&emulator, 61)).await;
    assert_eq!(plain.json(inactive).await["value"], json!([]));
}
