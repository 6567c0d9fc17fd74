//! What a path means.

use axum::http::Method;

use crate::auth::signed_links::{blob_of, is_package};
use crate::call_kind::CallKind;

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
        if blob_of(path).is_some() {
            return Self::Blob;
        }
        if is_package(path) {
            return Self::PackageBlob;
        }
        let path = percent_decoded(path);
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let lower: Vec<String> = parts.iter().map(|part| part.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let own = |place: usize| parts.get(place).copied().unwrap_or_default().to_string();
        match lower.as_slice() {
            [_, "oauth2", "v2.0", "token"] => Self::SignIn(own(0)),
            ["emulator", "judgement"] => Self::Conformance,
            ["api", "machines"] => Self::Machines,
            ["api", "machines", _] => Self::Machine(own(2)),
            ["api", "machines", _, "runliveresponse"] => Self::Run(own(2)),
            ["api", "machines", _, "collectinvestigationpackage"] => Self::StartPackage(own(2)),
            ["api", "machineactions"] => Self::Actions,
            ["api", "machineactions", _] => Self::Action(own(2)),
            ["api", "machineactions", _, "cancel"] => Self::Cancel(own(2)),
            ["api", "machineactions", _, "getpackageuri"] => Self::PackageLink(own(2)),
            ["api", "machineactions", _, call] => match index_of(call) {
                Some(index) => Self::Link(own(2), index),
                None => Self::Unknown,
            },
            ["api", "libraryfiles"] if method == Method::POST => Self::Upload,
            ["api", "libraryfiles"] => Self::Library,
            ["api", "libraryfiles", _] => Self::Delete(own(2)),
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

    /// The one method a call of the API is made with.
    pub(crate) fn method(&self) -> Method {
        match self {
            Self::Run(_) | Self::StartPackage(_) | Self::Cancel(_) | Self::Upload => Method::POST,
            Self::Delete(_) => Method::DELETE,
            _ => Method::GET,
        }
    }
}

fn index_of(call: &str) -> Option<u32> {
    call.strip_prefix("getliveresponseresultdownloadlink(index=")?
        .strip_suffix(')')?
        .parse()
        .ok()
}

/// `%28` and the like; a path is ASCII, what is not UTF-8 is nobody's path.
fn percent_decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let decoded = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(decoded.unwrap_or(*byte));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Route {
        Route::of(&Method::GET, path)
    }

    #[test]
    fn paths_are_read_in_any_case_and_encoding() {
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
    fn the_library_is_one_path_for_two_calls() {
        let route = |method| Route::of(&method, "/api/libraryfiles");
        assert_eq!(route(Method::GET).kind(), CallKind::Library);
        assert_eq!(route(Method::POST).kind(), CallKind::Upload);
        let file = Route::of(&Method::DELETE, "/api/libraryfiles/My%20Script.ps1");
        assert_eq!(file, Route::Delete("My Script.ps1".into()));
    }
}
