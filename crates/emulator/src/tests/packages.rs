//! Investigation packages: start, link and download.

use crate::tests::*;

#[tokio::test]
async fn package_is_started_once_and_downloaded_when_complete() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        latency: Latency {
            package: exactly(20),
            ..fixed_latency()
        },
        limits: ServiceLimits {
            package_link_per_min: 4,
            ..ServiceLimits::default()
        },
        ..fast(machines(1))
    })
    .unwrap();
    let client = TestClient::of(&emulator).await;
    let start = format!(
        "machines/{}/collectInvestigationPackage",
        machine_id("ws-0")
    );
    let comment = json!({"Comment": "CASE-42"});
    let started = client.post(&start, &comment).await;
    assert_eq!(started.status(), 201);
    let action: Value = started.json().await.unwrap();
    assert_eq!(action["type"], "CollectInvestigationPackage");
    let again = error_of(client.post(&start, &comment).await).await;
    assert_eq!(again, (400, "ActiveRequestAlreadyExists".into()));
    // A package does not prevent a session.
    client.run_ok("ws-0", &run_body("CASE-42")).await;

    let id = action["id"].as_str().unwrap();
    let link = format!("machineactions/{id}/getPackageUri");
    assert_eq!(client.call(&link).await.status(), 404);
    client.until(id, "Succeeded").await;
    let value = client.json(&link).await["value"].clone();
    let quoted = value.as_str().unwrap();
    let link = quoted.strip_prefix('"').and_then(|l| l.strip_suffix('"'));
    let link = link.unwrap();
    assert!(link.contains("token=") && !link.contains("sig="));
    let package = client.blob(link).await;
    assert_eq!(package.status(), 200);
    let package = package.bytes().await.unwrap();
    let key = result(&action, 0);
    assert_eq!(emulator.journal().downloaded_whole(key), 1);
    let cursor = std::io::Cursor::new(package.clone());
    assert!(zip::ZipArchive::new(cursor).unwrap().len() >= 4);
    assert_eq!(emulator.journal().all_violations(), []);
    let rest = client.range(link, "bytes=100-", Some("*")).await;
    assert_eq!(rest.bytes().await.unwrap(), package[100..]);
    let forged = link.replace("token=", "token=a");
    assert_eq!(client.blob(&forged).await.status(), 403);
}

#[tokio::test]
async fn package_links_are_limited_to_two_per_minute() {
    let emulator = Emulator::start_blocking(fast(machines(1))).unwrap();
    let client = TestClient::of(&emulator).await;
    let run = client.run_ok("ws-0", &run_body("CASE-42")).await;
    let link = format!(
        "machineactions/{}/getPackageUri",
        run["id"].as_str().unwrap()
    );
    let refused = error_of(client.call(&link).await).await;
    assert_eq!(refused, (400, "BadRequest".into()), "not a package");
    client.call(&link).await;
    assert_eq!(client.call(&link).await.status(), 429);
}
