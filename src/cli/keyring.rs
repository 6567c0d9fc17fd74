//! The client secret from the keyring of the operating system.
//!
//! The secret is stored under the service `afteraction` and the client id of
//! the application.

use crate::app::{Failure, Secret};

/// Service name of the entries.
#[cfg(feature = "keyring")]
const SERVICE: &str = "afteraction";

/// Command that stores a secret so that it is found here.
const STORE: &str = if cfg!(target_os = "macos") {
    "security add-generic-password -s afteraction -a CLIENT_ID -w"
} else if cfg!(windows) {
    "cmdkey /generic:CLIENT_ID.afteraction /user:CLIENT_ID /pass"
} else {
    "secret-tool store --label=afteraction service afteraction username CLIENT_ID"
};

/// The client secret stored for an application.
pub fn secret(client_id: Option<&str>) -> Result<Secret, Failure> {
    let id = client_id.filter(|id| !id.is_empty()).ok_or_else(|| {
        Failure::usage("could not read the keyring: no client id given")
            .hint("pass --client-id, or set AFTERACTION_CLIENT_ID or client_id in the profile")
    })?;
    read(id).map_err(|failure| failure.hint(format!("store the secret with `{STORE}`")))
}

#[cfg(feature = "keyring")]
fn read(id: &str) -> Result<Secret, Failure> {
    let entry = keyring::Entry::new(SERVICE, id);
    let secret = entry.and_then(|entry| entry.get_password());
    secret.map(Secret::new).map_err(|error| {
        Failure::usage(format!(
            "could not read the client secret of {id} from the keyring: {}",
            cause(&error)
        ))
    })
}

/// The cause of a failure, without anything that the keyring returned.
#[cfg(feature = "keyring")]
fn cause(error: &keyring::Error) -> String {
    match error {
        keyring::Error::NoEntry => "no secret is stored under this client id".into(),
        keyring::Error::Ambiguous(_) => "several secrets are stored under this client id".into(),
        keyring::Error::BadEncoding(_) => "the stored secret is not text".into(),
        other => other.to_string(),
    }
}

#[cfg(not(feature = "keyring"))]
fn read(_: &str) -> Result<Secret, Failure> {
    Err(Failure::usage("this build cannot read the keyring")
        .hint("build with the feature `keyring`, or use --client-secret-command"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_client_id_is_an_error() {
        for id in [None, Some("")] {
            let error = secret(id).unwrap_err();
            assert!(error.to_string().contains("no client id"), "{error}");
        }
    }
}
