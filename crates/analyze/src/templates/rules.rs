//! The rules: what counts as volatile, each with its name and an example.

use crate::templates::Placeholder;

/// A rule that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateRule {
    pub name: &'static str,
    /// What it replaces.
    pub what: &'static str,
    /// A line it changes, and what becomes of it.
    pub example: (&'static str, &'static str),
}

/// Changes with any rule's behaviour: a baseline says with which it was learned.
pub const RULES_VERSION: u32 = 2;

const fn rule(
    name: &'static str,
    what: &'static str,
    from: &'static str,
    to: &'static str,
) -> TemplateRule {
    TemplateRule {
        name,
        what,
        example: (from, to),
    }
}

/// Every rule there is, in the order of `Kind`.
pub const RULES: [TemplateRule; 15] = [
    rule(
        "guids",
        "GUIDs",
        "PSScript_Transcript_{5382F7EA-7557-4AB7-9782-D50480024A4E}.txt",
        "PSScript_Transcript_{<guid>}.txt",
    ),
    rule(
        "sids",
        "the part of a SID that differs between machines and domains, and account numbers from 1000 on",
        "S-1-5-21-1004336348-1177238915-682003330-1001 S-1-5-21-1-2-3-500 S-1-5-18",
        "S-1-5-21-<sid> S-1-5-21-<sid>-500 S-1-5-18",
    ),
    rule(
        "times",
        "dates and times",
        "Last logon 2/3/2026 2:14:07 AM, boot 2026-02-03T02:11:40.123Z",
        "Last logon <time>, boot <time>",
    ),
    rule(
        "durations",
        "durations with their unit, time spans, times to live",
        "ping 12 ms, up 1.02:03:04; www.contoso.example A 60 203.0.113.9",
        "ping <duration>, up <duration>; www.contoso.example A <duration> 203.0.113.9",
    ),
    rule(
        "addresses",
        "addresses of 64 bits (shorter ones may be codes that say something)",
        "ntdll.dll at 0x7ffb1c2a0000, error 0x80070005",
        "ntdll.dll at <address>, error 0x80070005",
    ),
    rule(
        "ports",
        "dynamic ports (49152 and above) behind an address or a label",
        "10.0.0.5:50123 to 203.0.113.7:4444",
        "10.0.0.5:<port> to 203.0.113.7:4444",
    ),
    rule(
        "pids",
        "process and thread ids: behind a label, in lists of processes and connections",
        "Process ID: 4242",
        "Process ID: <pid>",
    ),
    rule(
        "handles",
        "handles, logon ids, record numbers: behind a label",
        "Logon ID: 0x3E7A1 Handle=0x1f4",
        "Logon ID: <handle> Handle=<handle>",
    ),
    rule(
        "users",
        "user names below \\Users and behind a label, but those that every system has",
        r"C:\Users\jdoe\x.exe C:\Users\Public\y.exe",
        r"C:\Users\<user>\x.exe C:\Users\Public\y.exe",
    ),
    rule(
        "temp",
        "names that programs make up for temporary files",
        r"C:\Windows\Temp\tmp4F2A.tmp C:\Temp\_MEI51282\python.dll",
        r"C:\Windows\Temp\<temp>.tmp C:\Temp\_MEI<temp>\python.dll",
    ),
    rule(
        "own",
        "what a machine says of itself: its name, addresses, product id, its end of a connection",
        "IPv4 Address. . . . . . . . . . . : 10.20.0.4(Preferred)",
        "IPv4 Address. . . . . . . . . . . : <own>(Preferred)",
    ),
    rule(
        "inside",
        "private addresses behind a label, as of who logged on from where; a public one stays",
        "Source Network Address: 10.20.4.37; ClientAddress: 203.0.113.7",
        "Source Network Address: <inside>; ClientAddress: 203.0.113.7",
    ),
    rule(
        "states",
        "the state of a connection, but that a port is listened on",
        "  TCP    10.20.0.4:50123   198.51.100.7:443   TIME_WAIT   0",
        "TCP <own>:<port> 198.51.100.7:443 <state> <pid>",
    ),
    rule(
        "memory",
        "memory in use or free, as task lists and systeminfo print it",
        "svchost.exe 1234 Services 0 12,345 K",
        "svchost.exe <pid> Services 0 <memory>",
    ),
    rule(
        "blanks",
        "blanks around and between: one is enough",
        "  Name        Value  ",
        "Name Value",
    ),
];

