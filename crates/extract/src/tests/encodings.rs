//! Detection and decoding of text.

use crate::tests::*;

#[test]
fn every_unicode_encoding_is_decoded_by_its_mark() {
    for (mark, bytes, encoding) in [
        (&[][..], SENTENCE.as_bytes().to_vec(), "utf-8"),
        (
            &[0xef, 0xbb, 0xbf][..],
            SENTENCE.as_bytes().to_vec(),
            "utf-8",
        ),
        (&[0xff, 0xfe][..], utf16(SENTENCE, false), "utf-16le"),
        (&[0xfe, 0xff][..], utf16(SENTENCE, true), "utf-16be"),
        (&[0xff, 0xfe, 0, 0][..], utf32(SENTENCE), "utf-32le"),
    ] {
        let recording = file(&[mark, &bytes].concat());
        assert_eq!(recording.whole(), SENTENCE, "{encoding}");
        assert_eq!(recording.encoding(), encoding);
        assert_eq!(recording.problems, [], "{encoding}");
    }
}

#[test]
fn utf16_is_detected_without_a_mark() {
    for text in [
        SENTENCE,
        "Имя компьютера: СЕРВЕР-7\r\nадрес 10.0.0.7\r\n",
        "a\r\n",
    ] {
        for big in [false, true] {
            let recording = file(&utf16(text, big));
            assert_eq!(recording.whole(), text);
            assert_eq!(
                recording.encoding(),
                if big { "utf-16be" } else { "utf-16le" }
            );
        }
    }
}

#[test]
fn code_page_text_is_decoded() {
    let recording = file(b"Benutzer: M\xfcller, Stra\xdfe \x80 5\r\n");
    assert_eq!(recording.whole(), "Benutzer: Müller, Straße € 5\r\n");
    assert_eq!(recording.encoding(), "windows-1252");
    assert!(recording.has(ProblemKind::Encoding));
    let cyrillic = record_with_page(
        b"\xcf\xf0\xe8\xe2\xe5\xf2",
        ResultKind::File,
        CodePage::from_number(1251).unwrap(),
    );
    assert_eq!(cyrillic.whole(), "Привет");
}

#[test]
fn multi_byte_code_page_text_is_decoded() {
    let (bytes, _, _) = encoding_rs::SHIFT_JIS.encode("サービス開始 mimikatz 日本語\r\n");
    let page = CodePage::from_number(932).unwrap();
    let recording = record_with_page(&bytes, ResultKind::File, page);
    assert_eq!(recording.whole(), "サービス開始 mimikatz 日本語\r\n");
}

#[test]
fn invalid_bytes_in_utf8_are_decoded_with_the_code_page() {
    let recording = file(
        "naïve "
            .repeat(20)
            .as_bytes()
            .iter()
            .chain(b"M\xfcller\n")
            .copied()
            .collect::<Vec<_>>()
            .as_slice(),
    );
    assert!(recording.whole().ends_with("naïve Müller\n"));
    assert_eq!(recording.encoding(), "utf-8");
    assert!(
        recording.problems[0].message.contains("1 bytes"),
        "{:?}",
        recording.problems
    );
}

#[test]
fn utf16_appended_to_single_byte_text_is_decoded() {
    for order_mark in [&b""[..], b"\xff\xfe"] {
        let mut bytes = b"first line in ascii\r\nl\xc3\xa4uft\r\n".to_vec();
        bytes.extend_from_slice(order_mark);
        bytes.extend_from_slice(&utf16("second line, Größe 5 €, wide\r\n", false));
        bytes.extend_from_slice(b"third line narrow\r\n");
        bytes.extend_from_slice(&utf16("fourth\r\n", false));
        let recording = file(&bytes);
        assert_eq!(
            recording.whole(),
            "first line in ascii\r\nläuft\r\nsecond line, Größe 5 €, wide\r\nthird line narrow\r\nfourth\r\n"
        );
        assert!(recording.has(ProblemKind::Encoding));
    }
}

