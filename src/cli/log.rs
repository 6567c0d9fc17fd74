//! Trace events of the crates, printed to stderr with `--log`.
//!
//! Only events of this workspace are printed. Events of dependencies are never
//! enabled: an HTTP library logs addresses and headers.

use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Crates whose events can be enabled, by their short names.
const CRATES: [&str; 9] = [
    "app", "store", "members", "extract", "index", "analyze", "collect", "emulator", "cli",
];

/// Parses a level for all crates, or a list of levels by crate.
pub fn parse(text: &str) -> Result<Targets, String> {
    let mut targets = Targets::new();
    for item in text.split(',').map(str::trim) {
        let (names, level) = match item.split_once('=') {
            Some((name, level)) => (vec![known(name)?], level),
            None => (CRATES.to_vec(), item),
        };
        let level = LevelFilter::from_str(level).map_err(|_| {
            format!("unknown level `{level}`: use error, warn, info, debug or trace")
        })?;
        for name in names {
            targets = enable(targets, name, level);
        }
    }
    Ok(targets)
}

fn known(name: &str) -> Result<&'static str, String> {
    let found = CRATES.into_iter().find(|known| *known == name);
    found.ok_or_else(|| format!("unknown crate `{name}`: use one of {}", CRATES.join(", ")))
}

/// Enables the events of a crate, whether their target is the name of the crate
/// or a module path.
fn enable(targets: Targets, name: &str, level: LevelFilter) -> Targets {
    let module = match name {
        "app" | "cli" => format!("afteraction::{name}"),
        name => format!("afteraction_{name}"),
    };
    targets
        .with_target(name.to_owned(), level)
        .with_target(module, level)
}

/// Prints the enabled events to stderr for the rest of the process.
pub fn init(targets: Targets) {
    let format = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false);
    // A second call has no effect: tests run the program in one process.
    let _ = tracing_subscriber::registry()
        .with(targets)
        .with(format)
        .try_init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn level_applies_to_the_crates_of_the_workspace_only() {
        let targets = parse("debug").unwrap();
        assert!(targets.would_enable("afteraction_collect::service", &Level::DEBUG));
        assert!(targets.would_enable("store", &Level::DEBUG));
        assert!(!targets.would_enable("store", &Level::TRACE));
        assert!(!targets.would_enable("hyper::client", &Level::ERROR));
        assert!(!targets.would_enable("reqwest", &Level::ERROR));
    }

    #[test]
    fn levels_are_set_by_crate() {
        let targets = parse("collect=trace, store=info").unwrap();
        assert!(targets.would_enable("afteraction_collect", &Level::TRACE));
        assert!(!targets.would_enable("afteraction_store", &Level::DEBUG));
        assert!(!targets.would_enable("afteraction_index", &Level::ERROR));
    }

    #[test]
    fn unknown_levels_and_crates_are_rejected() {
        assert!(parse("loud").unwrap_err().contains("unknown level"));
        assert!(parse("hyper=debug").unwrap_err().contains("unknown crate"));
    }
}
