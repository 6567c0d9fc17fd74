//! The live response library: scripts and tools that sessions use.

use std::path::Path;
use std::sync::Arc;

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use crate::api_call::ApiCall;
use crate::counters::CollectCounters;
use crate::error::CollectError;
use crate::service::api::{Api, ApiRequest, CallError, RequestBody};
use crate::service::entity_list::read_entities;
use crate::service::retry::RetryState;
use crate::settings::CollectSettings;
use evidence::Sha256;

/// Largest file that the service accepts. **Source**: the library page.
pub const LIBRARY_FILE_BYTES_MAX: u64 = 20 * 1024 * 1024;

/// A file of the library, as described by the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LibraryFile {
    pub name: String,
    pub sha256: Option<String>,
    pub description: String,
    pub created_by: String,
    pub updated: String,
}

/// A file to upload.
#[derive(Clone, Debug)]
pub struct LibraryUpload {
    pub name: String,
    pub bytes: Vec<u8>,
    pub description: String,
    /// Description of the parameters; empty if there are none.
    pub parameters: String,
    /// Replace an existing file of this name.
    pub replace: bool,
}

/// Client of the library.
pub struct LibraryClient {
    api: Api,
}

impl LibraryUpload {
    /// Reads a file.
    ///
    /// **Errors**: the file cannot be read, is larger than
    /// [`LIBRARY_FILE_BYTES_MAX`], or its name is not Unicode.
    pub fn from_file(path: &Path) -> Result<Self, CollectError> {
        let refuse = |why: String| CollectError::Upload {
            path: path.to_path_buf(),
            why,
        };
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| refuse("the file name is missing or not Unicode".into()))?;
        let bytes = std::fs::metadata(path)
            .map_err(|e| refuse(e.to_string()))?
            .len();
        if bytes > LIBRARY_FILE_BYTES_MAX {
            return Err(refuse(format!(
                "{bytes} bytes; the service accepts up to {LIBRARY_FILE_BYTES_MAX}"
            )));
        }
        Ok(Self {
            name: name.to_string(),
            bytes: std::fs::read(path).map_err(|e| refuse(e.to_string()))?,
            description: String::new(),
            parameters: String::new(),
            replace: false,
        })
    }

    /// The name as sent in the header of the form.
    fn sent_name(&self) -> String {
        self.name
            .chars()
            .filter(|c| !c.is_control() && *c != '"')
            .collect()
    }

    /// The multipart form of the upload.
    fn form(&self) -> RequestBody {
        // RFC 2046 allows up to 70 characters.
        let hash = Sha256::of(&self.bytes).to_string();
        let boundary = format!("afteraction{}", hash.get(..32).unwrap_or_default());
        let mut body = Vec::with_capacity(self.bytes.len() + 2_048);
        let mut add_part = |head: &str, bytes: &[u8]| {
            let head = format!("--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n");
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(bytes);
            body.extend_from_slice(b"\r\n");
        };
        let has_parameters = (!self.parameters.is_empty()).to_string();
        let replace = self.replace.to_string();
        add_part("name=\"Description\"", self.description.as_bytes());
        add_part("name=\"ParametersDescription\"", self.parameters.as_bytes());
        add_part("name=\"HasParameters\"", has_parameters.as_bytes());
        add_part("name=\"OverrideIfExists\"", replace.as_bytes());
        let file_head = format!(
            "name=\"file\"; filename=\"{}\"\r\nContent-Type: application/octet-stream",
            self.sent_name()
        );
        add_part(&file_head, &self.bytes);
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
        Ok(values.iter().filter_map(parse_file).collect())
    }

    /// Uploads a file and compares its hash with the one that the service
    /// lists. If the response was lost, the list decides.
    pub async fn upload(&self, upload: &LibraryUpload) -> Result<LibraryFile, CollectError> {
        let request = ApiRequest {
            method: Method::POST,
            body: Some(upload.form()),
            ..ApiRequest::get(ApiCall::Library, self.api.url("libraryfiles"))
        };
        let name = upload.sent_name();
        let lost_response = match self.api.call_non_idempotent(&request).await {
            Ok(_) => None,
            Err(error) if error.error_class().is_some() => Some(error),
            Err(error) => return Err(self.fatal(error)),
        };
        let ours = Sha256::of(&upload.bytes).to_string();
        let files = self.list().await?;
        let listed = files
            .into_iter()
            .find(|file| file.name.eq_ignore_ascii_case(&name));
        let theirs = listed.as_ref().and_then(|file| file.sha256.clone());
        let is_same = theirs
            .as_ref()
            .is_some_and(|hash| hash.eq_ignore_ascii_case(&ours));
        match (listed, lost_response) {
            (Some(file), _) if is_same => Ok(file),
            (_, Some(error)) => Err(self.fatal(error)),
            (Some(file), None) if theirs.is_none() => Ok(file),
            _ => Err(CollectError::LibraryDiffers {
                name,
                ours,
                theirs: theirs.unwrap_or_else(|| "missing".into()),
            }),
        }
    }

    /// Deletes a file.
    ///
    /// **Errors**: also if the library has no file of this name, unless the
    /// response of an earlier attempt was lost: that attempt has deleted it.
    pub async fn delete(&self, name: &str) -> Result<(), CollectError> {
        let mut url = self.api.url("libraryfiles");
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(name);
        }
        let request = ApiRequest {
            method: Method::DELETE,
            ..ApiRequest::get(ApiCall::Library, url)
        };
        let mut retries = RetryState::default();
        let mut may_be_deleted = false;
        loop {
            let error = match self.api.call(&request).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let is_absent = matches!(&error, CallError::Service(e) if e.status == 404);
            if is_absent && may_be_deleted {
                return Ok(());
            }
            let class = error.error_class();
            may_be_deleted |= class.is_some_and(|class| !class.is_surely_unprocessed());
            match class.and_then(|class| retries.next_delay(class)) {
                Some(delay) => self.api.clock.sleep(delay).await,
                None => return Err(self.fatal(error)),
            }
        }
    }

    fn fatal(&self, error: CallError) -> CollectError {
        error.into_fatal(ApiCall::Library, &self.api.host)
    }
}

fn parse_file(value: &Value) -> Option<LibraryFile> {
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
    fn upload_form_contains_the_bytes_unchanged() {
        let upload = LibraryUpload {
            name: "a\"b.ps1".into(),
            bytes: b"\r\n--x\0".to_vec(),
            description: "d".into(),
            parameters: String::new(),
            replace: true,
        };
        let form = upload.form();
        let body = String::from_utf8(form.bytes.to_vec()).unwrap();
        assert!(body.contains(
            "filename=\"ab.ps1\"\r\nContent-Type: application/octet-stream\r\n\r\n\r\n--x\0\r\n--"
        ));
        assert!(body.contains("name=\"OverrideIfExists\"\r\n\r\ntrue\r\n"));
        assert!(body.contains("name=\"HasParameters\"\r\n\r\nfalse\r\n"));
        let boundary = form.content_type.split("boundary=").nth(1).unwrap();
        assert!((20..=70).contains(&boundary.len()), "{boundary}");
        assert!(body.ends_with(&format!("--{boundary}--\r\n")));
    }
}
