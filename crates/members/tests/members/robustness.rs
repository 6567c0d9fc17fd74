//! Mutated and arbitrary bytes.

use crate::*;

#[test]
fn mutated_archives_do_not_panic_and_open_like_they_are_traversed() {
    let mut wide = three_members();
    wide.zip64 = true;
    let mut streamed = packed("s", &text(2000));
    streamed.descriptor = true;
    let inner = three_members().add(&streamed).finish();
    let originals = [
        inner.clone(),
        wide.finish(),
        gzip(Some("n"), &inner),
        Zip::new()
            .add(&packed("i.zip", &inner))
            .add(&stored("j.zip", &inner))
            .finish(),
        encrypted_zip("infected", None, ::zip::CompressionMethod::Deflated),
    ];
    let settings = settings(|limits| {
        limits.ratio_floor_bytes = 4 << 20;
        limits.ratio_max = 10;
    });
    let mut random = noise(60_000, 77).into_iter();
    let mut next =
        move || usize::from(random.next().unwrap()) << 8 | usize::from(random.next().unwrap());
    for round in 0..500 {
        let mut bytes = originals[round % originals.len()].clone();
        for _ in 0..1 + next() % 6 {
            let at = next() % bytes.len();
            match next() % 4 {
                0 => bytes[at] = next() as u8,
                1 => bytes[at] ^= 1 << (next() % 8),
                2 => bytes.truncate(at.max(1)),
                _ => bytes[at] = 0xff,
            }
        }
        let recording = record_with(&bytes, ResultHint::default(), &settings);
        if !recording.summary.cut {
            assert_opens(&bytes, ResultHint::default(), &settings, &recording);
        }
    }
}

#[test]
fn arbitrary_bytes_with_signatures_do_not_panic() {
    let signatures: [&[u8]; 7] = [
        b"PK\x03\x04",
        b"PK\x01\x02",
        b"PK\x05\x06",
        b"PK\x06\x06",
        b"PK\x06\x07",
        b"PK\x07\x08",
        b"\x1f\x8b\x08",
    ];
    for round in 0..400u64 {
        let mut bytes = noise(600, round + 1);
        for i in 0..6 {
            let at = usize::from(bytes[i]) * 2;
            let signature = signatures[usize::from(bytes[i + 10]) % signatures.len()];
            bytes[at..at + signature.len()].copy_from_slice(signature);
        }
        let start = signatures[round as usize % signatures.len()];
        bytes[..start.len()].copy_from_slice(start);
        if round % 2 == 0 {
            let zeros = bytes.len() - 60;
            bytes[zeros..].fill(0);
        }
        record_with(&bytes, ResultHint::default(), &TraverseSettings::default());
    }
}
