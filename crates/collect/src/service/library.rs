//! The live response library: scripts and tools that sessions put and run.

use std::path::Path;
use std::sync::Arc;

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use crate::counters::CollectCounters;
use crate::service::api::{Api, ApiRequest, CallError, RequestBody};
use crate::service::entity_list::read_entities;
use crate::service::retry::RetryState;
use crate::{ApiCall, CollectError, CollectSettings};
use evidence::Sha256;

/// **Source**: the library page; a larger file is refused.
pub const LIBRARY_FILE_BYTES_MAX: u64 = 20 * 1024 * 1024;

/// A file of the library, as the service describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LibraryFile {
    pub name: String,
    pub sha256: Option<String>,
    pub description: String,
    pub created_by: String,
    pub updated: String,
}

/// A file to be put there.
#[derive(Clone, Debug)]
pub struct LibraryUpload {
    pub name: String,
    pub bytes: Vec<u8>,
    pub description: String,
    /// What its parameters are; empty where it has none.
    pub parameters: String,
    /// Replace a file of that name.
    pub replace: bool,
}

/// The library, spoken to by its own calls.
pub struct LibraryClient {
    api: Api,
}

impl LibraryUpload {
    /// Reads a file.
    ///
    /// **Errors**: also where it is larger than the service takes.
    pub fn from_file(path: &Path) -> Result<Self, CollectError> {
        let refuse = |why: String| CollectError::Upload {
            path: path.to_path_buf(),
            why,
        };
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| refuse("it has no name the service could take".into()))?;
        let bytes = std::fs::metadata(path)
            .map_err(|e| refuse(e.to_string()))?
            .len();
        if bytes > LIBRARY_FILE_BYTES_MAX {
            let why = format!("{bytes} bytes; the service takes {LIBRARY_FILE_BYTES_MAX}");
            return Err(refuse(why));
        }
        Ok(Self {
            name: name.to_string(),
            bytes: std::fs::read(path).map_err(|e| refuse(e.to_string()))?,
            description: String::new(),
            parameters: String::new(),
            replace: false,
        })
    }

    /// What the name comes to in the header of a form.
    fn sent_name(&self) -> String {
        let name = self.name.chars();
        name.filter(|c| !c.is_control() && *c != '"').collect()
    }

    fn payload(&self) -> RequestBody {
        // At most 70 characters (RFC 2046).
        let hash = Sha256::of(&self.bytes).to_string();
        let boundary = format!("afteraction{}", hash.get(..32).unwrap_or_default());
        let mut body = Vec::with_capacity(self.bytes.len() + 2_048);
        let mut part = |head: &str, bytes: &[u8]| {
            let head = format!("--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        };
        part("name=\"Description\"", self.description.as_bytes());
        part("name=\"ParametersDescription\"", self.parameters.as_bytes());
        let has_parameters = !self.parameters.is_empty();
        part(
            "name=\"HasParameters\"",
            has_parameters.to_string().as_bytes(),
        );
        part(
            "name=\"OverrideIfExists\"",
            self.replace.to_string().as_bytes(),
        );
        let head = format!(
            "name=\"file\"; filename=\"{}\"\r\nContent-Type: application/octet-stream",
            self.sent_name()
        );
        part(&head, &self.bytes);
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        RequestBody {
            content_type: format!("multipart/form-data; boundary={boundary}"),
            bytes: body.into(),
        }
    }
}

impl LibraryClient {
    /// Signs in.
    pub async fn open(settings: &CollectSettings) -> Result<Self, CollectError> {
        settings.validate()?;
        let counters = Arc::new(CollectCounters::new(Arc::new(|_| ())));
        let api = Api::open(settings, counters).await?;
        Ok(Self { api })
    }

    pub async fn list(&self) -> Result<Vec<LibraryFile>, CollectError> {
        let url = self.api.url("libraryfiles");
        let (values, _) = read_entities(&self.api, ApiCall::Library, url).await?;
        Ok(values.iter().filter_map(read_file).collect())
    }

    /// Puts a file there and compares the hash the service says it has. A lost
    /// answer is resolved by looking.
    pub async fn upload(&self, upload: &LibraryUpload) -> Result<LibraryFile, CollectError> {
        let ask = ApiRequest {
            method: Method::POST,
            payload: Some(upload.payload()),
            ..ApiRequest::get(ApiCall::Library, self.api.url("libraryfiles"))
        };
        let name = upload.sent_name();
        let refused = match self.api.call_non_idempotent(&ask).await {
            Ok(_) => None,
            Err(error) if error.error_class().is_some() => Some(error),
            Err(error) => return Err(self.fatal(error)),
        };
        let ours = Sha256::of(&upload.bytes).to_string();
        let files = self.list().await?;
        let held = files
            .into_iter()
            .find(|f| f.name.eq_ignore_ascii_case(&name));
        let same = held.as_ref().and_then(|file| file.sha256.as_ref());
        match (held.clone(), same, refused) {
            (Some(file), Some(theirs), _) if theirs.eq_ignore_ascii_case(&ours) => Ok(file),
            (_, _, Some(error)) => Err(self.fatal(error)),
            (Some(file), None, None) => Ok(file),
            (held, ..) => Err(CollectError::LibraryDiffers {
                name,
                ours,
                theirs: held
                    .and_then(|f| f.sha256)
                    .unwrap_or_else(|| "nothing".into()),
            }),
        }
    }

    /// **Errors**: also where no file has that name, unless an answer was lost
    /// before: then that one took it away.
    pub async fn delete(&self, name: &str) -> Result<(), CollectError> {
        let mut url = self.api.url("libraryfiles");
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(name);
        }
        let ask = ApiRequest {
            method: Method::DELETE,
            ..ApiRequest::get(ApiCall::Library, url)
        };
        let mut tries = RetryState::default();
        let mut may_be_gone = false;
        loop {
            let error = match self.api.call(&ask).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let is_absent = matches!(&error, CallError::Service(e) if e.status == 404);
            if is_absent && may_be_gone {
                return Ok(());
            }
            let trouble = error.error_class();
            may_be_gone |= trouble.is_some_and(|trouble| !trouble.is_surely_unprocessed());
            match trouble.and_then(|trouble| tries.next_delay(trouble)) {
                Some(wait) => self.api.clock.sleep(wait).await,
                None => return Err(self.fatal(error)),
            }
        }
    }

    fn fatal(&self, error: CallError) -> CollectError {
        error.into_fatal(ApiCall::Library, &self.api.host)
    }
}

