use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use crate::service::http;
use crate::{CollectError, Secret};
use evidence::{Action, ActionId};

/// Faster than this the timers' own grain would outweigh a minute's window.
const TIME_SCALE_MAX: f64 = 100.0;
/// Downloads at a time: enough to keep small results flowing while each waits
/// for its answer, few enough that sixteen large bodies fit the memory bound.
const WORKERS_DEFAULT: usize = 16;
pub(crate) const WORKERS_MAX: usize = 64;
const COMMERCIAL_SCOPE: &str = "https://api.securitycenter.microsoft.com/.default";

/// Everything a run is told. The collector reads no environment.
#[derive(Clone, Debug)]
pub struct CollectSettings {
    /// `https://api.securitycenter.microsoft.com`, without `/api`.
    pub api_base: Url,
    pub login_base: Url,
    /// Where the usual `{api}/.default` is not right.
    pub scope: Option<String>,
    pub sign_in: SignIn,
    pub filter: ActionFilter,
    /// Downloads at a time.
    pub workers: usize,
    /// Fetch what is sealed once more: what differs becomes a new version.
    pub redownload: bool,
    /// Poll again after this long, service time; `None` collects once.
    pub watch: Option<Duration>,
    pub pace: ServicePace,
    pub timeouts: Timeouts,
    /// Where the call log lives: the budget outlives the process.
    pub state_dir: PathBuf,
    /// Roots trusted besides those of the system, PEM.
    pub ca_file: Option<PathBuf>,
}

/// How time and budgets are kept.
#[derive(Clone, Copy, Debug)]
pub struct ServicePace {
    /// Service seconds in a real second, 1 to 100: more than 1 only against an
    /// emulator on the same scale. Budgets, polling, Retry-After and pauses
    /// are scaled; connect and read timeouts stay real.
    pub time_scale: f64,
    /// The service counts no calls: nothing is held back and nothing logged.
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

/// When a silent peer is given up, in real time at any scale.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// A host that has not shaken hands by then is out of reach.
    pub connect: Duration,
    /// A body silent for that long is broken off.
    pub read: Duration,
    /// A call of the API without its whole answer by then never gets one.
    pub call: Duration,
}

impl Default for Timeouts {
    /// A page of 10,000 actions over a slow line takes its time; a link that
    /// lives thirty minutes can wait for two of them.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            read: Duration::from_secs(45),
            call: Duration::from_secs(120),
        }
    }
}

/// How a bearer token is got.
#[derive(Clone, Debug)]
pub enum SignIn {
    /// OAuth client credentials.
    Client {
        tenant: String,
        client_id: String,
        secret: Secret,
    },
    /// OAuth client credentials, proven by a certificate instead of a secret.
    Certificate {
        tenant: String,
        client_id: String,
        /// Certificate and RSA key, PEM.
        file: PathBuf,
    },
    /// A token somebody else obtained.
    Token(TokenSource),
}

#[derive(Clone, Debug)]
pub enum TokenSource {
    /// Cannot be renewed: when it is spent, the run ends.
    Ready(Secret),
    /// Read again when the token is spent.
    File(PathBuf),
    /// Run again when the token is spent; prints the token, or JSON with an
    /// `accessToken` in it. The command line may hold a secret, so it is one.
    Command(Secret),
}

/// Which actions are meant. Empty means all.
#[derive(Clone, Debug, Default)]
pub struct ActionFilter {
    /// Created at or after.
    pub since: Option<Timestamp>,
    /// Created before.
    pub until: Option<Timestamp>,
    /// Machine ids, full or short names, in any case.
    pub devices: Vec<String>,
    pub actions: Vec<ActionId>,
    /// Places of commands within their actions.
    pub indexes: Vec<u32>,
    /// Stands somewhere in the requestor's comment, in any case.
    pub comment: Option<String>,
    /// Investigation packages instead of live response.
    pub packages: bool,
}

