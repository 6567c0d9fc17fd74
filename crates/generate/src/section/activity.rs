//! Sections about activity: processes, connections, history.

use crate::section::{Scene, Section, TextBuilder};

/// First dynamic port of Windows.
const FIRST_DYNAMIC_PORT: u64 = 49_152;

pub(crate) fn processes(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    let image = scene.image;
    text.heading("   PID   PPID Sess Name                          WorkingSet  CommandLine");
    scene.list(
        Section::Processes,
        text,
        image.processes.len(),
        |scene, n, text| {
            let (name, line) = &image.processes[n];
            let random = &mut scene.random;
            let session = u64::from(n > 15 && random.once_in(2));
            text.put(format_args!(
                "{:>6} {:>6} {session:>4} {name:<28} {:>8} K  {line}",
                4 * random.between(100, 6_000),
                4 * random.between(1, 600),
                random.between(900, 420_000),
            ));
        },
    );
}

pub(crate) fn connections(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    const LISTENING: [u64; 14] = [
        135, 139, 445, 3389, 5040, 5357, 5985, 7680, 47001, 49664, 49665, 49666, 49667, 49668,
    ];
    text.lines(["", "Active Connections", ""]);
    text.line("  Proto  Local Address          Foreign Address        State           PID");
    for port in LISTENING {
        let pid = 4 * scene.random.between(1, 300);
        let local = format!("0.0.0.0:{port}");
        text.put(format_args!(
            "  TCP    {local:<22} 0.0.0.0:0              LISTENING       {pid}"
        ));
    }
    let count = scene.count(46) as usize;
    scene.list(Section::Connections, text, count, |scene, _, text| {
        let address = &scene.device.address;
        let random = &mut scene.random;
        let local = format!("{address}:{}", FIRST_DYNAMIC_PORT + random.below(16_000));
        let far = match random.below(3) {
            0 => format!("10.20.0.{}:445", random.between(4, 30)),
            1 => format!("198.51.100.{}:443", random.between(2, 250)),
            _ => format!("192.0.2.{}:443", random.between(2, 250)),
        };
        let state = random.pick(&["ESTABLISHED", "ESTABLISHED", "TIME_WAIT", "CLOSE_WAIT"]);
        let pid = match *state {
            "TIME_WAIT" => 0,
            _ => 4 * random.between(100, 6_000),
        };
        text.put(format_args!(
            "  TCP    {local:<22} {far:<22} {state:<15} {pid}"
        ));
    });
}

pub(crate) fn dns_cache(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    let image = scene.image;
    text.heading("Entry                                    Type TTL    Data");
    scene.list(
        Section::DnsCache,
        text,
        image.host_names.len(),
        |scene, n, text| {
            if scene.random.once_in(3) {
                return;
            }
            let name = &image.host_names[n];
            text.put(format_args!(
                "{name:<40} A    {:<6} 198.51.100.{}",
                scene.random.below(3_600),
                n + 2
            ));
        },
    );
}

pub(crate) fn prefetch(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    let image = scene.image;
    text.line("LastRun,RunCount,File");
    scene.list(
        Section::Prefetch,
        text,
        image.prefetch.len(),
        |scene, n, text| {
            if scene.random.once_in(4) {
                return;
            }
            let ago = scene.random.below(30 * 86_400);
            text.put(format_args!(
                "{},{},{}",
                scene.now.minus(ago).spaced(),
                scene.random.between(1, 90),
                image.prefetch[n]
            ));
        },
    );
}

/// Commands of an administrator, found in every history.
const COMMANDS: [&str; 16] = [
    "Get-Service | Where-Object Status -eq Running",
    "Test-NetConnection files.corp.contoso.example -Port 445",
    "gpupdate /force",
    "ipconfig /flushdns",
    "Get-ChildItem C:\\Temp -Recurse",
    "cd $env:USERPROFILE\\Documents",
    "Get-EventLog -LogName System -Newest 50",
    "Restart-Service Spooler",
    "whoami /all",
    "Get-ADUser -Filter * -SearchBase 'OU=Staff,DC=corp,DC=contoso,DC=example'",
    "Get-WmiObject Win32_BIOS",
    "Import-Module ActiveDirectory",
    "net use Z: \\\\files.corp.contoso.example\\shared",
    "Get-Process | Sort-Object CPU -Descending | Select-Object -First 10",
    "hostname",
    "exit",
];

pub(crate) fn history(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    scene.list(Section::History, text, 30, |scene, _, text| {
        let command = scene.random.pick(&COMMANDS);
        text.line(command);
    });
}

/// A session as recorded by `Start-Transcript`.
pub(crate) fn transcript(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    const STARS: &str = "**********************";
    let (device, build) = (scene.device, &scene.image.build);
    let start = scene.now.minus(scene.random.below(86_400));
    text.lines([STARS, "Windows PowerShell transcript start"]);
    text.put(format_args!("Start time: {}", start.compact()));
    text.put(format_args!("Username: CORP\\{}", device.user));
    text.put(format_args!("RunAs User: CORP\\{}", device.user));
    text.put(format_args!(
        "Machine: {} (Microsoft Windows NT {build})",
        device.name
    ));
    text.line(r"Host Application: C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe");
    text.put(format_args!(
        "Process ID: {}",
        4 * scene.random.between(100, 6_000)
    ));
    text.lines(["PSVersion: 5.1.26100.2161", "PSEdition: Desktop", STARS]);
    scene.list(Section::Transcript, text, 12, |scene, _, text| {
        let command = scene.random.pick(&COMMANDS);
        text.put(format_args!(r"PS C:\Windows\system32> {command}"));
    });
    text.lines([STARS, "Windows PowerShell transcript end"]);
    let end = start.plus(scene.random.between(20, 2_000) as i64);
    text.put(format_args!("End time: {}", end.compact()));
    text.line(STARS);
}
