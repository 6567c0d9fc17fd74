//! Sections with logs, one function for each kind.

use crate::section::{Scene, Section, TextBuilder};
use crate::words::STEMS;

struct EventTemplate {
    log: &'static str,
    source: &'static str,
    id: u32,
    task: &'static str,
    /// With the placeholders `{user}`, `{logon}`, `{process}` and `{address}`.
    message: &'static [&'static str],
}

const KINDS: [EventTemplate; 5] = [
    EventTemplate {
        log: "Security",
        source: "Microsoft-Windows-Security-Auditing",
        id: 4624,
        task: "Logon",
        message: &[
            "An account was successfully logged on.",
            "",
            "Subject:",
            "\tSecurity ID:\t\tS-1-5-18",
            "\tAccount Domain:\t\tCORP",
            "\tLogon ID:\t\t0x3E7",
            "",
            "Logon Information:",
            "\tLogon Type:\t\t3",
            "\tElevated Token:\t\tNo",
            "",
            "New Logon:",
            "\tAccount Name:\t\t{user}",
            "\tAccount Domain:\t\tCORP",
            "\tLogon ID:\t\t{logon}",
            "",
            "Network Information:",
            "\tSource Network Address:\t{address}",
        ],
    },
    EventTemplate {
        log: "Security",
        source: "Microsoft-Windows-Security-Auditing",
        id: 4688,
        task: "Process Creation",
        message: &[
            "A new process has been created.",
            "",
            "Creator Subject:",
            "\tSecurity ID:\t\tS-1-5-18",
            "\tAccount Domain:\t\tCORP",
            "",
            "Process Information:",
            "\tNew Process ID:\t\t{process}",
            "\tNew Process Name:\tC:\\Windows\\System32\\svchost.exe",
            "\tToken Elevation Type:\t%%1936",
            "\tMandatory Label:\t\tS-1-16-16384",
            "\tCreator Process Name:\tC:\\Windows\\System32\\services.exe",
        ],
    },
    EventTemplate {
        log: "System",
        source: "Service Control Manager",
        id: 7036,
        task: "None",
        message: &["The Windows Update service entered the running state."],
    },
    EventTemplate {
        log: "System",
        source: "Microsoft-Windows-GroupPolicy",
        id: 1501,
        task: "None",
        message: &[
            "The Group Policy settings for the user were processed successfully.",
            "There were no changes detected since the last successful processing of Group Policy.",
        ],
    },
    EventTemplate {
        log: "Application",
        source: "Microsoft-Windows-Security-SPP",
        id: 16384,
        task: "None",
        message: &["Successfully scheduled Software Protection service for re-start."],
    },
];

pub(crate) fn events(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    let host = scene.device.dns_name();
    let count = scene.count(70) as usize;
    let mut at = scene.now;
    scene.list(Section::Events, text, count, |scene, number, text| {
        at = at.minus(scene.random.between(1, 600));
        let kind = scene.random.pick(&KINDS);
        text.line("");
        text.put(format_args!("Event[{number}]:"));
        text.put(format_args!("  Log Name: {}", kind.log));
        text.put(format_args!("  Source: {}", kind.source));
        text.put(format_args!(
            "  Date: {}.{:03}0000Z",
            at.iso(),
            scene.random.below(1000)
        ));
        text.put(format_args!("  Event ID: {}", kind.id));
        text.put(format_args!("  Task: {}", kind.task));
        text.line("  Level: Information");
        text.put(format_args!("  Computer: {host}"));
        text.line("  Description:");
        for line in kind.message {
            message_line(scene, line, text);
        }
    });
}

fn message_line(scene: &mut Scene<'_>, line: &str, text: &mut TextBuilder) {
    let Some((before, after)) = line.split_once('{') else {
        return text.line(line);
    };
    match after {
        "user}" => text.put(format_args!("{before}{}", scene.device.user)),
        "address}" => text.put(format_args!(
            "{before}10.20.{}.{}",
            scene.random.below(8),
            scene.random.between(4, 250)
        )),
        _ => text.put(format_args!("{before}0x{:X}", scene.random.below(1 << 28))),
    }
}

pub(crate) fn event_lines(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    let host = scene.device.dns_name();
    let count = scene.count(90) as usize;
    let mut at = scene.now;
    let mut number = scene.random.between(100_000, 900_000);
    scene.list(Section::EventLines, text, count, |scene, _, text| {
        at = at.minus(scene.random.between(1, 60));
        number -= 1;
        let random = &mut scene.random;
        let kind = random.pick(&KINDS);
        text.put(format_args!(
            "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>\
             <Provider Name='{}'/><EventID>{}</EventID><TimeCreated SystemTime='{}.{:07}Z'/>\
             <EventRecordID>{number}</EventRecordID><Execution ProcessID='{}' ThreadID='{}'/>\
             <Channel>{}</Channel><Computer>{host}</Computer></System><EventData>\
             <Data Name='TargetLogonId'>0x{:x}</Data></EventData></Event>",
            kind.source,
            kind.id,
            at.iso(),
            random.below(10_000_000),
            4 * random.between(1, 3_000),
            4 * random.between(1, 6_000),
            kind.log,
            random.below(1 << 40),
        ));
    });
}

pub(crate) fn firewall(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    text.lines([
        "#Version: 1.5",
        "#Software: Microsoft Windows Firewall",
        "#Time Format: Local",
        "#Fields: date time action protocol src-ip dst-ip src-port dst-port size tcpflags tcpsyn tcpack tcpwin icmptype icmpcode info path",
        "",
    ]);
    let count = scene.count(110) as usize;
    let mut at = scene.now.minus(86_400);
    scene.list(Section::Firewall, text, count, |scene, _, text| {
        at = at.plus(scene.random.below(700) as i64);
        let random = &mut scene.random;
        let action = random.pick(&["ALLOW", "ALLOW", "ALLOW", "DROP"]);
        text.put(format_args!(
            "{} {action} {} {} 198.51.100.{} {} {} 0 - 0 0 0 - - - SEND",
            at.spaced(),
            random.pick(&["TCP", "TCP", "UDP"]),
            scene.device.address,
            random.between(2, 250),
            49_152 + random.below(16_000),
            random.pick(&[443, 443, 80, 53]),
        ));
    });
}

pub(crate) fn servicing(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    let mut at = scene.now.minus(43_200);
    let count = scene.count(90) as usize;
    scene.list(Section::Servicing, text, count, |scene, _, text| {
        let random = &mut scene.random;
        match random.below(3) {
            0 => {
                at = at.plus(random.below(30) as i64);
                text.put(format_args!(
                    "{}, Info                  CBS    Session: {}_{} initialized by client WindowsUpdateAgent",
                    at.spaced(),
                    random.between(30_000_000, 31_999_999),
                    random.between(1_000_000_000, 3_999_999_999)
                ));
            }
            1 => text.put(format_args!(
                "    Package_for_{}~31bf3856ad364e35~amd64~~10.0.1.{} is applicable, state: Installed",
                random.pick(STEMS),
                random.below(40)
            )),
            _ => text.put(format_args!(
                "    Exact component {} has no pending operations",
                random.pick(STEMS)
            )),
        }
    });
}
