//! Which encoding a text is read by.

use crate::tests::*;

#[test]
fn every_unicode_reads_the_same_with_its_mark() {
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
        let taken = file(&[mark, &bytes].concat());
        assert_eq!(taken.whole(), SENTENCE, "{encoding}");
        assert_eq!(taken.encoding(), encoding);
        assert_eq!(taken.problems, [], "{encoding}");
    }
}

#[test]
fn utf16_is_known_without_its_mark() {
    for text in [
        SENTENCE,
        "Имя компьютера: СЕРВЕР-7\r\nадрес 10.0.0.7\r\n",
        "a\r\n",
    ] {
        for big in [false, true] {
            let taken = file(&utf16(text, big));
            assert_eq!(taken.whole(), text);
            assert_eq!(taken.encoding(), if big { "utf-16be" } else { "utf-16le" });
        }
    }
}

#[test]
fn text_of_a_code_page_is_read_by_it() {
    let taken = file(b"Benutzer: M\xfcller, Stra\xdfe \x80 5\r\n");
    assert_eq!(taken.whole(), "Benutzer: Müller, Straße € 5\r\n");
    assert_eq!(taken.encoding(), "windows-1252");
    assert!(taken.has(ProblemKind::Encoding));
    let mut other = Taken::default();
    let settings = ExtractSettings {
        code_page: CodePage::from_number(1251).unwrap(),
    };
    let hint = ContentHint {
        name: None,
        kind: ResultKind::File,
    };
    extract(
        &mut &b"\xcf\xf0\xe8\xe2\xe5\xf2"[..],
        hint,
        settings,
        &mut other,
    )
    .unwrap();
    assert_eq!(other.whole(), "Привет");
}

#[test]
fn a_code_page_of_two_bytes_a_character_is_read_too() {
    let (bytes, _, _) = encoding_rs::SHIFT_JIS.encode("サービス開始 mimikatz 日本語\r\n");
    let settings = ExtractSettings {
        code_page: CodePage::from_number(932).unwrap(),
    };
    let hint = ContentHint {
        name: None,
        kind: ResultKind::File,
    };
    let mut taken = Taken::default();
    extract(&mut &bytes[..], hint, settings, &mut taken).unwrap();
    assert_eq!(taken.whole(), "サービス開始 mimikatz 日本語\r\n");
}

#[test]
fn stray_bytes_in_utf8_are_kept_as_the_code_page_has_them() {
    let taken = file(
        "naïve "
            .repeat(20)
            .as_bytes()
            .iter()
            .chain(b"M\xfcller\n")
            .copied()
            .collect::<Vec<_>>()
            .as_slice(),
    );
    assert!(taken.whole().ends_with("naïve Müller\n"));
    assert_eq!(taken.encoding(), "utf-8");
    assert!(
        taken.problems[0].message.contains("1 bytes"),
        "{:?}",
        taken.problems
    );
}

#[test]
fn utf16_appended_to_a_log_of_bytes_stays_readable() {
    for order_mark in [&b""[..], b"\xff\xfe"] {
        let mut bytes = b"first line in ascii\r\nl\xc3\xa4uft\r\n".to_vec();
        bytes.extend_from_slice(order_mark);
        bytes.extend_from_slice(&utf16("second line, Größe 5 €, wide\r\n", false));
        bytes.extend_from_slice(b"third line narrow\r\n");
        bytes.extend_from_slice(&utf16("fourth\r\n", false));
        let taken = file(&bytes);
        assert_eq!(
            taken.whole(),
            "first line in ascii\r\nläuft\r\nsecond line, Größe 5 €, wide\r\nthird line narrow\r\nfourth\r\n"
        );
        assert!(taken.has(ProblemKind::Encoding));
    }
}

