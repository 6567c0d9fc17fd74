//! One result from its link to its last byte: ranged, resumed, with new links
//! where the old one ends.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use reqwest::header::{IF_MATCH, RANGE};

use crate::fetch::circuit_breaker::Lost;
use crate::fetch::collector::Run;
use crate::fetch::queue::Want;
use crate::fetch::retry::Trouble;
use crate::fetch::writer::{End, Ended, Gone, Opened, Terms, Writer};
use crate::service::api::CallError;
use crate::service::blob;
use crate::service::blob::{Head, Meaning};
use crate::service::http;
use crate::service::http::Fault;
use crate::service::links::{BadLink, Link};
use crate::service::package;
use crate::{CollectError, CollectProgress, ServiceError, SinkError};
use evidence::{Facts, GapReason, ResultKey};

/// An error body is a few lines of XML.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// What comes next for a want.
pub(crate) enum Step {
    /// Every byte is here: the vault's turn.
    Seal(Box<Body>),
    Gap(GapReason, String),
    /// Later, with the trouble counted.
    Again(Trouble, String, Option<Duration>),
    /// The vault is full; this much more would help.
    Room(u64),
    Fatal(CollectError),
}

/// A body on its way.
pub(crate) struct Body {
    key: ResultKey,
    writer: Writer,
    facts: Facts,
    offset: u64,
    etag: Option<String>,
    total: Option<u64>,
    md5: Option<[u8; 16]>,
    headers: Vec<(String, String)>,
}

/// What one request brought.
enum Pull {
    Whole,
    Broken(String),
    Lost(String),
    Expired,
    Changed,
    Busy(String, Option<Duration>),
    Refused(String),
    Missing(String),
    WriterGone,
    Fatal(CollectError),
}

/// Fetches everything up to the last byte.
pub(crate) async fn fetch(run: &Run, want: &mut Want) -> Step {
    // First the vault: it may have to hash what an earlier run left, or have no
    // room, and the link lives for minutes and is the scarcest of calls.
    let mut body = match open(run, want).await {
        Ok(body) => body,
        Err(step) => return step,
    };
    let link = match ask_link(run, want).await {
        Ok(link) => link,
        Err(step) => return body.let_go(step).await,
    };
    match pull_all(run, want, link, &mut body).await {
        None => Step::Seal(Box::new(body)),
        Some(step) => body.let_go(step).await,
    }
}

/// Pulls until every byte is here, or something else comes next.
async fn pull_all(run: &Run, want: &mut Want, mut link: Link, body: &mut Body) -> Option<Step> {
    loop {
        let before = body.offset;
        let pull = body.pull(run, &link).await;
        if body.offset > before {
            want.tries.forget(Trouble::Broken);
            want.tries.forget(Trouble::LinkExpired);
            want.tries.forget(Trouble::Lost);
        }
        let trouble = match pull {
            Pull::Whole => return None,
            Pull::Refused(why) => return Some(Step::Gap(GapReason::Refused, why)),
            Pull::Missing(why) => return Some(Step::Again(Trouble::BlobMissing, why, None)),
            Pull::Busy(why, wait) => return Some(Step::Again(Trouble::Server, why, wait)),
            Pull::Lost(why) => return Some(Step::Again(Trouble::Lost, why, None)),
            Pull::Fatal(error) => return Some(Step::Fatal(error)),
            Pull::WriterGone => {
                // Replaced by the writer's own reason when it is let go.
                return Some(Step::Again(
                    Trouble::Broken,
                    "its writer ended".into(),
                    None,
                ));
            }
            Pull::Expired => (Trouble::LinkExpired, "the link ended".to_string()),
            Pull::Changed => (Trouble::Changed, "the blob changed".to_string()),
            Pull::Broken(why) => (Trouble::Broken, why),
        };
        match want.tries.next(trouble.0) {
            Some(wait) => run.clock.sleep(wait).await,
            None => {
                let why = body.broken_off(&trouble.1);
                return Some(Step::Gap(GapReason::Unreachable, why));
            }
        }
        if trouble.0 == Trouble::LinkExpired || link.is_near_end(run.clock.now(), run.clock) {
            link = match ask_link(run, want).await {
                Ok(link) => link,
                Err(step) => return Some(step),
            };
        }
    }
}

