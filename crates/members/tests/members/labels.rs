//! Layers, labels and names of members.

use crate::*;

#[test]
fn result_that_is_not_a_container_is_its_only_member() {
    let recording = record(b"plain bytes");
    assert_eq!(recording.paths(), [""]);
    assert_eq!(recording.bytes(""), b"plain bytes");
    assert_eq!(recording.problems, []);
    assert_opens_by_default(b"plain bytes", &recording);
}

#[test]
fn zip_in_gzip_in_zip_is_read_down_to_its_files() {
    let inner = Zip::new()
        .add(&packed("logs/a.log", &text(5000)))
        .add(&stored("b.txt", SMALL))
        .finish();
    let outer = Zip::new()
        .add(&packed(
            "evidence.zip.gz",
            &gzip(Some("evidence.zip"), &inner),
        ))
        .add(&stored("note", SMALL))
        .finish();
    let result = gzip(None, &outer);
    let hint = ResultHint {
        name: Some("attachment; filename=\"Case%207.zip.gz\""),
    };
    let recording = record_with(&result, hint, &TraverseSettings::default());
    let inside = "!Case 7.zip!evidence.zip.gz!evidence.zip";
    assert_eq!(
        recording.paths(),
        [
            format!("{inside}!logs/a.log"),
            format!("{inside}!b.txt"),
            "!Case 7.zip!note".into()
        ]
    );
    assert_eq!(recording.bytes(&format!("{inside}!logs/a.log")), text(5000));
    let kinds: Vec<_> = recording.containers.iter().map(|(_, kind)| *kind).collect();
    assert_eq!(
        kinds,
        [
            ContainerFormat::Gzip,
            ContainerFormat::Zip,
            ContainerFormat::Gzip,
            ContainerFormat::Zip
        ]
    );
    assert_eq!(recording.problems, []);
    assert_opens(&result, hint, &TraverseSettings::default(), &recording);
    // A container on the path opens as its own bytes.
    let layers = &recording.members[0].0[..3];
    let opened = open_at(&result, hint, layers, &TraverseSettings::default()).unwrap();
    assert_eq!(opened, inner);
}

#[test]
fn gzip_content_is_named_by_its_header_the_result_or_its_ordinal() {
    for (header_name, hint, label) in [
        (Some("own.txt"), Some("other.gz"), "!own.txt"),
        (None, Some("other.TXT.GZ"), "!other.TXT"),
        (
            None,
            Some("attachment; filename*=UTF-8''a%C3%BC.log.gz"),
            "!aü.log",
        ),
        (None, None, "!#0"),
        (Some("a!b"), None, "!#0"),
    ] {
        let recording = record_with(
            &gzip(header_name, SMALL),
            ResultHint { name: hint },
            &TraverseSettings::default(),
        );
        assert_eq!(recording.paths(), [label]);
        assert_eq!(recording.bytes(label), SMALL);
    }
}

#[test]
fn repeated_empty_and_reserved_names_are_replaced_by_ordinals() {
    let zip = Zip::new()
        .add(&stored("same", b"first"))
        .add(&stored("dir/", b""))
        .add(&stored("same", b"second"))
        .add(&stored("", b"third"))
        .add(&stored("a!b", b"fourth"))
        .add(&stored("unique", b"fifth"))
        .finish();
    let recording = record(&zip);
    assert_eq!(recording.paths(), ["!#0", "!#2", "!#3", "!#4", "!unique"]);
    assert_eq!(recording.bytes("!#0"), b"first");
    assert_eq!(recording.bytes("!#2"), b"second");
    assert_eq!(recording.summary.directories, 1);
    assert_eq!(recording.names, ["same", "same", "", "a!b", "unique"]);
    assert_opens_by_default(&zip, &recording);
    let named = open_at(
        &zip,
        ResultHint::default(),
        &[Layer::named("same", 0)],
        &TraverseSettings::default(),
    );
    assert!(matches!(named, Err(MembersError::NoSuchMember { .. })));
}

#[test]
fn hostile_names_are_kept_as_labels() {
    let names = [
        "../../etc/passwd",
        "/abs",
        "C:\\Windows\\x",
        "a/../b",
        "CON",
        "x\u{202e}gnp.exe",
    ];
    let zip = names
        .iter()
        .fold(Zip::new(), |zip, name| zip.add(&stored(name, SMALL)))
        .finish();
    let recording = record(&zip);
    assert_eq!(
        recording.paths(),
        [
            "!../../etc/passwd",
            "!/abs",
            "!C:\\Windows\\x",
            "!a/../b",
            "!CON",
            "!#5"
        ]
    );
    assert_eq!(recording.names[5], names[5]);
    assert_opens_by_default(&zip, &recording);
}

#[test]
fn names_decode_as_cp437_or_by_their_unicode_extra_field() {
    let mut old = stored("", SMALL);
    old.flags = 0;
    old.name = b"Gr\x81\xe1e.txt".to_vec();
    let mut unicode = stored("plain.txt", SMALL);
    let name = "файл.txt".as_bytes();
    unicode.extra = [
        &[0x75, 0x70][..],
        &(5 + name.len() as u16).to_le_bytes(),
        &[1],
    ]
    .concat();
    unicode
        .extra
        .extend_from_slice(&crc32fast::hash(b"plain.txt").to_le_bytes());
    unicode.extra.extend_from_slice(name);
    let zip = Zip::new().add(&old).add(&unicode).finish();
    assert_eq!(record(&zip).paths(), ["!Grüße.txt", "!файл.txt"]);
}

#[test]
fn visitor_gets_time_size_and_symlink_flag_and_can_stop() {
    struct First(Option<(Option<Modified>, bool, Option<u64>)>);
    impl Visitor for First {
        fn member(&mut self, member: &Member<'_>, _: &mut dyn Read) -> ControlFlow<()> {
            self.0 = Some((member.modified, member.symlink, member.size_declared));
            ControlFlow::Break(())
        }
        fn problem(&mut self, _: &[Layer], _: Problem) {}
    }
    let mut link = stored("link", b"../target");
    link.external = 0o120_777 << 16;
    let zip = Zip::new().add(&link).add(&stored("b", SMALL)).finish();
    let mut first = First(None);
    let summary = traverse(
        &mut Cursor::new(&zip),
        ResultHint::default(),
        &TraverseSettings::default(),
        &mut scratch(Default::default()),
        &mut first,
    )
    .unwrap();
    let modified = Modified::Local {
        year: 2025,
        month: 1,
        day: 1,
        hour: 12,
        minute: 0,
        second: 0,
    };
    assert_eq!(first.0, Some((Some(modified), true, Some(9))));
    assert!(summary.stopped);
    assert_eq!(summary.members, 1);
}