#[test]
fn bytes_appended_to_utf16_stay_readable() {
    for big in [false, true] {
        let mut bytes = if big {
            vec![0xfe, 0xff]
        } else {
            vec![0xff, 0xfe]
        };
        bytes.extend_from_slice(&utf16("erste Zeile\r\n", big));
        // an odd number of bytes puts what follows out of step
        bytes.extend_from_slice(b"appended by cmd, odd number\r\n");
        bytes.extend_from_slice(&utf16("und weiter, breit\r\n", big));
        let taken = file(&bytes);
        assert_eq!(
            taken.whole(),
            "erste Zeile\r\nappended by cmd, odd number\r\nund weiter, breit\r\n",
            "big {big}"
        );
    }
}

#[test]
fn however_few_bytes_put_utf16_out_of_step_its_next_word_is_whole() {
    let narrow = [
        "narrow line\r\n",
        "abc\r\n",
        "x\r\n",
        "a whole sentence of odd length.\r\n",
    ];
    for (narrow, big) in narrow.iter().flat_map(|n| [(n, false), (n, true)]) {
        assert_eq!(narrow.len() % 2, 1);
        let wide = |text: &str| utf16(text, big);
        let mark: &[u8] = if big { b"\xfe\xff" } else { b"\xff\xfe" };
        let appended = [
            mark,
            &wide("Header one\r\n"),
            narrow.as_bytes(),
            &wide("mimikatz\r\n"),
        ];
        let taken = file(&appended.concat());
        assert_eq!(taken.whole(), format!("Header one\r\n{narrow}mimikatz\r\n"));
        if big {
            continue;
        }
        for behind in ["end of log file\r\n", "end\r\nend\r\nend\r\n", ""] {
            let begun = [
                narrow.as_bytes(),
                mark,
                &wide("mimikatz\r\n"),
                behind.as_bytes(),
            ];
            let taken = file(&begun.concat());
            assert_eq!(taken.whole(), format!("{narrow}mimikatz\r\n{behind}"));
        }
    }
}

#[test]
fn ideographs_are_not_taken_for_bytes() {
    // both halves of many of these are ASCII
    let chinese = "系统服务已启动，用户登录成功。慢慢来浡湡整潮瑡獥".repeat(40);
    let japanese = "サービスがかいしされました、ログオンせいこう".repeat(40);
    for text in [chinese, japanese] {
        let bytes = [&[0xff, 0xfe][..], &utf16(&text, false)].concat();
        let taken = file(&bytes);
        assert_eq!(taken.whole(), text);
        assert_eq!(taken.problems, []);
    }
}

#[test]
fn halves_of_surrogate_pairs_become_one_replacement_each_and_one_problem() {
    let mut bytes = vec![0xff, 0xfe];
    bytes.extend_from_slice(&utf16("vor ", false));
    bytes.extend_from_slice(&[0x00, 0xd8]);
    bytes.extend_from_slice(&utf16("nach ", false));
    bytes.extend_from_slice(&[0x00, 0xdc]);
    let taken = file(&bytes);
    assert_eq!(taken.whole(), "vor \u{fffd}nach \u{fffd}");
    assert_eq!(taken.problems.len(), 1);
    assert!(taken.problems[0].message.contains("2 places"));
}

#[test]
fn nuls_in_text_stay_and_no_word_is_lost() {
    let mut bytes = b"begin\0middle\0\0\0end of the text, long enough\n".to_vec();
    bytes.extend_from_slice(&[0; 5000]);
    let taken = file(&bytes);
    let expected = String::from_utf8(bytes.clone()).unwrap();
    assert_eq!(taken.whole(), expected);
    assert_eq!(taken.documents[0].head.form, TextForm::Text);
}

#[test]
fn an_empty_leaf_is_an_empty_text() {
    assert_eq!(file(b"").whole(), "");
    let taken = take(b"", ResultKind::Transcript);
    assert_eq!(taken.whole(), "");
    assert!(taken.has(ProblemKind::Repaired));
}

#[test]
fn characters_cut_by_every_step_come_out_whole() {
    let text = "äöü€🚀 ".repeat(13_000);
    assert_eq!(file(text.as_bytes()).whole(), text);
    let wide = [&[0xff, 0xfe][..], &utf16(&text, false)].concat();
    assert_eq!(file(&wide).whole(), text);
}

// ---- strings -----------------------------------------------------------
