//! The system's keyring, asked through the system's own tool: there is no
//! other way that needs no library of each system.
//!
//! A secret is kept there under the client id of its application.

use crate::app;
use crate::app::{Failure, Secret};
use crate::cli::runtime;

/// How a person puts it there.
const STORE: &str = if cfg!(target_os = "macos") {
    "security add-generic-password -s afteraction -a CLIENT_ID -w"
} else if cfg!(windows) {
    "cmdkey /generic:afteraction:CLIENT_ID /user:afteraction /pass"
} else {
    "secret-tool store --label=afteraction service afteraction account CLIENT_ID"
};

/// The client secret kept for an application.
pub fn secret(client_id: Option<&str>) -> Result<Secret, Failure> {
    let command = command(client_id)?;
    runtime::run(app::secret_from_command(&command))?.map_err(|failure| {
        failure.hint(format!(
            "`{STORE}` puts it there; its tool must be installed"
        ))
    })
}

/// The command that prints the client secret kept for an application.
///
/// **Errors**: where the id could be more than a word of that command.
fn command(client_id: Option<&str>) -> Result<String, Failure> {
    let plain = |id: &&str| {
        let mut bytes = id.bytes();
        !id.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let Some(id) = client_id.filter(plain) else {
        return Err(
            Failure::usage("the keyring is asked by client id, and that is not a GUID").hint(
                "name it with --client-id, AFTERACTION_CLIENT_ID or client_id in the profile",
            ),
        );
    };
    Ok(if cfg!(target_os = "macos") {
        format!("security find-generic-password -s afteraction -a {id} -w")
    } else if cfg!(windows) {
        windows(id)
    } else {
        format!("secret-tool lookup service afteraction account {id}")
    })
}

/// No tool of Windows prints what it keeps, but PowerShell can call the
/// function that reads it. Encoded, since quotes would not survive `cmd /C`.
///
/// **Source**: CREDENTIALW of wincred.h; the size of the secret stands at byte
/// 32 of it, its address at 40 (64 bits).
fn windows(id: &str) -> String {
    let script = format!(
        "$ErrorActionPreference='Stop'
$d='[DllImport(\"advapi32.dll\",CharSet=CharSet.Unicode)] public static extern bool CredReadW(string t,int k,int f,out IntPtr c);'
Add-Type -Namespace Afteraction -Name Keyring -MemberDefinition $d
$c=[IntPtr]::Zero
if(-not [Afteraction.Keyring]::CredReadW('afteraction:{id}',1,0,[ref]$c)){{exit 1}}
$m=[Runtime.InteropServices.Marshal]
$m::PtrToStringUni($m::ReadIntPtr($c,40),$m::ReadInt32($c,32)/2)"
    );
    let words: Vec<u8> = script.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, words);
    format!("powershell -NoProfile -NonInteractive -EncodedCommand {encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_more_than_a_word_is_no_part_of_a_command() {
        for id in [
            None,
            Some(""),
            Some("a b"),
            Some("a;rm"),
            Some("$(x)"),
            Some("a'"),
        ] {
            assert!(command(id).is_err(), "{id:?}");
        }
        assert!(command(Some("0-1a")).is_ok());
    }

    #[test]
    fn what_windows_is_asked_fits_a_command_line_and_needs_no_quotes() {
        let line = windows("00000000-0000-4000-8000-00000000c0de");
        assert!(line.len() < 8_000, "{}", line.len());
        assert!(!line.contains(['"', '\'', '%', '^']), "{line}");
    }
}
