//! Streams the body of a result in chunks, and ends it early if a fault
//! requires it.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, try_unfold};

use crate::state::journal::{ActiveDownload, CallJournal};
use crate::synthetic::body::BodyReader;
use evidence::ResultKey;

/// Bytes per chunk: small enough that twenty slow downloads take little memory,
/// large enough that 3 GB need few chunks.
const CHUNK: u64 = 128 << 10;

/// Early end of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BreakOff {
    /// Offset of the first byte that is not sent.
    pub at: u64,
    /// Real time for which the connection stays open after that.
    pub pause: Duration,
}

/// A body that is being sent.
pub(crate) struct BodyStream {
    pub reader: BodyReader,
    /// Reading never waits for a disk.
    pub is_non_blocking: bool,
    /// Offset of the next byte.
    pub at: u64,
    pub end: u64,
    pub total: u64,
    pub break_off: Option<BreakOff>,
    /// **Units**: bytes per real second.
    pub rate: Option<u64>,
    pub key: ResultKey,
    pub journal: CallJournal,
    /// Counts the download as active until the stream is dropped.
    pub _active: ActiveDownload,
}

impl BodyStream {
    pub(crate) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        try_unfold(self, Self::next)
    }

    async fn next(self) -> io::Result<Option<(Bytes, Self)>> {
        let end = self
            .break_off
            .map_or(self.end, |break_off| break_off.at.min(self.end));
        if self.at >= end {
            return match self.break_off {
                Some(break_off) => {
                    tokio::time::sleep(break_off.pause).await;
                    Err(io::ErrorKind::ConnectionReset.into())
                }
                None => Ok(None),
            };
        }
        let step = match self.rate {
            // A tenth of a second per chunk, for an even flow.
            Some(rate) => (rate / 10).clamp(1, CHUNK),
            None => CHUNK,
        };
        let len = step.min(end - self.at) as usize;
        let (bytes, mut stream) = self.read(len).await?;
        let from = stream.at;
        stream.at += len as u64;
        if let Some(rate) = stream.rate {
            tokio::time::sleep(Duration::from_secs_f64(len as f64 / rate.max(1) as f64)).await;
        }
        stream
            .journal
            .record_sent(stream.key, from, stream.at, stream.total);
        Ok(Some((bytes, stream)))
    }

    async fn read(mut self, len: usize) -> io::Result<(Bytes, Self)> {
        let at = self.at;
        if self.is_non_blocking {
            let bytes = self.reader.read_at(at, len)?;
            return Ok((bytes.into(), self));
        }
        tokio::task::spawn_blocking(move || {
            let bytes = self.reader.read_at(at, len)?;
            Ok((Bytes::from(bytes), self))
        })
        .await
        .map_err(io::Error::other)?
    }
}
