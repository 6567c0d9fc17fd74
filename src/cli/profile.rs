//! Tenants by name, in the user's config file:
//!
//! ```toml
//! [profile.contoso]
//! region = "eu"
//! tenant = "contoso.example"
//! client_id = "…"
//! certificate = "/home/me/contoso.pem"
//! ```
//!
//! Its `[templates]` says what else is volatile in a line (`templates --help`).
//!
//! No secret stands in it: a file, a command or the system's keyring gives it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::app;
use crate::app::{Failure, Kind, RuleSet};
use crate::cli::connect::{Cloud, Connect};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    profile: BTreeMap<String, Profile>,
    #[serde(default)]
    templates: Templates,
}

/// What is volatile in a line, for whoever compares.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Templates {
    /// Rules that are switched off.
    keep: Vec<String>,
    /// The user's own: name and pattern.
    rules: BTreeMap<String, String>,
}

/// The rules for volatile parts in a config file: the one that is named, else
/// the user's where there is one.
pub fn templates(named: Option<&Path>) -> Result<RuleSet, Failure> {
    let users = config_file(|name| std::env::var_os(name)).filter(|path| path.is_file());
    let Some(path) = named.map(Path::to_path_buf).or(users) else {
        return Ok(RuleSet::default());
    };
    let templates = read_config(&path, "rules for templates")?.templates;
    Ok(RuleSet {
        off: templates.keep,
        more: templates.rules.into_iter().collect(),
        ..RuleSet::default()
    })
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Profile {
    cloud: Option<Cloud>,
    region: Option<String>,
    api_base: Option<String>,
    login_base: Option<String>,
    scope: Option<String>,
    tenant: Option<String>,
    client_id: Option<String>,
    certificate: Option<PathBuf>,
    client_secret_file: Option<PathBuf>,
    client_secret_command: Option<String>,
    keyring: bool,
    token_file: Option<PathBuf>,
    token_command: Option<String>,
    ca_file: Option<PathBuf>,
}

/// What was typed, and from its profile what was not.
pub fn merged(typed: &Connect) -> Result<Connect, Failure> {
    let mut merged = typed.clone();
    let Some(name) = &typed.profile else {
        return Ok(merged);
    };
    let profile = read(&place(typed)?, name)?;
    let names_host = typed.api_base.is_some() || typed.region.is_some() || typed.cloud.is_some();
    if !names_host {
        merged.cloud = profile.cloud;
        merged.region = profile.region;
        merged.api_base = profile.api_base;
    }
    merged.login_base = merged.login_base.or(profile.login_base);
    merged.scope = merged.scope.or(profile.scope);
    merged.tenant = merged.tenant.or(profile.tenant);
    merged.client_id = merged.client_id.or(profile.client_id);
    merged.ca_file = merged.ca_file.or(profile.ca_file);
    let proves = typed.certificate.is_some()
        || typed.client_secret_file.is_some()
        || typed.client_secret_command.is_some()
        || typed.keyring
        || typed.token_file.is_some()
        || typed.token_command.is_some();
    if !proves {
        merged.certificate = profile.certificate;
        merged.client_secret_file = profile.client_secret_file;
        merged.client_secret_command = profile.client_secret_command;
        merged.token_file = profile.token_file;
        merged.token_command = profile.token_command;
        merged.keyring = profile.keyring;
    }
    Ok(merged)
}

fn place(typed: &Connect) -> Result<PathBuf, Failure> {
    let variable = |name: &str| std::env::var_os(name);
    typed
        .config
        .clone()
        .or_else(|| config_file(variable))
        .ok_or_else(|| {
            Failure::asked("no config file is known").hint("name one with --config FILE")
        })
}

/// `XDG_CONFIG_HOME` or `~/.config`, `%APPDATA%`, and `afteraction` in it.
fn config_file(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = if cfg!(windows) {
        path("APPDATA")
    } else {
        path("XDG_CONFIG_HOME")
            .filter(|p| p.is_absolute())
            .or_else(|| path("HOME").map(|home| home.join(".config")))
    };
    base.map(|base| base.join("afteraction").join("config.toml"))
}

fn read_config(path: &Path, what: &str) -> Result<Config, Failure> {
    let doing = || format!("could not read {what} in {}", path.display());
    let text =
        app::read_config(path).map_err(|error| Failure::caused(Kind::Asked, doing(), error))?;
    toml::from_str(&text).map_err(|error| {
        let why = without_values(&::collect::fleet::describe_toml_error(&text, &error));
        Failure::asked(format!("{}: {why}", doing()))
            .hint("secrets stand in no config file: name a file, a command or the keyring")
    })
}

fn read(path: &Path, name: &str) -> Result<Profile, Failure> {
    let config = read_config(path, "profiles")?;
    config.profile.get(name).cloned().ok_or_else(|| {
        let known: Vec<_> = config.profile.keys().map(String::as_str).collect();
        let message = format!("{} has no [profile.{name}]", path.display());
        Failure::asked(message).hint(format!("it has: {}", known.join(", ")))
    })
}

/// A message of the reader of TOML without what it quotes of the file.
fn without_values(message: &str) -> String {
    let parts = message.split('"').enumerate();
    let plain = parts.map(|(n, part)| if n % 2 == 0 { part } else { "\"…\"" });
    plain.collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        connect: Connect,
    }

    fn merged_with(page: &str, args: &[&str]) -> Result<Connect, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), page).unwrap();
        let config = file.path().display().to_string();
        let before = ["x", "--profile", "one", "--config", &config];
        let typed = Typed::parse_from(before.iter().chain(args));
        merged(&typed.connect)
    }

    const PAGE: &str = "
        [profile.one]
        cloud = 'gcc-high'
        tenant = 't1'
        client_id = '0-1'
        keyring = true
        [profile.two]
        token_command = 'x'
    ";

    #[test]
    fn what_is_typed_wins_over_the_profile() {
        let plain = merged_with(PAGE, &[]).unwrap();
        assert_eq!(plain.cloud, Some(Cloud::GccHigh));
        assert_eq!(plain.tenant.as_deref(), Some("t1"));
        assert!(plain.keyring);
        let typed = merged_with(PAGE, &["--tenant", "t2", "--token-file", "f"]).unwrap();
        assert_eq!(typed.tenant.as_deref(), Some("t2"));
        assert!(!typed.keyring);
    }

    #[test]
    fn a_profile_that_is_not_there_or_misspelled_is_said() {
        let missing = merged_with("[profile.two]", &[]).unwrap_err();
        assert!(missing.advice().unwrap().contains("two"));
        let odd = merged_with("[profile.one]\nsecret = 'x'", &[]).unwrap_err();
        assert!(odd.chain().contains("unknown field"), "{}", odd.chain());
        for page in [
            "[profile.one]\n\nclient_secret = 'hunter2'",
            "[profile.one]\n\nkeyring = 'hunter2'",
        ] {
            let shown = merged_with(page, &[]).unwrap_err().chain();
            assert!(
                shown.contains("line 3") && !shown.contains("hunter2"),
                "{shown}"
            );
        }
    }
}
