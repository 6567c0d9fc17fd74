//! The clouds of the service: a table of their hosts, the regions of the
//! commercial cloud, and the default token scope.
//!
//! To add a cloud, add a row to the table.
//!
//! **Source**: the pages on supported API endpoints and on government clouds.

use std::str::FromStr;

use url::Url;

use crate::error::CollectError;

/// Token scope of all hosts outside the government clouds.
const COMMERCIAL_SCOPE: &str = "https://api.securitycenter.microsoft.com/.default";
/// Domain of the government clouds. Their scope is that of the API host.
const GOVERNMENT_DOMAIN: &str = ".us";
/// Regions of the commercial cloud, as in `https://eu.api.security.microsoft.com`.
const REGIONS: [&str; 6] = ["us", "eu", "uk", "au", "swa", "ina"];

/// Hosts of a cloud.
struct CloudHosts {
    cloud: Cloud,
    /// The name of the cloud, and further accepted spellings.
    names: &'static [&'static str],
    api_base: &'static str,
    login_base: &'static str,
    /// Regions, each with its own API host.
    regions: &'static [&'static str],
}

macro_rules! clouds {
    ($($cloud:ident, $names:expr, $api_base:literal, $login_base:literal, $regions:expr;)*) => {
        /// The cloud of a tenant.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Cloud {
            $($cloud),*
        }

        const CLOUDS: &[CloudHosts] = &[$(CloudHosts {
            cloud: Cloud::$cloud,
            names: &$names,
            api_base: $api_base,
            login_base: $login_base,
            regions: $regions,
        }),*];
    };
}

clouds! {
    Commercial, ["commercial"],
        "https://api.securitycenter.microsoft.com", "https://login.microsoftonline.com", &REGIONS;
    Gcc, ["gcc"],
        "https://api-gcc.securitycenter.microsoft.us", "https://login.microsoftonline.com", &[];
    GccHigh, ["gcc-high", "gcchigh"],
        "https://api-gov.securitycenter.microsoft.us", "https://login.microsoftonline.us", &[];
    Dod, ["dod"],
        "https://api-gov.securitycenter.microsoft.us", "https://login.microsoftonline.us", &[];
}

impl Cloud {
    /// Base address of the API.
    pub fn api_base(self) -> &'static str {
        self.hosts().api_base
    }

    /// Base address of the sign-in service.
    pub fn login_base(self) -> &'static str {
        self.hosts().login_base
    }

    /// Regions, each with its own API host.
    pub fn regions(self) -> &'static [&'static str] {
        self.hosts().regions
    }

    /// Base address of the API in a region; `None` if the cloud does not have
    /// this region.
    pub fn regional_api_base(self, region: &str) -> Option<String> {
        self.regions()
            .contains(&region)
            .then(|| format!("https://{region}.api.security.microsoft.com"))
    }

    fn hosts(self) -> &'static CloudHosts {
        // The macro that declares the variants adds a row for each, in order.
        &CLOUDS[self as usize]
    }
}

impl FromStr for Cloud {
    type Err = CollectError;

    fn from_str(text: &str) -> Result<Self, CollectError> {
        CLOUDS
            .iter()
            .find(|hosts| {
                hosts
                    .names
                    .iter()
                    .any(|name| name.eq_ignore_ascii_case(text))
            })
            .map(|hosts| hosts.cloud)
            .ok_or_else(|| CollectError::Setting {
                setting: "cloud",
                why: format!("expected one of {}", names().join(", ")),
            })
    }
}

fn names() -> Vec<&'static str> {
    CLOUDS
        .iter()
        .filter_map(|hosts| hosts.names.first().copied())
        .collect()
}

/// The token scope of an API host, unless the settings name another.
pub(crate) fn default_scope(api_base: &Url) -> String {
    let is_government = api_base
        .host_str()
        .is_some_and(|host| host.ends_with(GOVERNMENT_DOMAIN));
    if is_government {
        format!("{}/.default", api_base.as_str().trim_end_matches('/'))
    } else {
        COMMERCIAL_SCOPE.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cloud_is_found_by_its_names() {
        for hosts in CLOUDS {
            assert_eq!(hosts.cloud.api_base(), hosts.api_base);
            for name in hosts.names {
                assert_eq!(name.to_uppercase().parse::<Cloud>().unwrap(), hosts.cloud);
            }
        }
        let error = "moon".parse::<Cloud>().unwrap_err().to_string();
        assert!(error.contains("commercial, gcc, gcc-high, dod"), "{error}");
    }

    #[test]
    fn only_the_commercial_cloud_has_regions() {
        let eu = Some("https://eu.api.security.microsoft.com".to_string());
        assert_eq!(Cloud::Commercial.regional_api_base("eu"), eu);
        assert_eq!(Cloud::Commercial.regional_api_base("moon"), None);
        assert_eq!(Cloud::Dod.regional_api_base("eu"), None);
    }

    #[test]
    fn government_hosts_have_their_own_scope() {
        let scope = |cloud: Cloud| default_scope(&Url::parse(cloud.api_base()).unwrap());
        assert_eq!(scope(Cloud::Commercial), COMMERCIAL_SCOPE);
        assert_eq!(
            scope(Cloud::GccHigh),
            "https://api-gov.securitycenter.microsoft.us/.default"
        );
    }
}
