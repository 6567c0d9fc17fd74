//! The library: list, upload, delete.

use crate::tests::*;
use evidence::Sha256;

/// The form of an upload, built without the parser under test.
fn form(fields: &[(&str, &str)], file: Option<(&str, &[u8])>) -> Vec<u8> {
    let mut body = Vec::new();
    let mut field = |head: String, content: &[u8]| {
        body.extend_from_slice(b"--cut\r\nContent-Disposition: form-data; ");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    for (name, value) in fields {
        field(format!("name=\"{name}\""), value.as_bytes());
    }
    if let Some((name, content)) = file {
        field(format!("name=\"file\"; filename=\"{name}\""), content);
    }
    body.extend_from_slice(b"--cut--\r\n");
    body
}

async fn upload(client: &TestClient, body: Vec<u8>) -> Response {
    let request = client
        .http
        .post(format!("{}/api/libraryfiles", client.base));
    request
        .header("content-type", "multipart/form-data; boundary=cut")
        .bearer_auth(&client.token)
        .body(body)
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn file_is_uploaded_listed_run_and_deleted() {
    let emulator = Emulator::start_blocking(fast(machines(2))).unwrap();
    let client = TestClient::of(&emulator).await;
    let mut run = run_body("CASE-42").to_string();
    run = run.replace("a.ps1", "my script.ps1");
    let run: Value = serde_json::from_str(&run).unwrap();
    assert_eq!(client.run("ws-0", &run).await.status(), 400);

    let fields = [
        ("Description", "lists processes"),
        ("HasParameters", "true"),
        ("ParametersDescription", "-All"),
    ];
    let script = b"Get-Process\r\n";
    let form = form(&fields, Some(("my script.ps1", script)));
    let answer = upload(&client, form).await;
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["fileName"], "my script.ps1");
    assert_eq!(answer["sha256"], Sha256::of(script).to_string());
    assert_eq!(answer["description"], "lists processes");
    assert_eq!(answer["hasParameters"], true);
    assert_eq!(answer["parametersDescription"], "-All");
    assert_eq!(answer["createdBy"], emulator.client_id());
    assert!(answer["creationTime"].is_string() && answer["lastUpdatedTime"].is_string());
    let list = client.json("libraryfiles").await;
    let names = list["value"].as_array().unwrap().iter();
    let names: Vec<_> = names
        .map(|file| file["fileName"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a.ps1", "b.exe", "my script.ps1"]);

    client.run_ok("ws-0", &run).await;
    let delete = "libraryfiles/my%20script.ps1";
    let deleted = client.send(Method::DELETE, delete, "").await;
    assert_eq!(deleted.status(), 204);
    assert_eq!(client.send(Method::DELETE, delete, "").await.status(), 404);
    assert_eq!(client.run("ws-1", &run).await.status(), 400);
}

#[tokio::test]
async fn existing_file_is_replaced_only_with_override() {
    let emulator = Emulator::start_blocking(fast(machines(0))).unwrap();
    let client = TestClient::of(&emulator).await;
    let other = |fields: &[(&str, &str)]| form(fields, Some(("a.ps1", b"other")));
    let refused = error_of(upload(&client, other(&[])).await).await;
    assert_eq!(refused, (400, "InvalidInput".into()));
    let declined = upload(&client, other(&[("OverrideIfExists", "false")])).await;
    assert_eq!(declined.status(), 400);
    let replaced = upload(&client, other(&[("OverrideIfExists", "true")])).await;
    assert_eq!(replaced.status(), 200);
    let list = client.json("libraryfiles").await;
    assert_eq!(list["value"][0]["sha256"], Sha256::of(b"other").to_string());
    assert!(
        list["value"][0]["creationTime"].as_str() < list["value"][0]["lastUpdatedTime"].as_str()
    );
}

#[tokio::test]
async fn invalid_uploads_are_rejected() {
    let emulator = Emulator::start_blocking(fast(machines(0))).unwrap();
    let client = TestClient::of(&emulator).await;
    let large = vec![7u8; (20 << 20) + 1];
    for body in [
        Vec::new(),
        form(&[("Description", "no file")], None),
        form(&[("description", "small")], Some(("c.ps1", b"x"))),
        form(&[("HasParameters", "perhaps")], Some(("c.ps1", b"x"))),
        form(&[], Some(("", b"x"))),
        form(&[], Some(("c.ps1", &large))),
        form(&[], Some(("c.ps1", &[7u8; 30 << 20]))),
    ] {
        let refused = error_of(upload(&client, body).await).await;
        assert_eq!(refused, (400, "InvalidInput".into()));
    }
    let whole = form(&[], Some(("c.ps1", &large[1..])));
    assert_eq!(upload(&client, whole).await.status(), 200);
}