fn read_file(value: &Value) -> Option<LibraryFile> {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_string();
    Some(LibraryFile {
        name: value["fileName"].as_str()?.to_string(),
        sha256: value["sha256"].as_str().map(str::to_string),
        description: text("description"),
        created_by: text("createdBy"),
        updated: text("lastUpdatedTime"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_one_form_with_the_bytes_as_they_are() {
        let upload = LibraryUpload {
            name: "a\"b.ps1".into(),
            bytes: b"\r\n--x\0".to_vec(),
            description: "d".into(),
            parameters: String::new(),
            replace: true,
        };
        let payload = upload.payload();
        let body = String::from_utf8(payload.bytes.to_vec()).unwrap();
        assert!(body.contains(
            "filename=\"ab.ps1\"\r\nContent-Type: application/octet-stream\r\n\r\n\r\n--x\0\r\n--"
        ));
        assert!(body.contains("name=\"OverrideIfExists\"\r\n\r\ntrue\r\n"));
        assert!(body.contains("name=\"HasParameters\"\r\n\r\nfalse\r\n"));
        let boundary = payload.content_type.split("boundary=").nth(1).unwrap();
        assert!((20..=70).contains(&boundary.len()), "{boundary}");
        assert!(body.ends_with(&format!("--{boundary}--\r\n")));
    }
}
