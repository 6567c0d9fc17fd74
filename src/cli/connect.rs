//! Which service, as whom: what every command that speaks to it is told.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::app;
use crate::app::Failure;
use crate::cli::{keyring, profile};
use ::collect::{CollectSettings, ServicePace, Secret, SignIn, TokenSource, state_dir};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cloud {
    Commercial,
    Gcc,
    GccHigh,
    Dod,
}

/// Sign-in: a client secret in AFTERACTION_CLIENT_SECRET, or a ready token in
/// AFTERACTION_TOKEN. Neither is ever taken from the command line.
#[derive(Debug, Clone, Args)]
pub struct Connect {
    /// Tenant by its name in the config file; what is typed beside it wins, and it wins over the
    /// environment.
    #[arg(
        long,
        value_name = "NAME",
        env = "AFTERACTION_PROFILE",
        hide_env_values = true
    )]
    pub profile: Option<String>,
    /// Config file with the profiles [default: the user's own].
    #[arg(
        long,
        value_name = "FILE",
        env = "AFTERACTION_CONFIG",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub config: Option<PathBuf>,
    /// Base of the API, such as https://api.security.microsoft.com [env: AFTERACTION_API_BASE].
    #[arg(long, value_name = "URL")]
    pub api_base: Option<String>,
    /// Base of the sign-in service, such as https://login.microsoftonline.com
    /// [env: AFTERACTION_LOGIN_BASE].
    #[arg(long, value_name = "URL")]
    pub login_base: Option<String>,
    /// Cloud whose hosts are meant where no base is given [default: commercial].
    #[arg(long, value_enum)]
    pub cloud: Option<Cloud>,
    /// Region of the commercial cloud: us, eu, uk, au, swa, ina.
    #[arg(long, value_name = "R", conflicts_with = "api_base", value_parser = ["us", "eu", "uk", "au", "swa", "ina"])]
    pub region: Option<String>,
    /// Scope to ask a token for [default: the cloud's own].
    #[arg(long)]
    pub scope: Option<String>,
    /// Tenant to sign in to [env: AFTERACTION_TENANT].
    #[arg(long, value_name = "T")]
    pub tenant: Option<String>,
    /// Application to sign in as [env: AFTERACTION_CLIENT_ID].
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// Certificate and RSA key (PEM) to sign in with instead of a secret.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["client_secret_file", "token_file", "token_command"])]
    pub certificate: Option<PathBuf>,
    /// Command that prints the client secret, such as a password manager's.
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["certificate", "client_secret_file", "token_file", "token_command"])]
    pub client_secret_command: Option<String>,
    /// Take the client secret from the system's keyring, where it is kept for the client id.
    #[arg(long, conflicts_with_all = ["certificate", "client_secret_command", "client_secret_file", "token_file", "token_command"])]
    pub keyring: bool,
    /// File that holds the client secret.
    #[arg(long, value_name = "FILE")]
    pub client_secret_file: Option<PathBuf>,
    /// File that holds a ready token.
    #[arg(long, value_name = "FILE", conflicts_with = "client_secret_file")]
    pub token_file: Option<PathBuf>,
    /// Command that prints a ready token; run again when the token ends.
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["token_file", "client_secret_file"])]
    pub token_command: Option<String>,
    /// Certificate authority to trust besides the system's (PEM).
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Times faster than the wall clock the service runs (emulator only, 1 to 100).
    #[arg(long, value_name = "N", default_value_t = 1.0, hide_short_help = true)]
    pub time_scale: f64,
    /// The service has no call limits (emulator only).
    #[arg(long, hide_short_help = true)]
    pub no_limits: bool,
    /// Folder of the call log that outlives this process [default: the user's state folder].
    #[arg(
        long,
        value_name = "DIR",
        env = "AFTERACTION_STATE",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub state_dir: Option<PathBuf>,
}

/// What was typed and what the environment says → what is meant.
pub fn settings(typed: &Connect) -> Result<CollectSettings, Failure> {
    let typed = &with_environment(profile::merged(typed)?, environment);
    let state = match &typed.state_dir {
        Some(dir) => dir.clone(),
        None => state_dir(|name| std::env::var_os(name)).ok_or_else(|| {
            Failure::asked("no folder is known for the call log")
                .hint("name one with --state-dir DIR, or set HOME")
        })?,
    };
    let cloud = match typed.cloud.unwrap_or(Cloud::Commercial) {
        Cloud::Commercial => ::collect::Cloud::Commercial,
        Cloud::Gcc => ::collect::Cloud::Gcc,
        Cloud::GccHigh => ::collect::Cloud::GccHigh,
        Cloud::Dod => ::collect::Cloud::Dod,
    };
    let regional = regional_base(typed)?;
    let mut settings = CollectSettings::new(
        cloud,
        regional.as_deref().or(typed.api_base.as_deref()),
        typed.login_base.as_deref(),
        sign_in(typed)?,
        state,
    )?;
    settings.scope.clone_from(&typed.scope);
    settings.pace = ServicePace {
        time_scale: typed.time_scale,
        limits_lifted: typed.no_limits,
    };
    settings.ca_file.clone_from(&typed.ca_file);
    Ok(settings)
}

fn environment(name: &str) -> Option<String> {
    let value = std::env::var(name).ok();
    value.filter(|value| !value.trim().is_empty())
}

