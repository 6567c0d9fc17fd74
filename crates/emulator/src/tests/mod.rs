//! The emulator as a client meets it, quirk by quirk, over real HTTP.

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

/// A client that knows nothing but HTTP.
struct Plain {
    http: Client,
    base: String,
    token: String,
}

impl Plain {
    async fn of(emulator: &Emulator) -> Self {
        let mut plain = Self {
            http: client(),
            base: emulator.api_base(),
            token: String::new(),
        };
        plain.sign_in(emulator).await;
        plain
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

    /// A call with a JSON body, sent as it stands.
    async fn send(&self, method: Method, path: &str, body: &str) -> Response {
        let request = self
            .http
            .request(method, format!("{}/api/{path}", self.base));
        let request = request.header("content-type", "application/json");
        let request = request.bearer_auth(&self.token).body(body.to_string());
        request.send().await.unwrap()
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

fn client() -> Client {
    // Another test may have installed it first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    value.map_or(String::new(), |v| v.to_str().unwrap().to_string())
}

fn serving(fleet: EmulatedFleet, faults: &str) -> Emulator {
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

/// One action: a transcript, a file, a PutFile, a lost upload, a failure.
fn small_fleet() -> EmulatedFleet {
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

/// A budget that a test can spend quickly.
fn few() -> ServiceLimits {
    ServiceLimits {
        link_per_min: 10,
        ..ServiceLimits::default()
    }
}

fn emulator_span(emulator: &Emulator, seconds: u64) -> Duration {
    emulator.clock().real(Duration::from_secs(seconds)) + Duration::from_millis(5)
}

/// So many machines that are there, and two files in the library.
fn machines(count: usize) -> EmulatedFleet {
    let fleet = EmulatedFleet::new()
        .library("a.ps1", "one")
        .library("b.exe", "two");
    (0..count).fold(fleet, |fleet, n| {
        fleet.device(EmulatedDevice::new(&format!("ws-{n}")).reporting())
    })
}

const fn span(seconds: u64) -> std::ops::RangeInclusive<Duration> {
    Duration::from_secs(seconds)..=Duration::from_secs(seconds)
}

/// Ten seconds queued, two for each command, five until a result is ready and
/// ten until the action is over.
fn even() -> Latency {
    Latency {
        queued: span(10),
        put: span(2),
        script: span(2),
        get: span(2),
        settling: span(10),
        upload: span(5),
        ..Latency::default()
    }
}

/// A hundred times as fast, at an even pace.
fn quick(fleet: EmulatedFleet) -> EmulatorSettings {
    EmulatorSettings {
        time_scale: 100.0,
        latency: even(),
        ..EmulatorSettings::serving(fleet)
    }
}

/// A file placed, a script run, a file fetched.
fn order(comment: &str) -> Value {
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

impl Plain {
    /// Posts a run on a machine by its name.
    async fn run(&self, device: &str, order: &Value) -> Response {
        let path = format!("machines/{}/runliveresponse", machine_id(device));
        self.post(&path, order).await
    }

    /// The same, which succeeds: the new action.
    async fn started(&self, device: &str, order: &Value) -> Value {
        let response = self.run(device, order).await;
        assert_eq!(response.status(), 201);
        response.json().await.unwrap()
    }

    /// An action once its status is `status`.
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

/// Status and code of a refusal.
async fn refusal(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let error: Value = response.json().await.unwrap();
    let code = error["error"]["code"].as_str().unwrap_or_default();
    (status, code.to_string())
}

fn result(action: &Value, index: u32) -> ResultKey {
    let id = action["id"].as_str().unwrap();
    format!("{id}/{index}").parse().unwrap()
}
