//! No word is lost, however the bytes around it are decoded.

use crate::tests::*;

fn texts(bytes: &[u8], page: CodePage, seed: u64) -> Vec<Document> {
    let splitting = Splitting { seed, step: 64 };
    record_split(bytes, ResultKind::File, page, splitting).documents
}

/// Whether `text` contains `word`, and if `alone`, without letters or digits
/// around it.
fn has(text: &str, word: &str, alone: bool) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !alone
            || [before, after]
                .iter()
                .flatten()
                .all(|c| !c.is_alphanumeric())
    })
}

#[test]
fn single_byte_word_between_utf16_units_is_found() {
    for bytes in [
        &b"a\0b\0c\0 evil\0"[..],
        b"\xff\xfea\0b\0c\0 evil\0",
        b"\xfe\xff\0a\0b\0c evil\0\0",
        b"w\0o\0r\0k\0\0evil\n",
        b"w\0o\0r\0k\0evil\n",
        b"evil\0w\0o\0r\0k\0",
        b"\xff\xfe\0\0a\0\0\0b\0\0\0evil",
    ] {
        let recording = file(bytes);
        let found = recording
            .documents
            .iter()
            .any(|d| has(&d.text, "evil", true));
        assert!(found, "{bytes:?}: {recording:?}");
    }
}

#[test]
fn consumed_words_are_written_to_part_other() {
    let recording = file(b"a\0b\0c\0 evil\0");
    assert_eq!(recording.whole(), "abc\u{6520}\u{6976}l");
    assert_eq!(recording.part(TextPart::Other), Some(" evil\n"));
    assert_eq!(recording.documents[1].head.form, TextForm::Strings);
    let transcript = utf16("{\"script_output\":\"abc\",\"exit_code\":0}", false);
    let mut bytes = transcript.clone();
    bytes.extend_from_slice(b"\0 evil\0");
    let recording = record(&bytes, ResultKind::Transcript);
    assert_eq!(recording.part(TextPart::Output), Some("abc"));
    assert!(recording.part(TextPart::Other).unwrap().contains(" evil\n"));
}

#[test]
fn ordinary_text_has_no_part_other() {
    let wide = utf16(SENTENCE, false);
    let log = b"a line of a long log of bytes\r\n".repeat(200);
    let mixed = [&log, &wide[..], b"third line narrow\r\n"].concat();
    for bytes in [
        SENTENCE.as_bytes().to_vec(),
        wide,
        utf16(SENTENCE, true),
        mixed,
        [&b"\xff\xfe\0\0"[..], &utf32(SENTENCE)].concat(),
    ] {
        assert_eq!(file(&bytes).part(TextPart::Other), None);
    }
}

#[test]
fn consumed_words_above_the_limit_are_reported() {
    // Every other word is consumed: units of two letters after NULs.
    let bytes = [&b"\xff\xfe"[..], &b"a\0evil\0\0".repeat(400_000)].concat();
    let recording = record_with_page(&bytes, ResultKind::File, CodePage::default());
    assert_eq!(recording.part(TextPart::Other).unwrap().len(), 1 << 20);
    assert!(
        recording.has(ProblemKind::LimitReached),
        "{:?}",
        recording.problems
    );
}

#[test]
fn word_in_arbitrary_bytes_is_found_in_one_of_the_parts() {
    let mut seed = 0x5eed_0001_u64;
    let marks: [&[u8]; 6] = [
        b"",
        b"\xff\xfe",
        b"\xfe\xff",
        b"\xef\xbb\xbf",
        b"\xff\xfe\0\0",
        b"MZ",
    ];
    let wide = utf16("wide text, 系统服务 and Größe\r\n", false);
    let big = utf16("wide text, 系统服务 and Größe\r\n", true);
    let (sjis, _, _) = encoding_rs::SHIFT_JIS.encode("サービス表開始");
    let pieces: [&[u8]; 8] = [
        &wide,
        &big,
        "plain text, läuft\r\n".as_bytes(),
        b"\0\0\0",
        b"a\0b\0",
        b"\0a\0b",
        &sjis,
        b"\r\n",
    ];
    let pages = [1252, 932, 936].map(|n| CodePage::from_number(n).unwrap());
    for round in 0..6_000 {
        let mut bytes = marks[next(&mut seed) as usize % marks.len()].to_vec();
        let fill = |bytes: &mut Vec<u8>, seed: &mut u64| {
            for _ in 0..next(seed) % 5 {
                match next(seed) % 4 {
                    0 => bytes.push(next(seed) as u8),
                    1 => bytes.extend((0..next(seed) % 9).map(|_| next(seed) as u8)),
                    _ => {
                        let piece = pieces[next(seed) as usize % pieces.len()];
                        bytes.extend_from_slice(piece);
                    }
                }
            }
        };
        fill(&mut bytes, &mut seed);
        let begin = bytes.len();
        let len = 4 + next(&mut seed) % 9;
        bytes.extend((0..len).map(|_| b'a' + (next(&mut seed) % 26) as u8));
        let end = bytes.len();
        fill(&mut bytes, &mut seed);
        let word = std::str::from_utf8(&bytes[begin..end]).unwrap();
        let apart =
            |byte: Option<&u8>| byte.is_none_or(|b| *b < 0x80 && !b.is_ascii_alphanumeric());
        let alone =
            apart(begin.checked_sub(1).and_then(|at| bytes.get(at))) && apart(bytes.get(end));
        let page = pages[round % pages.len()];
        let texts = texts(&bytes, page, 1 + round as u64);
        assert!(
            texts.iter().any(|d| has(&d.text, word, alone)),
            "round {round}: {word} alone {alone} in {bytes:x?} as {page}: {texts:?}"
        );
    }
}
