//! The demo: collects a made-up incident from the emulator over HTTP, then
//! indexes it and searches it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use collect::{Cloud, Secret, SignIn};
use emulator::{EmulatedFleet, Emulator, EmulatorSettings};
use generate::{DirectorySink, QUESTIONS, Question};

use crate::app::collect::{CollectReport, collect};
use crate::app::collect_events::{RunControl, StopSignal};
use crate::app::compare::{CompareRequest, CompareSummary, StackRequest, StackRow, stack};
use crate::app::emulate::emulator_failure;
use crate::app::error::{Failure, FailureKind};
use crate::app::gaps::gaps;
use crate::app::index_update::update_index;
use crate::app::indexer::IndexReport;
use crate::app::rows::{GapRow, HitRow};
use crate::app::search::{Search, SearchSummary};
use crate::app::search_request::SearchRequest;
use crate::app::service_settings::{CollectRequest, ServiceSettings};
use crate::app::session::ArchiveSession;

/// Output of the demo, step by step.
pub trait DemoView {
    fn begin(&mut self, folder: &Path, api_base: &str) -> io::Result<()>;
    fn collected(&mut self, collected: &CollectReport, indexed: &IndexReport) -> io::Result<()>;
    /// A question, and the command that answers it.
    fn question(&mut self, question: &str, command: &str) -> io::Result<()>;
    fn hit(&mut self, hit: &HitRow) -> io::Result<()>;
    fn answered(&mut self, summary: &SearchSummary) -> io::Result<()>;
    /// The command that lists rare lines.
    fn rare(&mut self, command: &str) -> io::Result<()>;
    fn stacked(&mut self, row: &StackRow) -> io::Result<()>;
    fn compared(&mut self, summary: &CompareSummary) -> io::Result<()>;
    fn missing(&mut self, gap: &GapRow) -> io::Result<()>;
    fn end(&mut self, archive: &Path, shown: &str) -> io::Result<()>;
}

/// The service provides a lost result again after some minutes; at this scale
/// minutes pass in seconds.
const TIME_SCALE: f64 = 100.0;

/// The call log of a demo. It is inside the archive, and marks the archive of
/// a demo: calls to an emulator count towards no rate limit of a tenant.
const CALL_LOG: &str = "demo-calls";

/// A demo whose emulator is running.
pub struct DemoRun {
    archive: PathBuf,
    sample: SampleFolder,
    emulator: Emulator,
}

impl DemoRun {
    /// Starts the emulator.
    ///
    /// **Errors**: `archive` contains anything but a demo: made-up results must
    /// not be mixed with evidence.
    pub fn start(archive: &Path) -> Result<Self, Failure> {
        if !is_for_demos(archive) {
            let message = format!(
                "could not use {} for a demo: it is not empty, and not the archive of a demo",
                archive.display()
            );
            return Err(Failure::usage(message)
                .hint("name a new directory, as in --archive demo.archive, or pass --discard"));
        }
        let sample = SampleFolder::open()?;
        let fleet = EmulatedFleet::from_folder(sample.path()).map_err(emulator_failure)?;
        let emulator = Emulator::start_blocking(EmulatorSettings {
            time_scale: TIME_SCALE,
            ..EmulatorSettings::serving(fleet)
        })
        .map_err(emulator_failure)?;
        Ok(Self {
            archive: archive.to_path_buf(),
            sample,
            emulator,
        })
    }

    /// Collects the incident.
    pub async fn collect(
        &self,
        view: &mut dyn DemoView,
        stop: StopSignal,
    ) -> Result<CollectReport, Failure> {
        view.begin(self.sample.path(), &self.emulator.api_base())?;
        let request = CollectRequest::default();
        let control = RunControl {
            events: Arc::new(|_| {}),
            stop,
        };
        collect(&self.archive, &self.service(), &request, control).await
    }

