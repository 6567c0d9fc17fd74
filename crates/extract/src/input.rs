//! The input of an extraction: a byte stream, the facts known about it, and
//! seeking on demand.

use std::cell::OnceCell;
use std::io::{self, Read, Seek, SeekFrom};

use crate::decode::code_page::CodePage;
use crate::detect::{DetectedText, detect_text};
use crate::error::ExtractorError;
use crate::sink::Sink;
use crate::window::ByteWindow;
use evidence::{Problem, ProblemKind, ResultKind};
use util::{ScratchFactory, Spool, SpoolError, SpoolLimits};

/// Inputs up to this size are spooled in memory: most artifacts are smaller,
/// and one input is open at a time.
pub const SEEK_MEMORY_BYTES_MAX: u64 = 8 << 20;

/// Longest input spooled for seeking: more than the 3 GB of the largest file
/// that the service collects.
pub const SEEK_BYTES_MAX: u64 = 4 << 30;

/// Metadata of the input.
#[derive(Clone, Copy, Debug)]
pub struct ContentHint<'a> {
    /// The name of the member. It is data, never a path to open.
    pub name: Option<&'a str>,
    pub kind: ResultKind,
}

/// The settings of an extraction. They are part of the archive: the same bytes
/// and settings yield the same text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtractSettings {
    /// Decodes text that is not Unicode.
    pub code_page: CodePage,
}

/// The bytes to extract from.
///
/// An extractor reads them as a stream (`Read`), or calls
/// [`seekable`](Self::seekable) before it reads anything.
pub struct Input<'a> {
    pub(crate) window: ByteWindow<'a>,
    scratch: Option<&'a mut ScratchFactory<'a>>,
    limits: SpoolLimits,
    hint: ContentHint<'a>,
    settings: ExtractSettings,
    detected: OnceCell<Option<DetectedText>>,
}

impl<'a> Input<'a> {
    pub fn new(stream: &'a mut dyn Read, hint: ContentHint<'a>, settings: ExtractSettings) -> Self {
        Self {
            window: ByteWindow::new(stream),
            scratch: None,
            limits: SpoolLimits {
                memory_bytes_max: SEEK_MEMORY_BYTES_MAX,
                bytes_max: SEEK_BYTES_MAX,
            },
            hint,
            settings,
            detected: OnceCell::new(),
        }
    }

    /// Provides scratch files for inputs that need seeking and do not fit in
    /// memory. Without them, such an input is cut at the memory limit.
    pub fn with_scratch(mut self, factory: &'a mut ScratchFactory<'a>) -> Self {
        self.scratch = Some(factory);
        self
    }

    /// Replaces the limits for seeking. The archive uses the defaults.
    pub fn with_limits(mut self, limits: SpoolLimits) -> Self {
        self.limits = limits;
        self
    }

    pub fn hint(&self) -> ContentHint<'a> {
        self.hint
    }

    pub fn settings(&self) -> ExtractSettings {
        self.settings
    }

    /// The first bytes of the input: 64 KiB, or all of a shorter input.
    pub fn head(&self) -> &[u8] {
        self.window.unread()
    }

    /// Whether the head is the whole input.
    pub fn is_complete(&self) -> bool {
        self.window.is_last()
    }

    /// The encoding of a text; `None` for binary data.
    pub(crate) fn detected_text(&self) -> Option<DetectedText> {
        *self
            .detected
            .get_or_init(|| detect_text(self.head(), self.is_complete()))
    }

    pub(crate) fn fill_head(&mut self) -> io::Result<()> {
        self.window.fill_first()
    }

    /// Spools the whole input and returns it at its start. If it is longer than
    /// the limit, the problem is reported to `sink` and the rest is missing.
    ///
    /// **Cost**: the input is copied once, to memory or to a scratch file.
    pub fn seekable(&mut self, sink: &mut dyn Sink) -> Result<Spool, ExtractorError> {
        let mut limits = self.limits;
        let mut no_scratch = || Err(io::Error::from(io::ErrorKind::Unsupported));
        let factory: &mut ScratchFactory<'_> = match &mut self.scratch {
            Some(factory) => factory,
            None => {
                limits.bytes_max = limits.bytes_max.min(limits.memory_bytes_max);
                &mut no_scratch
            }
        };
        let spooled = match Spool::fill(&mut self.window, limits, factory) {
            Ok(spooled) => spooled,
            Err(SpoolError::Read(error) | SpoolError::Scratch(error)) => return Err(error.into()),
        };
        if spooled.is_cut {
            tracing::info!(
                target: "extract",
                bytes_max = limits.bytes_max,
                "limit of seekable bytes reached"
            );
            sink.problem(Problem::new(
                ProblemKind::LimitReached,
                format!(
                    "longer than {} bytes (limit): the rest is not read",
                    limits.bytes_max
                ),
            ));
        }
        let mut spool = spooled.spool;
        spool.seek(SeekFrom::Start(0))?;
        Ok(spool)
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.window.read(buf)
    }
}
