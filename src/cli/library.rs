//! The service's library, and one action of it.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::app;
use crate::app::{
    CollectEvent, CollectEvents, Failure, LibraryRow, PackageReport, RunControl, UploadOptions,
};
use crate::cli::args::{Form as TypedForm, Global};
use crate::cli::connect;
use crate::cli::connect::Connect;
use crate::cli::output::{Form, Output, Paint, Row, counted, human_bytes, visible, write_visible};
use crate::cli::runtime;
use crate::cli::{Exit, archive, say};

/// Scripts and tools that sessions put and run.
#[derive(Debug, Subcommand)]
pub enum Library {
    /// What is in it.
    List {
        #[command(flatten)]
        connect: Box<Connect>,
        #[command(flatten)]
        form: TypedForm,
    },
    /// Put a file there (at most 20 MB), checked by its hash.
    Upload {
        /// File to put there; its name is the name in the library.
        file: PathBuf,
        /// What it is.
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        /// What its parameters are.
        #[arg(long, value_name = "TEXT", default_value = "")]
        parameters: String,
        /// Replace a file of that name.
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        connect: Box<Connect>,
    },
    /// Take a file out of it.
    Delete {
        /// Name in the library.
        name: String,
        #[command(flatten)]
        connect: Box<Connect>,
    },
}

/// One action as the service describes it, as JSON.
#[derive(Debug, Args)]
pub struct Action {
    /// Id of the action.
    #[arg(value_name = "ACTION_ID")]
    pub id: String,
    /// Cancel it, with this comment.
    #[arg(long, value_name = "COMMENT")]
    pub cancel: Option<String>,
    #[command(flatten)]
    pub connect: Connect,
}

/// A package is what the service collects of a device by itself: autoruns, processes, logs.
#[derive(Debug, Args)]
pub struct Package {
    /// Device by id, full or short name.
    #[arg(required_unless_present = "action")]
    pub device: Option<String>,
    /// Wait for this one instead, started before.
    #[arg(long, value_name = "ACTION_ID", conflicts_with = "device")]
    pub action: Option<String>,
    /// Comment of the action.
    #[arg(long, value_name = "TEXT", default_value = "afteraction")]
    pub comment: String,
    /// Start it and leave; `package --action ID` archives it later.
    #[arg(long)]
    pub no_wait: bool,
    #[command(flatten)]
    pub connect: Connect,
}

pub fn package(global: &Global, typed: &Package) -> Result<Exit, Failure> {
    let service = connect::settings(&typed.connect)?;
    let dir = archive(global)?;
    let id = match (&typed.action, &typed.device) {
        (Some(id), _) => app::parse_action(id)?,
        (None, device) => {
            let device = device.as_deref().unwrap_or_default();
            let id = runtime::run(app::start_package(&service, device, &typed.comment))??;
            say(global, &format!("package {id} was started"));
            id
        }
    };
    if typed.no_wait {
        return Ok(Exit::Done);
    }
    let quiet = global.quiet;
    let events: CollectEvents = std::sync::Arc::new(move |event| match event {
        CollectEvent::Notice { text } if !quiet => eprintln!("{}", visible(&text)),
        _ => {}
    });
    let collected = runtime::run_until_interrupted(|stop| {
        app::collect_package(&dir, &service, id, RunControl { events, stop })
    })?;
    let Some(mut ended) = collected? else {
        say(
            global,
            &format!("stopped waiting; `package --action {id}` archives it later"),
        );
        return Ok(Exit::Incomplete);
    };
    if let Some(failure) = ended.collected.failed.take() {
        return Err(failure);
    }
    say(global, &told(&ended));
    Ok(if ended.collected.report.is_complete() {
        Exit::Done
    } else {
        Exit::Incomplete
    })
}

/// What became of the package, and what can be done about it.
fn told(ended: &PackageReport) -> String {
    let (report, action) = (&ended.collected.report, &ended.action);
    if report.sealed > 0 {
        return format!(
            "archived {} ({}); `index` makes it searchable",
            counted(report.sealed, "package"),
            human_bytes(report.bytes)
        );
    }
    if report.already_there > 0 {
        return format!("package {} is in the archive already", action.id);
    }
    let comment = action.comment.as_deref().unwrap_or("no comment");
    let told = format!(
        "package {} ended as {} ({comment}): nothing was archived; `action {}` shows what the service says",
        action.id, action.status, action.id
    );
    visible(&told).into_owned()
}

pub fn library(global: &Global, typed: &Library) -> Result<Exit, Failure> {
    match typed {
        Library::List { connect, form } => {
            let out = Output::open(form.output.as_deref(), global.no_color)?;
            let mut rows = out.rows(Form::from(form));
            let service = connect::settings(connect)?;
            for file in runtime::run(app::list_library(&service))?? {
                rows.write(&file)?;
            }
            if rows.finish()? == 0 {
                say(global, "the library is empty");
            }
        }
        Library::Upload {
            file,
            description,
            parameters,
            replace,
            connect,
        } => {
            let service = connect::settings(connect)?;
            let options = UploadOptions {
                description: description.clone(),
                parameters: parameters.clone(),
                replace: *replace,
            };
            let uploaded = runtime::run(app::upload_to_library(&service, file, &options))?;
            let held = uploaded.map_err(|failure| match (replace, failure.advice()) {
                (false, None) if file.is_file() => {
                    failure.hint("--replace replaces a file of that name")
                }
                _ => failure,
            })?;
            let hash = held
                .sha256
                .as_deref()
                .unwrap_or("a hash the service does not say");
            say(global, &visible(&format!("{} is there: {hash}", held.name)));
        }
        Library::Delete { name, connect } => {
            let service = connect::settings(connect)?;
            runtime::run(app::delete_from_library(&service, name))??;
            say(global, &visible(&format!("{name} is gone")));
        }
    }
    Ok(Exit::Done)
}

pub fn action(global: &Global, typed: &Action) -> Result<Exit, Failure> {
    let id = app::parse_action(&typed.id)?;
    let service = connect::settings(&typed.connect)?;
    let json = runtime::run(app::action_as_sent(&service, id, typed.cancel.as_deref()))??;
    let mut out = Output::open(None, global.no_color)?;
    write_visible(&mut out, &String::from_utf8_lossy(&json))?;
    writeln!(out)?;
    out.flush()?;
    Ok(Exit::Done)
}

impl Row for LibraryRow {
    fn write_line(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        writeln!(
            out,
            "{:<32}  {}  {}",
            paint.place(&visible(&self.name)),
            visible(self.sha256.as_deref().unwrap_or("-")),
            visible(&self.description)
        )
    }
}
