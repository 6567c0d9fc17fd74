//! Download of one result, from its link to its last byte. An interrupted
//! download is resumed with a range request; an expired link is replaced.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{IF_MATCH, RANGE};

use crate::error::clean;
use crate::fetch::queue::PendingResult;
use crate::fetch::session::CollectSession;
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

/// Next step for a pending result.
pub(crate) enum DownloadStep {
    /// Every byte was received.
    Seal(Box<ResultDownload>),
    Gap(GapReason, String),
    /// Another attempt, after the longer of the delay of the error class and
    /// the delay requested by the server.
    Retry(ErrorClass, String, Option<Duration>),
    /// The sink has no space; so many more bytes are known to be missing.
    WaitForSpace(u64),
    Fatal(CollectError),
}

/// A body that is being received.
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

/// End of one request to the blob host.
enum TransferEnd {
    Complete,
    Interrupted(String),
    NoConnection(String),
    LinkExpired,
    BlobChanged,
    Busy(String, Option<Duration>),
    Refused(String),
    Missing(String),
    WriterClosed,
    Fatal(CollectError),
}

/// Downloads everything up to the last byte.
pub(crate) async fn fetch(session: &CollectSession, pending: &mut PendingResult) -> DownloadStep {
    // The sink first: it may have to hash a partial body or have no space, and
    // a link lives for minutes and has the scarcest rate limit.
    let mut download = match open(session, pending).await {
        Ok(download) => download,
        Err(step) => return step,
    };
    let link = match request_link(session, pending).await {
        Ok(link) => link,
        Err(step) => return download.close_with(step).await,
    };
    tracing::debug!(offset = download.offset, "download started");
    match transfer_all(session, pending, link, &mut download).await {
        None => {
            tracing::debug!(
                action = %download.key.action,
                command = download.key.index.0,
                bytes = download.offset,
                "download complete"
            );
            DownloadStep::Seal(Box::new(download))
        }
        Some(step) => download.close_with(step).await,
    }
}

/// Requests the body until every byte is received (`None`) or another step is
/// due.
async fn transfer_all(
    session: &CollectSession,
    pending: &mut PendingResult,
    mut link: DownloadLink,
    download: &mut ResultDownload,
) -> Option<DownloadStep> {
    let clock = session.api.clock;
    loop {
        let offset_before = download.offset;
        let end = download.transfer(session, &link).await;
        if download.offset > offset_before {
            pending.retries.reset(ErrorClass::Interrupted);
            pending.retries.reset(ErrorClass::LinkExpired);
            pending.retries.reset(ErrorClass::NoConnection);
        }
        let (class, why) = match immediate_retry(end) {
            Ok(retry) => retry,
            Err(step) => return step,
        };
        let Some(delay) = pending.retries.next_delay(class) else {
            let detail = download.describe_interruption(&why);
            return Some(DownloadStep::Gap(GapReason::Unreachable, detail));
        };
        tracing::debug!(
            ?class,
            offset = download.offset,
            delay_ms = delay.as_millis() as u64,
            "transfer interrupted, retrying"
        );
        clock.sleep(delay).await;
        if class == ErrorClass::LinkExpired || link.expires_soon(clock.now(), clock) {
            link = match request_link(session, pending).await {
                Ok(link) => link,
                Err(step) => return Some(step),
            };
        }
    }
}

/// The error class of a transfer that is retried by the same worker; otherwise
/// the next step, or `None` if the body is complete.
fn immediate_retry(end: TransferEnd) -> Result<(ErrorClass, String), Option<DownloadStep>> {
    Err(match end {
        TransferEnd::LinkExpired => {
            return Ok((ErrorClass::LinkExpired, "the link expired".into()));
        }
        TransferEnd::BlobChanged => {
            return Ok((ErrorClass::BlobChanged, "the blob changed".into()));
        }
        TransferEnd::Interrupted(why) => return Ok((ErrorClass::Interrupted, why)),
        TransferEnd::Complete => None,
        TransferEnd::Refused(why) => Some(DownloadStep::Gap(GapReason::Refused, why)),
        TransferEnd::Missing(why) => Some(DownloadStep::Retry(ErrorClass::BlobMissing, why, None)),
        TransferEnd::Busy(why, wait) => Some(DownloadStep::Retry(ErrorClass::Server, why, wait)),
        TransferEnd::NoConnection(why) => {
            Some(DownloadStep::Retry(ErrorClass::NoConnection, why, None))
        }
        TransferEnd::Fatal(error) => Some(DownloadStep::Fatal(error)),
        // `close_with` replaces it by the writer's own error.
        TransferEnd::WriterClosed => Some(DownloadStep::Retry(
            ErrorClass::Interrupted,
            "the writer ended early".into(),
            None,
        )),
    })
}

async fn request_link(
    session: &CollectSession,
    pending: &mut PendingResult,
) -> Result<DownloadLink, DownloadStep> {
    let key = pending.key();
    let link = if package::is_package(pending.action()) {
        session.api.request_package_link(key.action).await
    } else {
        session.api.request_link(key).await
    };
    match &link {
        Ok(_) => session.record_available(pending),
        Err(CallError::Service(error)) if is_not_ready(error) => {
            pending.last_miss = Some(session.api.clock.now());
        }
        Err(_) => {}
    }
    link.map_err(step_after_link_error)
}

