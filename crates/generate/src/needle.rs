//! Needles: lines planted in a collection, and their locations.

use serde::Serialize;

use crate::section::Section;

/// A line to plant on a number of devices, once on each.
#[derive(Clone, Debug)]
pub struct PlantedNeedle {
    /// Kind of the needle, in a word.
    pub kind: &'static str,
    /// Text that a search finds it by: occurs once in `line` and nowhere else
    /// in the collection.
    pub text: String,
    pub line: String,
    /// Output that contains it.
    pub section: Section,
    pub devices: u64,
}

/// A planted needle with all of its locations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Needle {
    pub kind: &'static str,
    pub text: String,
    pub count: u64,
    pub places: Vec<NeedlePlace>,
}

/// One location in a collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NeedlePlace {
    #[serde(rename = "ref")]
    pub reference: String,
    pub device: String,
    pub action_id: String,
    pub command_index: u32,
    /// Labels below the result, outermost first.
    pub member: Vec<String>,
    /// Line number in the decoded text, from 1.
    pub line: u64,
    /// Offset in the decoded text, from 0.
    ///
    /// **Units**: bytes of UTF-8.
    pub offset: u64,
}

/// A SHA-256 that belongs to no file.
const HASH: &str = "7B1DDEC0AFE5C0DE5EED0F0A11C0FFEE2026BADC0FFEE0DDF00D5A17D15EA5E1";

/// `Write-Output 'afteraction needle'`, encoded for PowerShell.
const ENCODED: &str =
    "VwByAGkAdABlAC0ATwB1AHQAcAB1AHQAIAAnAGEAZgB0AGUAcgBhAGMAdABpAG8AbgAgAG4AZQBlAGQAbABlACcA";

/// The default needles of a fleet: on one device up to a few dozen.
pub fn usual() -> Vec<PlantedNeedle> {
    use Section as In;
    let hidden = |kind, text: &str, line: &str, section, devices| PlantedNeedle {
        kind,
        text: text.into(),
        line: line.replace("{}", text),
        section,
        devices,
    };
    vec![
        hidden(
            "service",
            "WinTelBroker",
            "Running  {}                 Windows Telemetry Relay                        Auto      C:\\ProgramData\\wtb\\relay.exe -k netsvcs",
            In::Services,
            1,
        ),
        hidden(
            "autorun",
            "OneDriveSyncAid",
            "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run,{},enabled,,,,C:\\Users\\Public\\odsync.exe,",
            In::Autoruns,
            3,
        ),
        hidden(
            "address",
            "203.0.113.77:4444",
            "  TCP    10.20.9.9:50123        {}      ESTABLISHED     6620",
            In::Connections,
            5,
        ),
        hidden(
            "hash",
            HASH,
            "SHA256          {}       C:\\Windows\\System32\\drivers\\odfs64.sys",
            In::Hashes,
            2,
        ),
        hidden(
            "command",
            ENCODED,
            "powershell.exe -NonInteractive -EncodedCommand {}",
            In::History,
            2,
        ),
        hidden(
            "tool",
            "mimikatz",
            "Threat Name: HackTool:Win64/{}, action: blocked, user: CORP\\svc-print",
            In::Events,
            1,
        ),
        hidden(
            "user",
            "svc_helpdesk2",
            "{}        True     2/3/2026 2:14:07 AM    S-1-5-21-1-2-3-1417",
            In::Users,
            4,
        ),
        hidden(
            "domain",
            "sync.telemetry-relay.example",
            "{}             A    60     203.0.113.77",
            In::DnsCache,
            7,
        ),
        hidden(
            "task",
            "WinSATRefresh",
            "\"\\Microsoft\\Windows\\Maintenance\\{}\",\"2/5/2026 2:00:00 AM\",\"Ready\"",
            In::Tasks,
            1,
        ),
        hidden(
            "prefetch",
            "PSEXESVC.EXE-AD70946C.pf",
            "2026-02-03 02:11:40,1,{}",
            In::Prefetch,
            6,
        ),
        hidden(
            "registry",
            "StagedUpdater",
            "    {}    REG_SZ    C:\\ProgramData\\wtb\\stage.cmd",
            In::RunKeys,
            2,
        ),
        hidden(
            "software",
            "Rustwell Remote Desk",
            "{}                         9.1.2            Rustwell           20260203",
            In::Software,
            40,
        ),
    ]
}