#[test]
fn single_byte_text_appended_to_utf16_is_decoded() {
    for big in [false, true] {
        let mut bytes = if big {
            vec![0xfe, 0xff]
        } else {
            vec![0xff, 0xfe]
        };
        bytes.extend_from_slice(&utf16("erste Zeile\r\n", big));
        // An odd number of bytes shifts the units after it.
        bytes.extend_from_slice(b"appended by cmd, odd number\r\n");
        bytes.extend_from_slice(&utf16("und weiter, breit\r\n", big));
        let recording = file(&bytes);
        assert_eq!(
            recording.whole(),
            "erste Zeile\r\nappended by cmd, odd number\r\nund weiter, breit\r\n",
            "big {big}"
        );
    }
}

#[test]
fn word_after_an_odd_number_of_single_bytes_in_utf16_is_complete() {
    let single_byte = [
        "narrow line\r\n",
        "abc\r\n",
        "x\r\n",
        "a whole sentence of odd length.\r\n",
    ];
    for (single_byte, big) in single_byte.iter().flat_map(|s| [(s, false), (s, true)]) {
        assert_eq!(single_byte.len() % 2, 1);
        let wide = |text: &str| utf16(text, big);
        let mark: &[u8] = if big { b"\xfe\xff" } else { b"\xff\xfe" };
        let appended = [
            mark,
            &wide("Header one\r\n"),
            single_byte.as_bytes(),
            &wide("mimikatz\r\n"),
        ];
        let recording = file(&appended.concat());
        assert_eq!(
            recording.whole(),
            format!("Header one\r\n{single_byte}mimikatz\r\n")
        );
        if big {
            continue;
        }
        for after in ["end of log file\r\n", "end\r\nend\r\nend\r\n", ""] {
            let begun = [
                single_byte.as_bytes(),
                mark,
                &wide("mimikatz\r\n"),
                after.as_bytes(),
            ];
            let recording = file(&begun.concat());
            assert_eq!(
                recording.whole(),
                format!("{single_byte}mimikatz\r\n{after}")
            );
        }
    }
}

#[test]
fn ideographs_are_not_decoded_as_single_bytes() {
    // Both bytes of many of these characters are ASCII.
    let chinese = "系统服务已启动，用户登录成功。慢慢来浡湡整潮瑡獥".repeat(40);
    let japanese = "サービスがかいしされました、ログオンせいこう".repeat(40);
    for text in [chinese, japanese] {
        let bytes = [&[0xff, 0xfe][..], &utf16(&text, false)].concat();
        let recording = file(&bytes);
        assert_eq!(recording.whole(), text);
        assert_eq!(recording.problems, []);
    }
}

#[test]
fn unpaired_surrogates_are_replaced_and_counted_in_one_problem() {
    let mut bytes = vec![0xff, 0xfe];
    bytes.extend_from_slice(&utf16("vor ", false));
    bytes.extend_from_slice(&[0x00, 0xd8]);
    bytes.extend_from_slice(&utf16("nach ", false));
    bytes.extend_from_slice(&[0x00, 0xdc]);
    let recording = file(&bytes);
    assert_eq!(recording.whole(), "vor \u{fffd}nach \u{fffd}");
    assert_eq!(recording.problems.len(), 1);
    assert!(
        recording.problems[0]
            .message
            .contains("2 invalid sequences")
    );
}

#[test]
fn nuls_in_text_are_kept() {
    let mut bytes = b"begin\0middle\0\0\0end of the text, long enough\n".to_vec();
    bytes.extend_from_slice(&[0; 5000]);
    let recording = file(&bytes);
    let expected = String::from_utf8(bytes.clone()).unwrap();
    assert_eq!(recording.whole(), expected);
    assert_eq!(recording.documents[0].head.form, TextForm::Text);
}

#[test]
fn empty_input_yields_an_empty_text() {
    assert_eq!(file(b"").whole(), "");
    let recording = record(b"", ResultKind::Transcript);
    assert_eq!(recording.whole(), "");
    assert!(recording.has(ProblemKind::Repaired));
}

#[test]
fn characters_split_between_windows_are_decoded() {
    let text = "äöü€🚀 ".repeat(13_000);
    assert_eq!(file(text.as_bytes()).whole(), text);
    let wide = [&[0xff, 0xfe][..], &utf16(&text, false)].concat();
    assert_eq!(file(&wide).whole(), text);
}
