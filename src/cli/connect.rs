//! Which service, as whom: what every command that speaks to it is told.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::app::Failure;
use crate::app::collect::{self, Pace, Secret, Settings, SignIn, TokenSource, state_dir};

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Cloud {
    Commercial,
    Gcc,
    GccHigh,
    Dod,
}

/// Sign-in: a client secret in AFTERACTION_CLIENT_SECRET, or a ready token in
/// AFTERACTION_TOKEN. Neither is ever taken from the command line.
#[derive(Debug, Args)]
pub struct Connect {
    /// Base of the API, such as https://api.security.microsoft.com.
    #[arg(
        long,
        value_name = "URL",
        env = "AFTERACTION_API_BASE",
        hide_env_values = true
    )]
    pub api_base: Option<String>,
    /// Base of the sign-in service, such as https://login.microsoftonline.com.
    #[arg(
        long,
        value_name = "URL",
        env = "AFTERACTION_LOGIN_BASE",
        hide_env_values = true
    )]
    pub login_base: Option<String>,
    /// Cloud whose hosts are meant where no base is given.
    #[arg(long, value_enum, default_value = "commercial")]
    pub cloud: Cloud,
    /// Scope to ask a token for [default: the cloud's own].
    #[arg(long)]
    pub scope: Option<String>,
    /// Tenant to sign in to.
    #[arg(
        long,
        value_name = "T",
        env = "AFTERACTION_TENANT",
        hide_env_values = true
    )]
    pub tenant: Option<String>,
    /// Application to sign in as.
    #[arg(
        long,
        value_name = "ID",
        env = "AFTERACTION_CLIENT_ID",
        hide_env_values = true
    )]
    pub client_id: Option<String>,
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
pub fn settings(typed: &Connect) -> Result<Settings, Failure> {
    let state = match &typed.state_dir {
        Some(dir) => dir.clone(),
        None => state_dir(|name| std::env::var_os(name)).ok_or_else(|| {
            Failure::asked("no folder is known for the call log")
                .hint("name one with --state-dir DIR, or set HOME")
        })?,
    };
    let cloud = match typed.cloud {
        Cloud::Commercial => collect::Cloud::Commercial,
        Cloud::Gcc => collect::Cloud::Gcc,
        Cloud::GccHigh => collect::Cloud::GccHigh,
        Cloud::Dod => collect::Cloud::Dod,
    };
    let mut settings = Settings::new(
        cloud,
        typed.api_base.as_deref(),
        typed.login_base.as_deref(),
        sign_in(typed)?,
        state,
    )?;
    settings.scope.clone_from(&typed.scope);
    settings.pace = Pace {
        time_scale: typed.time_scale,
        limits_lifted: typed.no_limits,
    };
    settings.ca_file.clone_from(&typed.ca_file);
    Ok(settings)
}

fn sign_in(typed: &Connect) -> Result<SignIn, Failure> {
    let from_env = |name: &str| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
    if let Some(command) = &typed.token_command {
        return Ok(SignIn::Token(TokenSource::Command(Secret::new(command))));
    }
    if let Some(file) = &typed.token_file {
        return Ok(SignIn::Token(TokenSource::File(file.clone())));
    }
    let secret = match &typed.client_secret_file {
        Some(file) => Some(Secret::from_file(file)?),
        None => from_env("AFTERACTION_CLIENT_SECRET").map(Secret::new),
    };
    if let Some(secret) = secret {
        let (Some(tenant), Some(client_id)) = (&typed.tenant, &typed.client_id) else {
            return Err(Failure::asked(
                "a client secret needs --tenant and --client-id",
            ));
        };
        return Ok(SignIn::Client {
            tenant: tenant.clone(),
            client_id: client_id.clone(),
            secret,
        });
    }
    match from_env("AFTERACTION_TOKEN") {
        Some(token) => Ok(SignIn::Token(TokenSource::Ready(Secret::new(token)))),
        None => Err(Failure::asked("nothing to sign in with").hint(
            "set AFTERACTION_CLIENT_SECRET (with --tenant and --client-id) or AFTERACTION_TOKEN, or use --token-command",
        )),
    }
}
