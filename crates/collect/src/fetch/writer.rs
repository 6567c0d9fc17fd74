//! The blocking half of a download: one worker thread that owns the vault's
//! [`BodySink`] and is fed over a bounded channel. When the channel closes it
//! lets go of the body, which stays where it is for the next try.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::{BodySink, ResultSink, SealOutcome, SinkError};
use evidence::{Facts, ResultKey, Time};

/// Chunks on their way to the writer. The HTTP client hands out up to 400 KiB
/// at a time, so a slot holds 2 MiB at most.
const CHUNKS_MAX: usize = 4;

/// What must hold before a body becomes evidence.
pub(crate) struct SealRequest {
    pub facts: Facts,
    pub collected_at: Time,
    pub total: Option<u64>,
    pub md5: Option<[u8; 16]>,
}

enum WriteCommand {
    Begin {
        etag: Option<String>,
        total: Option<u64>,
    },
    Bytes(Bytes),
    Restart,
    Seal(Box<SealRequest>),
}

/// How a writer's work ended.
#[derive(Debug)]
pub(crate) enum WriteResult {
    Sealed(SealOutcome),
    /// The terms did not hold; the bytes are forgotten.
    Damaged(String),
    /// Let go before its end.
    Partial,
}

/// The writer's thread is gone; [`BodyWriter::end`] says why.
pub(crate) struct WriterClosed;

pub(crate) struct BodyWriter {
    commands: mpsc::Sender<WriteCommand>,
    end: JoinHandle<Result<WriteResult, SinkError>>,
}

/// What an earlier try left.
pub(crate) struct OpenedWriter {
    pub writer: BodyWriter,
    pub offset: u64,
    pub etag: Option<String>,
}

impl BodyWriter {
    /// `alive` is held until the thread has let go of the vault.
    pub async fn open(
        sink: Arc<dyn ResultSink>,
        key: ResultKey,
        facts: Facts,
        alive: mpsc::Sender<()>,
    ) -> Result<OpenedWriter, WriterEnd> {
        let (commands, inbox) = mpsc::channel(CHUNKS_MAX);
        let (tell, told) = oneshot::channel();
        let end = tokio::task::spawn_blocking(move || {
            let _alive = alive;
            let download = sink.download(key, facts)?;
            // Nobody listens where the run was stopped meanwhile.
            let _ = tell.send((download.offset(), download.etag()));
            run_commands(download, inbox)
        });
        let writer = Self { commands, end };
        match told.await {
            Ok((offset, etag)) => Ok(OpenedWriter {
                writer,
                offset,
                etag,
            }),
            Err(_) => Err(writer.end().await),
        }
    }

    pub async fn begin(
        &self,
        etag: Option<String>,
        total: Option<u64>,
    ) -> Result<(), WriterClosed> {
        self.send(WriteCommand::Begin { etag, total }).await
    }

    pub async fn append(&self, bytes: Bytes) -> Result<(), WriterClosed> {
        self.send(WriteCommand::Bytes(bytes)).await
    }

    pub async fn restart(&self) -> Result<(), WriterClosed> {
        self.send(WriteCommand::Restart).await
    }

    /// Checks the terms and seals; returns when the vault has answered.
    pub async fn seal(self, request: SealRequest) -> WriterEnd {
        // Where the thread is gone its end says why.
        let _ = self.send(WriteCommand::Seal(Box::new(request))).await;
        self.end().await
    }

    /// Lets go and waits for the thread.
    pub async fn end(self) -> WriterEnd {
        drop(self.commands);
        match self.end.await {
            Ok(Ok(end)) => WriterEnd::Finished(end),
            Ok(Err(error)) => WriterEnd::Sink(error),
            Err(panic) => WriterEnd::Sink(SinkError::failed(panic.to_string())),
        }
    }

    async fn send(&self, send: WriteCommand) -> Result<(), WriterClosed> {
        self.commands.send(send).await.map_err(|_| WriterClosed)
    }
}

/// The end of a writer's thread.
pub(crate) enum WriterEnd {
    Finished(WriteResult),
    Sink(SinkError),
}

fn run_commands(
    mut download: Box<dyn BodySink>,
    mut inbox: mpsc::Receiver<WriteCommand>,
) -> Result<WriteResult, SinkError> {
    while let Some(send) = inbox.blocking_recv() {
        match send {
            WriteCommand::Begin { etag, total } => download.begin(etag.as_deref(), total)?,
            WriteCommand::Bytes(bytes) => download.append(&bytes)?,
            WriteCommand::Restart => download.restart()?,
            WriteCommand::Seal(request) => return seal(download, *request),
        }
    }
    Ok(WriteResult::Partial)
}

fn seal(mut download: Box<dyn BodySink>, request: SealRequest) -> Result<WriteResult, SinkError> {
    if let Some(damage) = damage(download.as_ref(), &request) {
        download.restart()?;
        return Ok(WriteResult::Damaged(damage));
    }
    download
        .seal(request.facts, request.collected_at)
        .map(WriteResult::Sealed)
}

fn damage(download: &dyn BodySink, request: &SealRequest) -> Option<String> {
    let offset = download.offset();
    if let Some(total) = request.total.filter(|total| *total != offset) {
        return Some(format!("{offset} bytes came, the server said {total}"));
    }
    let (expected, got) = (request.md5?, download.md5()?);
    (expected != got).then(|| format!("its MD5 is {}, the server said {}", hex(got), hex(expected)))
}

fn hex(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
