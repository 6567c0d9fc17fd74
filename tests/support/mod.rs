//! A temporary case and the program under test.

#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A temporary directory with one archive.
pub struct Case {
    dir: tempfile::TempDir,
}

impl Case {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn archive(&self) -> PathBuf {
        self.path("case")
    }

    /// Writes a file below the case and creates its directories.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    /// The program with the archive of this case and a clean environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_afteraction"));
        for name in std::env::vars_os().map(|(name, _)| name) {
            if name.to_string_lossy().starts_with("AFTERACTION_") {
                command.env_remove(name);
            }
        }
        command
            .env("AFTERACTION_ARCHIVE", self.archive())
            .env("AFTERACTION_STATE", self.path("state"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("NO_COLOR", "1")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args))
    }

    /// Runs and asserts exit code 0.
    pub fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?} exited {}\n{}", ran.code, ran.stderr);
        ran
    }
}

/// `collect` from an emulator, with its credentials.
#[cfg(feature = "emulator")]
pub fn collecting(case: &Case, emulator: &emulator::Emulator, more: &[&str]) -> Command {
    speaking(case, emulator, &["collect"], more)
}

/// A command that connects to an emulator, with its credentials.
#[cfg(feature = "emulator")]
pub fn speaking(
    case: &Case,
    emulator: &emulator::Emulator,
    words: &[&str],
    more: &[&str],
) -> Command {
    let mut command = case.command(words);
    command
        .args(["--api-base", &emulator.api_base()])
        .args(["--login-base", &emulator.login_base()])
        .args(["--tenant", emulator.tenant()])
        .args(["--client-id", emulator.client_id()])
        .args(more)
        .env("AFTERACTION_CLIENT_SECRET", emulator.client_secret());
    command
}

/// Output and exit code of a command.
pub struct Ran {
    pub code: i32,
    pub bytes: Vec<u8>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Runs a command and waits for it.
    pub fn of(mut command: Command) -> Self {
        let output: Output = command.output().expect("the program runs");
        let code = output
            .status
            .code()
            .unwrap_or_else(|| panic!("{command:?} was killed"));
        Self {
            code,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
        }
    }

    /// Parses each line of stdout as JSON.
    pub fn jsonl(&self) -> Vec<serde_json::Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }
}

/// The folder of real evidence, if the environment names one.
pub fn real_data() -> Option<PathBuf> {
    let found = std::env::var_os("AFTERACTION_REAL_DATA").map(PathBuf::from);
    if found.is_none() {
        eprintln!("skipped: AFTERACTION_REAL_DATA is not set");
    }
    found
}

pub fn sample_data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample-data")
}
