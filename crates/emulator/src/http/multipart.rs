//! `multipart/form-data`, as far as an upload needs it.

use memchr::memmem;

/// Fields of one form; the service knows five.
const PARTS_MAX: usize = 16;

/// One field of a form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    pub name: String,
    /// Given for files only.
    pub file_name: Option<String>,
    pub content: &'a [u8],
}

/// Cuts a form into its fields.
///
/// **Errors**: a sentence for the 400.
pub(crate) fn parts<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>, String> {
    let mut words = content_type.split(';').map(str::trim);
    let kind = words.next().unwrap_or_default();
    if !kind.eq_ignore_ascii_case("multipart/form-data") {
        return Err("The content type is not multipart/form-data.".into());
    }
    let boundary = words.find_map(|word| value_of(word, "boundary"));
    let boundary = boundary.ok_or("The content type names no boundary.")?;
    let delimiter = format!("--{boundary}");
    let mut rest = body
        .strip_prefix(delimiter.as_bytes())
        .ok_or("The form does not begin with its boundary.")?;
    let delimiter = format!("\r\n{delimiter}");
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let begin = rest
            .strip_prefix(b"\r\n")
            .ok_or("A boundary is followed by neither a field nor the end.")?;
        let end = memmem::find(begin, delimiter.as_bytes());
        let end = end.ok_or("The form ends inside a field.")?;
        let (field, tail) = begin.split_at(end);
        parts.push(part(field)?);
        if parts.len() > PARTS_MAX {
            return Err("The form has too many fields.".into());
        }
        rest = tail.get(delimiter.len()..).unwrap_or_default();
    }
    Ok(parts)
}

fn part(field: &[u8]) -> Result<Part<'_>, String> {
    let end = memmem::find(field, b"\r\n\r\n").ok_or("A field has no end of its headers.")?;
    let headers = String::from_utf8_lossy(&field[..end]);
    let disposition = headers
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
        .map(|(_, value)| value)
        .ok_or("A field has no Content-Disposition.")?;
    let named = |wanted| {
        let mut words = disposition.split(';').map(str::trim);
        words.find_map(|word| value_of(word, wanted))
    };
    Ok(Part {
        name: named("name").ok_or("A field has no name.")?,
        file_name: named("filename"),
        content: &field[end + 4..],
    })
}

/// `name="value"` or `name=value`.
fn value_of(word: &str, name: &str) -> Option<String> {
    let (own, value) = word.split_once('=')?;
    if !own.trim().eq_ignore_ascii_case(name) {
        return None;
    }
    let value = value.trim();
    let inside = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    Some(inside.unwrap_or(value).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "multipart/form-data; boundary=\"x1\"";

    #[test]
    fn fields_are_cut_at_their_boundaries_and_nowhere_else() {
        let body = b"--x1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.ps1\"\r\n\
            Content-Type: application/octet-stream\r\n\r\none\r\n--x0\r\n\r\n\r\n--x1\r\n\
            content-disposition: form-data; name=Description\r\n\r\n\r\n--x1--\r\n";
        let parts = parts(KIND, body).unwrap();
        assert_eq!(parts[0].file_name.as_deref(), Some("a.ps1"));
        assert_eq!(parts[0].content, b"one\r\n--x0\r\n\r\n");
        assert_eq!(parts[1].name, "Description");
        assert_eq!(parts[1].content, b"");
    }

    #[test]
    fn a_broken_form_says_where() {
        for (kind, body, why) in [
            ("text/plain", "", "not multipart"),
            ("multipart/form-data", "", "no boundary"),
            (KIND, "", "does not begin"),
            (KIND, "--x1\r\nContent-Dis", "inside a field"),
            (KIND, "--x1\r\n\r\n--x1--", "no end of its headers"),
            (
                KIND,
                "--x1\r\na: b\r\n\r\n\r\n--x1--",
                "no Content-Disposition",
            ),
        ] {
            let error = parts(kind, body.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
