//! Synthetic results: script transcripts, files and investigation packages.
//!
//! They are generated from the seed each time they are read. A result in memory
//! consists only of its parameters.

use std::io::{Cursor, Write};

use serde_json::json;

use crate::synthetic::ids::guid_from_name;
use crate::synthetic::seeded_body::{Piece, gzip};
use crate::synthetic::seeded_rng::SeededRng;

/// Parameters of a synthetic result.
#[derive(Clone, Debug)]
pub(crate) enum SyntheticResult {
    Transcript {
        seed: u64,
        device: String,
        script: String,
        args: String,
        exit_code: i32,
    },
    /// A fetched file, compressed with gzip as in the service.
    File {
        seed: u64,
        device: String,
        path: String,
    },
    /// An investigation package: a zip file.
    Package { seed: u64, device: String },
}

const USERS: [&str; 6] = [
    "a.berg",
    "c.dahl",
    "e.fink",
    "g.holm",
    "svc-backup",
    "admin",
];
const PROGRAMS: [&str; 12] = [
    r"C:\Windows\System32\svchost.exe",
    r"C:\Windows\explorer.exe",
    r"C:\Windows\System32\lsass.exe",
    r"C:\Program Files\Microsoft Office\root\Office16\OUTLOOK.EXE",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Windows\System32\spoolsv.exe",
    r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe",
    r"C:\Windows\System32\taskhostw.exe",
    r"C:\Program Files\7-Zip\7zFM.exe",
    r"C:\Windows\System32\conhost.exe",
    r"C:\Windows\System32\dllhost.exe",
    r"C:\Users\Public\updater.exe",
];
const TRANSCRIPTS: &str =
    r"C:\ProgramData\Microsoft\Windows Defender Advanced Threat Protection\Temp";

impl SyntheticResult {
    /// Generates the bytes.
    pub(crate) fn generate(&self) -> Piece {
        match self {
            Self::Transcript {
                seed,
                device,
                script,
                args,
                exit_code,
            } => transcript(*seed, device, script, args, *exit_code),
            Self::File { seed, device, path } => file(*seed, device, path),
            Self::Package { seed, device } => package(*seed, device),
        }
    }
}

fn transcript(seed: u64, device: &str, script: &str, args: &str, exit_code: i32) -> Piece {
    let mut rng = SeededRng::new(seed, &["transcript", device, script, args]);
    let guid = guid_from_name(&format!("transcript {seed} {device} {script} {args}"));
    let mut output = format!(
        "Transcript started, output file is {TRANSCRIPTS}\\PSScript_Transcript_{{{}}}.txt\r\n",
        guid.to_string().to_uppercase()
    );
    output.push_str(&format!("Host    : {device}\r\n"));
    output.push_str(&format!("Command : {script} {args}\r\n\r\n"));
    output.push_str(&processes(&mut rng));
    output.push_str("\r\n");
    output.push_str(&connections(&mut rng));
    let errors = match exit_code {
        0 => "",
        _ => "Access to the path 'C:\\System Volume Information' is denied.",
    };
    let document = json!({
        "script_name": script,
        "exit_code": exit_code,
        "script_output": output,
        "script_errors": errors,
    });
    Piece::literal(document.to_string())
}

fn processes(rng: &mut SeededRng) -> String {
    let mut text = String::from("    Id  User         Path\r\n");
    for _ in 0..8 + rng.below(24) {
        let id = 4 * (1 + rng.below(16_000));
        let user = rng.choose(&USERS).unwrap_or_default();
        let path = rng.choose(&PROGRAMS).unwrap_or_default();
        text.push_str(&format!("{id:>6}  {user:<11}  {path}\r\n"));
    }
    text
}

fn connections(rng: &mut SeededRng) -> String {
    let mut text = String::from("Local port  Remote address         State\r\n");
    for _ in 0..2 + rng.below(12) {
        let port = 1024 + rng.below(64_000);
        let remote = format!(
            "203.0.113.{}:{}",
            1 + rng.below(254),
            [443, 80, 4444][rng.below(3) as usize]
        );
        text.push_str(&format!("{port:>10}  {remote:<21}  ESTABLISHED\r\n"));
    }
    text
}

