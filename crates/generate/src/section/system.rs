//! Sections about the system: hardware, users, software.

use crate::section::{Scene, Section, TextBuilder};

pub(crate) fn system(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    let (device, image) = (scene.device, scene.image);
    text.line("");
    text.put(format_args!("Host Name:                 {}", device.name));
    text.put(format_args!("OS Name:                   {}", image.edition));
    text.put(format_args!(
        "OS Version:                {} N/A",
        image.build
    ));
    text.lines([
        "OS Manufacturer:           Microsoft Corporation",
        "OS Build Type:             Multiprocessor Free",
        "Registered Owner:          Contoso IT",
    ]);
    text.put(format_args!(
        "Product ID:                00355-{:05}-{:05}-AAOEM",
        scene.random.below(99_999),
        scene.random.below(99_999)
    ));
    text.put(format_args!(
        "System Boot Time:          {}",
        device.booted.american()
    ));
    text.lines([
        "System Type:               x64-based PC",
        "Windows Directory:         C:\\Windows",
        "System Directory:          C:\\Windows\\system32",
        "System Locale:             en-us;English (United States)",
        "Total Physical Memory:     16,214 MB",
    ]);
    text.put(format_args!(
        "Available Physical Memory: {},{:03} MB",
        scene.random.between(2, 11),
        scene.random.below(1000)
    ));
    text.put(format_args!("Domain:                    {}", device.domain));
    text.lines(["", "Windows IP Configuration", ""]);
    text.put(format_args!(
        "   Host Name . . . . . . . . . . . . : {}",
        device.name
    ));
    text.put(format_args!(
        "   Primary Dns Suffix  . . . . . . . : {}",
        device.domain
    ));
    let mac = scene.random.hex_upper(5);
    text.put(format_args!(
        "   Physical Address. . . . . . . . . : 00-{}-{}-{}-{}-{}",
        &mac[..2],
        &mac[2..4],
        &mac[4..6],
        &mac[6..8],
        &mac[8..]
    ));
    text.line("   DHCP Enabled. . . . . . . . . . . : Yes");
    text.put(format_args!(
        "   IPv4 Address. . . . . . . . . . . : {}(Preferred)",
        device.address
    ));
    text.line("   Subnet Mask . . . . . . . . . . . : 255.255.255.0");
    scene.plant(Section::System, text);
}

pub(crate) fn hotfixes(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    text.heading("Description      HotFixID      InstalledBy          InstalledOn");
    let image = scene.image;
    scene.list(
        Section::Hotfixes,
        text,
        image.hotfixes.len(),
        |_, n, text| {
            text.line(&image.hotfixes[n]);
        },
    );
}

pub(crate) fn software(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    text.heading(
        "DisplayName                                  DisplayVersion   Publisher          InstallDate",
    );
    let image = scene.image;
    scene.list(
        Section::Software,
        text,
        image.software.len(),
        |scene, n, text| {
            if !scene.random.once_in(20) {
                text.line(&image.software[n]);
            }
        },
    );
}

pub(crate) fn users(scene: &mut Scene<'_>, text: &mut TextBuilder) {
    const ACCOUNTS: [(&str, bool, u32); 5] = [
        ("Administrator", false, 500),
        ("DefaultAccount", false, 503),
        ("Guest", false, 501),
        ("WDAGUtilityAccount", false, 504),
        ("itsupport", true, 1001),
    ];
    let device = scene.device;
    text.heading("Name                 Enabled  LastLogon              SID");
    scene.list(Section::Users, text, ACCOUNTS.len(), |scene, n, text| {
        let (name, enabled, rid) = ACCOUNTS[n];
        let logon = if enabled {
            let ago = scene.random.below(30 * 86_400);
            scene.now.minus(ago).american().to_string()
        } else {
            String::new()
        };
        text.put(format_args!(
            "{name:<20} {enabled:<8} {logon:<22} {}-{rid}",
            device.sid
        ));
    });
    text.lines(["", "Members of Administrators", "-------------------------"]);
    text.put(format_args!("{}\\Administrator", device.name));
    text.line("CORP\\Domain Admins");
    text.line("CORP\\Workstation Support");
}