    /// Indexes what was collected, and answers the questions about it.
    pub fn answer(
        self,
        mut collected: CollectReport,
        view: &mut dyn DemoView,
    ) -> Result<(), Failure> {
        let indexed = update_index(&self.archive, false, &mut |_, _| {})?;
        view.collected(&collected, &indexed)?;
        if let Some(failure) = collected.failed.take() {
            return Err(failure);
        }
        if collected.report.stopped {
            return Err(Failure::new(
                FailureKind::Environment,
                "the demo was stopped before its end",
            )
            .hint("run demo again to continue"));
        }
        let session = ArchiveSession::new(&self.archive);
        let shown = answer_questions(&session, view)?;
        show_rare(&session, view)?;
        gaps(&session, &mut |gap| Ok(view.missing(&gap)?))?;
        view.end(&self.archive, shown.as_deref().unwrap_or("REF"))?;
        self.emulator.shutdown();
        Ok(())
    }

    fn service(&self) -> ServiceSettings {
        ServiceSettings {
            cloud: Cloud::Commercial,
            region: None,
            api_base: Some(self.emulator.api_base()),
            login_base: Some(self.emulator.login_base()),
            scope: None,
            sign_in: SignIn::Client {
                tenant: self.emulator.tenant().into(),
                client_id: self.emulator.client_id().into(),
                secret: Secret::new(self.emulator.client_secret()),
            },
            state_dir: self.archive.join(CALL_LOG),
            ca_file: None,
            time_scale: TIME_SCALE,
            limits_lifted: false,
        }
    }
}

fn is_for_demos(archive: &Path) -> bool {
    let is_empty = std::fs::read_dir(archive).map_or(true, |mut names| names.next().is_none());
    is_empty || archive.join(CALL_LOG).exists()
}

/// Returns the reference of the first hit.
fn answer_questions(
    session: &ArchiveSession,
    view: &mut dyn DemoView,
) -> Result<Option<String>, Failure> {
    let mut shown = None;
    for question in &QUESTIONS {
        view.question(question.answer, &command(question))?;
        let mut search = Search::open(session, &request(question), &mut |_, _, _| {})?;
        search.hits(|hit| {
            shown.get_or_insert_with(|| hit.member.place.reference.clone());
            view.hit(&hit).map_err(Failure::from)
        })?;
        view.answered(search.summary())?;
    }
    Ok(shown)
}

/// The script whose output is stacked, and how many rows are shown.
const STACKED: (&str, u64) = ("Get-Persistence.ps1", 3);

fn show_rare(session: &ArchiveSession, view: &mut dyn DemoView) -> Result<(), Failure> {
    let (script, rows) = STACKED;
    view.rare(&format!(
        "afteraction stack --script {script} --limit {rows}"
    ))?;
    let request = StackRequest {
        compare: CompareRequest {
            script: Some(script.into()),
            ..CompareRequest::default()
        },
        limit: Some(rows),
        ..StackRequest::default()
    };
    let summary = stack(
        session,
        &request,
        &mut |_, _, _| {},
        &mut |_, _| {},
        &mut |row| Ok(view.stacked(&row)?),
    )?;
    Ok(view.compared(&summary)?)
}

fn request(question: &Question) -> SearchRequest {
    let text = Some(question.query.to_string());
    if question.regex {
        SearchRequest {
            regex: text,
            ..SearchRequest::default()
        }
    } else {
        SearchRequest {
            query: text,
            ..SearchRequest::default()
        }
    }
}

fn command(question: &Question) -> String {
    let option = if question.regex { "--regex " } else { "" };
    format!("afteraction search {option}'{}'", question.query)
}

/// The files of the incident: those of a checkout if the program runs in one,
/// else written to a temporary directory.
enum SampleFolder {
    Checkout(&'static Path),
    Temporary(TemporarySample),
}

impl SampleFolder {
    fn open() -> Result<Self, Failure> {
        let checkout = Path::new("sample-data");
        if checkout.join("machines.json").is_file() {
            return Ok(Self::Checkout(checkout));
        }
        let name = format!("afteraction-sample-{}", std::process::id());
        let sample = TemporarySample(std::env::temp_dir().join(name));
        generate::sample(&DirectorySink(sample.0.clone())).map_err(|e| {
            let attempt = "could not write the sample incident";
            Failure::caused(FailureKind::Environment, attempt, e)
        })?;
        Ok(Self::Temporary(sample))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Checkout(path) => path,
            Self::Temporary(sample) => &sample.0,
        }
    }
}

/// Deletes its directory when it is dropped.
struct TemporarySample(PathBuf);

impl Drop for TemporarySample {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
