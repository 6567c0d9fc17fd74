//! What is run on every device of a generated collection, in which order.

use std::str::FromStr;

use serde::Serialize;

use crate::section::Section;
use crate::section::Section::*;

/// How much a collection repeats itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Machines from a few golden images: about 0.15 of the text is distinct
    /// lines.
    Fleet,
    /// Event logs, firewall logs and hashes of users' files: about 0.6.
    Unique,
    /// One script that prints everything, on machines from golden images:
    /// some 200 KB of it.
    Script,
}

/// One command and what it brings.
pub(crate) enum Step {
    /// RunScript: its transcript, gzipped or not.
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
    /// GetFile of a zip that a collector script left.
    Triage {
        path: &'static str,
        members: &'static [Member],
    },
}

/// One file of a triage zip.
pub(crate) struct Member {
    pub name: &'static str,
    pub sections: &'static [Section],
    /// As PowerShell's `>` and `reg export` write.
    pub utf16: bool,
}

const fn member(name: &'static str, sections: &'static [Section]) -> Member {
    Member {
        name,
        sections,
        utf16: false,
    }
}

impl Shape {
    pub(crate) fn steps(self) -> &'static [Step] {
        match self {
            Self::Fleet => FLEET,
            Self::Unique => UNIQUE,
            Self::Script => SCRIPT,
        }
    }

    /// Whether a step of it prints this.
    pub(crate) fn prints(self, section: Section) -> bool {
        self.steps().iter().any(|step| match step {
            Step::Script { sections, .. } => sections.contains(&section),
            Step::File { section: only, .. } => *only == section,
            Step::Triage { members, .. } => {
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

/// A word that is no shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a shape of a collection: expected `fleet`, `unique` or `script`")]
pub struct UnknownShape(pub String);

const FLEET: &[Step] = &[
    Step::Script {
        name: "Get-Persistence.ps1",
        args: "-All",
        gzipped: true,
        sections: &[Services, Tasks, Autoruns, RunKeys],
    },
    Step::Script {
        name: "Get-Inventory.ps1",
        args: "",
        gzipped: false,
        sections: &[System, Hotfixes, Software, Users],
    },
    Step::Triage {
        path: "C:\\ProgramData\\Triage\\triage.zip",
        members: TRIAGE,
    },
    Step::Script {
        name: "Get-SystemHashes.ps1",
        args: "-Algorithm SHA256",
        gzipped: true,
        sections: &[Hashes],
    },
    Step::Script {
        name: "Get-Activity.ps1",
        args: "-Connections -Dns",
        gzipped: false,
        sections: &[Processes, Connections, DnsCache],
    },
    Step::File {
        path: "C:\\Windows\\Logs\\CBS\\CBS.log",
        section: Servicing,
    },
    Step::Script {
        name: "Get-RecentEvents.ps1",
        args: "-Newest 70",
        gzipped: false,
        sections: &[Events, Services],
    },
];

const SCRIPT: &[Step] = &[Step::Script {
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

const TRIAGE: &[Member] = &[
    member("C/ProgramData/Triage/services.txt", &[Services]),
    member("C/ProgramData/Triage/tasks.csv", &[Tasks]),
    member("C/ProgramData/Triage/autoruns.csv", &[Autoruns]),
    member("C/ProgramData/Triage/prefetch.csv", &[Prefetch]),
    member("C/ProgramData/Triage/processes.txt", &[Processes]),
    member("C/ProgramData/Triage/events.txt", &[Events]),
    member("C/ProgramData/Triage/hashes.txt", &[Hashes]),
    Member {
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

const UNIQUE: &[Step] = &[
    Step::Script {
        name: "Get-UserFiles.ps1",
        args: "-Hash SHA256",
        gzipped: false,
        sections: &[UserFiles, DnsCache],
    },
    Step::File {
        path: "C:\\Windows\\System32\\LogFiles\\Firewall\\pfirewall.log",
        section: Firewall,
    },
    Step::Triage {
        path: "C:\\ProgramData\\Triage\\logs.zip",
        members: LOGS,
    },
    Step::Script {
        name: "Get-RecentEvents.ps1",
        args: "-Newest 90 -AsXml",
        gzipped: true,
        sections: &[EventLines, Connections],
    },
    Step::Script {
        name: "Get-Snapshot.ps1",
        args: "",
        gzipped: false,
        sections: &[System, Users, Services, Tasks, Hashes, Software],
    },
];

const LOGS: &[Member] = &[
    member("C/ProgramData/Triage/Security.xml.txt", &[EventLines]),
    member("C/ProgramData/Triage/System.txt", &[Events]),
    member("C/ProgramData/Triage/prefetch.csv", &[Prefetch]),
    member("C/ProgramData/Triage/autoruns.csv", &[Autoruns]),
    member("C/ProgramData/Triage/downloads.txt", &[UserFiles]),
    member("C/ProgramData/Triage/firewall.log", &[Firewall]),
    Member {
        name: "C/ProgramData/Triage/Run.reg",
        sections: &[RunKeys],
        utf16: true,
    },
    member("C/ProgramData/Triage/history.txt", &[History]),
];
