//! Settings of a collection, and the filter of actions.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use crate::error::CollectError;
use crate::service::auth::secret::Secret;
use crate::service::clouds;
use crate::service::clouds::Cloud;
use crate::service::host;
use evidence::{Action, ActionId};

/// At a higher scale the resolution of timers is too coarse for a rate limit
/// of one minute.
const TIME_SCALE_MAX: f64 = 100.0;
/// Enough workers that small results do not wait for the latency of others,
/// few enough that 16 large bodies fit the memory limit.
const WORKERS_DEFAULT: usize = 16;
const WORKERS_MAX: usize = 64;

/// Settings of a collection. The collector does not read the environment.
#[derive(Clone, Debug)]
pub struct CollectSettings {
    /// Base address of the API without `/api`, such as
    /// `https://api.securitycenter.microsoft.com`.
    pub api_base: Url,
    pub login_base: Url,
    /// Token scope, if it differs from the default of the API host.
    pub scope: Option<String>,
    pub sign_in: SignIn,
    pub filter: ActionFilter,
    /// Number of concurrent downloads.
    pub workers: usize,
    /// Download sealed results again; one that differs becomes a new version.
    pub redownload: bool,
    /// Interval between polls, service time; `None` polls once.
    pub watch: Option<Duration>,
    pub pace: ServicePace,
    pub timeouts: Timeouts,
    /// Folder of the call log, which counts calls across processes.
    pub state_dir: PathBuf,
    /// Root certificates that are trusted in addition to those of the system,
    /// PEM.
    pub ca_file: Option<PathBuf>,
}

/// Speed of the service's clock, and whether it limits calls.
#[derive(Clone, Copy, Debug)]
pub struct ServicePace {
    /// Service seconds in a real second, 1 to 100. More than 1 is allowed only
    /// for an emulator that runs at the same scale. Rate limits, polling,
    /// `Retry-After` and retry delays are scaled; connect and read timeouts
    /// are not.
    pub time_scale: f64,
    /// The service has no rate limits: calls are neither delayed nor logged.
    pub limits_lifted: bool,
}

impl Default for ServicePace {
    fn default() -> Self {
        Self {
            time_scale: 1.0,
            limits_lifted: false,
        }
    }
}

/// Timeouts of network operations, in real time at any time scale.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Connection and TLS handshake.
    pub connect: Duration,
    /// Longest silence while a body is received.
    pub read: Duration,
    /// An API call with its whole response.
    pub call: Duration,
}

impl Default for Timeouts {
    /// A page of 10,000 actions takes a while on a slow line. Two minutes are
    /// little of the thirty minutes that a link is valid.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            read: Duration::from_secs(45),
            call: Duration::from_secs(120),
        }
    }
}

/// How bearer tokens are obtained.
#[derive(Clone, Debug)]
pub enum SignIn {
    /// OAuth client credentials with a client secret.
    Client {
        tenant: String,
        client_id: String,
        secret: Secret,
    },
    /// OAuth client credentials with a certificate.
    Certificate {
        tenant: String,
        client_id: String,
        /// Certificate and RSA key, PEM.
        file: PathBuf,
    },
    /// A token that was obtained elsewhere.
    Token(TokenSource),
}

/// Origin of a token that was obtained elsewhere.
#[derive(Clone, Debug)]
pub enum TokenSource {
    /// Cannot be renewed: the collection ends when the token is rejected.
    Ready(Secret),
    /// Read again when the token is rejected.
    File(PathBuf),
    /// Run again when the token is rejected. Prints the token, or JSON with an
    /// `accessToken`. The command line may contain a secret.
    Command(Secret),
}

/// Selects actions; an empty filter selects all.
#[derive(Clone, Debug, Default)]
pub struct ActionFilter {
    /// Created at this time or later.
    pub since: Option<Timestamp>,
    /// Created before this time.
    pub until: Option<Timestamp>,
    /// Machine ids, full or short device names, ignoring case.
    pub devices: Vec<String>,
    pub actions: Vec<ActionId>,
    /// Indexes of commands within their actions.
    pub indexes: Vec<u32>,
    /// Part of the requestor's comment, ignoring case.
    pub comment: Option<String>,
    /// Select investigation packages instead of live response.
    pub packages: bool,
}