async fn ask_link(run: &Run, want: &mut Want) -> Result<Link, Step> {
    let asked = if package::is_package(want.action()) {
        run.api.package_link(want.key().action).await
    } else {
        run.api.link(want.key()).await
    };
    match &asked {
        Ok(_) => run.note_there(want),
        Err(CallError::Service(e)) if is_not_ready(e) => want.in_vain = Some(run.clock.now()),
        Err(_) => {}
    }
    asked.map_err(|error| match error {
        CallError::Throttled => Step::Again(Trouble::Throttled, "held back (429)".into(), None),
        CallError::Broken(why) => Step::Again(Trouble::Broken, why, None),
        CallError::Lost(why) => Step::Again(Trouble::Lost, why, None),
        CallError::Odd(why) => Step::Again(Trouble::Server, why, None),
        CallError::BadLink(bad @ BadLink::PlainHttp(_)) => {
            Step::Gap(GapReason::Refused, format!("not followed: {bad}"))
        }
        CallError::BadLink(bad) => Step::Again(Trouble::Server, bad.to_string(), None),
        CallError::Fatal(error) => Step::Fatal(error),
        CallError::Service(e) => match e.status {
            _ if is_not_ready(&e) => Step::Again(Trouble::NotReady, e.to_string(), None),
            404 | 410 => Step::Again(Trouble::NotFound, e.to_string(), None),
            408 | 500..=599 => Step::Again(Trouble::Server, e.to_string(), None),
            403 => Step::Gap(GapReason::Refused, format!("the link was refused: {e}")),
            _ => Step::Again(Trouble::Server, e.to_string(), None),
        },
    })
}

fn is_not_ready(refused: &ServiceError) -> bool {
    matches!(refused.status, 400 | 409)
}

