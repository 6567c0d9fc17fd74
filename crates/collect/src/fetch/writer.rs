//! Blocking half of a download: a writer thread owns the [`BodySink`] and is
//! fed through a bounded channel. When the channel closes, the thread drops the
//! body, which keeps its bytes for the next attempt.

use std::sync::Arc;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::{BodySink, ResultSink, SealOutcome, SinkError};
use evidence::{Facts, ResultKey, Time};

/// Chunks on their way to the writer. The HTTP client produces chunks of up to
/// 400 KiB, so a worker buffers 2 MiB at most.
const CHUNKS_MAX: usize = 4;

/// Requirements that a body must meet to be sealed, and its facts.
pub(crate) struct SealRequest {
    pub facts: Facts,
    pub collected_at: Time,
    /// Length given by the server.
    pub total: Option<u64>,
    /// MD5 given by the server.
    pub md5: Option<[u8; 16]>,
}

enum WriteCommand {
    Begin {
        etag: Option<String>,
        total: Option<u64>,
    },
    Append(Bytes),
    Restart,
    Seal(Box<SealRequest>),
}

/// Outcome of a writer thread.
#[derive(Debug)]
pub(crate) enum WriteResult {
    Sealed(SealOutcome),
    /// The body did not meet the requirements; its bytes were discarded.
    Damaged(String),
    /// The channel was closed before the body was complete.
    Partial,
}

/// End of a writer thread.
pub(crate) enum WriterEnd {
    Finished(WriteResult),
    Failed(SinkError),
}

/// The writer thread has ended; [`BodyWriter::close`] returns the reason.
#[derive(Debug)]
pub(crate) struct WriterClosed;

/// Handle to a writer thread.
pub(crate) struct BodyWriter {
    commands: mpsc::Sender<WriteCommand>,
    thread: JoinHandle<Result<WriteResult, SinkError>>,
}

/// A writer, and what an earlier attempt left of the body.
pub(crate) struct OpenedWriter {
    pub writer: BodyWriter,
    pub offset: u64,
    pub etag: Option<String>,
}

impl BodyWriter {
    /// Starts a writer thread. The thread owns `guard` until it has released
    /// the sink.
    pub(crate) async fn open(
        sink: Arc<dyn ResultSink>,
        key: ResultKey,
        facts: Facts,
        guard: mpsc::Sender<()>,
    ) -> Result<OpenedWriter, WriterEnd> {
        let (commands, received) = mpsc::channel(CHUNKS_MAX);
        let (opened_sender, opened) = oneshot::channel();
        let thread = tokio::task::spawn_blocking(move || {
            let _guard = guard;
            let body = sink.download(key, facts)?;
            // The receiver is gone if the session was stopped meanwhile.
            let _ = opened_sender.send((body.offset(), body.etag()));
            run_commands(body, received)
        });
        let writer = Self { commands, thread };
        match opened.await {
            Ok((offset, etag)) => Ok(OpenedWriter {
                writer,
                offset,
                etag,
            }),
            Err(_) => Err(writer.close().await),
        }
    }

    pub(crate) async fn begin(
        &self,
        etag: Option<String>,
        total: Option<u64>,
    ) -> Result<(), WriterClosed> {
        self.send(WriteCommand::Begin { etag, total }).await
    }

    pub(crate) async fn append(&self, bytes: Bytes) -> Result<(), WriterClosed> {
        self.send(WriteCommand::Append(bytes)).await
    }

    pub(crate) async fn restart(&self) -> Result<(), WriterClosed> {
        self.send(WriteCommand::Restart).await
    }

    /// Checks the requirements and seals; returns when the sink has responded.
    pub(crate) async fn seal(self, request: SealRequest) -> WriterEnd {
        // If the thread has ended, `close` returns the reason.
        let _ = self.send(WriteCommand::Seal(Box::new(request))).await;
        self.close().await
    }

    /// Closes the channel and waits for the end of the thread.
    pub(crate) async fn close(self) -> WriterEnd {
        drop(self.commands);
        match self.thread.await {
            Ok(Ok(result)) => WriterEnd::Finished(result),
            Ok(Err(error)) => WriterEnd::Failed(error),
            Err(panic) => WriterEnd::Failed(SinkError::failed(panic.to_string())),
        }
    }

    async fn send(&self, command: WriteCommand) -> Result<(), WriterClosed> {
        self.commands.send(command).await.map_err(|_| WriterClosed)
    }
}

fn run_commands(
    mut body: Box<dyn BodySink>,
    mut commands: mpsc::Receiver<WriteCommand>,
) -> Result<WriteResult, SinkError> {
    while let Some(command) = commands.blocking_recv() {
        match command {
            WriteCommand::Begin { etag, total } => body.begin(etag.as_deref(), total)?,
            WriteCommand::Append(bytes) => body.append(&bytes)?,
            WriteCommand::Restart => body.restart()?,
            WriteCommand::Seal(request) => return seal(body, *request),
        }
    }
    Ok(WriteResult::Partial)
}

fn seal(mut body: Box<dyn BodySink>, request: SealRequest) -> Result<WriteResult, SinkError> {
    if let Some(damage) = damage_of(body.as_ref(), &request) {
        body.restart()?;
        return Ok(WriteResult::Damaged(damage));
    }
    body.seal(request.facts, request.collected_at)
        .map(WriteResult::Sealed)
}

/// Describes how a body differs from the server's length or MD5.
fn damage_of(body: &dyn BodySink, request: &SealRequest) -> Option<String> {
    let offset = body.offset();
    if let Some(total) = request.total.filter(|total| *total != offset) {
        return Some(format!(
            "received {offset} bytes, the server announced {total}"
        ));
    }
    let (expected, actual) = (request.md5?, body.md5()?);
    (expected != actual).then(|| {
        format!(
            "the MD5 is {}, the server announced {}",
            HEXLOWER.encode(&actual),
            HEXLOWER.encode(&expected)
        )
    })
}
