//! The asynchronous runtime of the program, Ctrl-C, and the exit code of an
//! interrupted process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::app::{Failure, FailureKind, StopSignal};

/// Threads for the network. Work that blocks has its own.
const NETWORK_THREADS: usize = 2;

/// Exit code of a process that Ctrl-C ended, as shells report it.
const INTERRUPTED: i32 = 130;

/// Whether something runs that the first Ctrl-C asks to stop.
static IS_RUNNING: AtomicBool = AtomicBool::new(false);

/// Runs a future to its end.
pub fn run<F: Future>(future: F) -> Result<F::Output, Failure> {
    Ok(runtime()?.block_on(future))
}

/// Runs a future that ends by itself, or soon after Ctrl-C. A second Ctrl-C
/// ends the process, and so does the first after the future has ended: every
/// step survives a kill.
pub fn run_until_interrupted<F: Future>(
    work: impl FnOnce(StopSignal) -> F,
) -> Result<F::Output, Failure> {
    let stop = interrupts();
    stop.send_replace(false);
    let runtime = runtime()?;
    IS_RUNNING.store(true, Ordering::SeqCst);
    let output = runtime.block_on(work(stop.subscribe()));
    IS_RUNNING.store(false, Ordering::SeqCst);
    Ok(output)
}

/// Waits for Ctrl-C.
#[cfg(feature = "emulator")]
pub fn wait_for_interrupt() -> Result<(), Failure> {
    run_until_interrupted(|mut stop| async move {
        // The sender lives as long as the process.
        let _ = stop.wait_for(|stopped| *stopped).await;
    })
}

fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .worker_threads(NETWORK_THREADS)
        .enable_all()
        .build()
        .map_err(|e| {
            Failure::caused(
                FailureKind::Environment,
                "could not start the network threads",
                e,
            )
        })
}

/// Listens for Ctrl-C from the first call until the process ends: the default
/// reaction of the system cannot be restored.
fn interrupts() -> &'static watch::Sender<bool> {
    static STOP: OnceLock<watch::Sender<bool>> = OnceLock::new();
    STOP.get_or_init(|| {
        let stop = watch::Sender::new(false);
        let sender = stop.clone();
        // Without this thread Ctrl-C ends the process.
        let _ = std::thread::Builder::new()
            .name("interrupts".into())
            .spawn(move || listen(&sender));
        stop
    })
}

fn listen(stop: &watch::Sender<bool>) {
    let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async {
        while tokio::signal::ctrl_c().await.is_ok() {
            if *stop.borrow() || !IS_RUNNING.load(Ordering::SeqCst) {
                std::process::exit(INTERRUPTED);
            }
            stop.send_replace(true);
        }
    });
}
