//! One result from its link to its last byte: ranged, resumed, with new links
//! where the old one ends.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{IF_MATCH, RANGE};

use crate::fetch::collector::CollectSession;
use crate::fetch::queue::PendingResult;
use crate::fetch::writer::{
    BodyWriter, OpenedWriter, SealRequest, WriteResult, WriterClosed, WriterEnd,
};
use crate::service::api::CallError;
use crate::service::blob;
use crate::service::blob::{BlobHeaders, BlobResponseClass};
use crate::service::circuit_breaker::OutageState;
use crate::service::http;
use crate::service::http::TransportError;
use crate::service::links::{DownloadLink, LinkError};
use crate::service::package;
use crate::service::retry::ErrorClass;
use crate::{CollectError, CollectProgress, ServiceError, SinkError};
use evidence::{Facts, GapReason, ResultKey};

/// An error body is a few lines of XML.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// What comes next for a want.
pub(crate) enum DownloadStep {
    /// Every byte is here: the vault's turn.
    Seal(Box<ResultDownload>),
    Gap(GapReason, String),
    /// Later, with the trouble counted.
    Retry(ErrorClass, String, Option<Duration>),
    /// The vault is full; this much more would help.
    CallCapacity(u64),
    Fatal(CollectError),
}

/// A body on its way.
pub(crate) struct ResultDownload {
    key: ResultKey,
    writer: BodyWriter,
    facts: Facts,
    offset: u64,
    etag: Option<String>,
    total: Option<u64>,
    md5: Option<[u8; 16]>,
    headers: Vec<(String, String)>,
}

/// What one request brought.
enum TransferEnd {
    Whole,
    Interrupted(String),
    NoConnection(String),
    Expired,
    Changed,
    Busy(String, Option<Duration>),
    Refused(String),
    Missing(String),
    WriterGone,
    Fatal(CollectError),
}

/// Fetches everything up to the last byte.
pub(crate) async fn fetch(session: &CollectSession, pending: &mut PendingResult) -> DownloadStep {
    // First the vault: it may have to hash what an earlier run left, or have no
    // room, and the link lives for minutes and is the scarcest of calls.
    let mut body = match open(session, pending).await {
        Ok(body) => body,
        Err(step) => return step,
    };
    let link = match request_link(session, pending).await {
        Ok(link) => link,
        Err(step) => return body.close_with(step).await,
    };
    match transfer_all(session, pending, link, &mut body).await {
        None => DownloadStep::Seal(Box::new(body)),
        Some(step) => body.close_with(step).await,
    }
}

/// Pulls until every byte is here, or something else comes next.
async fn transfer_all(
    session: &CollectSession,
    pending: &mut PendingResult,
    mut link: DownloadLink,
    body: &mut ResultDownload,
) -> Option<DownloadStep> {
    loop {
        let before = body.offset;
        let transfer = body.transfer(session, &link).await;
        if body.offset > before {
            pending.tries.reset(ErrorClass::Interrupted);
            pending.tries.reset(ErrorClass::LinkExpired);
            pending.tries.reset(ErrorClass::NoConnection);
        }
        let trouble = match transfer {
            TransferEnd::Whole => return None,
            TransferEnd::Refused(why) => return Some(DownloadStep::Gap(GapReason::Refused, why)),
            TransferEnd::Missing(why) => {
                return Some(DownloadStep::Retry(ErrorClass::BlobMissing, why, None));
            }
            TransferEnd::Busy(why, wait) => {
                return Some(DownloadStep::Retry(ErrorClass::Server, why, wait));
            }
            TransferEnd::NoConnection(why) => {
                return Some(DownloadStep::Retry(ErrorClass::NoConnection, why, None));
            }
            TransferEnd::Fatal(error) => return Some(DownloadStep::Fatal(error)),
            TransferEnd::WriterGone => {
                // Replaced by the writer's own reason when it is let go.
                return Some(DownloadStep::Retry(
                    ErrorClass::Interrupted,
                    "its writer ended".into(),
                    None,
                ));
            }
            TransferEnd::Expired => (ErrorClass::LinkExpired, "the link ended".to_string()),
            TransferEnd::Changed => (ErrorClass::BlobChanged, "the blob changed".to_string()),
            TransferEnd::Interrupted(why) => (ErrorClass::Interrupted, why),
        };
        match pending.tries.next_delay(trouble.0) {
            Some(wait) => session.clock.sleep(wait).await,
            None => {
                let why = body.broken_off(&trouble.1);
                return Some(DownloadStep::Gap(GapReason::Unreachable, why));
            }
        }
        if trouble.0 == ErrorClass::LinkExpired
            || link.expires_soon(session.clock.now(), session.clock)
        {
            link = match request_link(session, pending).await {
                Ok(link) => link,
                Err(step) => return Some(step),
            };
        }
    }
}

