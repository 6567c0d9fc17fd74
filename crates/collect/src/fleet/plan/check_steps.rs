//! What the service would refuse, or worse take otherwise than it was meant.
//! Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::fleet::{Diagnostic, SessionStep};

/// **Source**: the run live response page: arguments must not hold these.
const FORBIDDEN: [char; 5] = [';', '&', '|', '!', '$'];

/// Everything wrong with the steps of one session.
pub(crate) fn check_steps(steps: &[SessionStep]) -> Vec<Diagnostic> {
    let mut wrong = Vec::new();
    if steps.is_empty() {
        wrong.push(
            Diagnostic::new("steps", "there is nothing to run")
                .hint("add --put FILE, --script NAME or --get PATH, or a playbook with [[step]]"),
        );
    }
    let mut before = 0;
    for (n, step) in steps.iter().enumerate() {
        let place = format!("step {} ({})", n + 1, step.kind());
        if step.rank() < before {
            wrong.push(
                Diagnostic::new(
                    &place,
                    "the service runs PutFile, then RunScript, then GetFile",
                )
                .hint("put the steps into that order, or make two runs of them"),
            );
        }
        before = before.max(step.rank());
        wrong.extend(check_step(&place, step));
    }
    wrong
}

fn check_step(place: &str, step: &SessionStep) -> Vec<Diagnostic> {
    let mut wrong = Vec::new();
    for (parameter, text) in step.clone().texts_mut() {
        let place = format!("{place} {parameter}");
        if text.trim().is_empty() {
            wrong.push(Diagnostic::new(&place, "is empty"));
        }
        wrong.extend(check_characters(&place, text));
        wrong.extend(match parameter {
            "Args" => check_args(&place, text).into_iter().collect(),
            "Path" => check_path(&place, text),
            _ => check_library_name(&place, text).into_iter().collect(),
        });
    }
    wrong
}

fn check_characters(place: &str, text: &str) -> Option<Diagnostic> {
    let control = text.chars().find(|c| c.is_control())?;
    Some(
        Diagnostic::new(place, format!("holds a control character ({control:?})"))
            .hint("in TOML write paths in 'single quotes', where \\t is no tab"),
    )
}

fn check_args(place: &str, args: &str) -> Option<Diagnostic> {
    let found: Vec<String> = FORBIDDEN
        .iter()
        .filter(|c| args.contains(**c))
        .map(|c| format!("`{c}`"))
        .collect();
    (!found.is_empty()).then(|| {
        Diagnostic::new(
            place,
            format!("the service refuses arguments that hold {}", found.join(" ")),
        )
        .hint(
            "--encode-args sends them as one base64 word; the script reads it with [Text.Encoding]::Unicode.GetString([Convert]::FromBase64String($args[0]))",
        )
    })
}

fn check_path(place: &str, path: &str) -> Vec<Diagnostic> {
    let mut wrong = Vec::new();
    // A share begins with two of them.
    let behind = path.get(2..).unwrap_or("");
    if behind.contains("\\\\") {
        wrong.push(
            Diagnostic::new(place, format!("`{path}` holds doubled backslashes"))
                .hint("write each once: they are escaped on the way"),
        );
    }
    let bytes = path.as_bytes();
    let is_absolute = path.starts_with('/')
        || path.starts_with("\\\\")
        || path.starts_with('%')
        || (bytes.get(1) == Some(&b':') && matches!(bytes.get(2), Some(b'\\' | b'/')));
    if !is_absolute && !path.trim().is_empty() {
        wrong.push(
            Diagnostic::new(place, format!("`{path}` does not say where it begins"))
                .hint("write the whole path, such as 'C:\\Temp\\out.zip' or /tmp/out.zip"),
        );
    }
    wrong
}

fn check_library_name(place: &str, name: &str) -> Option<Diagnostic> {
    name.contains(['/', '\\']).then(|| {
        Diagnostic::new(place, format!("`{name}` is a path"))
            .hint("name a file of the library; `library upload FILE` puts one there")
    })
}

/// The arguments as one word that no rule of the service touches.
pub(crate) fn encoded(args: &str) -> String {
    let utf16: Vec<u8> = args.encode_utf16().flat_map(u16::to_le_bytes).collect();
    BASE64.encode(utf16)
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

    fn wrongs(steps: &[SessionStep]) -> Vec<String> {
        let found = check_steps(steps);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_the_service_takes_is_right() {
        for path in [
            "C:\\Temp\\a b.zip",
            "\\\\srv\\share\\a",
            "/tmp/a",
            "%TEMP%\\a",
            "c:/a",
        ] {
            assert_eq!(wrongs(&[get(path)]), [""; 0], "{path}");
        }
        assert_eq!(wrongs(&[run("a.ps1", "-Out C:\\T"), get("C:\\a")]), [""; 0]);
    }

    #[test]
    fn everything_wrong_is_said_at_once_and_where() {
        let steps = [
            get("C:\\\\Temp\\\\a"),
            run("dir\\a.ps1", "-A 1; whoami | more"),
            get("C:\temp"),
            SessionStep::Put { file: " ".into() },
        ];
        let found = wrongs(&steps);
        for (n, part) in [
            "step 1 (GetFile) Path: `C:\\\\Temp\\\\a` holds doubled",
            "step 2 (RunScript): the service runs PutFile, then",
            "step 2 (RunScript) ScriptName: `dir\\a.ps1` is a path",
            "step 2 (RunScript) Args: the service refuses arguments that hold `;` `|`",
            "step 3 (GetFile) Path: holds a control character ('\\t')",
            "step 3 (GetFile) Path: `C:\temp` does not say",
            "step 4 (PutFile): the service runs",
            "step 4 (PutFile) FileName: is empty",
        ]
        .iter()
        .enumerate()
        {
            assert!(found[n].starts_with(part), "{n}: {found:#?}");
        }
        assert_eq!(found.len(), 8, "{found:#?}");
        assert!(wrongs(&[])[0].contains("nothing to run"));
    }

    #[test]
    fn encoded_arguments_hold_nothing_forbidden() {
        let word = encoded("-Q \"a;b|c\" $x ä");
        assert_eq!(check_args("", &word), None);
        let bytes = BASE64.decode(word).unwrap();
        let units: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        assert_eq!(String::from_utf16(&units).unwrap(), "-Q \"a;b|c\" $x ä");
    }
}
