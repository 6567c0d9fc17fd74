//! The library of scripts and files that runs use.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::timeline::clock::api_time;
use evidence::Sha256;

/// Library files by name. Only the hash of their content is stored; the service
/// has no call to download one.
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
    created_by: String,
}

/// A file with its properties, as uploaded.
#[derive(Debug, Default)]
pub(crate) struct UploadedFile {
    pub name: String,
    pub content: Bytes,
    pub description: String,
    pub parameters: String,
    pub has_parameters: bool,
}

impl EmulatedLibrary {
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Adds a file, or replaces the file of that name; returns its JSON.
    pub(crate) fn put(&mut self, upload: UploadedFile, by: &str, now: Timestamp) -> Value {
        let created = self.0.get(&upload.name).map_or(now, |old| old.created);
        let file = EmulatedFile {
            sha256: Sha256::of(&upload.content).to_string(),
            description: upload.description,
            parameters: upload.parameters,
            has_parameters: upload.has_parameters,
            created,
            updated: now,
            created_by: by.to_string(),
        };
        let json = file.json(&upload.name);
        self.0.insert(upload.name, file);
        json
    }

    /// Removes a file; returns false if it does not exist.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// The JSON of every file, sorted by name.
    pub(crate) fn list(&self) -> Vec<Value> {
        self.0.iter().map(|(name, file)| file.json(name)).collect()
    }
}

impl EmulatedFile {
    fn json(&self, name: &str) -> Value {
        json!({
            "fileName": name,
            "sha256": self.sha256,
            "description": self.description,
            "creationTime": api_time(self.created),
            "lastUpdatedTime": api_time(self.updated),
            "createdBy": self.created_by,
            "hasParameters": self.has_parameters,
            "parametersDescription": self.parameters,
        })
    }
}
