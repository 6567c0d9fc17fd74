//! The rules for volatile parts, each with its name and an example.

/// Replacement of a volatile part, such as `<pid>`.
pub(crate) type Placeholder = &'static str;

/// A rule that can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TemplateRule {
    pub name: &'static str,
    /// Description of the replaced part.
    pub what: &'static str,
    /// An example line and its template.
    pub example: (&'static str, &'static str),
}

/// Limit of a label or user name.
///
/// **Units**: bytes.
pub(crate) const SHORT: usize = 48;

/// Version of the rules. Raised when the behaviour of a rule changes; a
/// baseline stores the version it was learned with.
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

/// All rules, in the order of `RuleKind`.
pub const RULES: [TemplateRule; 15] = [
    rule(
        "guids",
        "GUIDs",
        "PSScript_Transcript_{5382F7EA-7557-4AB7-9782-D50480024A4E}.txt",
        "PSScript_Transcript_{<guid>}.txt",
    ),
    rule(
        "sids",
        "the machine or domain part of a SID, and account numbers from 1000",
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
        "durations with a unit, time spans, times to live",
        "ping 12 ms, up 1.02:03:04; www.contoso.example A 60 203.0.113.9",
        "ping <duration>, up <duration>; www.contoso.example A <duration> 203.0.113.9",
    ),
    rule(
        "addresses",
        "64-bit addresses; shorter numbers may be codes and are kept",
        "ntdll.dll at 0x7ffb1c2a0000, error 0x80070005",
        "ntdll.dll at <address>, error 0x80070005",
    ),
    rule(
        "ports",
        "dynamic ports (49152 and above) after an address or a label",
        "10.0.0.5:50123 to 203.0.113.7:4444",
        "10.0.0.5:<port> to 203.0.113.7:4444",
    ),
    rule(
        "pids",
        "process and thread ids after a label and in lists of processes and connections",
        "Process ID: 4242",
        "Process ID: <pid>",
    ),
    rule(
        "handles",
        "handles, logon ids and record numbers after a label",
        "Logon ID: 0x3E7A1 Handle=0x1f4",
        "Logon ID: <handle> Handle=<handle>",
    ),
    rule(
        "users",
        "user names below \\Users and after a label, except accounts of every system",
        r"C:\Users\jdoe\x.exe C:\Users\Public\y.exe",
        r"C:\Users\<user>\x.exe C:\Users\Public\y.exe",
    ),
    rule(
        "temp",
        "generated names of temporary files",
        r"C:\Windows\Temp\tmp4F2A.tmp C:\Temp\_MEI51282\python.dll",
        r"C:\Windows\Temp\<temp>.tmp C:\Temp\_MEI<temp>\python.dll",
    ),
    rule(
        "own",
        "properties of the device itself: name, addresses, product id, local end of a connection",
        "IPv4 Address. . . . . . . . . . . : 10.20.0.4(Preferred)",
        "IPv4 Address. . . . . . . . . . . : <own>(Preferred)",
    ),
    rule(
        "inside",
        "private addresses after a label, such as the source of a logon; public ones are kept",
        "Source Network Address: 10.20.4.37; ClientAddress: 203.0.113.7",
        "Source Network Address: <inside>; ClientAddress: 203.0.113.7",
    ),
    rule(
        "states",
        "states of connections, except listening",
        "  TCP    10.20.0.4:50123   198.51.100.7:443   TIME_WAIT   0",
        "TCP <own>:<port> 198.51.100.7:443 <state> <pid>",
    ),
    rule(
        "memory",
        "used and free memory in task lists and systeminfo",
        "svchost.exe 1234 Services 0 12,345 K",
        "svchost.exe <pid> Services 0 <memory>",
    ),
    rule(
        "blanks",
        "leading, trailing and repeated blanks",
        "  Name        Value  ",
        "Name Value",
    ),
];

/// A rule, by its index in [`RULES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleKind {
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

impl RuleKind {
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

/// ValueExtent of the value after a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueExtent {
    /// A number, decimal or hexadecimal.
    Number,
    /// A dynamic port.
    Port,
    /// A private address.
    Private,
    /// `DOMAIN
    /// ame` or `name`.
    User,
    /// Up to the end of the line, a bracket or a wide gap.
    Rest,
}

/// Rule and extent for a label, in lower case without blanks.
pub(crate) fn labelled(label: &[u8]) -> Option<(RuleKind, ValueExtent)> {
    Some(match label {
        b"pid" | b"ppid" | b"tid" | b"processid" | b"threadid" | b"newprocessid"
        | b"parentprocessid" | b"callerprocessid" | b"clientprocessid" => {
            (RuleKind::Pids, ValueExtent::Number)
        }
        b"handle" | b"handles" | b"handleid" | b"handlecount" | b"logonid" | b"targetlogonid"
        | b"subjectlogonid" | b"linkedlogonid" | b"eventrecordid" | b"recordid" => {
            (RuleKind::Handles, ValueExtent::Number)
        }
        b"port" | b"sourceport" | b"localport" | b"ipport" | b"clientport" => {
            (RuleKind::Ports, ValueExtent::Port)
        }
        b"sourcenetworkaddress"
        | b"sourceaddress"
        | b"clientaddress"
        | b"ipaddress"
        | b"workstationaddress" => (RuleKind::Inside, ValueExtent::Private),
        b"ttl" | b"timetolive" => (RuleKind::Durations, ValueExtent::Number),
        b"user" | b"username" | b"accountname" | b"runasuser" | b"targetusername"
        | b"subjectusername" | b"loggedonuser" => (RuleKind::Users, ValueExtent::User),
        b"ipv4address"
        | b"ipv6address"
        | b"physicaladdress"
        | b"linklocalipv6address"
        | b"temporaryipv6address"
        | b"productid"
        | b"dhcpv6clientduid"
        | b"dhcpv6iaid" => (RuleKind::Own, ValueExtent::Rest),
        b"availablephysicalmemory"
        | b"virtualmemoryavailable"
        | b"virtualmemoryinuse"
        | b"freephysicalmemory" => (RuleKind::Memory, ValueExtent::Rest),
        _ => return None,
    })
}

/// Accounts that exist on every system; they are not volatile.
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
