//! Investigation packages: started, waited for, linked to, fetched.

use crate::tests::*;

#[tokio::test]
async fn a_package_is_started_once_and_fetched_when_it_is_there() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        latency: Latency {
            package: span(20),
            ..even()
        },
        limits: ServiceLimits {
            package_link_per_min: 4,
            ..ServiceLimits::default()
        },
        ..quick(machines(1))
    })
    .unwrap();
    let plain = Plain::of(&emulator).await;
    let start = format!(
        "machines/{}/collectInvestigationPackage",
        machine_id("ws-0")
    );
    let comment = json!({"Comment": "CASE-42"});
    let started = plain.post(&start, &comment).await;
    assert_eq!(started.status(), 201);
    let action: Value = started.json().await.unwrap();
    assert_eq!(action["type"], "CollectInvestigationPackage");
    let again = refusal(plain.post(&start, &comment).await).await;
    assert_eq!(again, (400, "ActiveRequestAlreadyExists".into()));
    // A session is another thing.
    plain.started("ws-0", &order("CASE-42")).await;

    let id = action["id"].as_str().unwrap();
    let link = format!("machineactions/{id}/getPackageUri");
    assert_eq!(plain.call(&link).await.status(), 404);
    plain.until(id, "Succeeded").await;
    let value = plain.json(&link).await["value"].clone();
    let quoted = value.as_str().unwrap();
    let link = quoted.strip_prefix('"').and_then(|l| l.strip_suffix('"'));
    let link = link.unwrap();
    assert!(link.contains("token=") && !link.contains("sig="));
    let package = plain.blob(link).await;
    assert_eq!(package.status(), 200);
    let package = package.bytes().await.unwrap();
    let key = result(&action, 0);
    assert_eq!(emulator.journal().downloaded_whole(key), 1);
    let cursor = std::io::Cursor::new(package.clone());
    assert!(zip::ZipArchive::new(cursor).unwrap().len() >= 4);
    assert_eq!(emulator.journal().all_violations(), []);
    let rest = plain.range(link, "bytes=100-", Some("*")).await;
    assert_eq!(rest.bytes().await.unwrap(), package[100..]);
    let forged = link.replace("token=", "token=a");
    assert_eq!(plain.blob(&forged).await.status(), 403);
}

#[tokio::test]
async fn a_package_link_is_called_twice_a_minute_at_most() {
    let emulator = Emulator::start_blocking(quick(machines(1))).unwrap();
    let plain = Plain::of(&emulator).await;
    let run = plain.started("ws-0", &order("CASE-42")).await;
    let link = format!(
        "machineactions/{}/getPackageUri",
        run["id"].as_str().unwrap()
    );
    let refused = refusal(plain.call(&link).await).await;
    assert_eq!(refused, (400, "BadRequest".into()), "it is no package");
    plain.call(&link).await;
    assert_eq!(plain.call(&link).await.status(), 429);
}
