//! Calls to the operating system. For the call log: a lock between processes,
//! durable appends, atomic replacement of a file. For secrets: whether other
//! users can read a file, and the shell that runs a command.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

/// Interval at which the space on a full disk is checked, real time.
pub(crate) const DISK_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Locks the file at `path`, creating it if necessary, until the returned
/// handle is dropped. Waits while another process or thread has the lock.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    file.lock()?;
    Ok(file)
}

/// Appends to an existing file: the whole text, or nothing if the disk is full.
pub(crate) fn append(path: &Path, text: &str, sync: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    let length_before = file.metadata()?.len();
    if let Err(error) = file.write_all(text.as_bytes()) {
        // If this fails too, the last line is torn, which readers detect.
        let _ = file.set_len(length_before);
        return Err(error);
    }
    if sync { file.sync_data() } else { Ok(()) }
}

/// Whether a file ends with this byte.
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

/// The user's shell with a command line.
#[cfg(not(windows))]
pub(crate) fn shell(line: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line);
    command
}

/// `cmd` does not treat a backslash before a quote as an escape, so nothing is
/// escaped: with `/S` it removes the outer quotes and runs the text in between.
#[cfg(windows)]
pub(crate) fn shell(line: &str) -> Command {
    let mut command = Command::new("cmd");
    command.raw_arg(format!("/S /C \"{line}\""));
    command
}

/// Replaces the file at `path` atomically: after a crash it has the old or the
/// new content.
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

/// Windows makes renames durable itself and cannot open a folder to sync it.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// **Errors**: `PermissionDenied` if other users can read the file.
#[cfg(unix)]
pub(crate) fn refuse_if_shared(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = file.metadata()?;
    let mode = metadata.permissions().mode() & 0o777;
    // The mode of a pipe, as in <(pass show app), does not matter: it is read
    // once.
    if metadata.is_file() && mode & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("other users can read it (mode {mode:o})"),
        ));
    }
    Ok(())
}

/// On Windows a file inherits the permissions of its folder; those of a user
/// profile exclude other users.
#[cfg(not(unix))]
pub(crate) fn refuse_if_shared(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn full_disk_is_recognized() {
        let error = append(Path::new("/dev/full"), "a line\n", false).unwrap_err();
        assert!(is_disk_full(&error), "{error:?}");
    }

    #[test]
    fn ends_with_checks_the_last_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for (text, expected) in [("", false), ("a", false), ("a\n", true), ("a\nb", false)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(ends_with(&path, b'\n').unwrap(), expected, "{text:?}");
        }
    }

    #[cfg(windows)]
    #[test]
    fn shell_receives_quotes_unchanged() {
        let line = r#"echo "a b""#;
        let output = shell(line).into_std().output().unwrap();
        assert_eq!(output.stdout.trim_ascii(), br#""a b""#);
    }
}
