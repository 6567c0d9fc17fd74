//! Tests of the emulator over real HTTP.

mod away;
mod collecting;
mod conformance;
mod faults;
mod fleet;
mod library;
mod packages;
mod runs;

use std::time::Duration;

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use crate::*;
use evidence::{ActionId, ResultKey};

const TRANSCRIPT: &str =
    r#"{"script_name":"a.ps1","exit_code":0,"script_output":"one\ntwo","script_errors":""}"#;

/// An HTTP client with an access token.
struct TestClient {
    http: Client,
    base: String,
    token: String,
}

impl TestClient {
    async fn of(emulator: &Emulator) -> Self {
        let mut client = Self {
            http: http_client(),
            base: emulator.api_base(),
            token: String::new(),
        };
        client.sign_in(emulator).await;
        client
    }

    async fn sign_in(&mut self, emulator: &Emulator) {
        let address = format!(
            "{}/{}/oauth2/v2.0/token",
            emulator.login_base(),
            emulator.tenant()
        );
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", emulator.client_id()),
            ("client_secret", emulator.client_secret()),
            ("scope", "https://api.securitycenter.microsoft.com/.default"),
        ];
        let answer = self.http.post(address).form(&form).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        self.token = answer["access_token"].as_str().unwrap().to_string();
    }

    async fn call(&self, path: &str) -> Response {
        let request = self.http.get(format!("{}/api/{path}", self.base));
        request.bearer_auth(&self.token).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        self.call(path).await.json().await.unwrap()
    }

    /// A call with a JSON body, sent unchanged.
    async fn send(&self, method: Method, path: &str, body: &str) -> Response {
        let request = self
            .http
            .request(method, format!("{}/api/{path}", self.base));
        request
            .header("content-type", "application/json")
            .bearer_auth(&self.token)
            .body(body.to_string())
            .send()
            .await
            .unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> Response {
        self.send(Method::POST, path, &body.to_string()).await
    }

    async fn link_call(&self, key: ResultKey) -> Response {
        let (id, n) = (key.action, key.index);
        let call = format!("machineactions/{id}/GetLiveResponseResultDownloadLink(index={n})");
        self.call(&call).await
    }

    async fn link(&self, key: ResultKey) -> String {
        let answer: Value = self.link_call(key).await.json().await.unwrap();
        answer["value"].as_str().unwrap().to_string()
    }

    async fn blob(&self, link: &str) -> Response {
        self.http.get(link).send().await.unwrap()
    }

    async fn range(&self, link: &str, range: &str, etag: Option<&str>) -> Response {
        let mut request = self.http.get(link).header("range", range);
        if let Some(etag) = etag {
            request = request.header("if-match", etag);
        }
        request.send().await.unwrap()
    }
}

fn http_client() -> Client {
    // Fails if another test has installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    value.map_or(String::new(), |v| v.to_str().unwrap().to_string())
}

/// The value of a `Content-MD5` header.
fn md5_of(bytes: &[u8]) -> String {
    let digest = <md5::Md5 as md5::Digest>::digest(bytes);
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest)
}

fn start(fleet: EmulatedFleet, faults: &str) -> Emulator {
    Emulator::start_blocking(EmulatorSettings {
        faults: Faults::parse(faults).unwrap(),
        ..EmulatorSettings::serving(fleet)
    })
    .unwrap()
}

fn id() -> ActionId {
    "5382f7ea-7557-4ab7-9782-d50480024a4e".parse().unwrap()
}

fn key(index: u32) -> ResultKey {
    format!("{}/{index}", id()).parse().unwrap()
}

/// One action: a transcript, a file, a PutFile, a lost upload, a failed script.
fn one_action_fleet() -> EmulatedFleet {
    let action = ScriptedAction::on("ws-001.contoso.example")
        .id(id())
        .comment("CASE-42")
        .run_script("a.ps1", "-All", TRANSCRIPT)
        .get_file("C:\\Temp\\the file.txt", vec![7u8; 1000])
        .put_file("a.ps1")
        .command(ScriptedCommand::get_file("C:\\lost"))
        .command(ScriptedCommand::run_script("b.ps1", "").failed("exit code 1"));
    EmulatedFleet::new().action(action)
}

/// A limit that a test can reach quickly.
fn ten_links_per_minute() -> ServiceLimits {
    ServiceLimits {
        link_per_min: 10,
        ..ServiceLimits::default()
    }
}

fn real_duration(emulator: &Emulator, seconds: u64) -> Duration {
    emulator.clock().real(Duration::from_secs(seconds)) + Duration::from_millis(5)
}

/// `count` online machines, and two library files.
fn machines(count: usize) -> EmulatedFleet {
    let fleet = EmulatedFleet::new()
        .library("a.ps1", "one")
        .library("b.exe", "two");
    (0..count).fold(fleet, |fleet, n| {
        fleet.device(EmulatedDevice::new(&format!("ws-{n}")).reporting())
    })
}

const fn exactly(seconds: u64) -> std::ops::RangeInclusive<Duration> {
    Duration::from_secs(seconds)..=Duration::from_secs(seconds)
}

/// 10 s queued, 2 s per command, 5 s until a result is available, and 10 s until
/// the action is over.
fn fixed_latency() -> Latency {
    Latency {
        queued: exactly(10),
        put: exactly(2),
        script: exactly(2),
        get: exactly(2),
        settling: exactly(10),
        upload: exactly(5),
        ..Latency::default()
    }
}

/// Settings with time scale 100 and fixed latencies.
fn fast(fleet: EmulatedFleet) -> EmulatorSettings {
    EmulatorSettings {
        time_scale: 100.0,
        latency: fixed_latency(),
        ..EmulatorSettings::serving(fleet)
    }
}

/// The body of a run: PutFile, RunScript, GetFile.
fn run_body(comment: &str) -> Value {
    let command = |kind: &str, key: &str, value: &str| json!({"type": kind, "params": [{"key": key, "value": value}]});
    json!({
        "Commands": [
            command("PutFile", "FileName", "b.exe"),
            command("RunScript", "ScriptName", "a.ps1"),
            command("GetFile", "Path", "C:\\Temp\\out.txt"),
        ],
        "Comment": comment,
    })
}

impl TestClient {
    /// Posts a run on the machine with a name.
    async fn run(&self, device: &str, body: &Value) -> Response {
        let path = format!("machines/{}/runliveresponse", machine_id(device));
        self.post(&path, body).await
    }

    /// Posts a run that is accepted; returns the new action.
    async fn run_ok(&self, device: &str, body: &Value) -> Value {
        let response = self.run(device, body).await;
        assert_eq!(response.status(), 201);
        response.json().await.unwrap()
    }

    /// Waits until an action has a status; returns its JSON.
    async fn until(&self, id: &str, status: &str) -> Value {
        for _ in 0..200 {
            let action = self.json(&format!("machineactions/{id}")).await;
            if action["status"] == status {
                return action;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{id} did not become {status}");
    }
}

/// Status and error code of a response.
async fn error_of(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let error: Value = response.json().await.unwrap();
    let code = error["error"]["code"].as_str().unwrap_or_default();
    (status, code.to_string())
}

fn result(action: &Value, index: u32) -> ResultKey {
    let id = action["id"].as_str().unwrap();
    format!("{id}/{index}").parse().unwrap()
}
