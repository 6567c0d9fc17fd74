//! Errors of setting up an emulator. A failure while it runs is an HTTP
//! response.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Reasons why the emulator could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("could not listen on {addr}")]
    Bind {
        addr: SocketAddr,
        source: std::io::Error,
    },
    #[error("could not start the threads of the emulator")]
    Threads { source: std::io::Error },
    #[error("could not read {path}", path = path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("could not write the state file {path}", path = path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("could not parse line {line} of the state file {path}", path = path.display())]
    State { path: PathBuf, line: usize },
    #[error("no results in {path}: found neither action JSON nor files", path = path.display())]
    EmptyFolder { path: PathBuf },
    #[error("invalid time scale {0}: must be between 1 and 100")]
    Scale(f64),
    #[error("could not register the certificate: not a PEM certificate with an RSA key")]
    Certificate,
    #[error("invalid fault `{text}`: {reason}")]
    Fault { text: String, reason: String },
}

impl Error {
    /// Advice on how to correct the error.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Bind { .. } => {
                "another program may be using the port; port 0 selects any free port"
            }
            Self::State { .. } => "delete the file to start with a new clock and no counted calls",
            Self::EmptyFolder { .. } => {
                "expected ACTION_ID.json next to ACTION_ID/INDEX.gz, or any files in folders named after their device"
            }
            Self::Scale(_) => "1 is real time; at 100 an emulated minute takes 0.6 s",
            Self::Certificate => "pass a PEM certificate such as `openssl req -x509` creates",
            Self::Fault { .. } => {
                "the syntax is NAME[=TIMES][@VALUE][%CHANCE][+AFTER], such as cut=5@1024"
            }
            _ => return None,
        })
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