fn file(seed: u64, device: &str, path: &str) -> Piece {
    let mut rng = SeededRng::new(seed, &["file", device, path]);
    let head = Piece::literal(format!("# {path} of {device}\r\n"));
    let lines = Piece::Lines {
        seed: rng.next_u64(),
        len: 500 + rng.below(12_000),
        eol: b"\r\n",
    };
    let text = Piece::Joined(vec![head, lines]);
    let name = path.rsplit(['\\', '/']).next().unwrap_or(path);
    // A gzip header stores the name as Latin-1, ended by NUL.
    let name: String = name.chars().filter(|c| c.is_ascii_graphic()).collect();
    let crc = text.crc();
    gzip(&name, text, crc)
}

fn package(seed: u64, device: &str) -> Piece {
    let mut rng = SeededRng::new(seed, &["package", device]);
    let system = format!("Host Name: {device}\r\nOS Name: Microsoft Windows 11 Enterprise\r\n");
    let members = [
        ("System Information.txt", system),
        ("Processes/Processes.txt", processes(&mut rng)),
        ("Network Connections/Connections.txt", connections(&mut rng)),
        (
            "Autoruns/Run.txt",
            r"Updater  C:\Users\Public\updater.exe".to_string(),
        ),
    ];
    Piece::literal(zip_files(&members).unwrap_or_default())
}

/// Writing to memory cannot fail; the error type is that of the zip writer.
fn zip_files(members: &[(&str, String)]) -> zip::result::ZipResult<Vec<u8>> {
    // A fixed time, so that the same seed gives the same package.
    let options =
        zip::write::SimpleFileOptions::default().last_modified_time(zip::DateTime::default());
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in members {
        writer.start_file(*name, options)?;
        writer.write_all(text.as_bytes())?;
    }
    Ok(writer.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::body::ResultBody;
    use std::io::Read;

    fn bytes(result: SyntheticResult) -> Vec<u8> {
        ResultBody::synthetic(result).whole().unwrap()
    }

    fn transcript_of(device: &str, exit_code: i32) -> Vec<u8> {
        bytes(SyntheticResult::Transcript {
            seed: 1,
            device: device.into(),
            script: "inventory.ps1".into(),
            args: "-All".into(),
            exit_code,
        })
    }

    #[test]
    fn transcript_is_strict_json_and_repeatable_per_device() {
        let one = transcript_of("ws-1", 0);
        assert_eq!(one, transcript_of("ws-1", 0));
        assert_ne!(one, transcript_of("ws-2", 0));
        let json: serde_json::Value = serde_json::from_slice(&one).unwrap();
        let output = json["script_output"].as_str().unwrap();
        assert!(output.starts_with("Transcript started, output file is "));
        assert!(output.contains("ws-1") && output.lines().count() > 15);
        let failed: serde_json::Value = serde_json::from_slice(&transcript_of("ws-1", 1)).unwrap();
        assert_eq!(failed["exit_code"], 1);
        assert_ne!(failed["script_errors"], "");
    }

    #[test]
    fn file_is_a_gzip_with_its_name_and_package_is_a_zip() {
        let file = SyntheticResult::File {
            seed: 1,
            device: "ws-1".into(),
            path: "C:\\Temp\\out.txt".into(),
        };
        let compressed = bytes(file);
        let mut reader = flate2::read::GzDecoder::new(compressed.as_slice());
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("# C:\\Temp\\out.txt of ws-1"));
        assert_eq!(reader.header().unwrap().filename(), Some(&b"out.txt"[..]));

        let device = "ws-1".into();
        let package = bytes(SyntheticResult::Package { seed: 1, device });
        let again = SyntheticResult::Package {
            seed: 1,
            device: "ws-1".into(),
        };
        assert_eq!(package, bytes(again));
        let archive = zip::ZipArchive::new(Cursor::new(package)).unwrap();
        assert!(archive.len() >= 4);
    }
}
