//! Absent machines that return.

use crate::tests::*;

fn emulator_with_absent_machine(until: u64, latency: Latency) -> Emulator {
    let hour = Duration::from_secs(3600);
    let away = EmulatedDevice::new("away").away(hour, Duration::from_secs(until), "Inactive");
    Emulator::start_blocking(EmulatorSettings {
        limits: ServiceLimits {
            sessions: 1,
            ..ServiceLimits::default()
        },
        latency,
        ..fast(machines(1).device(away))
    })
    .unwrap()
}

#[tokio::test]
async fn action_for_an_absent_machine_waits_and_occupies_a_session() {
    let emulator = emulator_with_absent_machine(120, fixed_latency());
    let client = TestClient::of(&emulator).await;
    let path = format!("machines/{}", machine_id("away"));
    let before = client.json(&path).await;
    assert_eq!(before["healthStatus"], "Inactive");
    let action = client.run_ok("away", &run_body("CASE-42")).await;
    assert_eq!(client.run("ws-0", &run_body("CASE-42")).await.status(), 429);
    let id = action["id"].as_str().unwrap();
    let done = client.until(id, "Succeeded").await;
    let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let start = emulator.origin().emulated;
    let delay = time(&done["commands"][0]["startTime"]).duration_since(start);
    assert!((125..=181).contains(&delay.as_secs()), "{delay}");
    let after = client.json(&path).await;
    assert_eq!(after["healthStatus"], "Active");
    assert!(time(&after["lastSeen"]) > time(&before["lastSeen"]));
    assert!(time(&before["lastSeen"]) < start);
    // The machine reported when it returned. The API truncates times to 100 ns.
    let returned = time(&after["lastSeen"]).duration_since(start);
    assert!((returned.as_secs_f64() - 120.0).abs() < 0.001, "{returned}");
}

#[tokio::test]
async fn action_waits_if_its_machine_leaves_before_it_begins() {
    let (after, until) = (Duration::from_secs(8), Duration::from_secs(50));
    let leaving = EmulatedDevice::new("leaving").leaving(after, until, "Active");
    let emulator = Emulator::start_blocking(fast(machines(0).device(leaving))).unwrap();
    let client = TestClient::of(&emulator).await;
    let action = client.run_ok("leaving", &run_body("CASE-42")).await;
    let done = client
        .until(action["id"].as_str().unwrap(), "Succeeded")
        .await;
    let text = done["commands"][0]["startTime"].as_str().unwrap();
    let begin: jiff::Timestamp = text.parse().unwrap();
    let seconds = begin.duration_since(emulator.origin().emulated).as_secs();
    assert!(seconds >= 50, "{seconds}");
}

#[tokio::test]
async fn pending_action_times_out_at_the_queue_limit() {
    let latency = Latency {
        queue_limit: Duration::from_secs(40),
        ..fixed_latency()
    };
    let emulator = emulator_with_absent_machine(100_000, latency);
    let client = TestClient::of(&emulator).await;
    let action = client.run_ok("away", &run_body("CASE-42")).await;
    let id = action["id"].as_str().unwrap();
    let over = client.until(id, "TimeOut").await;
    assert_eq!(over["commands"][0]["commandStatus"], "Created");
    assert!(over["commands"][0]["startTime"].is_null());
    assert_eq!(client.link_call(result(&action, 1)).await.status(), 404);
    client.run_ok("ws-0", &run_body("CASE-42")).await;
}

#[tokio::test]
async fn health_filter_uses_the_current_health() {
    let emulator = emulator_with_absent_machine(60, fixed_latency());
    let client = TestClient::of(&emulator).await;
    let inactive = "machines?$filter=healthStatus eq 'Inactive'";
    let found = client.json(inactive).await;
    assert_eq!(found["value"][0]["computerDnsName"], "away");
    tokio::time::sleep(real_duration(&emulator, 61)).await;
    assert_eq!(client.json(inactive).await["value"], json!([]));
}
