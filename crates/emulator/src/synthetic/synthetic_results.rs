//! What a made-up machine answers: the transcript of a script, a file, an
//! investigation package. Made from the seed whenever it is read, so that
//! thousands of results hold nothing but their names.

use std::io::{Cursor, Write};

use serde_json::json;

use crate::synthetic::seeded_body::{Piece, gzip};
use crate::synthetic::seeded_rng::SeededRng;

/// One answer, before its bytes are made.
#[derive(Clone, Debug)]
pub(crate) enum SyntheticResult {
    Transcript {
        seed: u64,
        device: String,
        script: String,
        args: String,
        exit_code: i32,
    },
    /// Wrapped in gzip, as every fetched file is.
    File {
        seed: u64,
        device: String,
        path: String,
    },
    /// A zip of what a package holds.
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
    pub(crate) fn piece(&self) -> Piece {
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
    let mut lots = SeededRng::of(seed, &["transcript", device, script, args]);
    let guid =
        crate::synthetic::fleet::guid_of(&format!("transcript {seed} {device} {script} {args}"));
    let mut output = format!(
        "Transcript started, output file is {TRANSCRIPTS}\\PSScript_Transcript_{{{}}}.txt\r\n",
        guid.to_string().to_uppercase()
    );
    output.push_str(&format!("Host    : {device}\r\n"));
    output.push_str(&format!("Command : {script} {args}\r\n\r\n"));
    output.push_str(&processes(&mut lots));
    output.push_str("\r\n");
    output.push_str(&connections(&mut lots));
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

fn processes(lots: &mut SeededRng) -> String {
    let mut text = String::from("    Id  User         Path\r\n");
    for _ in 0..8 + lots.below(24) {
        let id = 4 * (1 + lots.below(16_000));
        let user = lots.one_of(&USERS).unwrap_or_default();
        let path = lots.one_of(&PROGRAMS).unwrap_or_default();
        text.push_str(&format!("{id:>6}  {user:<11}  {path}\r\n"));
    }
    text
}

fn connections(lots: &mut SeededRng) -> String {
    let mut text = String::from("Local port  Remote address         State\r\n");
    for _ in 0..2 + lots.below(12) {
        let port = 1024 + lots.below(64_000);
        let remote = format!(
            "203.0.113.{}:{}",
            1 + lots.below(254),
            [443, 80, 4444][lots.below(3) as usize]
        );
        text.push_str(&format!("{port:>10}  {remote:<21}  ESTABLISHED\r\n"));
    }
    text
}

fn file(seed: u64, device: &str, path: &str) -> Piece {
    let mut lots = SeededRng::of(seed, &["file", device, path]);
    let head = Piece::literal(format!("# {path} of {device}\r\n"));
    let lines = Piece::Lines {
        seed: lots.number(),
        len: 500 + lots.below(12_000),
        eol: b"\r\n",
    };
    let text = Piece::Joined(vec![head, lines]);
    let name = path.rsplit(['\\', '/']).next().unwrap_or(path);
    // The header's name ends at the first NUL, and is no UTF-8.
    let name: String = name.chars().filter(|c| c.is_ascii_graphic()).collect();
    let crc = text.crc();
    gzip(&name, text, crc)
}

fn package(seed: u64, device: &str) -> Piece {
    let mut lots = SeededRng::of(seed, &["package", device]);
    let system = format!("Host Name: {device}\r\nOS Name: Microsoft Windows 11 Enterprise\r\n");
    let members = [
        ("System Information.txt", system),
        ("Processes/Processes.txt", processes(&mut lots)),
        (
            "Network Connections/Connections.txt",
            connections(&mut lots),
        ),
        (
            "Autoruns/Run.txt",
            r"Updater  C:\Users\Public\updater.exe".to_string(),
        ),
    ];
    Piece::literal(zipped(&members).unwrap_or_default())
}

/// In memory nothing can fail to be written; the error is the writer's type.
fn zipped(members: &[(&str, String)]) -> zip::result::ZipResult<Vec<u8>> {
    // A fixed time: the same package from the same seed.
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

    fn bytes(told: SyntheticResult) -> Vec<u8> {
        ResultBody::told(told).whole().unwrap()
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
    fn a_transcript_is_strict_json_and_the_same_each_time_on_a_device() {
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
    fn a_file_is_a_gzip_with_its_name_and_a_package_a_zip() {
        let told = SyntheticResult::File {
            seed: 1,
            device: "ws-1".into(),
            path: "C:\\Temp\\out.txt".into(),
        };
        let wrapped = bytes(told);
        let mut reader = flate2::read::GzDecoder::new(wrapped.as_slice());
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
