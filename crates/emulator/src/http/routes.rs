//! Maps method and path of a request to an endpoint.

use axum::http::Method;
use percent_encoding::percent_decode_str;

use crate::auth::signed_links::{blob_name_in, is_package};
use crate::call_kind::CallKind;

/// An endpoint, with the parameters of its path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    SignIn(String),
    Machines,
    Machine(String),
    Run(String),
    StartPackage(String),
    Actions,
    Action(String),
    Cancel(String),
    Link(String, u32),
    PackageLink(String),
    Library,
    Upload,
    Delete(String),
    Blob,
    PackageBlob,
    Conformance,
    Unknown,
}

impl Route {
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        if blob_name_in(path).is_some() {
            return Self::Blob;
        }
        if is_package(path) {
            return Self::PackageBlob;
        }
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        let segments: Vec<&str> = decoded.trim_matches('/').split('/').collect();
        let lower: Vec<String> = segments
            .iter()
            .map(|segment| segment.to_ascii_lowercase())
            .collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let segment = |index: usize| segments.get(index).copied().unwrap_or_default().to_string();
        match lower.as_slice() {
            [_, "oauth2", "v2.0", "token"] => Self::SignIn(segment(0)),
            ["emulator", "conformance" | "judgement"] => Self::Conformance,
            ["api", "machines"] => Self::Machines,
            ["api", "machines", _] => Self::Machine(segment(2)),
            ["api", "machines", _, "runliveresponse"] => Self::Run(segment(2)),
            ["api", "machines", _, "collectinvestigationpackage"] => Self::StartPackage(segment(2)),
            ["api", "machineactions"] => Self::Actions,
            ["api", "machineactions", _] => Self::Action(segment(2)),
            ["api", "machineactions", _, "cancel"] => Self::Cancel(segment(2)),
            ["api", "machineactions", _, "getpackageuri"] => Self::PackageLink(segment(2)),
            ["api", "machineactions", _, call] => match link_index(call) {
                Some(index) => Self::Link(segment(2), index),
                None => Self::Unknown,
            },
            ["api", "libraryfiles"] if method == Method::POST => Self::Upload,
            ["api", "libraryfiles"] => Self::Library,
            ["api", "libraryfiles", _] => Self::Delete(segment(2)),
            _ => Self::Unknown,
        }
    }

    pub(crate) fn kind(&self) -> CallKind {
        match self {
            Self::SignIn(_) => CallKind::SignIn,
            Self::Machines | Self::Machine(_) => CallKind::Machines,
            Self::Run(_) => CallKind::Run,
            Self::StartPackage(_) => CallKind::Package,
            Self::Actions => CallKind::List,
            Self::Action(_) => CallKind::Get,
            Self::Cancel(_) => CallKind::Cancel,
            Self::Link(..) => CallKind::Link,
            Self::PackageLink(_) => CallKind::PackageLink,
            Self::Library => CallKind::Library,
            Self::Upload => CallKind::Upload,
            Self::Delete(_) => CallKind::Delete,
            Self::Blob | Self::PackageBlob => CallKind::Blob,
            Self::Conformance | Self::Unknown => CallKind::Other,
        }
    }

    /// The only method that an endpoint of the API accepts.
    pub(crate) fn method(&self) -> Method {
        match self {
            Self::Run(_) | Self::StartPackage(_) | Self::Cancel(_) | Self::Upload => Method::POST,
            Self::Delete(_) => Method::DELETE,
            _ => Method::GET,
        }
    }
}

fn link_index(call: &str) -> Option<u32> {
    call.strip_prefix("getliveresponseresultdownloadlink(index=")?
        .strip_suffix(')')?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Route {
        Route::of(&Method::GET, path)
    }

    #[test]
    fn paths_match_in_any_case_and_percent_encoding() {
        let expected = Route::Link("5382".into(), 12);
        for path in [
            "/api/machineactions/5382/GetLiveResponseResultDownloadLink(index=12)",
            "/api/machineActions/5382/GetLiveResponseResultDownloadLink%28index%3D12%29",
            "/api/MachineActions/5382/getliveresponseresultdownloadlink(index=12)/",
        ] {
            assert_eq!(of(path), expected, "{path}");
        }
        let package = of("/api/machineactions/5382/getPackageUri");
        assert_eq!(package, Route::PackageLink("5382".into()));
        assert_eq!(of("/t/oauth2/v2.0/token"), Route::SignIn("t".into()));
        assert_eq!(of("/%zz/ä"), Route::Unknown);
    }

    #[test]
    fn conformance_report_has_two_paths() {
        assert_eq!(of("/emulator/conformance"), Route::Conformance);
        assert_eq!(of("/emulator/judgement"), Route::Conformance);
    }

    #[test]
    fn library_path_is_a_list_or_an_upload_by_method() {
        let route = |method| Route::of(&method, "/api/libraryfiles");
        assert_eq!(route(Method::GET).kind(), CallKind::Library);
        assert_eq!(route(Method::POST).kind(), CallKind::Upload);
        let file = Route::of(&Method::DELETE, "/api/libraryfiles/My%20Script.ps1");
        assert_eq!(file, Route::Delete("My Script.ps1".into()));
    }
}
