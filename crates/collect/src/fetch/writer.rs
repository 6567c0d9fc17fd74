//! The blocking half of a download: one worker thread that owns the vault's
//! [`BodySink`] and is fed over a bounded channel. When the channel closes it
//! lets go of the body, which stays where it is for the next try.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::{BodySink, ResultSink, Sealed, SinkError};
use evidence::{Facts, ResultKey, Time};

/// Chunks on their way to the writer. The HTTP client hands out up to 400 KiB
/// at a time, so a slot holds 2 MiB at most.
const CHUNKS_MAX: usize = 4;

/// What must hold before a body becomes evidence.
pub(crate) struct Terms {
    pub facts: Facts,
    pub collected_at: Time,
    pub total: Option<u64>,
    pub md5: Option<[u8; 16]>,
}

enum Order {
    Begin {
        etag: Option<String>,
        total: Option<u64>,
    },
    Bytes(Bytes),
    Restart,
    Seal(Box<Terms>),
}

/// How a writer's work ended.
#[derive(Debug)]
pub(crate) enum End {
    Sealed(Sealed),
    /// The terms did not hold; the bytes are forgotten.
    Damaged(String),
    /// Let go before its end.
    Left,
}

/// The writer's thread is gone; [`Writer::end`] says why.
pub(crate) struct Gone;

pub(crate) struct Writer {
    orders: mpsc::Sender<Order>,
    end: JoinHandle<Result<End, SinkError>>,
}

/// What an earlier try left.
pub(crate) struct Opened {
    pub writer: Writer,
    pub offset: u64,
    pub etag: Option<String>,
}

impl Writer {
    /// `alive` is held until the thread has let go of the vault.
    pub async fn open(
        vault: Arc<dyn ResultSink>,
        key: ResultKey,
        facts: Facts,
        alive: mpsc::Sender<()>,
    ) -> Result<Opened, Ended> {
        let (orders, inbox) = mpsc::channel(CHUNKS_MAX);
        let (tell, told) = oneshot::channel();
        let end = tokio::task::spawn_blocking(move || {
            let _alive = alive;
            let download = vault.download(key, facts)?;
            // Nobody listens where the run was stopped meanwhile.
            let _ = tell.send((download.offset(), download.etag()));
            obey(download, inbox)
        });
        let writer = Self { orders, end };
        match told.await {
            Ok((offset, etag)) => Ok(Opened {
                writer,
                offset,
                etag,
            }),
            Err(_) => Err(writer.end().await),
        }
    }

    pub async fn begin(&self, etag: Option<String>, total: Option<u64>) -> Result<(), Gone> {
        self.order(Order::Begin { etag, total }).await
    }

    pub async fn append(&self, bytes: Bytes) -> Result<(), Gone> {
        self.order(Order::Bytes(bytes)).await
    }

    pub async fn restart(&self) -> Result<(), Gone> {
        self.order(Order::Restart).await
    }

    /// Checks the terms and seals; returns when the vault has answered.
    pub async fn seal(self, terms: Terms) -> Ended {
        // Where the thread is gone its end says why.
        let _ = self.order(Order::Seal(Box::new(terms))).await;
        self.end().await
    }

    /// Lets go and waits for the thread.
    pub async fn end(self) -> Ended {
        drop(self.orders);
        match self.end.await {
            Ok(Ok(end)) => Ended::End(end),
            Ok(Err(error)) => Ended::Sink(error),
            Err(panic) => Ended::Sink(SinkError::failed(panic.to_string())),
        }
    }

    async fn order(&self, order: Order) -> Result<(), Gone> {
        self.orders.send(order).await.map_err(|_| Gone)
    }
}

/// The end of a writer's thread.
pub(crate) enum Ended {
    End(End),
    Sink(SinkError),
}

fn obey(
    mut download: Box<dyn BodySink>,
    mut inbox: mpsc::Receiver<Order>,
) -> Result<End, SinkError> {
    while let Some(order) = inbox.blocking_recv() {
        match order {
            Order::Begin { etag, total } => download.begin(etag.as_deref(), total)?,
            Order::Bytes(bytes) => download.append(&bytes)?,
            Order::Restart => download.restart()?,
            Order::Seal(terms) => return seal(download, *terms),
        }
    }
    Ok(End::Left)
}

fn seal(mut download: Box<dyn BodySink>, terms: Terms) -> Result<End, SinkError> {
    if let Some(damage) = damage(download.as_ref(), &terms) {
        download.restart()?;
        return Ok(End::Damaged(damage));
    }
    download
        .seal(terms.facts, terms.collected_at)
        .map(End::Sealed)
}

fn damage(download: &dyn BodySink, terms: &Terms) -> Option<String> {
    let offset = download.offset();
    if let Some(total) = terms.total.filter(|total| *total != offset) {
        return Some(format!("{offset} bytes came, the server said {total}"));
    }
    let (expected, got) = (terms.md5?, download.md5()?);
    (expected != got).then(|| format!("its MD5 is {}, the server said {}", hex(got), hex(expected)))
}

fn hex(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
