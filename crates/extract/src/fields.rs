//! The fields of event records: one list of names, types and descriptions.
//!
//! To add a field, add a row to the list below. The enum [`FieldName`] and the
//! table [`FIELDS`] are generated from it.

use std::fmt;

use data_encoding::HEXLOWER;
use evidence::Time;

macro_rules! fields {
    ($($variant:ident, $name:literal, $field_type:ident, $description:literal;)*) => {
        /// The name of a field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FieldName {
            $(#[doc = $description] $variant,)*
        }

        /// All fields, in the order of [`FieldName`].
        pub const FIELDS: &[FieldDefinition] = &[
            $(FieldDefinition {
                field: FieldName::$variant,
                name: $name,
                field_type: FieldType::$field_type,
                description: $description,
            },)*
        ];
    };
}

fields! {
    EventId, "event_id", Unsigned, "Number of the kind of event, unique for its provider.";
    RecordId, "record_id", Unsigned, "Number of the record in its log.";
    Provider, "provider", Text, "Component that wrote the event.";
    Channel, "channel", Text, "Log that the event was written to.";
    Level, "level", Unsigned, "Severity of the event: 1 is critical, 5 is verbose.";
    ActivityId, "activity_id", Guid, "Operation that related events share.";
    Computer, "computer", Text, "Computer that wrote the event.";
    User, "user", Text, "Name of the account.";
    UserSid, "user_sid", Sid, "Security identifier of the account.";
    ProcessId, "process_id", Unsigned, "Number of the process.";
    Process, "process", Text, "Path of the program.";
    CommandLine, "command_line", Text, "Command line of the process.";
    ParentProcess, "parent_process", Text, "Path of the program that started the process.";
    ExitCode, "exit_code", Integer, "Exit code of the process.";
    RunCount, "run_count", Unsigned, "How often the program was started.";
    Path, "path", Text, "Path of a file or directory.";
    Size, "size", Unsigned, "Length of a file in bytes.";
    Hash, "hash", Bytes, "Hash of a file.";
    Key, "key", Text, "Path of a registry key.";
    ValueName, "value_name", Text, "Name of a registry value.";
    IsDeleted, "is_deleted", Boolean, "Whether the record was recovered from free space.";
    PreviousTime, "previous_time", Time, "Time that this record replaced.";
}

/// A row of the list of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldDefinition {
    pub field: FieldName,
    /// The name in output and queries.
    pub name: &'static str,
    pub field_type: FieldType,
    pub description: &'static str,
}

/// The type of a field's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldType {
    Text,
    Integer,
    Unsigned,
    Boolean,
    Time,
    Guid,
    Sid,
    Bytes,
}

/// A typed value of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    Text(String),
    Integer(i64),
    Unsigned(u64),
    Boolean(bool),
    Time(Time),
    /// The bytes in the order in which a GUID is printed.
    Guid([u8; 16]),
    /// The binary form of a security identifier.
    Sid(Vec<u8>),
    Bytes(Vec<u8>),
}

impl FieldName {
    /// The row of this field.
    pub fn definition(self) -> &'static FieldDefinition {
        // FIELDS has the order of the enum.
        &FIELDS[self as usize]
    }

    pub fn as_str(self) -> &'static str {
        self.definition().name
    }

    pub fn field_type(self) -> FieldType {
        self.definition().field_type
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FieldValue {
    pub fn field_type(&self) -> FieldType {
        match self {
            Self::Text(_) => FieldType::Text,
            Self::Integer(_) => FieldType::Integer,
            Self::Unsigned(_) => FieldType::Unsigned,
            Self::Boolean(_) => FieldType::Boolean,
            Self::Time(_) => FieldType::Time,
            Self::Guid(_) => FieldType::Guid,
            Self::Sid(_) => FieldType::Sid,
            Self::Bytes(_) => FieldType::Bytes,
        }
    }
}

/// Prints the usual text of a value: a GUID in lower case without braces, a
/// SID as `S-1-5-18`, bytes in hexadecimal.
impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Unsigned(number) => number.fmt(f),
            Self::Boolean(value) => value.fmt(f),
            Self::Time(time) => time.fmt(f),
            Self::Guid(guid) => print_guid(guid, f),
            Self::Sid(sid) => print_sid(sid, f),
            Self::Bytes(bytes) => f.write_str(&HEXLOWER.encode(bytes)),
        }
    }
}

fn print_guid(guid: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let hex = HEXLOWER.encode(guid);
    let groups = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    f.write_str(&groups.join("-"))
}

/// Prints a SID: revision, authority and sub-authorities. Bytes that are not a
/// SID are printed in hexadecimal.
///
/// **Source**: MS-DTYP 2.4.2.2.
fn print_sid(sid: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some((&[revision, count, authority @ ..], sub_authorities)) = sid.split_first_chunk::<8>()
    else {
        return f.write_str(&HEXLOWER.encode(sid));
    };
    let (numbers, rest) = sub_authorities.as_chunks::<4>();
    if numbers.len() != usize::from(count) || !rest.is_empty() {
        return f.write_str(&HEXLOWER.encode(sid));
    }
    let [a, b, c, d, e, g] = authority;
    let authority = u64::from_be_bytes([0, 0, a, b, c, d, e, g]);
    write!(f, "S-{revision}-{authority}")?;
    numbers
        .iter()
        .try_for_each(|number| write!(f, "-{}", u32::from_le_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn field_names_are_unique_and_in_the_order_of_the_list() {
        let names: HashSet<&str> = FIELDS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), FIELDS.len());
        for row in FIELDS {
            assert_eq!(row.field.definition(), row);
            assert!(
                row.name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{}",
                row.name
            );
            assert!(row.description.ends_with('.'), "{}", row.name);
        }
    }

    #[test]
    fn values_are_printed_in_their_usual_form() {
        let guid = *b"\x38\x3c\xb4\xd1\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89";
        let sid = b"\x01\x05\0\0\0\0\0\x05\x15\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\xf4\x01\0\0";
        let time = Time::from_text("2026-02-04T15:36:52.1Z");
        for (value, printed) in [
            (FieldValue::Text("a b".into()), "a b"),
            (FieldValue::Integer(-5), "-5"),
            (FieldValue::Unsigned(u64::MAX), "18446744073709551615"),
            (FieldValue::Boolean(true), "true"),
            (FieldValue::Time(time), "2026-02-04T15:36:52.1Z"),
            (
                FieldValue::Guid(guid),
                "383cb4d1-2345-6789-abcd-ef0123456789",
            ),
            (FieldValue::Sid(sid.to_vec()), "S-1-5-21-1-2-3-500"),
            (FieldValue::Sid(b"\x01\x02".to_vec()), "0102"),
            (
                FieldValue::Sid(sid[..12].to_vec()),
                "010500000000000515000000",
            ),
            (FieldValue::Bytes(b"\0\xff".to_vec()), "00ff"),
        ] {
            assert_eq!(value.to_string(), printed);
        }
    }
}