/// Action type of an investigation package.
pub(crate) const PACKAGE_TYPE: &str = "CollectInvestigationPackage";
const LIVE_RESPONSE_TYPE: &str = "LiveResponse";

impl CollectSettings {
    /// Default settings of a cloud; `api_base` and `login_base` replace its
    /// hosts.
    ///
    /// **Errors**: an address is invalid.
    pub fn new(
        cloud: Cloud,
        api_base: Option<&str>,
        login_base: Option<&str>,
        sign_in: SignIn,
        state_dir: PathBuf,
    ) -> Result<Self, CollectError> {
        Ok(Self {
            api_base: parse_base("API base", api_base.unwrap_or(cloud.api_base()))?,
            login_base: parse_base("login base", login_base.unwrap_or(cloud.login_base()))?,
            scope: None,
            sign_in,
            filter: ActionFilter::default(),
            workers: WORKERS_DEFAULT,
            redownload: false,
            watch: None,
            pace: ServicePace::default(),
            timeouts: Timeouts::default(),
            state_dir,
            ca_file: None,
        })
    }

    pub(crate) fn validate(&self) -> Result<(), CollectError> {
        let refuse = |setting, why: String| Err(CollectError::Setting { setting, why });
        host::require_https(&self.api_base)?;
        host::require_https(&self.login_base)?;
        if !(1.0..=TIME_SCALE_MAX).contains(&self.pace.time_scale) {
            return refuse("time scale", format!("expected 1 to {TIME_SCALE_MAX}"));
        }
        let is_for_emulator = self.pace.time_scale > 1.0 || self.pace.limits_lifted;
        if is_for_emulator && !host::is_loopback(&self.api_base) {
            return refuse(
                "service pace",
                "a time scale and lifted limits are allowed only for an emulator on this machine"
                    .into(),
            );
        }
        if !(1..=WORKERS_MAX).contains(&self.workers) {
            return refuse("number of workers", format!("expected 1 to {WORKERS_MAX}"));
        }
        match &self.sign_in {
            SignIn::Client { tenant, .. } | SignIn::Certificate { tenant, .. }
                if !is_tenant(tenant) =>
            {
                refuse("tenant", "expected a GUID or a domain name".into())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn scope(&self) -> String {
        self.scope
            .clone()
            .unwrap_or_else(|| clouds::default_scope(&self.api_base))
    }

    pub(crate) fn api_host(&self) -> String {
        host::host_and_port(&self.api_base)
    }
}

/// Whether a tenant can be part of the token address.
fn is_tenant(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
}

fn parse_base(setting: &'static str, text: &str) -> Result<Url, CollectError> {
    let refuse = |why: &str| CollectError::Setting {
        setting,
        why: why.into(),
    };
    let url = Url::parse(text).map_err(|e| refuse(&e.to_string()))?;
    if !url.has_host() || url.query().is_some() || !url.username().is_empty() {
        return Err(refuse("expected https://HOST"));
    }
    Ok(url)
}

impl ActionFilter {
    /// Whether the filter selects every action.
    pub(crate) fn is_empty(&self) -> bool {
        self.since.is_none()
            && self.until.is_none()
            && self.devices.is_empty()
            && self.actions.is_empty()
            && self.indexes.is_empty()
            && self.comment.is_none()
    }

    /// Whether the filter selects an action. The service's own filtering is
    /// repeated here, because a service or proxy may ignore `$filter`. An
    /// action without a creation time matches any time.
    pub(crate) fn matches(&self, action: &Action) -> bool {
        let created = action.created.as_ref().and_then(|t| t.instant());
        action.kind.eq_ignore_ascii_case(self.action_type())
            && created.is_none_or(|t| self.since.is_none_or(|since| t >= since))
            && created.is_none_or(|t| self.until.is_none_or(|until| t < until))
            && (self.actions.is_empty() || self.actions.contains(&action.id))
            && (self.devices.is_empty() || self.devices.iter().any(|name| ran_on(action, name)))
            && self.matches_comment(action)
    }

    /// Type of the selected actions.
    pub(crate) fn action_type(&self) -> &'static str {
        if self.packages {
            PACKAGE_TYPE
        } else {
            LIVE_RESPONSE_TYPE
        }
    }

    fn matches_comment(&self, action: &Action) -> bool {
        self.comment.as_ref().is_none_or(|part| {
            action
                .comment
                .as_ref()
                .is_some_and(|comment| comment.to_lowercase().contains(&part.to_lowercase()))
        })
    }
}

/// Whether an action ran on a device, given by machine id, full or short name.
pub(crate) fn ran_on(action: &Action, device: &str) -> bool {
    let names = [&action.device, &action.machine_id];
    names.into_iter().flatten().any(|name| {
        let short = name.split('.').next().unwrap_or(name);
        device.eq_ignore_ascii_case(name) || device.eq_ignore_ascii_case(short)
    })
}

/// The user's state folder: `afteraction` in `XDG_STATE_HOME` or
/// `~/.local/state`, in `%LOCALAPPDATA%` on Windows, and in
/// `~/Library/Application Support` on macOS. `variable` reads an environment
/// variable.
pub fn state_dir(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let path = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = if cfg!(windows) {
        path("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        path("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        path("XDG_STATE_HOME")
            .filter(|p| p.is_absolute())
            .or_else(|| path("HOME").map(|home| home.join(".local/state")))
    };
    base.map(|base| base.join("afteraction"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(json: &str) -> Action {
        Action::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn filter_matches_devices_by_any_of_their_names() {
        let action = action(
            r#"{"id":"5382f7ea-7557-4ab7-9782-d50480024a4e","machineId":"9D80",
                "computerDnsName":"PC-17.contoso.example","requestorComment":"Case-42, first"}"#,
        );
        let matches = |device: &str, comment: Option<&str>| {
            let filter = ActionFilter {
                devices: vec![device.into()],
                comment: comment.map(str::to_string),
                ..ActionFilter::default()
            };
            filter.matches(&action)
        };
        for device in ["pc-17", "pc-17.CONTOSO.example", "9d80"] {
            assert!(matches(device, Some("case-42")), "{device}");
        }
        assert!(!matches("pc-1", None));
        assert!(!matches("pc-17", Some("case-43")));
    }

    #[test]
    fn action_without_time_matches_any_time_but_not_another_type() {
        let filter = ActionFilter {
            since: "2026-01-01T00:00:00Z".parse().ok(),
            until: "2026-02-01T00:00:00Z".parse().ok(),
            ..ActionFilter::default()
        };
        let matches = |more: &str| {
            filter.matches(&action(&format!(
                r#"{{"id":"5382f7ea-7557-4ab7-9782-d50480024a4e"{more}}}"#
            )))
        };
        assert!(matches(""));
        assert!(matches(r#","creationDateTimeUtc":"2026-01-01T00:00:00Z""#));
        assert!(!matches(r#","creationDateTimeUtc":"2026-02-01T00:00:00Z""#));
        assert!(!matches(r#","type":"Isolate""#));
    }

    #[cfg(all(unix, not(target_os = "macos")))]
    #[test]
    fn state_folder_follows_the_environment() {
        let dir = |xdg: &str, home: &str| {
            state_dir(|name| match name {
                "XDG_STATE_HOME" => Some(xdg.into()),
                "HOME" => Some(home.into()),
                _ => None,
            })
        };
        assert_eq!(dir("/s", "/h"), Some("/s/afteraction".into()));
        let in_home = Some("/h/.local/state/afteraction".into());
        assert_eq!(dir("", "/h"), in_home);
        assert_eq!(dir("relative", "/h"), in_home);
        assert_eq!(dir("", ""), None);
    }
}