/// What the service calls an investigation package's action.
pub(crate) const PACKAGE_TYPE: &str = "CollectInvestigationPackage";

/// Where a tenant lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    Commercial,
    Gcc,
    GccHigh,
    Dod,
}

impl Cloud {
    pub fn api_base(self) -> &'static str {
        match self {
            Self::Commercial => "https://api.securitycenter.microsoft.com",
            Self::Gcc => "https://api-gcc.securitycenter.microsoft.us",
            Self::GccHigh | Self::Dod => "https://api-gov.securitycenter.microsoft.us",
        }
    }

    pub fn login_base(self) -> &'static str {
        match self {
            Self::Commercial | Self::Gcc => "https://login.microsoftonline.com",
            Self::GccHigh | Self::Dod => "https://login.microsoftonline.us",
        }
    }
}

impl FromStr for Cloud {
    type Err = CollectError;

    fn from_str(text: &str) -> Result<Self, CollectError> {
        match text.to_ascii_lowercase().as_str() {
            "commercial" => Ok(Self::Commercial),
            "gcc" => Ok(Self::Gcc),
            "gcc-high" | "gcchigh" => Ok(Self::GccHigh),
            "dod" => Ok(Self::Dod),
            _ => Err(CollectError::Setting {
                setting: "the cloud",
                why: "expected commercial, gcc, gcc-high or dod".into(),
            }),
        }
    }
}

impl CollectSettings {
    /// The usual settings of a cloud; `api_base` and `login_base` replace its
    /// hosts where given.
    pub fn new(
        cloud: Cloud,
        api_base: Option<&str>,
        login_base: Option<&str>,
        sign_in: SignIn,
        state_dir: PathBuf,
    ) -> Result<Self, CollectError> {
        Ok(Self {
            api_base: base_url("the api base", api_base.unwrap_or(cloud.api_base()))?,
            login_base: base_url("the login base", login_base.unwrap_or(cloud.login_base()))?,
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
        http::require_https(&self.api_base)?;
        http::require_https(&self.login_base)?;
        if !(1.0..=TIME_SCALE_MAX).contains(&self.pace.time_scale) {
            return refuse("the time scale", format!("expected 1 to {TIME_SCALE_MAX}"));
        }
        let sped_up = self.pace.time_scale > 1.0 || self.pace.limits_lifted;
        if sped_up && !http::is_loopback(&self.api_base) {
            return refuse(
                "the pace",
                "time is sped up and limits are lifted for an emulator on this machine only".into(),
            );
        }
        if !(1..=WORKERS_MAX).contains(&self.workers) {
            return refuse(
                "the number of workers",
                format!("expected 1 to {WORKERS_MAX}"),
            );
        }
        if let SignIn::Client { tenant, .. } | SignIn::Certificate { tenant, .. } = &self.sign_in
            && (tenant.is_empty()
                || !tenant
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)))
        {
            return refuse("the tenant", "expected a GUID or a domain name".into());
        }
        Ok(())
    }

    pub(crate) fn scope(&self) -> String {
        let government = self.api_base.host_str().is_some_and(|h| h.ends_with(".us"));
        match &self.scope {
            Some(scope) => scope.clone(),
            None if government => {
                format!("{}/.default", self.api_base.as_str().trim_end_matches('/'))
            }
            None => COMMERCIAL_SCOPE.into(),
        }
    }

    pub(crate) fn api_host(&self) -> String {
        http::host_and_port(&self.api_base)
    }
}