async fn request_link(
    session: &CollectSession,
    pending: &mut PendingResult,
) -> Result<DownloadLink, DownloadStep> {
    let asked = if package::is_package(pending.action()) {
        session.api.request_package_link(pending.key().action).await
    } else {
        session.api.request_link(pending.key()).await
    };
    match &asked {
        Ok(_) => session.report_available(pending),
        Err(CallError::Service(e)) if is_not_ready(e) => {
            pending.last_miss = Some(session.clock.now())
        }
        Err(_) => {}
    }
    asked.map_err(|error| match error {
        CallError::Throttled => {
            DownloadStep::Retry(ErrorClass::Throttled, "held back (429)".into(), None)
        }
        CallError::Interrupted(why) => DownloadStep::Retry(ErrorClass::Interrupted, why, None),
        CallError::NoConnection(why) => DownloadStep::Retry(ErrorClass::NoConnection, why, None),
        CallError::Unexpected(why) => DownloadStep::Retry(ErrorClass::Server, why, None),
        CallError::InvalidLink(bad @ LinkError::PlainHttp(_)) => {
            DownloadStep::Gap(GapReason::Refused, format!("not followed: {bad}"))
        }
        CallError::InvalidLink(bad) => {
            DownloadStep::Retry(ErrorClass::Server, bad.to_string(), None)
        }
        CallError::Fatal(error) => DownloadStep::Fatal(error),
        CallError::Service(e) => match e.status {
            _ if is_not_ready(&e) => DownloadStep::Retry(ErrorClass::NotReady, e.to_string(), None),
            404 | 410 => DownloadStep::Retry(ErrorClass::NotFound, e.to_string(), None),
            408 | 500..=599 => DownloadStep::Retry(ErrorClass::Server, e.to_string(), None),
            403 => DownloadStep::Gap(GapReason::Refused, format!("the link was refused: {e}")),
            _ => DownloadStep::Retry(ErrorClass::Server, e.to_string(), None),
        },
    })
}

fn is_not_ready(refused: &ServiceError) -> bool {
    matches!(refused.status, 400 | 409)
}

async fn open(
    session: &CollectSession,
    pending: &PendingResult,
) -> Result<ResultDownload, DownloadStep> {
    let key = pending.key();
    let Some(facts) = pending.facts(&session.api.host) else {
        return Err(DownloadStep::Gap(
            GapReason::NeverProduced,
            "the action no longer has this command".into(),
        ));
    };
    match BodyWriter::open(
        session.sink.clone(),
        key,
        facts.clone(),
        session.alive.clone(),
    )
    .await
    {
        Ok(OpenedWriter {
            writer,
            offset,
            etag,
        }) => Ok(ResultDownload {
            key,
            writer,
            facts,
            offset,
            etag,
            total: None,
            md5: None,
            headers: Vec::new(),
        }),
        Err(ended) => Err(after(key, ended, None)),
    }
}

/// What the end of a writer before its time means.
fn after(key: ResultKey, ended: WriterEnd, missing: Option<u64>) -> DownloadStep {
    match ended {
        WriterEnd::Sink(SinkError::DiskFull) => DownloadStep::CallCapacity(missing.unwrap_or(0)),
        WriterEnd::Sink(error) => DownloadStep::Fatal(CollectError::sink(
            format!("write result {key} to the archive"),
            error,
        )),
        WriterEnd::Finished(_) => DownloadStep::Retry(
            ErrorClass::Interrupted,
            "its writer ended early".into(),
            None,
        ),
    }
}

