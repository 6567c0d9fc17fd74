//! Failures of the environment are errors, not damage.

use crate::*;

/// A source that fails at an offset.
struct FailingSource {
    inner: Cursor<Vec<u8>>,
    fails_at: u64,
}

impl Read for FailingSource {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.fails_at.saturating_sub(self.inner.position());
        if left == 0 && self.inner.position() < self.inner.get_ref().len() as u64 {
            return Err(io::Error::other("the disk is gone"));
        }
        let wanted = buf.len().min(left as usize);
        self.inner.read(&mut buf[..wanted])
    }
}

impl Seek for FailingSource {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn failure_of_the_source_is_an_error_not_damage() {
    struct IgnoresErrors(Recording);
    impl Visitor for IgnoresErrors {
        fn member(&mut self, _: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()> {
            let _ = bytes.read_to_end(&mut Vec::new());
            ControlFlow::Continue(())
        }
        fn problem(&mut self, layers: &[Layer], problem: Problem) {
            self.0.problem(layers, problem);
        }
    }
    let inner = Zip::new().add(&packed("x", &noise(300_000, 5))).finish();
    let zip = Zip::new()
        .add(&packed("i.zip", &inner))
        .add(&stored("n", &noise(90_000, 8)))
        .finish();
    for bytes in [gzip(Some("g"), &zip), zip, noise(300_000, 1)] {
        for fails_at in [0, 10, 600, 70_000, 200_000, bytes.len() as u64 - 1] {
            let mut source = FailingSource {
                inner: Cursor::new(bytes.clone()),
                fails_at,
            };
            let mut visitor = IgnoresErrors(Recording::default());
            let result = traverse(
                &mut source,
                ResultHint::default(),
                &TraverseSettings::default(),
                &mut scratch(Default::default()),
                &mut visitor,
            );
            assert!(
                matches!(result, Err(MembersError::Source { .. })),
                "fails_at {fails_at}: {result:?}"
            );
            assert_eq!(visitor.0.problems, [], "fails_at {fails_at}");
        }
    }
}

#[test]
fn failure_of_a_scratch_file_is_an_error() {
    let inner = Zip::new().add(&stored("x", &noise(30_000, 9))).finish();
    let settings = settings(|limits| limits.memory_bytes_max = 100);
    let result = traverse(
        &mut Cursor::new(gzip(Some("i"), &inner)),
        ResultHint::default(),
        &settings,
        &mut || Err(io::Error::other("disk full")),
        &mut Recording::default(),
    );
    let Err(error) = result else {
        panic!("no error")
    };
    assert_eq!(
        error.to_string(),
        "could not use a scratch file for the archive !i"
    );
}