fn base_url(setting: &'static str, text: &str) -> Result<Url, CollectError> {
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
    /// Whether every action is meant.
    pub(crate) fn is_empty(&self) -> bool {
        self.since.is_none()
            && self.until.is_none()
            && self.devices.is_empty()
            && self.actions.is_empty()
            && self.indexes.is_empty()
            && self.comment.is_none()
    }

    /// Whether an action is meant. What the service filtered is filtered
    /// again: a service or proxy that ignores `$filter` changes nothing. An
    /// action without a time passes.
    pub(crate) fn matches(&self, action: &Action) -> bool {
        let created = action.created.as_ref().and_then(|t| t.instant());
        action.kind.eq_ignore_ascii_case(self.action_type())
            && created.is_none_or(|t| self.since.is_none_or(|s| t >= s))
            && created.is_none_or(|t| self.until.is_none_or(|u| t < u))
            && (self.actions.is_empty() || self.actions.contains(&action.id))
            && self.matches_device(action)
            && self.matches_comment(action)
    }

    /// The type of the actions that are meant.
    pub(crate) fn action_type(&self) -> &'static str {
        if self.packages {
            PACKAGE_TYPE
        } else {
            "LiveResponse"
        }
    }

    fn matches_device(&self, action: &Action) -> bool {
        self.devices.is_empty() || self.devices.iter().any(|wanted| ran_on(action, wanted))
    }

    fn matches_comment(&self, action: &Action) -> bool {
        self.comment.as_ref().is_none_or(|wanted| {
            action
                .comment
                .as_ref()
                .is_some_and(|comment| comment.to_lowercase().contains(&wanted.to_lowercase()))
        })
    }
}

/// Whether an action ran on a device, named by machine id, full or short name.
pub(crate) fn ran_on(action: &Action, device: &str) -> bool {
    let names = [&action.device, &action.machine_id];
    names.into_iter().flatten().any(|name| {
        let short = name.split('.').next().unwrap_or(name);
        device.eq_ignore_ascii_case(name) || device.eq_ignore_ascii_case(short)
    })
}

/// The user's state folder, from what the environment says: `XDG_STATE_HOME`
/// or `~/.local/state`, `%LOCALAPPDATA%`, `~/Library/Application Support`,
/// and `afteraction` in it.
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
    fn a_filter_means_devices_by_any_of_their_names() {
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
    fn an_action_without_a_time_passes_and_one_of_another_kind_does_not() {
        let filter = ActionFilter {
            since: "2026-01-01T00:00:00Z".parse().ok(),
            until: "2026-02-01T00:00:00Z".parse().ok(),
            ..ActionFilter::default()
        };
        let at = |more: &str| {
            action(&format!(
                r#"{{"id":"5382f7ea-7557-4ab7-9782-d50480024a4e"{more}}}"#
            ))
        };
        assert!(filter.matches(&at("")));
        assert!(filter.matches(&at(r#","creationDateTimeUtc":"2026-01-01T00:00:00Z""#)));
        assert!(!filter.matches(&at(r#","creationDateTimeUtc":"2026-02-01T00:00:00Z""#)));
        assert!(!filter.matches(&at(r#","type":"Isolate""#)));
    }

    #[test]
    fn each_cloud_asks_for_its_own_scope() {
        let scope = |cloud| {
            let token = SignIn::Token(TokenSource::Ready(Secret::new("x")));
            CollectSettings::new(cloud, None, None, token, PathBuf::new())
                .unwrap()
                .scope()
        };
        assert_eq!(scope(Cloud::Commercial), COMMERCIAL_SCOPE);
        assert_eq!(
            scope(Cloud::GccHigh),
            "https://api-gov.securitycenter.microsoft.us/.default"
        );
    }

    #[cfg(all(unix, not(target_os = "macos")))]
    #[test]
    fn the_state_folder_is_found_from_the_environment() {
        let dir = |xdg: &str, home: &str| {
            state_dir(|name| match name {
                "XDG_STATE_HOME" => Some(xdg.into()),
                "HOME" => Some(home.into()),
                _ => None,
            })
        };
        assert_eq!(dir("/s", "/h"), Some("/s/afteraction".into()));
        let home = Some("/h/.local/state/afteraction".into());
        assert_eq!(dir("", "/h"), home);
        assert_eq!(dir("relative", "/h"), home);
        assert_eq!(dir("", ""), None);
    }
}