impl ResultDownload {
    /// One request: from where we are to the end, or to where it breaks.
    async fn transfer(&mut self, session: &CollectSession, link: &DownloadLink) -> TransferEnd {
        if self.offset > 0 && !self.can_resume() && self.start_over().await.is_err() {
            return TransferEnd::WriterGone;
        }
        let Some(url) = link.url() else {
            return TransferEnd::Expired;
        };
        let client = match session.api.http.client(&url) {
            Ok(client) => client,
            Err(error) => return TransferEnd::Fatal(error),
        };
        session.blob_breaker.wait(session.clock).await;
        let mut request = client.get(url);
        if let (Some(etag), true) = (&self.etag, self.offset > 0) {
            request = request
                .header(RANGE, format!("bytes={}-", self.offset))
                .header(IF_MATCH, etag);
        }
        let response = match request.send().await.map_err(http::transport_error) {
            Ok(response) => response,
            Err(fault) if fault.is_unsent => return lost(session, link, fault),
            Err(fault) => return TransferEnd::Interrupted(fault.text),
        };
        session.blob_breaker.record_success();
        self.receive(session, link, response).await
    }

    /// Without a strong ETag a part could be joined to another blob's rest.
    fn can_resume(&self) -> bool {
        self.etag
            .as_ref()
            .is_some_and(|etag| !etag.starts_with("W/"))
    }

    async fn receive(
        &mut self,
        session: &CollectSession,
        link: &DownloadLink,
        response: Response,
    ) -> TransferEnd {
        let head = BlobHeaders::read(&response);
        if head.status < 300 {
            let meaning = head.classify(self.offset, "", false);
            return match self.stream(session, &head, meaning, response).await {
                Ok(transfer) => transfer,
                Err(WriterClosed) => TransferEnd::WriterGone,
            };
        }
        let body = http::read_bounded(response, ERROR_BYTES_MAX)
            .await
            .unwrap_or_else(|_| Vec::new());
        let code = head.code.clone().or_else(|| blob::error_code_in(&body));
        let code = crate::error::clean(&code.unwrap_or_default());
        let over = link.is_expired(head.date, session.clock.now());
        let why = format!("the blob host answered {} {code}", head.status);
        match head.classify(self.offset, &code, over) {
            BlobResponseClass::Complete => {
                self.total = Some(self.offset);
                self.remember(&head);
                TransferEnd::Whole
            }
            BlobResponseClass::LinkExpired => TransferEnd::Expired,
            BlobResponseClass::Refused => TransferEnd::Refused(why),
            BlobResponseClass::Missing => TransferEnd::Missing(why),
            BlobResponseClass::Busy => TransferEnd::Busy(why, head.retry_after),
            BlobResponseClass::StartOver => self.changed(session).await,
            BlobResponseClass::Whole
            | BlobResponseClass::Remainder
            | BlobResponseClass::Unexpected => TransferEnd::Interrupted(why),
        }
    }

    async fn changed(&mut self, session: &CollectSession) -> TransferEnd {
        session.counters.notify(format!(
            "result {} changed at the service while it was read: starting over",
            self.key
        ));
        match self.start_over().await {
            Ok(()) => TransferEnd::Changed,
            Err(WriterClosed) => TransferEnd::WriterGone,
        }
    }

    async fn stream(
        &mut self,
        session: &CollectSession,
        head: &BlobHeaders,
        meaning: BlobResponseClass,
        mut response: Response,
    ) -> Result<TransferEnd, WriterClosed> {
        match meaning {
            BlobResponseClass::Remainder => self.remember(head),
            BlobResponseClass::Whole => self.begin(head).await?,
            BlobResponseClass::StartOver => return Ok(self.changed(session).await),
            _ => {
                return Ok(TransferEnd::Interrupted(format!(
                    "the blob host answered {}",
                    head.status
                )));
            }
        }
        loop {
            match response.chunk().await.map_err(http::transport_error) {
                Ok(Some(bytes)) => self.append(session, bytes).await?,
                Ok(None) => break,
                Err(fault) => return Ok(TransferEnd::Interrupted(fault.text)),
            }
        }
        Ok(match self.total {
            Some(total) if self.offset < total => {
                TransferEnd::Interrupted(format!("it ended at {} of {total}", self.offset))
            }
            _ => TransferEnd::Whole,
        })
    }