async fn open(run: &Run, want: &Want) -> Result<Body, Step> {
    let key = want.key();
    let Some(facts) = want.facts(&run.api.host) else {
        return Err(Step::Gap(
            GapReason::NeverProduced,
            "the action no longer has this command".into(),
        ));
    };
    match Writer::open(run.vault.clone(), key, facts.clone(), run.alive.clone()).await {
        Ok(Opened {
            writer,
            offset,
            etag,
        }) => Ok(Body {
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
fn after(key: ResultKey, ended: Ended, missing: Option<u64>) -> Step {
    match ended {
        Ended::Sink(SinkError::DiskFull) => Step::Room(missing.unwrap_or(0)),
        Ended::Sink(error) => Step::Fatal(CollectError::vault(
            format!("write result {key} to the archive"),
            error,
        )),
        Ended::End(_) => Step::Again(Trouble::Broken, "its writer ended early".into(), None),
    }
}

impl Body {
    /// One request: from where we are to the end, or to where it breaks.
    async fn pull(&mut self, run: &Run, link: &Link) -> Pull {
        if self.offset > 0 && !self.can_resume() && self.start_over().await.is_err() {
            return Pull::WriterGone;
        }
        let Some(url) = link.url() else {
            return Pull::Expired;
        };
        let client = match run.api.http.client(&url) {
            Ok(client) => client,
            Err(error) => return Pull::Fatal(error),
        };
        run.blob_outage.wait(run.clock).await;
        let mut request = client.get(url);
        if let (Some(etag), true) = (&self.etag, self.offset > 0) {
            request = request
                .header(RANGE, format!("bytes={}-", self.offset))
                .header(IF_MATCH, etag);
        }
        let response = match request.send().await.map_err(http::fault) {
            Ok(response) => response,
            Err(fault) if fault.unsent => return lost(run, link, fault),
            Err(fault) => return Pull::Broken(fault.text),
        };
        run.blob_outage.over();
        self.receive(run, link, response).await
    }

    /// Without a strong ETag a part could be joined to another blob's rest.
    fn can_resume(&self) -> bool {
        self.etag
            .as_ref()
            .is_some_and(|etag| !etag.starts_with("W/"))
    }

    async fn receive(&mut self, run: &Run, link: &Link, response: Response) -> Pull {
        let head = Head::read(&response);
        if head.status < 300 {
            let meaning = head.meaning(self.offset, "", false);
            return match self.stream(run, &head, meaning, response).await {
                Ok(pull) => pull,
                Err(Gone) => Pull::WriterGone,
            };
        }
        let body = http::read_bounded(response, ERROR_BYTES_MAX)
            .await
            .unwrap_or_else(|_| Vec::new());
        let code = head.code.clone().or_else(|| blob::code_in(&body));
        let code = crate::error::clean(&code.unwrap_or_default());
        let over = link.is_over(head.date, run.clock.now());
        let why = format!("the blob host answered {} {code}", head.status);
        match head.meaning(self.offset, &code, over) {
            Meaning::Done => {
                self.total = Some(self.offset);
                self.remember(&head);
                Pull::Whole
            }
            Meaning::Expired => Pull::Expired,
            Meaning::Refused => Pull::Refused(why),
            Meaning::Missing => Pull::Missing(why),
            Meaning::Busy => Pull::Busy(why, head.retry_after),
            Meaning::StartOver => self.changed(run).await,
            Meaning::Whole | Meaning::Rest | Meaning::Odd => Pull::Broken(why),
        }
    }

    async fn changed(&mut self, run: &Run) -> Pull {
        run.tally.notice(format!(
            "result {} changed at the service while it was read: starting over",
            self.key
        ));
        match self.start_over().await {
            Ok(()) => Pull::Changed,
            Err(Gone) => Pull::WriterGone,
        }
    }

    async fn stream(
        &mut self,
        run: &Run,
        head: &Head,
        meaning: Meaning,
        mut response: Response,
    ) -> Result<Pull, Gone> {
        match meaning {
            Meaning::Rest => self.remember(head),
            Meaning::Whole => self.begin(head).await?,
            Meaning::StartOver => return Ok(self.changed(run).await),
            _ => {
                return Ok(Pull::Broken(format!(
                    "the blob host answered {}",
                    head.status
                )));
            }
        }
        loop {
            match response.chunk().await.map_err(http::fault) {
                Ok(Some(bytes)) => self.append(run, bytes).await?,
                Ok(None) => break,
                Err(fault) => return Ok(Pull::Broken(fault.text)),
            }
        }
        Ok(match self.total {
            Some(total) if self.offset < total => {
                Pull::Broken(format!("it ended at {} of {total}", self.offset))
            }
            _ => Pull::Whole,
        })
    }

    async fn begin(&mut self, head: &Head) -> Result<(), Gone> {
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

    async fn append(&mut self, run: &Run, bytes: Bytes) -> Result<(), Gone> {
        let count = bytes.len() as u64;
        self.writer.append(bytes).await?;
        self.offset += count;
        run.tally.tell(CollectProgress::Bytes {
            key: self.key,
            bytes: count,
        });
        Ok(())
    }

    async fn start_over(&mut self) -> Result<(), Gone> {
        self.offset = 0;
        self.etag = None;
        self.writer.restart().await
    }

    /// Keeps what the server said. The headers of a whole answer are worth
    /// more than those of a part.
    fn remember(&mut self, head: &Head) {
        self.total = head.total().or(self.total);
        self.md5 = head.md5.or(self.md5);
        if head.status == 200 || self.headers.is_empty() {
            self.headers.clone_from(&head.kept);
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
    async fn let_go(self, step: Step) -> Step {
        let missing = self.missing();
        match self.writer.end().await {
            Ended::End(_) => step,
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
    pub async fn seal(self, run: &Run) -> Result<End, Step> {
        let (key, missing) = (self.key, self.total);
        let terms = Terms {
            facts: Facts {
                headers: self.headers,
                ..self.facts
            },
            collected_at: run.clock.stamp(),
            total: self.total,
            md5: self.md5,
        };
        match self.writer.seal(terms).await {
            Ended::End(End::Left) => Err(after(key, Ended::End(End::Left), missing)),
            Ended::End(end) => Ok(end),
            ended => Err(after(key, ended, missing)),
        }
    }
}

fn lost(run: &Run, link: &Link, fault: Fault) -> Pull {
    match run.blob_outage.note(run.clock) {
        Lost::Until(until) => {
            run.tally.notice(format!(
                "no connection to {}: {}; trying again at {}",
                link.host(),
                fault.text,
                until.timestamp()
            ));
            Pull::Lost(fault.text)
        }
        Lost::KnownUntil(_) => Pull::Lost(fault.text),
        Lost::ForGood => Pull::Fatal(CollectError::Transport {
            call: "reach the blob host",
            host: link.host().into(),
            why: fault.text,
        }),
    }
}
