//! The service to talk to, and as whom: filled by a front end, converted here
//! to the settings of the collector.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use collect::{ActionFilter, Cloud, CollectSettings, ServicePace, SignIn};
use evidence::ActionId;

use crate::app::error::Failure;

/// Connection to the Defender API.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// Its hosts are used unless a base URL is given.
    pub cloud: Cloud,
    /// Region of the commercial cloud: `us`, `eu`, `uk`, `au`, `swa`, `ina`.
    pub region: Option<String>,
    /// Base URL of the API.
    pub api_base: Option<String>,
    /// Base URL of the sign-in service.
    pub login_base: Option<String>,
    /// OAuth scope; `None` for that of the cloud.
    pub scope: Option<String>,
    pub sign_in: SignIn,
    /// Directory of the call log, which keeps rate limits across processes.
    pub state_dir: PathBuf,
    /// Certificate authorities to trust besides those of the system, PEM.
    pub ca_file: Option<PathBuf>,
    /// Service seconds in a real second, 1 to 100; above 1 only for an emulator.
    pub time_scale: f64,
    /// The service has no rate limits; only for an emulator.
    pub limits_lifted: bool,
}

/// The results to collect, and how.
#[derive(Clone, Debug, Default)]
pub struct CollectRequest {
    /// Only actions created at or after this time.
    pub since: Option<Timestamp>,
    /// Only actions created before this time.
    pub until: Option<Timestamp>,
    /// Only actions on these devices: machine ids, full or short names.
    pub devices: Vec<String>,
    pub actions: Vec<ActionId>,
    /// Only commands with these indexes.
    pub indexes: Vec<u32>,
    /// Only actions with this text in their comment.
    pub comment: Option<String>,
    /// Investigation packages instead of live response results.
    pub packages: bool,
    /// Download sealed results again; a different body becomes a new version.
    pub again: bool,
    pub polling: CollectPolling,
}

/// How the service is polled and how much is downloaded at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct CollectPolling {
    /// Time between two polls; `None` collects once.
    ///
    /// **Units**: service time.
    pub interval: Option<Duration>,
    /// Concurrent downloads; `None` for the default of the collector.
    pub downloads: Option<usize>,
}

impl ServiceSettings {
    /// Checks that the settings describe a service. Opens no connection.
    pub fn check(&self) -> Result<(), Failure> {
        self.to_collect().map(drop)
    }

    /// Settings of the collector for calls without a list.
    pub(super) fn to_collect(&self) -> Result<CollectSettings, Failure> {
        let regional = self.regional_api_base()?;
        let mut settings = CollectSettings::new(
            self.cloud,
            regional.as_deref().or(self.api_base.as_deref()),
            self.login_base.as_deref(),
            self.sign_in.clone(),
            self.state_dir.clone(),
        )?;
        settings.scope.clone_from(&self.scope);
        settings.ca_file.clone_from(&self.ca_file);
        settings.pace = ServicePace {
            time_scale: self.time_scale,
            limits_lifted: self.limits_lifted,
        };
        Ok(settings)
    }

    /// Settings of the collector that also poll.
    pub(super) fn to_polling(&self, polling: CollectPolling) -> Result<CollectSettings, Failure> {
        let mut settings = self.to_collect()?;
        settings.watch = polling.interval;
        if let Some(downloads) = polling.downloads {
            settings.workers = downloads;
        }
        Ok(settings)
    }

    /// Settings of the collector for a collection.
    pub(super) fn to_collecting(
        &self,
        request: &CollectRequest,
    ) -> Result<CollectSettings, Failure> {
        let mut settings = self.to_polling(request.polling)?;
        settings.redownload = request.again;
        settings.filter = ActionFilter {
            since: request.since,
            until: request.until,
            devices: request.devices.clone(),
            actions: request.actions.clone(),
            indexes: request.indexes.clone(),
            comment: request.comment.clone(),
            packages: request.packages,
        };
        Ok(settings)
    }

    fn regional_api_base(&self) -> Result<Option<String>, Failure> {
        match (&self.region, self.cloud) {
            (None, _) => Ok(None),
            (Some(region), Cloud::Commercial) => {
                Ok(Some(format!("https://{region}.api.security.microsoft.com")))
            }
            (Some(_), _) => Err(Failure::usage("only the commercial cloud has regions")),
        }
    }
}

/// The default directory of the call log, from environment variables.
pub fn default_state_dir(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    collect::state_dir(variable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use collect::TokenSource;

    fn settings(cloud: Cloud, region: Option<&str>) -> ServiceSettings {
        ServiceSettings {
            cloud,
            region: region.map(str::to_string),
            api_base: None,
            login_base: None,
            scope: None,
            sign_in: SignIn::Token(TokenSource::File("f".into())),
            state_dir: "s".into(),
            ca_file: None,
            time_scale: 1.0,
            limits_lifted: false,
        }
    }

    #[test]
    fn cloud_and_region_decide_the_hosts() {
        for (cloud, region, api, login) in [
            (
                Cloud::Commercial,
                None,
                "api.securitycenter.microsoft.com",
                "login.microsoftonline.com",
            ),
            (
                Cloud::Commercial,
                Some("eu"),
                "eu.api.security.microsoft.com",
                "login.microsoftonline.com",
            ),
            (
                Cloud::Gcc,
                None,
                "api-gcc.securitycenter.microsoft.us",
                "login.microsoftonline.com",
            ),
            (
                Cloud::GccHigh,
                None,
                "api-gov.securitycenter.microsoft.us",
                "login.microsoftonline.us",
            ),
            (
                Cloud::Dod,
                None,
                "api-gov.securitycenter.microsoft.us",
                "login.microsoftonline.us",
            ),
        ] {
            let settings = settings(cloud, region).to_collect().unwrap();
            assert_eq!(settings.api_base.host_str(), Some(api), "{cloud:?}");
            assert_eq!(settings.login_base.host_str(), Some(login), "{cloud:?}");
        }
        let odd = settings(Cloud::Dod, Some("eu")).check().unwrap_err();
        assert!(odd.chain().contains("only the commercial cloud"));
    }

    #[test]
    fn request_becomes_filter_and_polling() {
        let request = CollectRequest {
            devices: vec!["pc-1".into()],
            polling: CollectPolling {
                interval: Some(Duration::from_secs(30)),
                downloads: Some(3),
            },
            ..CollectRequest::default()
        };
        let settings = settings(Cloud::Gcc, None).to_collecting(&request).unwrap();
        assert_eq!(settings.filter.devices, ["pc-1"]);
        assert_eq!(settings.watch, Some(Duration::from_secs(30)));
        assert_eq!(settings.workers, 3);
    }
}
