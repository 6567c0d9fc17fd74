//! A body on its way out: chunk by chunk from wherever it comes, and ended
//! early where a fault says so.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, try_unfold};

use crate::state::journal::{ActiveDownload, CallJournal};
use crate::synthetic::body::BodyReader;
use evidence::ResultKey;

/// Bytes read and handed on at once: few enough that twenty slow downloads
/// hold little memory, many enough that 3 GB are no long list.
const CHUNK: u64 = 128 << 10;

/// Where a body breaks off, and how long the connection lingers there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BreakOff {
    pub at: u64,
    pub pause: Duration,
}

pub(crate) struct BodyStream {
    pub opened: BodyReader,
    /// Reading it does not block.
    pub quick: bool,
    pub at: u64,
    pub end: u64,
    pub total: u64,
    pub stop: Option<BreakOff>,
    /// **Units**: bytes in a real second.
    pub rate: Option<u64>,
    pub key: ResultKey,
    pub journal: CallJournal,
    /// Counts the body as under way as long as it lives.
    pub _underway: ActiveDownload,
}

impl BodyStream {
    pub(crate) fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        try_unfold(self, Self::next)
    }

    async fn next(self) -> io::Result<Option<(Bytes, Self)>> {
        let end = self.stop.map_or(self.end, |stop| stop.at.min(self.end));
        if self.at >= end {
            return match self.stop {
                Some(stop) => {
                    tokio::time::sleep(stop.pause).await;
                    Err(io::ErrorKind::ConnectionReset.into())
                }
                None => Ok(None),
            };
        }
        let step = match self.rate {
            // A tenth of a second's worth, so that slow is slow and not jerky.
            Some(rate) => (rate / 10).clamp(1, CHUNK),
            None => CHUNK,
        };
        let len = step.min(end - self.at) as usize;
        let (bytes, mut flow) = self.read(len).await?;
        let from = flow.at;
        flow.at += len as u64;
        if let Some(rate) = flow.rate {
            tokio::time::sleep(Duration::from_secs_f64(len as f64 / rate.max(1) as f64)).await;
        }
        flow.journal.sent(flow.key, from, flow.at, flow.total);
        Ok(Some((bytes, flow)))
    }

    async fn read(mut self, len: usize) -> io::Result<(Bytes, Self)> {
        let at = self.at;
        if self.quick {
            let bytes = self.opened.take(at, len)?;
            return Ok((bytes.into(), self));
        }
        let work = tokio::task::spawn_blocking(move || {
            let bytes = self.opened.take(at, len)?;
            Ok((Bytes::from(bytes), self))
        });
        work.await.map_err(io::Error::other)?
    }
}
