//! Devices that are not part of the incident, and missing results.

use crate::error::GenerateError;
use crate::sample::case::{Case, Visit};
use crate::sample::quirk::TranscriptFormat;
use crate::section::Section;
use crate::section::Section::*;

type Written = Result<(), GenerateError>;

/// Devices that are not involved, and one that was nearly involved.
pub(crate) fn the_others(case: &mut Case<'_>) -> Written {
    let mut visit = case.visit("FIN-WS-05", 126, "INC-0311 who else had the mail");
    let mail = "\r\nReceived             Sender                        Subject              Attachment         Opened\r\n\
        --------             ------                        -------              ----------         ------\r\n\
        2026-03-10 09:08:47  billing@parcel-notice.example Your parcel is held  Invoice_88213.zip  False\r\n";
    visit.transcript(
        "Get-MailItems.ps1",
        "-Days 2",
        TranscriptFormat::Plain,
        0,
        mail,
        "",
    )?;
    visit.close("Succeeded")?;

    type Look = (
        &'static str,
        i64,
        &'static str,
        &'static str,
        TranscriptFormat,
        &'static [Section],
    );
    const LOOKS: [Look; 8] = [
        (
            "FIN-WS-05",
            130,
            "Get-Persistence.ps1",
            "-All",
            TranscriptFormat::Gzipped,
            &[Services, Autoruns, RunKeys],
        ),
        (
            "FIN-WS-09",
            131,
            "Get-Persistence.ps1",
            "-All",
            TranscriptFormat::Gzipped,
            &[Services, Autoruns, RunKeys],
        ),
        (
            "OPS-LT-04",
            133,
            "Get-Activity.ps1",
            "-Connections -Dns",
            TranscriptFormat::Gzipped,
            &[Processes, Connections, DnsCache],
        ),
        (
            "WHS-KI-21",
            134,
            "Get-Inventory.ps1",
            "",
            TranscriptFormat::Plain,
            &[System, Hotfixes, Software, Users],
        ),
        (
            "WHS-KI-22",
            135,
            "Get-Inventory.ps1",
            "",
            TranscriptFormat::Gzipped,
            &[System, Hotfixes, Software, Users],
        ),
        (
            "WEB-01",
            137,
            "Get-Activity.ps1",
            "-Connections -Dns",
            TranscriptFormat::Gzipped,
            &[Processes, Connections, DnsCache],
        ),
        (
            "WEB-01",
            141,
            "Get-SystemHashes.ps1",
            "-Algorithm SHA256",
            TranscriptFormat::Gzipped,
            &[Hashes],
        ),
        (
            "DC-01",
            144,
            "Get-Persistence.ps1",
            "-All",
            TranscriptFormat::Gzipped,
            &[Services, Tasks, Autoruns, RunKeys],
        ),
    ];
    for (device, minutes, script, args, form, sections) in LOOKS {
        let mut visit = case.visit(device, minutes, "INC-0311 sweep");
        visit.script(script, args, form, sections, &[])?;
        visit.close("Succeeded")?;
    }
    Ok(())
}

/// The missing results.
pub(crate) fn what_is_missing(case: &mut Case<'_>) -> Written {
    // The upload of a completed GetFile failed on the device.
    let mut visit = case.visit("FIN-WS-07", 150, "INC-0311 memory of the relay");
    visit.session.run(
        "GetFile",
        &[("Path", "C:\\ProgramData\\Triage\\relay.dmp.zip")],
        310,
    );
    visit.close("Succeeded")?;

    // A script failed, so the GetFile after it never ran.
    let mut visit = case.visit("IT-WS-01", 152, "INC-0311 sweep");
    let output = "\r\nReading scheduled tasks ...\r\nReading services ...\r\n";
    let errors = "Get-Persistence.ps1 : Access to the registry key 'HKEY_LOCAL_MACHINE\\SECURITY' is denied.\r\n\
        At C:\\ProgramData\\Microsoft\\Windows Defender Advanced Threat Protection\\Temp\\Get-Persistence.ps1:41 char:5\r\n\
        + CategoryInfo          : PermissionDenied: (HKEY_LOCAL_MACHINE\\SECURITY:String) [Get-ItemProperty]\r\n";
    visit.transcript(
        "Get-Persistence.ps1",
        "-All",
        TranscriptFormat::Plain,
        1,
        output,
        errors,
    )?;
    fail_last(&mut visit, "The script returned exit code 1");
    add_unrun(&mut visit, "C:\\ProgramData\\Triage\\triage.zip");
    visit.close("Failed")?;

    // Cancelled after the first command.
    let mut visit = case.visit("SAL-LT-12", 155, "INC-0311 sweep");
    visit.script(
        "Get-Activity.ps1",
        "-Connections -Dns",
        TranscriptFormat::Plain,
        &[Connections, DnsCache],
        &[],
    )?;
    add_unrun(&mut visit, "C:\\ProgramData\\Triage\\triage.zip");
    visit.close("Cancelled")?;

    // The second script timed out after ten minutes.
    let mut visit = case.visit("HR-WS-02", 158, "INC-0311 sweep");
    visit.script(
        "Get-Inventory.ps1",
        "",
        TranscriptFormat::Gzipped,
        &[System, Hotfixes, Users],
        &[],
    )?;
    let started = visit.now().plus(1);
    visit.session.add(
        "RunScript",
        &[
            ("ScriptName", "Get-UserFiles.ps1"),
            ("Args", "-Hash SHA256"),
        ],
        "Failed",
        (Some(started), Some(started.plus(600))),
        &["The command timed out after 10 minutes"],
    );
    visit.session.ended = started.plus(600);
    visit.close("TimeOut")?;

    // Away for a week: still pending.
    let mut visit = case.visit("SAL-LT-11", 160, "INC-0311 had the mail, laptop away");
    visit.session.ended = visit.session.created;
    let params = [("ScriptName", "Get-Persistence.ps1"), ("Args", "-All")];
    visit
        .session
        .add("RunScript", &params, "Created", (None, None), &[]);
    add_unrun(&mut visit, "C:\\ProgramData\\Triage\\triage.zip");
    visit.close("Pending")
}

fn add_unrun(visit: &mut Visit<'_>, path: &str) {
    visit
        .session
        .add("GetFile", &[("Path", path)], "Created", (None, None), &[]);
}

/// Sets the error that the service reports for the last script.
fn fail_last(visit: &mut Visit<'_>, error: &str) {
    if let Some(command) = visit.session.commands.last_mut() {
        command["commandStatus"] = "Failed".into();
        command["errors"] = serde_json::json!([error]);
    }
}
