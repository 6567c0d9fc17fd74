//! The commands that run on each device of a collection, in order.

use std::str::FromStr;

use serde::Serialize;

use crate::section::Section;
use crate::section::Section::*;

/// Shape of a collection: how repetitive its text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Devices from a few golden images: about 0.15 of the text are distinct
    /// lines.
    Fleet,
    /// Event logs, firewall logs and hashes of user files: about 0.6.
    Unique,
    /// The output of one script on devices from golden images, about 200 KB
    /// each.
    Script,
}

/// A command with its output.
pub(crate) enum CommandPlan {
    /// RunScript: its transcript, compressed or not.
    Script {
        name: &'static str,
        args: &'static str,
        gzipped: bool,
        sections: &'static [Section],
    },
    /// GetFile of one text file.
    File {
        path: &'static str,
        section: Section,
    },
    /// GetFile of a zip written by a collection script.
    Triage {
        path: &'static str,
        members: &'static [TriageFile],
    },
}

/// A file of a triage zip.
pub(crate) struct TriageFile {
    pub name: &'static str,
    pub sections: &'static [Section],
    /// Encoded as by `>` in PowerShell and `reg export`.
    pub utf16: bool,
}

const fn member(name: &'static str, sections: &'static [Section]) -> TriageFile {
    TriageFile {
        name,
        sections,
        utf16: false,
    }
}

impl Shape {
    pub(crate) fn steps(self) -> &'static [CommandPlan] {
        match self {
            Self::Fleet => FLEET,
            Self::Unique => UNIQUE,
            Self::Script => SCRIPT,
        }
    }

    /// Whether one of its steps prints the section.
    pub(crate) fn prints(self, section: Section) -> bool {
        self.steps().iter().any(|step| match step {
            CommandPlan::Script { sections, .. } => sections.contains(&section),
            CommandPlan::File { section: only, .. } => *only == section,
            CommandPlan::Triage { members, .. } => {
                let mut members = members.iter();
                members.any(|member| member.sections.contains(&section))
            }
        })
    }
}

impl FromStr for Shape {
    type Err = UnknownShape;

    fn from_str(word: &str) -> Result<Self, UnknownShape> {
        match word {
            "fleet" => Ok(Self::Fleet),
            "unique" => Ok(Self::Unique),
            "script" => Ok(Self::Script),
            _ => Err(UnknownShape(word.chars().take(40).collect())),
        }
    }
}

/// The text does not name a shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid shape `{0}`: expected `fleet`, `unique` or `script`")]
pub struct UnknownShape(pub String);

const FLEET: &[CommandPlan] = &[
    CommandPlan::Script {
        name: "Get-Persistence.ps1",
        args: "-All",
        gzipped: true,
        sections: &[Services, Tasks, Autoruns, RunKeys],
    },
    CommandPlan::Script {
        name: "Get-Inventory.ps1",
        args: "",
        gzipped: false,
        sections: &[System, Hotfixes, Software, Users],
    },
    CommandPlan::Triage {
        path: "C:\\ProgramData\\Triage\\triage.zip",
        members: TRIAGE,
    },
    CommandPlan::Script {
        name: "Get-SystemHashes.ps1",
        args: "-Algorithm SHA256",
        gzipped: true,
        sections: &[Hashes],
    },
    CommandPlan::Script {
        name: "Get-Activity.ps1",
        args: "-Connections -Dns",
        gzipped: false,
        sections: &[Processes, Connections, DnsCache],
    },
    CommandPlan::File {
        path: "C:\\Windows\\Logs\\CBS\\CBS.log",
        section: Servicing,
    },
    CommandPlan::Script {
        name: "Get-RecentEvents.ps1",
        args: "-Newest 70",
        gzipped: false,
        sections: &[Events, Services],
    },
];

const SCRIPT: &[CommandPlan] = &[CommandPlan::Script {
    name: "Get-Triage.ps1",
    args: "-All",
    gzipped: true,
    sections: &[
        System,
        Hotfixes,
        Software,
        Users,
        Services,
        Tasks,
        Autoruns,
        RunKeys,
        Processes,
        Connections,
        DnsCache,
        Prefetch,
        History,
        Events,
        Hashes,
        Transcript,
    ],
}];

const TRIAGE: &[TriageFile] = &[
    member("C/ProgramData/Triage/services.txt", &[Services]),
    member("C/ProgramData/Triage/tasks.csv", &[Tasks]),
    member("C/ProgramData/Triage/autoruns.csv", &[Autoruns]),
    member("C/ProgramData/Triage/prefetch.csv", &[Prefetch]),
    member("C/ProgramData/Triage/processes.txt", &[Processes]),
    member("C/ProgramData/Triage/events.txt", &[Events]),
    member("C/ProgramData/Triage/hashes.txt", &[Hashes]),
    TriageFile {
        name: "C/ProgramData/Triage/Run.reg",
        sections: &[RunKeys],
        utf16: true,
    },
    member(
        "C/Users/itsupport/Documents/PowerShell_transcript.txt",
        &[Transcript],
    ),
    member(
        "C/Users/itsupport/AppData/Roaming/Microsoft/Windows/PowerShell/PSReadLine/ConsoleHost_history.txt",
        &[History],
    ),
];

const UNIQUE: &[CommandPlan] = &[
    CommandPlan::Script {
        name: "Get-UserFiles.ps1",
        args: "-Hash SHA256",
        gzipped: false,
        sections: &[UserFiles, DnsCache],
    },
    CommandPlan::File {
        path: "C:\\Windows\\System32\\LogFiles\\Firewall\\pfirewall.log",
        section: Firewall,
    },
    CommandPlan::Triage {
        path: "C:\\ProgramData\\Triage\\logs.zip",
        members: LOGS,
    },
    CommandPlan::Script {
        name: "Get-RecentEvents.ps1",
        args: "-Newest 90 -AsXml",
        gzipped: true,
        sections: &[EventLines, Connections],
    },
    CommandPlan::Script {
        name: "Get-Snapshot.ps1",
        args: "",
        gzipped: false,
        sections: &[System, Users, Services, Tasks, Hashes, Software],
    },
];

const LOGS: &[TriageFile] = &[
    member("C/ProgramData/Triage/Security.xml.txt", &[EventLines]),
    member("C/ProgramData/Triage/System.txt", &[Events]),
    member("C/ProgramData/Triage/prefetch.csv", &[Prefetch]),
    member("C/ProgramData/Triage/autoruns.csv", &[Autoruns]),
    member("C/ProgramData/Triage/downloads.txt", &[UserFiles]),
    member("C/ProgramData/Triage/firewall.log", &[Firewall]),
    TriageFile {
        name: "C/ProgramData/Triage/Run.reg",
        sections: &[RunKeys],
        utf16: true,
    },
    member("C/ProgramData/Triage/history.txt", &[History]),
];
