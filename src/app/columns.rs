//! Columns of the rows of an answer, declared once.
//!
//! The keys of a row in JSON and its columns in CSV are the same words, and
//! they are part of the interface. The macro [`columns!`] derives both, and the
//! order of both, from the declaration of the struct. Rows with another order
//! in CSV implement [`Columns`] themselves; a test compares their columns with
//! the keys of a complete row.

use serde::ser::SerializeMap;

/// A row that is written as an object or as cells.
pub trait Columns {
    /// The columns in CSV, in order.
    fn columns() -> Vec<&'static str>;

    /// The keys that only objects have.
    fn detail_keys() -> Vec<&'static str>;

    /// Writes the entries of the object, in order.
    fn write_entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;
}

/// Declares a row: a struct with [`Columns`] and `Serialize`.
///
/// The name of a field is its key and its column, unless `as` says otherwise:
///
/// - `as "name"`: another name;
/// - `as flatten`: the columns of the field, which is a row itself;
/// - `as detail`: a key in objects, but not a column;
/// - `as rare`: as `detail`, and only if the value is not the default;
/// - `as hidden`: neither.
macro_rules! columns {
    (
        $(#[$meta:meta])*
        $vis:vis struct $row:ident {
            $(
                $(#[$field_meta:meta])*
                $field_vis:vis $field:ident : $type:ty $(as $how:tt)?
            ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis struct $row {
            $( $(#[$field_meta])* $field_vis $field: $type, )*
        }

        impl $crate::app::columns::Columns for $row {
            fn columns() -> Vec<&'static str> {
                let mut names = Vec::new();
                $( $crate::app::columns::columns!(@column names, $field, $type $(, $how)?); )*
                names
            }

            fn detail_keys() -> Vec<&'static str> {
                #[allow(unused_mut)]
                let mut names: Vec<&'static str> = Vec::new();
                $( $crate::app::columns::columns!(@detail names, $field, $type $(, $how)?); )*
                names
            }

            fn write_entries<M: serde::ser::SerializeMap>(
                &self,
                map: &mut M,
            ) -> Result<(), M::Error> {
                $( $crate::app::columns::columns!(@entry map, self.$field, $field $(, $how)?); )*
                Ok(())
            }
        }

        impl serde::Serialize for $row {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::app::columns::serialize_row(self, serializer)
            }
        }
    };

    (@column $names:ident, $field:ident, $type:ty) => {
        $names.extend([stringify!($field)])
    };
    (@column $names:ident, $field:ident, $type:ty, flatten) => {
        $names.extend(<$type as $crate::app::columns::Columns>::columns())
    };
    (@column $names:ident, $field:ident, $type:ty, detail) => {};
    (@column $names:ident, $field:ident, $type:ty, rare) => {};
    (@column $names:ident, $field:ident, $type:ty, hidden) => {};
    (@column $names:ident, $field:ident, $type:ty, $name:literal) => {
        $names.extend([$name])
    };

    (@detail $names:ident, $field:ident, $type:ty) => {};
    (@detail $names:ident, $field:ident, $type:ty, flatten) => {
        $names.extend(<$type as $crate::app::columns::Columns>::detail_keys())
    };
    (@detail $names:ident, $field:ident, $type:ty, detail) => {
        $names.extend([stringify!($field)])
    };
    (@detail $names:ident, $field:ident, $type:ty, rare) => {
        $names.extend([stringify!($field)])
    };
    (@detail $names:ident, $field:ident, $type:ty, hidden) => {};
    (@detail $names:ident, $field:ident, $type:ty, $name:literal) => {};

    (@entry $map:ident, $value:expr, $field:ident) => {
        $map.serialize_entry(stringify!($field), &$value)?
    };
    (@entry $map:ident, $value:expr, $field:ident, flatten) => {
        $crate::app::columns::Columns::write_entries(&$value, $map)?
    };
    (@entry $map:ident, $value:expr, $field:ident, detail) => {
        $map.serialize_entry(stringify!($field), &$value)?
    };
    (@entry $map:ident, $value:expr, $field:ident, rare) => {
        if !$crate::app::columns::is_default(&$value) {
            $map.serialize_entry(stringify!($field), &$value)?
        }
    };
    (@entry $map:ident, $value:expr, $field:ident, hidden) => {};
    (@entry $map:ident, $value:expr, $field:ident, $name:literal) => {
        $map.serialize_entry($name, &$value)?
    };
}

pub(crate) use columns;

/// Serializes a row as an object.
pub(crate) fn serialize_row<R: Columns, S: serde::Serializer>(
    row: &R,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    row.write_entries(&mut map)?;
    map.end()
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Asserts that the keys of a complete row are its columns and details.
#[cfg(test)]
pub(crate) fn assert_declares_all_keys<R: Columns + serde::Serialize>(complete: &R) {
    let object = serde_json::to_value(complete).unwrap();
    let mut keys: Vec<&str> = object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut declared = R::columns();
    declared.extend(R::detail_keys());
    keys.sort_unstable();
    declared.sort_unstable();
    assert_eq!(keys, declared);
}

#[cfg(test)]
mod tests {
    use super::*;

    columns! {
        #[derive(Clone, Default)]
        struct Inner {
            reference: String as "ref",
            note: String as detail,
        }
    }

    columns! {
        /// A row.
        #[derive(Clone, Default)]
        struct Outer {
            first: u32,
            inner: Inner as flatten,
            /// A list.
            lines: Vec<u32> as rare,
            #[allow(dead_code)]
            secret: u32 as hidden,
            last: Option<u32>,
        }
    }

    #[test]
    fn one_declaration_gives_columns_and_keys_in_order() {
        assert_eq!(Outer::columns(), ["first", "ref", "last"]);
        assert_eq!(Outer::detail_keys(), ["note", "lines"]);
        let row = Outer::default();
        let json = r#"{"first":0,"ref":"","note":"","last":null}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), json);
        let complete = Outer {
            lines: vec![1],
            ..row
        };
        let json = r#"{"first":0,"ref":"","note":"","lines":[1],"last":null}"#;
        assert_eq!(serde_json::to_string(&complete).unwrap(), json);
        assert_declares_all_keys(&complete);
    }
}
