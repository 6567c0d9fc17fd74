//! Search: what was typed becomes one query, hits become rows, and what could
//! not be searched is said.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;

use jiff::Timestamp;

use crate::index::{Field, Hit, Options, Query, Searcher};

use super::catch_up::{index_dir, unindexed};
use super::custody;
use super::failure::{Failure, Kind};
use super::row::{CountRow, HitRow};
use super::typed::parse_time;

/// What to search for, as typed.
#[derive(Clone, Debug, Default)]
pub struct SearchRequest {
    pub query: Option<String>,
    pub regex: Option<String>,
    pub fixed: Option<String>,
    pub ignore_case: bool,
    pub device: Option<String>,
    pub since: Option<String>,
    pub until: Option<String>,
    pub context: u32,
    pub limit: Option<u64>,
}

/// What a search went through.
#[derive(Clone, Debug, Default)]
pub struct SearchSummary {
    pub hits: u64,
    pub members_hit: u64,
    pub devices_hit: u64,
    /// Members that were searched.
    pub members: u64,
    /// Results sealed and not indexed yet.
    pub unindexed: u64,
    /// Problems that hide text.
    pub unreadable: u64,
    /// How it was searched, where that is worth a word.
    pub notes: Vec<String>,
}

impl SearchSummary {
    /// Everything there is was searched.
    pub fn is_whole(&self) -> bool {
        self.unindexed == 0 && self.unreadable == 0
    }
}
