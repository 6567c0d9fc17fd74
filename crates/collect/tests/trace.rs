//! A full trace of a collection contains no link, token or secret.
//!
//! The subscriber of the process records every span and event of every crate,
//! so this test is a program of its own.

#[path = "collect/memory_sink.rs"]
#[allow(dead_code)]
mod memory_sink;

use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use afteraction_collect::{Cloud, CollectSettings, Secret, SignIn, Timeouts, collect};
use emulator::{EmulatedFleet, Emulator, EmulatorSettings, Faults};
use memory_sink::TestSink;
use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Records the target, name and all fields of every span and event.
#[derive(Clone, Default)]
struct TraceRecorder {
    text: Arc<Mutex<String>>,
    next_id: Arc<AtomicU64>,
}

struct FieldWriter<'a>(&'a mut String);

impl Visit for FieldWriter<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, " {}={value}", field.name());
    }
}

impl TraceRecorder {
    fn write(&self, metadata: Option<&Metadata<'_>>, record: impl FnOnce(&mut FieldWriter<'_>)) {
        let mut text = self.text.lock().unwrap();
        if let Some(metadata) = metadata {
            let _ = write!(text, "{} {}", metadata.target(), metadata.name());
        }
        record(&mut FieldWriter(&mut text));
        text.push('\n');
    }
}

impl Subscriber for TraceRecorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.write(Some(span.metadata()), |fields| span.record(fields));
        Id::from_u64(1 + self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        self.write(None, |fields| values.record(fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.write(Some(event.metadata()), |fields| event.record(fields));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn settings(emulator: &Emulator, state_dir: &std::path::Path) -> CollectSettings {
    let mut settings = CollectSettings::new(
        Cloud::Commercial,
        Some(&emulator.api_base()),
        Some(&emulator.login_base()),
        SignIn::Client {
            tenant: emulator.tenant().into(),
            client_id: emulator.client_id().into(),
            secret: Secret::new(emulator.client_secret()),
        },
        state_dir.to_path_buf(),
    )
    .unwrap();
    settings.pace.time_scale = emulator.origin().scale;
    settings.timeouts = Timeouts {
        connect: Duration::from_secs(2),
        read: Duration::from_millis(700),
        call: Duration::from_millis(1_500),
    };
    settings
}

#[tokio::test]
async fn full_trace_contains_no_link_token_or_secret() {
    let recorder = TraceRecorder::default();
    tracing::subscriber::set_global_default(recorder.clone()).unwrap();
    let state_dir = tempfile::tempdir().unwrap();
    // Every fault, so that the trace includes retries, expired links and
    // rejected tokens.
    let emulator = Emulator::start_blocking(EmulatorSettings {
        time_scale: 100.0,
        faults: Faults::survivable(),
        ..EmulatorSettings::serving(EmulatedFleet::transcripts(12, 3_000, 1))
    })
    .unwrap();
    let sink = TestSink::new();
    let (_stop, stopped) = watch::channel(false);
    let events = Arc::new(|_| ());
    let settings = settings(&emulator, state_dir.path());
    let (report, failure) = collect(settings, sink.shared(), events, stopped).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(report.sealed, 12, "{report:?}");

    let trace = recorder.text.lock().unwrap();
    for expected in [
        "collection started",
        "list read",
        "downloads planned",
        "HTTP call call=sign-in status=200",
        "HTTP call call=link status=200",
        "link requested",
        "retry scheduled",
        "download action=",
        "download complete",
        "result sealed",
        "collection ended",
    ] {
        assert!(trace.contains(expected), "no `{expected}` in the trace");
    }
    let signature = "sig=";
    let jwt = "eyJ";
    let blob_path = "investigation-actions-data";
    for secret in [
        emulator.client_secret(),
        signature,
        jwt,
        "Bearer",
        blob_path,
    ] {
        let line = trace.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} in: {line:?}");
    }
}
