//! Faults that change the bytes of a body: invalid JSON, another text encoding,
//! compressed or decompressed. They are pure functions, so a result is the same
//! on every call.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::faults::Fault;

/// Larger bodies are served unchanged, because a change needs the whole body in
/// memory.
pub(crate) const ENCODED_BODY_MAX: u64 = 16 << 20;

/// The faults that change bodies, in the order in which they are applied: text
/// first, then encoding, then compression.
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

/// Whether a fault changes transcripts only.
pub(crate) fn is_transcript_only(fault: Fault) -> bool {
    !matches!(fault, Fault::Gzip | Fault::NotGzip)
}

/// Applies a fault to a body. A body that the fault cannot change is returned
/// unchanged.
pub(crate) fn apply(fault: Fault, body: Vec<u8>) -> Vec<u8> {
    match fault {
        Fault::NulTail => with_output(body, |output| output + "\u{0}\u{0}\u{0}"),
        Fault::RawLineFeed => replace_escape(&body, b"\\n", b"\n"),
        Fault::NotJson => output_only(body),
        Fault::CutJson => {
            let keep = body.len() * 2 / 3;
            body[..keep].to_vec()
        }
        Fault::Utf8Bom => [b"\xef\xbb\xbf".as_slice(), &body].concat(),
        Fault::Utf16 => utf16(&body),
        Fault::Empty => Vec::new(),
        Fault::NotGzip => decompress(body),
        Fault::Gzip => compress(body),
        _ => body,
    }
}

/// Property names of the output in a transcript.
const OUTPUTS: [&str; 2] = ["script_output", "output"];

fn with_output(body: Vec<u8>, change: impl FnOnce(String) -> String) -> Vec<u8> {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(&body) else {
        return body;
    };
    if let Some(name) = OUTPUTS.into_iter().find(|name| object.contains_key(*name)) {
        let text = object.get(name).and_then(Value::as_str).unwrap_or_default();
        let changed = change(text.to_string());
        object.insert(name.into(), json!(changed));
    }
    Value::Object(object).to_string().into_bytes()
}

fn output_only(body: Vec<u8>) -> Vec<u8> {
    let Ok(Value::Object(object)) = serde_json::from_slice(&body) else {
        return body;
    };
    let output = OUTPUTS.into_iter().find_map(|name| object.get(name));
    match output.and_then(Value::as_str) {
        Some(text) => text.as_bytes().to_vec(),
        None => body,
    }
}

fn replace_escape(body: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut at = 0;
    while at < body.len() {
        // Skip an escaped backslash: it does not escape the next character.
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
    std::iter::once(0xfeff)
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect()
}

fn decompress(body: Vec<u8>) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = GzDecoder::new(body.as_slice()).take(ENCODED_BODY_MAX);
    match decoder.read_to_end(&mut plain) {
        Ok(_) => plain,
        Err(_) => body,
    }
}

fn compress(body: Vec<u8>) -> Vec<u8> {
    if body.starts_with(b"\x1f\x8b") {
        return body;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    match encoder.write_all(&body).and_then(|()| encoder.finish()) {
        Ok(compressed) => compressed,
        Err(_) => body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        br#"{"script_name":"a.ps1","exit_code":0,"script_output":"one\ntwo C:\\new","script_errors":""}"#;

    fn encoded(fault: Fault) -> Vec<u8> {
        apply(fault, BODY.to_vec())
    }

    #[test]
    fn each_fault_changes_the_body_as_described() {
        let raw = String::from_utf8(encoded(Fault::RawLineFeed)).unwrap();
        assert!(raw.contains("one\ntwo C:\\\\new"), "{raw}");
        let nul = String::from_utf8(encoded(Fault::NulTail)).unwrap();
        assert!(nul.contains(r"new\u0000\u0000\u0000"), "{nul}");
        assert_eq!(encoded(Fault::NotJson), b"one\ntwo C:\\new");
        assert!(serde_json::from_slice::<Value>(&encoded(Fault::CutJson)).is_err());
        assert!(encoded(Fault::Utf8Bom).starts_with(b"\xef\xbb\xbf{"));
        assert!(encoded(Fault::Utf16).starts_with(b"\xff\xfe{\0\"\0"));
        assert!(encoded(Fault::Empty).is_empty());
        let gzip = encoded(Fault::Gzip);
        assert!(gzip.starts_with(b"\x1f\x8b"));
        assert_eq!(apply(Fault::NotGzip, gzip), BODY);
    }

    #[test]
    fn body_that_a_fault_cannot_change_stays_unchanged() {
        for fault in [Fault::NulTail, Fault::NotJson, Fault::NotGzip] {
            assert_eq!(apply(fault, b"no json".to_vec()), b"no json");
        }
    }
}
