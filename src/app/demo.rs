//! The whole road on a made-up incident: the emulator on loopback, every
//! result collected over real HTTP, archived, indexed, searched.

use std::io;
use std::path::Path;

use collect::{Cloud, CollectSettings, Events, Secret, SignIn};
use emulator;
use emulator::{EmulatedFleet, Emulator};
use generate;
use generate::{QUESTIONS, Question};

use crate::app::error::{Failure, FailureKind};
use crate::app::rows::{GapRow, HitRow};
use crate::app::{
    ArchiveSession, CollectReport, CompareRequest, CompareSummary, IndexReport, Search,
    SearchRequest, SearchSummary, StackRequest, StackRow, collect_into, gaps, stack, update_index,
};

/// Where the story goes.
pub trait DemoView {
    fn begin(&mut self, folder: &Path, api_base: &str) -> io::Result<()>;
    fn collected(&mut self, collected: &CollectReport, indexed: &IndexReport) -> io::Result<()>;
    /// What the next answer tells, and the command that asks for it.
    fn question(&mut self, tells: &str, command: &str) -> io::Result<()>;
    fn hit(&mut self, hit: &HitRow) -> io::Result<()>;
    fn answered(&mut self, summary: &SearchSummary) -> io::Result<()>;
    /// What is rare, and the command that asks for it.
    fn rare(&mut self, command: &str) -> io::Result<()>;
    fn stacked(&mut self, row: &StackRow) -> io::Result<()>;
    fn compared(&mut self, summary: &CompareSummary) -> io::Result<()>;
    fn missing(&mut self, gap: &GapRow) -> io::Result<()>;
    fn end(&mut self, archive: &Path, shown: &str) -> io::Result<()>;
}

/// A result that the service lost is asked for again some minutes later; here
/// minutes pass in seconds.
const TIME_SCALE: f64 = 100.0;

/// Runs the demo into `archive`.
///
/// **Errors**: a folder that holds anything else: what is made up must not
/// stand among evidence.
pub fn demo(archive: &Path, view: &mut dyn DemoView) -> Result<(), Failure> {
    if !is_for_demos(archive) {
        let what = format!("{} is not empty, and no demo's archive", archive.display());
        return Err(Failure::usage(what)
            .hint("name a new folder, as in --archive demo.archive, or add --discard"));
    }
    let sample = Sample::open()?;
    let fleet = EmulatedFleet::from_folder(sample.path()).map_err(no_emulator)?;
    let emulator = Emulator::start_blocking(emulator::EmulatorSettings {
        time_scale: TIME_SCALE,
        ..emulator::EmulatorSettings::serving(fleet)
    })
    .map_err(no_emulator)?;
    view.begin(sample.path(), &emulator.api_base())?;
    let silent: Events = std::sync::Arc::new(|_| {});
    let collected = collect_into(archive, settings(&emulator, archive)?, silent)?;
    let indexed = update_index(archive, false, &mut |_, _| {})?;
    view.collected(&collected, &indexed)?;
    if let Some(failure) = collected.failed {
        return Err(failure);
    }
    if collected.report.stopped {
        return Err(Failure::new(
            FailureKind::Environment,
            "stopped before the story was told",
        )
        .hint("demo goes on from here when it is run again"));
    }
    let session = ArchiveSession::new(archive);
    let mut shown = None;
    for question in &QUESTIONS {
        view.question(question.tells, &command(question))?;
        let request = request(question);
        let mut search = Search::open(&session, &request, &mut |_, _, _| {})?;
        search.hits(|hit| {
            shown.get_or_insert_with(|| hit.member.place.reference.clone());
            view.hit(&hit).map_err(Failure::from)
        })?;
        view.answered(search.summary())?;
    }
    show_rare(&session, view)?;
    gaps(&session, &mut |gap| Ok(view.missing(&gap)?))?;
    view.end(archive, shown.as_deref().unwrap_or("REF"))?;
    emulator.shutdown();
    Ok(())
}

/// Where the call log of a demo stands; the mark of its archive too.
const CALLS: &str = "demo-calls";

fn is_for_demos(archive: &Path) -> bool {
    let is_empty = std::fs::read_dir(archive).map_or(true, |mut names| names.next().is_none());
    is_empty || archive.join(CALLS).exists()
}

/// The script whose output is stacked, and rows of it.
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
    match question.regex {
        true => SearchRequest {
            regex: text,
            ..SearchRequest::default()
        },
        false => SearchRequest {
            query: text,
            ..SearchRequest::default()
        },
    }
}

fn command(question: &Question) -> String {
    let how = if question.regex { "--regex " } else { "" };
    format!("afteraction search {how}'{}'", question.query)
}

fn no_emulator(error: emulator::Error) -> Failure {
    Failure::caused(
        FailureKind::Environment,
        "could not start the emulator",
        error,
    )
}

/// The call log of a demo stays in its archive: it is nobody's budget.
fn settings(emulator: &Emulator, archive: &Path) -> Result<CollectSettings, Failure> {
    let mut settings = CollectSettings::new(
        Cloud::Commercial,
        Some(&emulator.api_base()),
        Some(&emulator.login_base()),
        SignIn::Client {
            tenant: emulator.tenant().into(),
            client_id: emulator.client_id().into(),
            secret: Secret::new(emulator.client_secret()),
        },
        archive.join(CALLS),
    )?;
    settings.pace.time_scale = TIME_SCALE;
    Ok(settings)
}

/// The sample incident: the folder of the checkout where there is one, else
/// made anew, so that an installed program can show it too.
enum Sample {
    Checkout(&'static Path),
    Made(Made),
}

impl Sample {
    fn open() -> Result<Self, Failure> {
        let checkout = Path::new("sample-data");
        if checkout.join("machines.json").is_file() {
            return Ok(Self::Checkout(checkout));
        }
        let dir = std::env::temp_dir().join(format!("afteraction-sample-{}", std::process::id()));
        let made = Made(dir);
        generate::sample(&generate::DirectorySink(made.0.clone())).map_err(|e| {
            Failure::caused(
                FailureKind::Environment,
                "could not write the sample incident",
                e,
            )
        })?;
        Ok(Self::Made(made))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Checkout(path) => path,
            Self::Made(made) => &made.0,
        }
    }
}

/// Goes away with the demo.
struct Made(std::path::PathBuf);

impl Drop for Made {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
