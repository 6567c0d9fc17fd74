//! The encoding of a text.

/// Byte order of UTF-16 and UTF-32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextEncoding {
    Utf8,
    /// The code page of the settings.
    CodePage,
    Utf16(ByteOrder),
    Utf32(ByteOrder),
}
