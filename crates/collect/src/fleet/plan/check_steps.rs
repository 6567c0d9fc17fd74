//! Checks steps for values that the service rejects or silently misreads.

use data_encoding::BASE64;

use crate::fleet::plan::diagnostic::Diagnostic;
use crate::fleet::plan::step::SessionStep;

/// Characters that the service rejects in arguments.
///
/// **Source**: the API page "Run live response".
const FORBIDDEN: [char; 5] = [';', '&', '|', '!', '$'];

/// Returns every fault of the steps of one session.
pub(crate) fn check_steps(steps: &[SessionStep]) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    if steps.is_empty() {
        diagnostics.push(Diagnostic::new("steps", "none given").hint(
            "pass --put FILE, --script NAME or --get PATH, or a playbook with [[step]] tables",
        ));
    }
    let mut highest_rank = 0;
    for (n, step) in steps.iter().enumerate() {
        let subject = format!("step {} ({})", n + 1, step.kind());
        if step.rank() < highest_rank {
            diagnostics.push(
                Diagnostic::new(
                    &subject,
                    "out of order: the service runs PutFile, then RunScript, then GetFile",
                )
                .hint("put the steps in this order, or split them into two runs"),
            );
        }
        highest_rank = highest_rank.max(step.rank());
        diagnostics.extend(check_step(&subject, step));
    }
    diagnostics
}

fn check_step(subject: &str, step: &SessionStep) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for (parameter, text) in step.params() {
        let subject = format!("{subject} {parameter}");
        if text.trim().is_empty() {
            diagnostics.push(Diagnostic::new(&subject, "is empty"));
        }
        diagnostics.extend(check_characters(&subject, text));
        match parameter {
            "Args" => diagnostics.extend(check_args(&subject, text)),
            "Path" => diagnostics.extend(check_path(&subject, text)),
            _ => diagnostics.extend(check_library_name(&subject, text)),
        }
    }
    diagnostics
}

fn check_characters(subject: &str, text: &str) -> Option<Diagnostic> {
    let control = text.chars().find(|c| c.is_control())?;
    Some(
        Diagnostic::new(
            subject,
            format!("contains a control character ({control:?})"),
        )
        .hint(
            "in TOML, write paths in 'single quotes': in \"double quotes\", \\t is a tab character",
        ),
    )
}

fn check_args(subject: &str, args: &str) -> Option<Diagnostic> {
    let forbidden: Vec<String> = FORBIDDEN
        .iter()
        .filter(|c| args.contains(**c))
        .map(|c| format!("`{c}`"))
        .collect();
    (!forbidden.is_empty()).then(|| {
        Diagnostic::new(
            subject,
            format!("the service rejects arguments that contain {}", forbidden.join(" ")),
        )
        .hint(
            "pass --encode-args to send them as one base64 word; decode it in the script with [Text.Encoding]::Unicode.GetString([Convert]::FromBase64String($args[0]))",
        )
    })
}

fn check_path(subject: &str, path: &str) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    // A UNC path starts with two backslashes.
    let after_prefix = path.get(2..).unwrap_or("");
    if after_prefix.contains("\\\\") {
        diagnostics.push(
            Diagnostic::new(subject, format!("`{path}` contains double backslashes"))
                .hint("write single backslashes; the request escapes them"),
        );
    }
    let bytes = path.as_bytes();
    let is_absolute = path.starts_with('/')
        || path.starts_with("\\\\")
        || path.starts_with('%')
        || (bytes.get(1) == Some(&b':') && matches!(bytes.get(2), Some(b'\\' | b'/')));
    if !is_absolute && !path.trim().is_empty() {
        diagnostics.push(
            Diagnostic::new(subject, format!("`{path}` is not an absolute path"))
                .hint("write the full path, such as 'C:\\Temp\\out.zip' or /tmp/out.zip"),
        );
    }
    diagnostics
}

fn check_library_name(subject: &str, name: &str) -> Option<Diagnostic> {
    name.contains(['/', '\\']).then(|| {
        Diagnostic::new(
            subject,
            format!("`{name}` is a path, not the name of a library file"),
        )
        .hint("upload the file with `library upload FILE`, then use its name")
    })
}

/// The arguments as the base64 of their UTF-16, which contains none of the
/// characters that the service rejects.
pub(crate) fn encode_args(args: &str) -> String {
    let utf16: Vec<u8> = args.encode_utf16().flat_map(u16::to_le_bytes).collect();
    BASE64.encode(&utf16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, args: &str) -> SessionStep {
        SessionStep::Run {
            script: script.into(),
            args: Some(args.into()),
        }
    }

    fn get(path: &str) -> SessionStep {
        SessionStep::Get { path: path.into() }
    }

    fn faults(steps: &[SessionStep]) -> Vec<String> {
        check_steps(steps).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn valid_steps_have_no_faults() {
        for path in [
            "C:\\Temp\\a b.zip",
            "\\\\srv\\share\\a",
            "/tmp/a",
            "%TEMP%\\a",
            "c:/a",
        ] {
            assert_eq!(faults(&[get(path)]), [""; 0], "{path}");
        }
        assert_eq!(faults(&[run("a.ps1", "-Out C:\\T"), get("C:\\a")]), [""; 0]);
    }

    #[test]
    fn every_fault_is_reported_with_its_step_and_parameter() {
        let steps = [
            get("C:\\\\Temp\\\\a"),
            run("dir\\a.ps1", "-A 1; whoami | more"),
            get("C:\temp"),
            SessionStep::Put { file: " ".into() },
        ];
        let found = faults(&steps);
        for (n, part) in [
            "step 1 (GetFile) Path: `C:\\\\Temp\\\\a` contains double",
            "step 2 (RunScript): out of order",
            "step 2 (RunScript) ScriptName: `dir\\a.ps1` is a path",
            "step 2 (RunScript) Args: the service rejects arguments that contain `;` `|`",
            "step 3 (GetFile) Path: contains a control character ('\\t')",
            "step 3 (GetFile) Path: `C:\temp` is not an absolute path",
            "step 4 (PutFile): out of order",
            "step 4 (PutFile) FileName: is empty",
        ]
        .iter()
        .enumerate()
        {
            assert!(found[n].starts_with(part), "{n}: {found:#?}");
        }
        assert_eq!(found.len(), 8, "{found:#?}");
        assert_eq!(faults(&[]), ["steps: none given"]);
    }

    #[test]
    fn encoded_arguments_contain_no_forbidden_character() {
        let word = encode_args("-Q \"a;b|c\" $x ä");
        assert_eq!(check_args("", &word), None);
        let bytes = BASE64.decode(word.as_bytes()).unwrap();
        let units: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        assert_eq!(String::from_utf16(&units).unwrap(), "-Q \"a;b|c\" $x ä");
    }
}
