//! What the collector asks of the operating system. For the call log: a lock
//! between processes, bytes that survive power loss, a file replaced whole. For
//! secrets: whether others may read a file, and the shell that prints one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

/// Interval at which the space on a full disk is checked, real time.
pub(crate) const DISK_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Holds the lock of the file at `path`, which it makes, until dropped.
/// Waits for other holders, of this process and of others.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    file.lock()?;
    Ok(file)
}

/// Adds to a file that exists, all of it or, where the disk is full, nothing.
pub(crate) fn append(path: &Path, text: &str, sync: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    let before = file.metadata()?.len();
    if let Err(error) = file.write_all(text.as_bytes()) {
        // Where that fails too the last line is torn, which its readers know.
        let _ = file.set_len(before);
        return Err(error);
    }
    if sync { file.sync_data() } else { Ok(()) }
}

/// Whether the last byte of a file is that one.
pub(crate) fn ends_with(path: &Path, byte: u8) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == [byte])
}

pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// The user's shell with a line as it was typed.
#[cfg(not(windows))]
pub(crate) fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line);
    command
}

/// `cmd` knows no backslash before a quote, so nothing is escaped: with `/S` it
/// takes off the outer quotes and runs what stands between them.
#[cfg(windows)]
pub(crate) fn shell(line: &str) -> Command {
    let mut command = Command::new("cmd");
    command.raw_arg(format!("/S /C \"{line}\""));
    command
}

/// Makes `text` the whole of the file at `path`: a crash leaves the old one or
/// the new one.
pub(crate) fn replace(path: &Path, text: &str, sync: bool) -> io::Result<()> {
    let fresh = path.with_extension("fresh");
    let mut file = File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    if sync {
        file.sync_data()?;
    }
    drop(file);
    std::fs::rename(&fresh, path)?;
    if sync { sync_folder(path) } else { Ok(()) }
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Windows keeps names by itself and opens no folder to be synced.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// **Errors**: `PermissionDenied` where others than its owner may read it.
#[cfg(unix)]
pub(crate) fn refuse_if_shared(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = file.metadata()?;
    let mode = metadata.permissions().mode() & 0o777;
    // A pipe of the shell, such as <(pass show app), is read once and gone.
    if metadata.is_file() && mode & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("others may read it (mode {mode:o})"),
        ));
    }
    Ok(())
}

/// Windows lets a file inherit its folder's rights, those of a profile are its
/// user's own.
#[cfg(not(unix))]
pub(crate) fn refuse_if_shared(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_that_is_full_is_known_as_such() {
        let error = append(Path::new("/dev/full"), "a line\n", false).unwrap_err();
        assert!(is_disk_full(&error), "{error:?}");
    }

    #[test]
    fn the_last_byte_of_a_file_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for (text, whole) in [("", false), ("a", false), ("a\n", true), ("a\nb", false)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(ends_with(&path, b'\n').unwrap(), whole, "{text:?}");
        }
    }

    #[cfg(windows)]
    #[test]
    fn the_shell_is_given_quotes_as_they_were_typed() {
        let typed = r#"echo "a b""#;
        let output = shell(typed).into_std().output().unwrap();
        assert_eq!(output.stdout.trim_ascii(), br#""a b""#);
    }
}
