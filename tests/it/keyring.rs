//! `--keyring` on Linux, against a keyring that the test starts.
//!
//! Needs dbus-run-session, gnome-keyring-daemon and secret-tool; prints a line
//! and passes if one of them is not installed.

use std::fs;
use std::process::Command;

use super::support::Case;

const CLIENT: &str = "00000000-0000-4000-8000-00000000c0de";

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut paths = std::env::split_paths(&path);
    paths.any(|dir| dir.join(program).exists())
}

/// Starts a session with an empty keyring, runs a shell script in it, and
/// returns its output. `$AA` is the program under test.
fn in_keyring_session(case: &Case, script: &str) -> Option<String> {
    let tools = ["dbus-run-session", "gnome-keyring-daemon", "secret-tool"];
    if let Some(missing) = tools.into_iter().find(|tool| !is_installed(tool)) {
        eprintln!("skipped: {missing} is not installed");
        return None;
    }
    let home = case.path("home");
    for dir in [".cache", ".local/share/keyrings", "run"] {
        fs::create_dir_all(home.join(dir)).unwrap();
    }
    let start = "printf pw | gnome-keyring-daemon --unlock --components=secrets -d >/dev/null 2>&1; sleep 1;";
    let program = case.command(&[]).get_program().to_owned();
    let output = Command::new("timeout")
        .args(["60", "dbus-run-session", "--", "sh", "-c"])
        .arg(format!("{start} {script}"))
        .env("HOME", &home)
        .env("XDG_DATA_HOME", home.join(".local/share"))
        .env("XDG_RUNTIME_DIR", home.join("run"))
        .env("AFTERACTION_ARCHIVE", case.archive())
        .env("AFTERACTION_STATE", case.path("state"))
        .env("AA", program)
        .env_remove("AFTERACTION_CLIENT_SECRET")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn stored_secret_is_found_and_never_printed() {
    let case = Case::new();
    let script = format!(
        "printf 's3cret-of-keyring' | secret-tool store --label=afteraction \
             service afteraction username {CLIENT}; \
         \"$AA\" collect --keyring --tenant t --client-id {CLIENT} \
             --api-base http://127.0.0.1:9 --login-base http://127.0.0.1:9 --check"
    );
    let Some(output) = in_keyring_session(&case, &script) else {
        return;
    };
    // The sign-in fails because nothing listens; the keyring was read before.
    assert!(!output.contains("from the keyring"), "{output}");
    assert!(output.contains("127.0.0.1:9"), "{output}");
    assert!(!output.contains("s3cret-of-keyring"), "{output}");
}

#[test]
fn missing_secret_is_an_error_with_the_command_that_stores_it() {
    let case = Case::new();
    let script = format!("\"$AA\" collect --keyring --tenant t --client-id {CLIENT} --check");
    let Some(output) = in_keyring_session(&case, &script) else {
        return;
    };
    assert!(output.contains("no secret is stored"), "{output}");
    let hint = "secret-tool store --label=afteraction service afteraction username";
    assert!(output.contains(hint), "{output}");
}
