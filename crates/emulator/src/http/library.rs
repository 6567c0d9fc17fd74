//! The library of scripts and files that runs take from.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::http::api;
use crate::http::multipart;
use crate::http::request::{Reply, RequestContext};
use crate::timeline::clock::api_time;
use evidence::Sha256;

/// Largest file the service takes.
pub(crate) const FILE_MAX: usize = 20 << 20;
/// The form around a file: names, descriptions, boundaries.
pub(crate) const FORM_MAX: usize = FILE_MAX + (64 << 10);

/// The files by their names. Their bytes are not kept: nobody asks for them.
#[derive(Debug, Default)]
pub(crate) struct EmulatedLibrary(BTreeMap<String, EmulatedFile>);

#[derive(Debug)]
struct EmulatedFile {
    sha256: String,
    description: String,
    parameters: String,
    has_parameters: bool,
    created: Timestamp,
    updated: Timestamp,
    by: String,
}

/// An upload, read.
struct UploadForm<'a> {
    name: String,
    content: &'a [u8],
    description: String,
    parameters: String,
    has_parameters: bool,
    replaces: bool,
}

impl EmulatedLibrary {
    pub(crate) fn holds(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Puts a file there from the start.
    pub(crate) fn stock(&mut self, name: String, content: &[u8], at: Timestamp) {
        let entry = EmulatedFile {
            sha256: sha256(content),
            description: String::new(),
            parameters: String::new(),
            has_parameters: false,
            created: at,
            updated: at,
            by: "analyst@contoso.example".into(),
        };
        self.0.insert(name, entry);
    }

    fn put(&mut self, upload: UploadForm<'_>, by: &str, now: Timestamp) -> Value {
        let created = self.0.get(&upload.name).map_or(now, |old| old.created);
        let entry = EmulatedFile {
            sha256: sha256(upload.content),
            description: upload.description,
            parameters: upload.parameters,
            has_parameters: upload.has_parameters,
            created,
            updated: now,
            by: by.to_string(),
        };
        let shown = entry.json(&upload.name);
        self.0.insert(upload.name, entry);
        shown
    }
}

fn sha256(content: &[u8]) -> String {
    Sha256::of(content).to_string()
}

impl EmulatedFile {
    fn json(&self, name: &str) -> Value {
        json!({
            "fileName": name,
            "sha256": self.sha256,
            "description": self.description,
            "creationTime": api_time(self.created),
            "lastUpdatedTime": api_time(self.updated),
            "createdBy": self.by,
            "hasParameters": self.has_parameters,
            "parametersDescription": self.parameters,
        })
    }
}

impl<'a> UploadForm<'a> {
    fn read(content_type: &str, body: &'a [u8]) -> Result<Self, String> {
        let mut upload = Self {
            name: String::new(),
            content: &[],
            description: String::new(),
            parameters: String::new(),
            has_parameters: false,
            replaces: false,
        };
        for part in multipart::parts(content_type, body)? {
            let text = || String::from_utf8_lossy(part.content).into_owned();
            match part.name.as_str() {
                "file" => {
                    upload.name = part.file_name.unwrap_or_default();
                    upload.content = part.content;
                }
                "Description" => upload.description = text(),
                "ParametersDescription" => upload.parameters = text(),
                "HasParameters" => upload.has_parameters = flag(&part.name, &text())?,
                "OverrideIfExists" => upload.replaces = flag(&part.name, &text())?,
                unknown => return Err(format!("Unknown form field '{unknown}'.")),
            }
        }
        if upload.name.is_empty() || upload.name.contains(['/', '\\']) {
            return Err("The form holds no file with a name.".into());
        }
        if upload.content.len() > FILE_MAX {
            return Err("The file exceeds the limit of 20 MB.".into());
        }
        Ok(upload)
    }
}

fn flag(name: &str, text: &str) -> Result<bool, String> {
    let lower = text.trim().to_ascii_lowercase();
    lower
        .parse()
        .map_err(|_| format!("{name} must be true or false."))
}

pub(crate) fn list(asked: &RequestContext<'_>) -> Reply {
    let stock = asked.service.stock();
    let files = stock.library.0.iter();
    let files: Vec<_> = files.map(|(name, entry)| entry.json(name)).collect();
    let context = api::context(asked, "LibraryFiles");
    let value = json!({"@odata.context": context, "value": files});
    api::json(StatusCode::OK, &value)
}

/// `body` is nothing where it was larger than any form may be.
pub(crate) fn upload(asked: &RequestContext<'_>, body: Option<&[u8]>) -> Reply {
    let content_type = asked.header("content-type").unwrap_or_default();
    let too_large = || "The file exceeds the limit of 20 MB.".to_string();
    let read = body
        .ok_or_else(too_large)
        .and_then(|body| UploadForm::read(content_type, body));
    let upload = match read {
        Ok(upload) => upload,
        Err(why) => return api::error(asked, 400, "InvalidInput", &why),
    };
    let service = asked.service;
    let mut stock = service.stock_mut();
    if stock.library.holds(&upload.name) && !upload.replaces {
        let why = format!("File {} already exists in the library.", upload.name);
        return api::error(asked, 400, "InvalidInput", &why);
    }
    let by = service.tokens.client_id();
    let shown = stock.library.put(upload, by, service.clock.now());
    let mut value = json!({"@odata.context": api::context(asked, "LibraryFiles/$entity")});
    if let (Value::Object(value), Value::Object(shown)) = (&mut value, shown) {
        value.extend(shown);
    }
    api::json(StatusCode::OK, &value)
}

pub(crate) fn delete(asked: &RequestContext<'_>, name: &str) -> Reply {
    let mut stock = asked.service.stock_mut();
    match stock.library.0.remove(name) {
        Some(_) => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NO_CONTENT;
            Reply::of(response)
        }
        None => api::not_found(asked, name),
    }
}
