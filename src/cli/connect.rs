//! Which service, as whom: what every command that speaks to it is told.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::app;
use crate::app::{Failure, Secret, ServiceSettings, SignIn, TokenSource, default_state_dir};
use crate::cli::{keyring, profile, runtime};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cloud {
    Commercial,
    Gcc,
    GccHigh,
    Dod,
}

/// Service and sign-in.
///
/// The client secret can also be set in AFTERACTION_CLIENT_SECRET, a token in
/// AFTERACTION_TOKEN. Neither can be passed as an argument.
#[derive(Debug, Clone, Args)]
pub struct Connect {
    /// Profile in the configuration file; options override it, and it overrides the
    /// environment.
    #[arg(
        help_heading = "Service",
        long,
        value_name = "NAME",
        env = "AFTERACTION_PROFILE",
        hide_env_values = true
    )]
    pub profile: Option<String>,
    /// Configuration file [default: the file of the user].
    #[arg(
        help_heading = "Service",
        long,
        value_name = "FILE",
        env = "AFTERACTION_CONFIG",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub config: Option<PathBuf>,
    /// API address, such as https://api.security.microsoft.com [env: AFTERACTION_API_BASE].
    #[arg(help_heading = "Service", long, value_name = "URL")]
    pub api_base: Option<String>,
    /// Sign-in address, such as https://login.microsoftonline.com [env:
    /// AFTERACTION_LOGIN_BASE].
    #[arg(help_heading = "Service", long, value_name = "URL")]
    pub login_base: Option<String>,
    /// Cloud whose addresses are used [default: commercial].
    #[arg(help_heading = "Service", long, value_enum)]
    pub cloud: Option<Cloud>,
    /// Region of the commercial cloud.
    #[arg(help_heading = "Service", long, value_name = "R", conflicts_with = "api_base", value_parser = ["us", "eu", "uk", "au", "swa", "ina"])]
    pub region: Option<String>,
    /// Scope of the token [default: the cloud's own].
    #[arg(help_heading = "Sign-in (one method)", long)]
    pub scope: Option<String>,
    /// Tenant [env: AFTERACTION_TENANT].
    #[arg(help_heading = "Sign-in (one method)", long, value_name = "T")]
    pub tenant: Option<String>,
    /// Application [env: AFTERACTION_CLIENT_ID].
    #[arg(help_heading = "Sign-in (one method)", long, value_name = "ID")]
    pub client_id: Option<String>,
    /// Certificate and RSA key (PEM).
    #[arg(help_heading = "Sign-in (one method)", long, value_name = "FILE", conflicts_with_all = ["client_secret_file", "token_file", "token_command"])]
    pub certificate: Option<PathBuf>,
    /// Client secret from the output of a command.
    #[arg(help_heading = "Sign-in (one method)", long, value_name = "COMMAND", conflicts_with_all = ["certificate", "client_secret_file", "token_file", "token_command"])]
    pub client_secret_command: Option<String>,
    /// Client secret from the system keyring, stored under the client id.
    #[arg(help_heading = "Sign-in (one method)", long, conflicts_with_all = ["certificate", "client_secret_command", "client_secret_file", "token_file", "token_command"])]
    pub keyring: bool,
    /// Client secret from a file.
    #[arg(help_heading = "Sign-in (one method)", long, value_name = "FILE")]
    pub client_secret_file: Option<PathBuf>,
    /// Token from a file.
    #[arg(
        help_heading = "Sign-in (one method)",
        long,
        value_name = "FILE",
        conflicts_with = "client_secret_file"
    )]
    pub token_file: Option<PathBuf>,
    /// Token from a command, run again when the token expires.
    #[arg(help_heading = "Sign-in (one method)", long, value_name = "COMMAND", conflicts_with_all = ["token_file", "client_secret_file"])]
    pub token_command: Option<String>,
    /// Trust this certificate authority as well (PEM).
    #[arg(help_heading = "Service", long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Speed of the service clock, 1 to 100.
    #[arg(
        help_heading = "Emulator only",
        long,
        value_name = "N",
        default_value_t = 1.0,
        hide_short_help = true
    )]
    pub time_scale: f64,
    /// Assume a service without call limits.
    #[arg(help_heading = "Emulator only", long, hide_short_help = true)]
    pub no_limits: bool,
    /// Directory of the call log [default: the state directory of the user].
    #[arg(
        help_heading = "Service",
        long,
        value_name = "DIR",
        env = "AFTERACTION_STATE",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub state_dir: Option<PathBuf>,
}

/// What was typed and what the environment says → what is meant.
pub fn settings(typed: &Connect) -> Result<ServiceSettings, Failure> {
    let typed = &with_environment(profile::merged(typed)?, environment);
    let state_dir = match &typed.state_dir {
        Some(dir) => dir.clone(),
        None => default_state_dir(|name| std::env::var_os(name)).ok_or_else(|| {
            Failure::usage("no folder is known for the call log")
                .hint("name one with --state-dir DIR, or set HOME")
        })?,
    };
    let settings = ServiceSettings {
        cloud: match typed.cloud.unwrap_or(Cloud::Commercial) {
            Cloud::Commercial => app::Cloud::Commercial,
            Cloud::Gcc => app::Cloud::Gcc,
            Cloud::GccHigh => app::Cloud::GccHigh,
            Cloud::Dod => app::Cloud::Dod,
        },
        region: typed.region.clone(),
        api_base: typed.api_base.clone(),
        login_base: typed.login_base.clone(),
        scope: typed.scope.clone(),
        sign_in: sign_in(typed)?,
        state_dir,
        ca_file: typed.ca_file.clone(),
        time_scale: typed.time_scale,
        limits_lifted: typed.no_limits,
    };
    settings.check()?;
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

/// What a secret or certificate belongs to.
fn identity(typed: &Connect, proof: &str) -> Result<(String, String), Failure> {
    match (&typed.tenant, &typed.client_id) {
        (Some(tenant), Some(client_id)) => Ok((tenant.clone(), client_id.clone())),
        _ => Err(Failure::usage(format!(
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
        (None, Some(command)) => Some(runtime::run(app::secret_from_command(command))??),
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
        None => Err(Failure::usage("nothing to sign in with").hint(
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
        for (words, cloud, region) in [
            (&[][..], app::Cloud::Commercial, None),
            (&["--region", "eu"], app::Cloud::Commercial, Some("eu")),
            (&["--cloud", "gcc"], app::Cloud::Gcc, None),
            (&["--cloud", "gcc-high"], app::Cloud::GccHigh, None),
            (&["--cloud", "dod"], app::Cloud::Dod, None),
        ] {
            let settings = settings(&typed(words)).unwrap();
            assert_eq!(settings.cloud, cloud, "{words:?}");
            assert_eq!(settings.region.as_deref(), region, "{words:?}");
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
