//! What the service does to bodies: the same text as broken JSON, in another
//! encoding, wrapped or bare. Pure, and the same for a result at every call.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::faults::Fault;

/// Larger bodies are served as they are: a disguise needs the whole body.
pub(crate) const ENCODED_BODY_MAX: u64 = 16 << 20;

/// The disguises, in the order they are put on: words first, then encoding,
/// then wrapping.
pub(crate) const ENCODING_FAULTS: [Fault; 9] = [
    Fault::NulTail,
    Fault::RawLineFeed,
    Fault::NotJson,
    Fault::CutJson,
    Fault::Utf8Bom,
    Fault::Utf16,
    Fault::Empty,
    Fault::NotGzip,
    Fault::Gzip,
];

/// Whether a disguise is for transcripts only.
pub(crate) fn is_for_transcripts(fault: Fault) -> bool {
    !matches!(fault, Fault::Gzip | Fault::NotGzip)
}

pub(crate) fn put_on(fault: Fault, body: Vec<u8>) -> Vec<u8> {
    match fault {
        Fault::NulTail => with_output(body, |output| output + "\u{0}\u{0}\u{0}"),
        Fault::RawLineFeed => replaced(&body, b"\\n", b"\n"),
        Fault::NotJson => bare_output(body),
        Fault::CutJson => {
            let keep = body.len() * 2 / 3;
            body[..keep].to_vec()
        }
        Fault::Utf8Bom => [b"\xef\xbb\xbf".as_slice(), &body].concat(),
        Fault::Utf16 => utf16(&body),
        Fault::Empty => Vec::new(),
        Fault::NotGzip => unwrapped(body),
        Fault::Gzip => wrapped(body),
        _ => body,
    }
}

/// The names under which a transcript may hold its output.
const OUTPUTS: [&str; 2] = ["script_output", "output"];

fn with_output(body: Vec<u8>, change: impl FnOnce(String) -> String) -> Vec<u8> {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(&body) else {
        return body;
    };
    let name = OUTPUTS.into_iter().find(|name| object.contains_key(*name));
    if let Some(name) = name {
        let text = object.get(name).and_then(Value::as_str).unwrap_or_default();
        let changed = change(text.to_string());
        object.insert(name.into(), json!(changed));
    }
    Value::Object(object).to_string().into_bytes()
}

fn bare_output(body: Vec<u8>) -> Vec<u8> {
    let Ok(Value::Object(object)) = serde_json::from_slice(&body) else {
        return body;
    };
    let output = OUTPUTS.into_iter().find_map(|name| object.get(name));
    match output.and_then(Value::as_str) {
        Some(text) => text.as_bytes().to_vec(),
        None => body,
    }
}

fn replaced(body: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut at = 0;
    while at < body.len() {
        // An escaped backslash is no escape of what follows it.
        if body[at..].starts_with(br"\\") {
            out.extend_from_slice(br"\\");
            at += 2;
        } else if body[at..].starts_with(from) {
            out.extend_from_slice(to);
            at += from.len();
        } else {
            out.push(body[at]);
            at += 1;
        }
    }
    out
}

fn utf16(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

fn unwrapped(body: Vec<u8>) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = GzDecoder::new(body.as_slice()).take(ENCODED_BODY_MAX);
    match decoder.read_to_end(&mut plain) {
        Ok(_) => plain,
        Err(_) => body,
    }
}

fn wrapped(body: Vec<u8>) -> Vec<u8> {
    if body.starts_with(b"\x1f\x8b") {
        return body;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    match encoder.write_all(&body).and_then(|()| encoder.finish()) {
        Ok(wrapped) => wrapped,
        Err(_) => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        br#"{"script_name":"a.ps1","exit_code":0,"script_output":"one\ntwo C:\\new","script_errors":""}"#;

    fn worn(fault: Fault) -> Vec<u8> {
        put_on(fault, BODY.to_vec())
    }

    #[test]
    fn every_disguise_does_what_its_name_says() {
        let raw = String::from_utf8(worn(Fault::RawLineFeed)).unwrap();
        assert!(raw.contains("one\ntwo C:\\\\new"), "{raw}");
        let nul = String::from_utf8(worn(Fault::NulTail)).unwrap();
        assert!(nul.contains(r"new\u0000\u0000\u0000"), "{nul}");
        assert_eq!(worn(Fault::NotJson), b"one\ntwo C:\\new");
        assert!(serde_json::from_slice::<Value>(&worn(Fault::CutJson)).is_err());
        assert!(worn(Fault::Utf8Bom).starts_with(b"\xef\xbb\xbf{"));
        assert!(worn(Fault::Utf16).starts_with(b"\xff\xfe{\0\"\0"));
        assert!(worn(Fault::Empty).is_empty());
        let gzip = worn(Fault::Gzip);
        assert!(gzip.starts_with(b"\x1f\x8b"));
        assert_eq!(put_on(Fault::NotGzip, gzip), BODY);
    }

    #[test]
    fn what_cannot_wear_a_disguise_is_left_as_it_is() {
        for fault in [Fault::NulTail, Fault::NotJson, Fault::NotGzip] {
            assert_eq!(put_on(fault, b"no json".to_vec()), b"no json");
        }
    }
}