fn step_after_link_error(error: CallError) -> DownloadStep {
    let retry = |class, why: String| DownloadStep::Retry(class, why, None);
    match error {
        CallError::Throttled => retry(ErrorClass::Throttled, "throttled (429)".into()),
        CallError::Interrupted(why) => retry(ErrorClass::Interrupted, why),
        CallError::NoConnection(why) => retry(ErrorClass::NoConnection, why),
        CallError::Unexpected(why) => retry(ErrorClass::Server, why),
        CallError::InvalidLink(error @ LinkError::PlainHttp(_)) => {
            DownloadStep::Gap(GapReason::Refused, format!("link not followed: {error}"))
        }
        CallError::InvalidLink(error) => retry(ErrorClass::Server, error.to_string()),
        CallError::Fatal(error) => DownloadStep::Fatal(error),
        CallError::Service(error) => match error.status {
            _ if is_not_ready(&error) => retry(ErrorClass::NotReady, error.to_string()),
            404 | 410 => retry(ErrorClass::NotFound, error.to_string()),
            403 => DownloadStep::Gap(GapReason::Refused, format!("link refused: {error}")),
            _ => retry(ErrorClass::Server, error.to_string()),
        },
    }
}

fn is_not_ready(error: &ServiceError) -> bool {
    matches!(error.status, 400 | 409)
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
    let guard = session.writer_guard.clone();
    match BodyWriter::open(session.sink.shared(), key, facts.clone(), guard).await {
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
        Err(end) => Err(step_after_writer_end(key, end, None)),
    }
}

/// The step after a writer that ended before the body was complete.
fn step_after_writer_end(key: ResultKey, end: WriterEnd, missing: Option<u64>) -> DownloadStep {
    match end {
        WriterEnd::Failed(SinkError::DiskFull) => DownloadStep::WaitForSpace(missing.unwrap_or(0)),
        WriterEnd::Failed(error) => DownloadStep::Fatal(CollectError::sink(
            format!("write result {key} to the archive"),
            error,
        )),
        WriterEnd::Finished(_) => DownloadStep::Retry(
            ErrorClass::Interrupted,
            "the writer ended early".into(),
            None,
        ),
    }
}

impl ResultDownload {
    /// One request: from the offset to the end, or to an interruption.
    async fn transfer(&mut self, session: &CollectSession, link: &DownloadLink) -> TransferEnd {
        if self.offset > 0 && !self.can_resume() && self.restart().await.is_err() {
            return TransferEnd::WriterClosed;
        }
        let Some(url) = link.url() else {
            return TransferEnd::LinkExpired;
        };
        let client = match session.api.http.client(&url) {
            Ok(client) => client,
            Err(error) => return TransferEnd::Fatal(error),
        };
        session.blob_breaker.wait(session.api.clock).await;
        let mut request = client.get(url);
        if let Some(etag) = self.etag.as_ref().filter(|_| self.offset > 0) {
            request = request
                .header(RANGE, format!("bytes={}-", self.offset))
                .header(IF_MATCH, etag);
        }
        let response = match request.send().await.map_err(http::transport_error) {
            Ok(response) => response,
            Err(error) if error.is_unsent => return connection_failed(session, link, error),
            Err(error) => return TransferEnd::Interrupted(error.text),
        };
        session.blob_breaker.record_success();
        self.receive(session, link, response).await
    }

