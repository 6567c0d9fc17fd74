use crate::templates::*;

fn of(line: &str) -> String {
    Templates::new(&RuleSet::default()).unwrap().of(line, None)
}

#[test]
fn each_rule_matches_its_example_and_can_be_switched_off() {
    for rule in RULES {
        let (line, template) = rule.example;
        assert_eq!(of(line), template, "{}", rule.name);
        let off = RuleSet {
            off: vec![rule.name.into()],
            ..RuleSet::default()
        };
        let without = Templates::new(&off).unwrap().of(line, None);
        assert_ne!(without, template, "{}", rule.name);
        let raw = Templates::new(&RuleSet::none()).unwrap();
        assert_eq!(raw.of(line, None), line);
    }
}

#[test]
fn template_of_a_template_is_itself() {
    for rule in RULES {
        let once = of(rule.example.0);
        assert_eq!(of(&once), once, "{}", rule.name);
    }
}

#[test]
fn meaningful_differences_are_kept() {
    for pair in [
        ["Event ID: 4624", "Event ID: 4625"],
        [
            "  TCP    0.0.0.0:445   0.0.0.0:0   LISTENING   4",
            "  TCP    0.0.0.0:4444   0.0.0.0:0   LISTENING   4",
        ],
        [
            "  TCP 10.0.0.1:50000 203.0.113.7:443 ESTABLISHED 8",
            "  TCP 10.0.0.1:50000 203.0.113.8:443 ESTABLISHED 8",
        ],
        [r"C:\Users\Public\a.exe", r"C:\Users\bob\a.exe"],
        ["error 0x80070005", "error 0x80070002"],
        ["S-1-5-21-1-2-3-500", "S-1-5-21-1-2-3-1001"],
        ["Running WinDefend", "Stopped WinDefend"],
        [r"C:\Temp\evil.tmp", r"C:\Temp\good.tmp"],
        ["nc.exe 4444", "nc.exe 4445"],
        [r"CORP\Domain Admins", r"CORP\Enterprise Admins"],
        ["Account Name: SYSTEM", "Account Name: bob"],
        ["RemoteHost Name 1", "RemoteHost Name 2"],
        [
            "10.0.0.1 198.51.100.7 443 chrome.exe",
            "10.0.0.1 203.0.113.9 4444 chrome.exe",
        ],
        [
            "203.0.113.7 4444 powershell.exe",
            "198.51.100.2 443 powershell.exe",
        ],
        ["4688 1 cmd.exe", "4689 1 cmd.exe"],
        ["445 0 0 0 0 Listening", "4444 0 0 0 0 Listening"],
        [
            "0.0.0.0 0.0.0.0 203.0.113.9 10.0.0.5 25 if",
            "0.0.0.0 0.0.0.0 203.0.113.8 10.0.0.5 25 if",
        ],
        [
            "TCP 10.0.0.4:50123 198.51.100.7:443 Teams",
            "TCP 10.0.0.4:50123 198.51.100.7:443 Mimikatz",
        ],
        [
            "UDP 10.0.0.1:53 1.2.3.4:53 Evil.exe 44",
            "UDP 10.0.0.1:53 1.2.3.4:53 Good.exe 44",
        ],
        [
            "TCP 0.0.0.0:4444 0.0.0.0:0 LISTENING 4",
            "TCP 0.0.0.0:4444 0.0.0.0:0 TIME_WAIT 4",
        ],
        ["2001:db8::abcd:12:34", "2001:db8::abcd:13:45"],
        ["aa:bb:cc:12:34:56", "aa:bb:cc:12:35:57"],
        ["dead:10:20", "dead:10:21"],
        ["HostName : 203.0.113.7", "HostName : 203.0.113.8"],
        ["Serial Number: 0badc0de", "Serial Number: 0badc0df"],
        [
            "Account Name: Domain Admins",
            "Account Name: Enterprise Admins",
        ],
        ["mimikatz64.tmp", "a1.tmp"],
        ["Plan A 4444 tcp", "Plan A 80 tcp"],
        [r"x C:\Users\bob /x", r"x C:\Users\bob/x"],
        ["rapid: 5", "rapid: 6"],
        ["4624 120 Logon", "4625 120 Logon"],
        ["tool 1.2.3.4", "tool 1.2.3.5"],
        ["KB5031234", "KB5031235"],
        [
            "Source IP Address: 203.0.113.7",
            "Source IP Address: 203.0.113.8",
        ],
    ] {
        assert_ne!(of(pair[0]), of(pair[1]), "{pair:?}");
    }
}

#[test]
fn lines_with_different_volatile_parts_have_one_template() {
    for pair in [
        [
            "  TCP    10.20.0.4:50123   198.51.100.7:443   TIME_WAIT   0",
            "  TCP    10.20.11.14:61000      198.51.100.7:443       ESTABLISHED     4212",
        ],
        [
            "   992    456    0 svchost.exe                    12345 K  C:\\Windows\\svchost.exe -k a",
            " 23992    4    1 svchost.exe                    345 K  C:\\Windows\\svchost.exe -k a",
        ],
        [
            "svchost.exe     1234 Services     0     12,345 K",
            "svchost.exe    99 Services    0   5 K",
        ],
        [
            "    466   31  59756  78340   2.88   3364   1 chrome",
            "   1 2 3 4 0.12 5 1 chrome",
        ],
        [r"Username: CORP\bob", r"Username: CORP\carol.b"],
        ["\tNew Process ID:\t\t0x1a4", "\tNew Process ID:\t\t0xFFF1"],
        [
            "<Data Name='TargetLogonId'>0x3e7a</Data>",
            "<Data Name='TargetLogonId'>0x99</Data>",
        ],
        [
            "<Execution ProcessID='44' ThreadID='8'/>",
            "<Execution ProcessID='4' ThreadID='88'/>",
        ],
        [r"C:\Users\John Smith\a.exe", r"C:\Users\ann\a.exe"],
        [
            "Available Physical Memory: 2,111 MB",
            "Available Physical Memory: 11,001 MB",
        ],
        ["[::1]:50000", "[::1]:50001"],
        [
            "PowerShell_transcript.PC1.9c41Kd0v.20260310091235.txt",
            "PowerShell_transcript.PC2.aaaaKd0v.20260311091235.txt",
        ],
        [
            "ALLOW TCP 10.20.0.4 198.51.100.7 50123 443 0",
            "ALLOW TCP 10.20.0.4 198.51.100.7 60123 443 0",
        ],
    ] {
        assert_eq!(of(pair[0]), of(pair[1]));
    }
}

