use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the emulator could not be set up. What goes wrong while it runs is an
/// HTTP answer, never one of these.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not listen on {addr}")]
    Bind {
        addr: SocketAddr,
        source: std::io::Error,
    },
    #[error("could not start the emulator's threads")]
    Threads { source: std::io::Error },
    #[error("could not read {path}", path = path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("could not write the emulator's state to {path}", path = path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the emulator's state {path} does not read at line {line}", path = path.display())]
    State { path: PathBuf, line: usize },
    #[error("{path} holds no result: no action JSON and no file", path = path.display())]
    EmptyFolder { path: PathBuf },
    #[error("time scale {0} is not between 1 and 100")]
    Scale(f64),
    #[error("the certificate to be registered is none, or not of an RSA key")]
    Certificate,
    #[error("fault `{text}` does not read: {why}")]
    Fault { text: String, why: String },
}

impl Error {
    /// What to try next, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Bind { .. } => "another program may hold the port; port 0 takes any free one",
            Self::State { .. } => "remove the file to begin with a fresh clock and fresh budgets",
            Self::EmptyFolder { .. } => {
                "expected ACTION_ID.json beside ACTION_ID/INDEX.gz, or any files below a folder named after their device"
            }
            Self::Scale(_) => "1 is real time, 100 lets a minute pass in 0.6 s",
            Self::Certificate => "PEM of a certificate, such as `openssl req -x509` makes",
            Self::Fault { .. } => {
                "faults read NAME[=TIMES][@VALUE][%CHANCE][+AFTER], as in cut=5@1024"
            }
            _ => return None,
        })
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