    /// Only a strong ETag proves that the remainder belongs to the same blob.
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
        let headers = BlobHeaders::read(&response);
        if headers.status < 300 {
            let class = headers.classify(self.offset, "", false);
            return match self.stream(session, &headers, class, response).await {
                Ok(end) => end,
                Err(WriterClosed) => TransferEnd::WriterClosed,
            };
        }
        let body = http::read_bounded(response, ERROR_BYTES_MAX)
            .await
            .unwrap_or_else(|_| Vec::new());
        let code = headers
            .code
            .clone()
            .or_else(|| blob::error_code_in(&body))
            .unwrap_or_default();
        let code = clean(&code);
        let is_link_expired = link.is_expired(headers.date, session.api.clock.now());
        let why = format!("the blob host responded with {} {code}", headers.status);
        match headers.classify(self.offset, &code, is_link_expired) {
            BlobResponseClass::Complete => {
                self.total = Some(self.offset);
                self.record_headers(&headers);
                TransferEnd::Complete
            }
            BlobResponseClass::LinkExpired => TransferEnd::LinkExpired,
            BlobResponseClass::Refused => TransferEnd::Refused(why),
            BlobResponseClass::Missing => TransferEnd::Missing(why),
            BlobResponseClass::Busy => TransferEnd::Busy(why, headers.retry_after),
            BlobResponseClass::StartOver => self.start_over(session).await,
            BlobResponseClass::Whole
            | BlobResponseClass::Remainder
            | BlobResponseClass::Unexpected => TransferEnd::Interrupted(why),
        }
    }

    /// Discards the bytes of a blob that has changed since.
    async fn start_over(&mut self, session: &CollectSession) -> TransferEnd {
        session.api.counters.notify(format!(
            "result {} changed at the service during the download; starting over",
            self.key
        ));
        match self.restart().await {
            Ok(()) => TransferEnd::BlobChanged,
            Err(WriterClosed) => TransferEnd::WriterClosed,
        }
    }

    async fn stream(
        &mut self,
        session: &CollectSession,
        headers: &BlobHeaders,
        class: BlobResponseClass,
        mut response: Response,
    ) -> Result<TransferEnd, WriterClosed> {
        match class {
            BlobResponseClass::Remainder => self.record_headers(headers),
            BlobResponseClass::Whole => self.begin(headers).await?,
            BlobResponseClass::StartOver => return Ok(self.start_over(session).await),
            _ => {
                return Ok(TransferEnd::Interrupted(format!(
                    "the blob host responded with {}",
                    headers.status
                )));
            }
        }
        loop {
            match response.chunk().await.map_err(http::transport_error) {
                Ok(Some(bytes)) => self.append(session, bytes).await?,
                Ok(None) => break,
                Err(error) => return Ok(TransferEnd::Interrupted(error.text)),
            }
        }
        Ok(match self.total {
            Some(total) if self.offset < total => {
                TransferEnd::Interrupted(format!("the body ended at {} of {total}", self.offset))
            }
            _ => TransferEnd::Complete,
        })
    }

    async fn begin(&mut self, headers: &BlobHeaders) -> Result<(), WriterClosed> {
        if self.offset > 0 {
            self.restart().await?;
        }
        self.md5 = None;
        self.total = None;
        self.headers.clear();
        self.record_headers(headers);
        self.etag.clone_from(&headers.etag);
        self.writer.begin(headers.etag.clone(), self.total).await
    }

    async fn append(&mut self, session: &CollectSession, bytes: Bytes) -> Result<(), WriterClosed> {
        let count = bytes.len() as u64;
        self.writer.append(bytes).await?;
        self.offset += count;
        session.api.counters.emit(CollectProgress::Bytes {
            key: self.key,
            bytes: count,
        });
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), WriterClosed> {
        self.offset = 0;
        self.etag = None;
        self.writer.restart().await
    }

    /// Stores the server's length, MD5 and headers. The headers of a complete
    /// response take precedence over those of a partial one.
    fn record_headers(&mut self, headers: &BlobHeaders) {
        self.total = headers.total().or(self.total);
        self.md5 = headers.md5.or(self.md5);
        if headers.status == 200 || self.headers.is_empty() {
            self.headers.clone_from(&headers.evidence_headers);
        }
    }

    fn describe_interruption(&self, why: &str) -> String {
        match self.total {
            Some(total) => format!("interrupted at {} of {total} bytes: {why}", self.offset),
            None => format!("interrupted at {} bytes: {why}", self.offset),
        }
    }

    fn missing_bytes(&self) -> Option<u64> {
        Some(self.total?.saturating_sub(self.offset))
    }

    /// Closes the writer and waits until it has released the sink, so that the
    /// next attempt finds the bytes of this one. An error of the writer takes
    /// precedence over `step`.
    async fn close_with(self, step: DownloadStep) -> DownloadStep {
        let missing = self.missing_bytes();
        match self.writer.close().await {
            WriterEnd::Finished(_) => step,
            end => step_after_writer_end(self.key, end, missing),
        }
    }

    /// Bytes received so far.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.offset
    }

    /// Seals the body; returns when the sink has responded.
    pub(crate) async fn seal(self, session: &CollectSession) -> Result<WriteResult, DownloadStep> {
        let (key, missing) = (self.key, self.total);
        let request = SealRequest {
            facts: Facts {
                headers: self.headers,
                ..self.facts
            },
            collected_at: session.api.clock.stamp(),
            total: self.total,
            md5: self.md5,
        };
        match self.writer.seal(request).await {
            WriterEnd::Finished(WriteResult::Partial) => Err(step_after_writer_end(
                key,
                WriterEnd::Finished(WriteResult::Partial),
                missing,
            )),
            WriterEnd::Finished(result) => Ok(result),
            end => Err(step_after_writer_end(key, end, missing)),
        }
    }
}

/// Records a failed connection to the blob host.
fn connection_failed(
    session: &CollectSession,
    link: &DownloadLink,
    error: TransportError,
) -> TransferEnd {
    match session.blob_breaker.record_failure(session.api.clock) {
        OutageState::Started(until) => {
            session.api.counters.notify(format!(
                "no connection to {}: {}; next attempt at {}",
                link.host(),
                error.text,
                until.timestamp()
            ));
            TransferEnd::NoConnection(error.text)
        }
        OutageState::Continues(_) => TransferEnd::NoConnection(error.text),
        OutageState::GaveUp => TransferEnd::Fatal(CollectError::Transport {
            attempt: "reach the blob host",
            host: link.host().into(),
            why: error.text,
        }),
    }
}