/// Where neither a person nor a profile says so. Hosts are taken both or none,
/// and never for a profile: a variable left over from another tenant must not
/// say where its secret goes.
fn with_environment(mut typed: Connect, variable: impl Fn(&str) -> Option<String>) -> Connect {
    let or = |known: Option<String>, name: &str| known.or_else(|| variable(name));
    let says_where = typed.profile.is_some()
        || typed.cloud.is_some()
        || typed.region.is_some()
        || typed.api_base.is_some()
        || typed.login_base.is_some();
    if !says_where {
        typed.api_base = variable("AFTERACTION_API_BASE");
        typed.login_base = variable("AFTERACTION_LOGIN_BASE");
    }
    typed.tenant = or(typed.tenant, "AFTERACTION_TENANT");
    typed.client_id = or(typed.client_id, "AFTERACTION_CLIENT_ID");
    typed
}

fn regional_base(typed: &Connect) -> Result<Option<String>, Failure> {
    match (&typed.region, typed.cloud.unwrap_or(Cloud::Commercial)) {
        (None, _) => Ok(None),
        (Some(region), Cloud::Commercial) => {
            Ok(Some(format!("https://{region}.api.security.microsoft.com")))
        }
        (Some(_), _) => Err(Failure::asked("only the commercial cloud has regions")),
    }
}

/// What a secret or certificate belongs to.
fn identity(typed: &Connect, proof: &str) -> Result<(String, String), Failure> {
    match (&typed.tenant, &typed.client_id) {
        (Some(tenant), Some(client_id)) => Ok((tenant.clone(), client_id.clone())),
        _ => Err(Failure::asked(format!(
            "a {proof} needs --tenant and --client-id"
        ))),
    }
}

fn sign_in(typed: &Connect) -> Result<SignIn, Failure> {
    if let Some(command) = &typed.token_command {
        return Ok(SignIn::Token(TokenSource::Command(Secret::new(command))));
    }
    if let Some(file) = &typed.token_file {
        return Ok(SignIn::Token(TokenSource::File(file.clone())));
    }
    if let Some(file) = &typed.certificate {
        let (tenant, client_id) = identity(typed, "certificate")?;
        return Ok(SignIn::Certificate {
            tenant,
            client_id,
            file: file.clone(),
        });
    }
    let secret = match (&typed.client_secret_file, &typed.client_secret_command) {
        (Some(file), _) => Some(Secret::from_file(file)?),
        (None, Some(command)) => Some(app::secret_from_command(command)?),
        (None, None) if typed.keyring => Some(keyring::secret(typed.client_id.as_deref())?),
        (None, None) => environment("AFTERACTION_CLIENT_SECRET").map(Secret::new),
    };
    if let Some(secret) = secret {
        let (tenant, client_id) = identity(typed, "client secret")?;
        return Ok(SignIn::Client {
            tenant,
            client_id,
            secret,
        });
    }
    match environment("AFTERACTION_TOKEN") {
        Some(token) => Ok(SignIn::Token(TokenSource::Ready(Secret::new(token)))),
        None => Err(Failure::asked("nothing to sign in with").hint(
            "set AFTERACTION_CLIENT_SECRET (with --tenant and --client-id) or AFTERACTION_TOKEN, or use --certificate, --keyring, --token-command or --profile",
        )),
    }
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

    fn typed(words: &[&str]) -> Connect {
        let before = ["x", "--token-file", "f", "--state-dir", "s"];
        Typed::parse_from(before.iter().chain(words)).connect
    }

    #[test]
    fn clouds_and_regions_are_known_by_name() {
        for (words, api, login) in [
            (
                &["--cloud", "commercial"][..],
                "api.securitycenter.microsoft.com",
                "login.microsoftonline.com",
            ),
            (
                &["--region", "eu"],
                "eu.api.security.microsoft.com",
                "login.microsoftonline.com",
            ),
            (
                &["--cloud", "gcc"],
                "api-gcc.securitycenter.microsoft.us",
                "login.microsoftonline.com",
            ),
            (
                &["--cloud", "gcc-high"],
                "api-gov.securitycenter.microsoft.us",
                "login.microsoftonline.us",
            ),
            (
                &["--cloud", "dod"],
                "api-gov.securitycenter.microsoft.us",
                "login.microsoftonline.us",
            ),
        ] {
            let settings = settings(&typed(words)).unwrap();
            assert_eq!(settings.api_base.host_str(), Some(api), "{words:?}");
            assert_eq!(settings.login_base.host_str(), Some(login), "{words:?}");
        }
        let odd = settings(&typed(&["--cloud", "dod", "--region", "eu"])).unwrap_err();
        assert!(odd.chain().contains("only the commercial cloud"));
    }

    #[test]
    fn the_environment_fills_in_what_nobody_said_and_mixes_no_hosts() {
        let variable = |name: &str| Some(format!("of {name}"));
        let bare = with_environment(typed(&[]), variable);
        assert_eq!(bare.tenant.as_deref(), Some("of AFTERACTION_TENANT"));
        assert_eq!(bare.api_base.as_deref(), Some("of AFTERACTION_API_BASE"));
        let said = with_environment(typed(&["--tenant", "t", "--region", "uk"]), variable);
        assert_eq!(said.tenant.as_deref(), Some("t"));
        assert_eq!((said.api_base, said.login_base), (None, None));
        // A profile without hosts means those of its cloud.
        let profile = with_environment(typed(&["--profile", "contoso"]), variable);
        assert_eq!((profile.api_base, profile.login_base), (None, None));
        let one = with_environment(typed(&["--login-base", "https://l.example"]), variable);
        assert_eq!(one.api_base, None);
    }
}