/// A rule by its place in [`RULES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Guids,
    Sids,
    Times,
    Durations,
    Addresses,
    Ports,
    Pids,
    Handles,
    Users,
    Temp,
    Own,
    Inside,
    States,
    Memory,
    Blanks,
}

impl Kind {
    pub(crate) fn placeholder(self) -> Placeholder {
        match self {
            Self::Guids => "<guid>",
            Self::Sids => "<sid>",
            Self::Times => "<time>",
            Self::Durations => "<duration>",
            Self::Addresses => "<address>",
            Self::Ports => "<port>",
            Self::Pids => "<pid>",
            Self::Handles => "<handle>",
            Self::Users => "<user>",
            Self::Temp => "<temp>",
            Self::Own => "<own>",
            Self::Inside => "<inside>",
            Self::States => "<state>",
            Self::Memory => "<memory>",
            Self::Blanks => " ",
        }
    }
}

/// How far a value goes that stands behind a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// A number, decimal or hexadecimal; anything else stays.
    Number,
    /// A dynamic port.
    Port,
    /// A private address.
    Private,
    /// `DOMAIN\name` or `name`.
    User,
    /// Up to the line's end, a bracket or a wide gap.
    Rest,
}

/// What stands behind a label, written in small letters without blanks.
pub(crate) fn labelled(label: &[u8]) -> Option<(Kind, Extent)> {
    Some(match label {
        b"pid" | b"ppid" | b"tid" | b"processid" | b"threadid" | b"newprocessid"
        | b"parentprocessid" | b"callerprocessid" | b"clientprocessid" => {
            (Kind::Pids, Extent::Number)
        }
        b"handle" | b"handles" | b"handleid" | b"handlecount" | b"logonid" | b"targetlogonid"
        | b"subjectlogonid" | b"linkedlogonid" | b"eventrecordid" | b"recordid" => {
            (Kind::Handles, Extent::Number)
        }
        b"port" | b"sourceport" | b"localport" | b"ipport" | b"clientport" => {
            (Kind::Ports, Extent::Port)
        }
        b"sourcenetworkaddress"
        | b"sourceaddress"
        | b"clientaddress"
        | b"ipaddress"
        | b"workstationaddress" => (Kind::Inside, Extent::Private),
        b"ttl" | b"timetolive" => (Kind::Durations, Extent::Number),
        b"user" | b"username" | b"accountname" | b"runasuser" | b"targetusername"
        | b"subjectusername" | b"loggedonuser" => (Kind::Users, Extent::User),
        b"ipv4address"
        | b"ipv6address"
        | b"physicaladdress"
        | b"linklocalipv6address"
        | b"temporaryipv6address"
        | b"productid"
        | b"dhcpv6clientduid"
        | b"dhcpv6iaid" => (Kind::Own, Extent::Rest),
        b"availablephysicalmemory"
        | b"virtualmemoryavailable"
        | b"virtualmemoryinuse"
        | b"freephysicalmemory" => (Kind::Memory, Extent::Rest),
        _ => return None,
    })
}

/// Accounts that every system has: who acts as one of them says something.
pub(crate) fn is_everywhere(user: &str) -> bool {
    const NAMES: [&str; 15] = [
        "Public",
        "Default",
        "Default User",
        "All Users",
        "Administrator",
        "Guest",
        "DefaultAccount",
        "WDAGUtilityAccount",
        "SYSTEM",
        "LOCAL SERVICE",
        "NETWORK SERVICE",
        "LocalService",
        "NetworkService",
        "ANONYMOUS LOGON",
        "krbtgt",
    ];
    NAMES.iter().any(|name| name.eq_ignore_ascii_case(user))
        || !user.starts_with(|c: char| c.is_alphanumeric())
        || user == "N/A"
}