#[test]
fn device_name_is_volatile_in_its_own_lines_only() {
    let names = ["fin-ws-07.corp.contoso.example", "dc-01", "x"];
    let templates = Templates::new(&RuleSet::default()).unwrap();
    let templates = templates.with_machines(names.into_iter());
    let own = templates.machine_of(names[0]);
    assert!(own.is_some() && templates.machine_of("x").is_none());
    let (mut named, mut out) = (Vec::new(), String::new());
    let line = r"FIN-WS-07\admin asks dc-01.corp for fin-ws-071 and pre-fin-ws-07";
    templates.write(line, own, &mut named, &mut out);
    assert_eq!(
        out,
        r"<own>\admin asks dc-01.corp for fin-ws-071 and pre-fin-ws-07"
    );
    let both = [own.unwrap(), templates.machine_of("DC-01").unwrap()];
    assert_eq!(named, both);
    templates.write(line, None, &mut named, &mut String::new());
    assert_eq!(named, both);
}

#[test]
fn list_of_devices_keeps_every_name() {
    let names: Vec<String> = (0..40).map(|n| format!("ws-{n:02}")).collect();
    let templates = Templates::new(&RuleSet::default()).unwrap();
    let templates = templates.with_machines(names.iter().map(String::as_str));
    let own = templates.machine_of("ws-00");
    let mut named = Vec::new();
    for (count, noted) in [(NAMED_MAX, NAMED_MAX), (NAMED_MAX + 1, 0), (40, 0)] {
        let line = names[..count].join(" ");
        templates.write(&line, own, &mut named, &mut String::new());
        assert_eq!(named.len(), noted);
        assert_eq!(templates.of(&line, own) == line, noted == 0, "{count}");
    }
}

#[test]
fn user_rules_are_applied_first_and_invalid_ones_are_reported() {
    let set = |more: &[(&str, &str)], off: &[&str]| RuleSet {
        off: off.iter().map(|name| name.to_string()).collect(),
        more: more
            .iter()
            .map(|(a, b)| (a.to_string(), b.to_string()))
            .collect(),
        ..RuleSet::default()
    };
    let templates = Templates::new(&set(&[("ticket", r"INC\d{7}")], &[])).unwrap();
    assert_eq!(
        templates.of("see INC0012345 at 12:01:02", None),
        "see <ticket> at <time>"
    );
    let error = Templates::new(&set(&[("x", "(")], &[])).unwrap_err();
    assert!(error.to_string().contains("`x`"), "{error}");
    assert!(Templates::new(&set(&[], &["pid"])).is_err());
}

#[test]
fn hostile_lines_are_scanned_in_bounded_time() {
    let long = "5382f7ea-".repeat(20_000);
    for line in [
        "",
        " ",
        "\t",
        ":",
        "=",
        "\\Users\\",
        "\\users\\\u{fffd}",
        "é:é=é>",
        "\0\0\u{1b}[2J",
        ".tmp",
        "x.tmp",
        "TCP",
        "TCP a",
        "TCP a:1",
        "TCP a:1 b:2",
        "TCP  é:1  é:2 É 1",
        "9",
        "9.",
        "9:",
        "1 2 3",
        "PID:",
        "PID: ",
        "S-1-5-21-",
        "S-1-5-21-1-2-3-",
        "_MEI",
        "__PSScriptPolicyTest_é.ps1",
        "' Services '",
        "a.exe  Services ",
        "é.exe 12 Console ",
        "User: \u{202e}x",
        "User:\u{a0}é  y",
        "Host Name: é",
        "2026-02-03T",
        "0x",
        "[]:",
        "]:99999",
        "Feb",
        "Mon, ",
        &long,
    ] {
        let once = of(line);
        assert_eq!(of(&once), once, "{line:?}");
    }
}

#[test]
fn adversarial_line_is_not_slow() {
    // Each part takes minutes if every position searches the whole rest.
    for part in [
        "77,90,144,0,3,",
        ".tmp",
        "user:",
        "user (",
        "__PSScriptPolicyTest_-",
        "PowerShell_transcript.-",
        "00000000-",
        "A 1",
        "1 ",
        "10.0.0.1:",
        "\\Users\\",
        "hostname:",
        "1.",
        "Feb 3 ",
        "12345678",
        "a-",
        "ä1",
    ] {
        let line = part.repeat((256 << 10) / part.len());
        let started = std::time::Instant::now();
        let mut named = Vec::new();
        let machines = ["a-a".to_string(), "user".into()];
        let templates = Templates::new(&RuleSet::default()).unwrap();
        let templates = templates.with_machines(machines.iter().map(String::as_str));
        templates.write(&line, Some(0), &mut named, &mut String::new());
        let took = started.elapsed();
        assert!(took.as_secs() < 2, "{part}: {took:?}");
    }
}
