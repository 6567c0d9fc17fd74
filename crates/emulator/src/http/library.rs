//! Calls on the library: list, upload and delete.

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::http::api;
use crate::http::request::{Reply, RequestContext};
use crate::state::library::UploadedFile;

/// Largest file that the service accepts.
const FILE_MAX: usize = 20 << 20;
/// Largest upload: a file and the fields around it.
pub(crate) const FORM_MAX: usize = FILE_MAX + (64 << 10);
/// Maximum number of fields in a form; the service has five.
const FIELDS_MAX: usize = 16;

const TOO_LARGE: &str = "The file exceeds the limit of 20 MB.";

/// The form of an upload.
#[derive(Debug, Default)]
struct UploadForm {
    file: UploadedFile,
    replaces: bool,
}

impl UploadForm {
    /// Parses a `multipart/form-data` body.
    ///
    /// **Errors**: the message of the 400 response.
    async fn parse(content_type: Option<&HeaderValue>, body: Bytes) -> Result<Self, String> {
        let mut request = Request::new(Body::from(body));
        if let Some(content_type) = content_type {
            let headers = request.headers_mut();
            headers.insert(CONTENT_TYPE, content_type.clone());
        }
        DefaultBodyLimit::max(FORM_MAX).apply(&mut request);
        let mut fields = Multipart::from_request(request, &())
            .await
            .map_err(|rejection| rejection.body_text())?;
        let mut form = Self::default();
        let mut count = 0;
        while let Some(field) = fields.next_field().await.map_err(|e| e.body_text())? {
            count += 1;
            if count > FIELDS_MAX {
                return Err("The form has too many fields.".into());
            }
            let name = field.name().ok_or("A field has no name.")?.to_string();
            let file_name = field.file_name().unwrap_or_default().to_string();
            let content = field.bytes().await.map_err(|e| e.body_text())?;
            form.set(&name, file_name, content)?;
        }
        form.check()
    }

    fn set(&mut self, name: &str, file_name: String, content: Bytes) -> Result<(), String> {
        let text = || String::from_utf8_lossy(&content).into_owned();
        let file = &mut self.file;
        match name {
            "file" => {
                file.name = file_name;
                file.content = content;
            }
            "Description" => file.description = text(),
            "ParametersDescription" => file.parameters = text(),
            "HasParameters" => file.has_parameters = parse_bool(name, &text())?,
            "OverrideIfExists" => self.replaces = parse_bool(name, &text())?,
            unknown => return Err(format!("Unknown form field '{unknown}'.")),
        }
        Ok(())
    }

    fn check(self) -> Result<Self, String> {
        let name = &self.file.name;
        if name.is_empty() || name.contains(['/', '\\']) {
            return Err("The form contains no file with a name.".into());
        }
        if self.file.content.len() > FILE_MAX {
            return Err(TOO_LARGE.into());
        }
        Ok(self)
    }
}

fn parse_bool(name: &str, text: &str) -> Result<bool, String> {
    text.trim()
        .to_ascii_lowercase()
        .parse()
        .map_err(|_| format!("{name} must be true or false."))
}

pub(crate) fn list(request: &RequestContext<'_>) -> Reply {
    let files = request.service.fleet().library.list();
    let context = api::context(request, "LibraryFiles");
    let value = json!({"@odata.context": context, "value": files});
    api::json(StatusCode::OK, &value)
}

/// Uploads a file. `body` is `None` if it was larger than `FORM_MAX`.
pub(crate) async fn upload(request: &RequestContext<'_>, body: Option<Bytes>) -> Reply {
    let content_type = request.headers.get(CONTENT_TYPE);
    let form = match body {
        Some(body) => UploadForm::parse(content_type, body).await,
        None => Err(TOO_LARGE.into()),
    };
    let UploadForm { file, replaces } = match form {
        Ok(form) => form,
        Err(message) => return api::error(request, 400, "InvalidInput", &message),
    };
    let service = request.service;
    let mut fleet = service.fleet_mut();
    if fleet.library.contains(&file.name) && !replaces {
        let message = format!("File {} already exists in the library.", file.name);
        return api::error(request, 400, "InvalidInput", &message);
    }
    let uploader = service.tokens.client_id();
    let json = fleet.library.put(file, uploader, service.clock.now());
    let mut value = json!({"@odata.context": api::context(request, "LibraryFiles/$entity")});
    if let (Value::Object(value), Value::Object(json)) = (&mut value, json) {
        value.extend(json);
    }
    api::json(StatusCode::OK, &value)
}

pub(crate) fn delete(request: &RequestContext<'_>, name: &str) -> Reply {
    if !request.service.fleet_mut().library.remove(name) {
        return api::not_found(request, name);
    }
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Reply::new(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=\"x1\"";

    async fn parse(content_type: &str, body: &[u8]) -> Result<UploadForm, String> {
        let content_type = HeaderValue::from_str(content_type).unwrap();
        UploadForm::parse(Some(&content_type), Bytes::copy_from_slice(body)).await
    }

    #[tokio::test]
    async fn fields_end_at_their_boundary_and_nowhere_else() {
        let body = b"--x1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.ps1\"\r\n\
            Content-Type: application/octet-stream\r\n\r\none\r\n--x0\r\n\r\n\r\n--x1\r\n\
            content-disposition: form-data; name=Description\r\n\r\ntext\r\n--x1--\r\n";
        let form = parse(TYPE, body).await.unwrap();
        assert_eq!(form.file.name, "a.ps1");
        assert_eq!(form.file.content, b"one\r\n--x0\r\n\r\n"[..]);
        assert_eq!(form.file.description, "text");
        assert!(!form.replaces);
    }

    #[tokio::test]
    async fn invalid_forms_are_rejected() {
        let field = |header: &str| format!("--x1\r\n{header}\r\n\r\n\r\n--x1--\r\n");
        let disposition = "Content-Disposition: form-data; name=\"Description\"";
        let many = format!("--x1\r\n{disposition}\r\n\r\n\r\n").repeat(17) + "--x1--\r\n";
        for (content_type, body) in [
            ("text/plain", field(disposition)),
            ("multipart/form-data", field(disposition)),
            (TYPE, String::new()),
            (TYPE, "--x1\r\nContent-Dis".into()),
            (TYPE, "--x1\r\n\r\n--x1--".into()),
            (TYPE, field("a: b")),
            (TYPE, field(disposition)),
            (TYPE, many),
        ] {
            let result = parse(content_type, body.as_bytes()).await;
            assert!(result.is_err(), "{content_type}: {body}");
        }
    }
}