    async fn begin(&mut self, head: &BlobHeaders) -> Result<(), WriterClosed> {
        if self.offset > 0 {
            self.start_over().await?;
        }
        self.md5 = None;
        self.total = None;
        self.headers.clear();
        self.remember(head);
        self.etag.clone_from(&head.etag);
        self.writer.begin(head.etag.clone(), self.total).await
    }

    async fn append(&mut self, session: &CollectSession, bytes: Bytes) -> Result<(), WriterClosed> {
        let count = bytes.len() as u64;
        self.writer.append(bytes).await?;
        self.offset += count;
        session.counters.emit(CollectProgress::Bytes {
            key: self.key,
            bytes: count,
        });
        Ok(())
    }

    async fn start_over(&mut self) -> Result<(), WriterClosed> {
        self.offset = 0;
        self.etag = None;
        self.writer.restart().await
    }

    /// Keeps what the server said. The headers of a whole answer are worth
    /// more than those of a part.
    fn remember(&mut self, head: &BlobHeaders) {
        self.total = head.total().or(self.total);
        self.md5 = head.md5.or(self.md5);
        if head.status == 200 || self.headers.is_empty() {
            self.headers.clone_from(&head.evidence_headers);
        }
    }

    fn broken_off(&self, why: &str) -> String {
        match self.total {
            Some(total) => format!("broke off at {} of {total} bytes: {why}", self.offset),
            None => format!("broke off at {} bytes: {why}", self.offset),
        }
    }

    fn missing(&self) -> Option<u64> {
        Some(self.total?.saturating_sub(self.offset))
    }

    /// Waits until the writer has let go of the vault, so that the next try
    /// of the same result finds what this one left. A writer that failed has
    /// the last word.
    async fn close_with(self, step: DownloadStep) -> DownloadStep {
        let missing = self.missing();
        match self.writer.end().await {
            WriterEnd::Finished(_) => step,
            ended => after(self.key, ended, missing),
        }
    }

    /// How much of the store's patience this body takes while it waits for
    /// its commit.
    ///
    /// **Units**: bytes.
    pub fn held(&self) -> u64 {
        self.offset
    }

    /// Hands the body to the vault; returns when it is evidence or cannot be.
    pub async fn seal(self, session: &CollectSession) -> Result<WriteResult, DownloadStep> {
        let (key, missing) = (self.key, self.total);
        let terms = SealRequest {
            facts: Facts {
                headers: self.headers,
                ..self.facts
            },
            collected_at: session.clock.stamp(),
            total: self.total,
            md5: self.md5,
        };
        match self.writer.seal(terms).await {
            WriterEnd::Finished(WriteResult::Partial) => Err(after(
                key,
                WriterEnd::Finished(WriteResult::Partial),
                missing,
            )),
            WriterEnd::Finished(end) => Ok(end),
            ended => Err(after(key, ended, missing)),
        }
    }
}

fn lost(session: &CollectSession, link: &DownloadLink, fault: TransportError) -> TransferEnd {
    match session.blob_breaker.record_failure(session.clock) {
        OutageState::Started(until) => {
            session.counters.notify(format!(
                "no connection to {}: {}; trying again at {}",
                link.host(),
                fault.text,
                until.timestamp()
            ));
            TransferEnd::NoConnection(fault.text)
        }
        OutageState::Continues(_) => TransferEnd::NoConnection(fault.text),
        OutageState::GaveUp => TransferEnd::Fatal(CollectError::Transport {
            call: "reach the blob host",
            host: link.host().into(),
            why: fault.text,
        }),
    }
}
