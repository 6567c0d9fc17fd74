//! Builds the rows of a search from the hits of the index, and counts the
//! members and devices they are on.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use evidence::Locator;
use index::{Hit, HitMember, device_key};

use crate::app::error::Failure;
use crate::app::missing_times::{MemberId, member_of};
use crate::app::rows::{HitRow, MemberRow, ResultPlace};
use crate::app::search_request::Sort;

/// Builds rows. Consecutive hits of a member share its row and JSON.
pub(super) struct HitRowBuilder {
    last_row: Option<BuiltMember>,
    last_member: Option<MemberId>,
    /// All members so far, if the hits of a member are not consecutive: in
    /// order of rarity.
    all_members: Option<HashSet<MemberId>>,
    members: u64,
    devices: HashSet<String>,
}

struct BuiltMember {
    source: Arc<HitMember>,
    row: Arc<MemberRow>,
    json: Arc<str>,
}

impl HitRowBuilder {
    pub(super) fn new(sort: Sort) -> Self {
        Self {
            last_row: None,
            last_member: None,
            all_members: (sort == Sort::Rarity).then(HashSet::new),
            members: 0,
            devices: HashSet::new(),
        }
    }

    /// Number of members with a row.
    pub(super) fn members(&self) -> u64 {
        self.members
    }

    /// Number of devices with a row.
    pub(super) fn devices(&self) -> u64 {
        self.devices.len() as u64
    }

    pub(super) fn row(&mut self, hit: Hit) -> Result<HitRow, Failure> {
        let last = self
            .last_row
            .as_ref()
            .filter(|last| Arc::ptr_eq(&last.source, &hit.member));
        let (member, member_json) = match last {
            Some(last) => (Arc::clone(&last.row), Arc::clone(&last.json)),
            None => self.add_member(&hit.member)?,
        };
        Ok(HitRow {
            member,
            line: hit.line,
            offset: hit.offset,
            shown: hit.shown,
            before: hit.before,
            after: hit.after,
            member_json,
        })
    }

    fn add_member(
        &mut self,
        member: &Arc<HitMember>,
    ) -> Result<(Arc<MemberRow>, Arc<str>), Failure> {
        self.count(member);
        let row = Arc::new(member_row(member));
        let json: Arc<str> = serde_json::to_string(&*row)
            .map_err(io::Error::from)?
            .into();
        self.last_row = Some(BuiltMember {
            source: Arc::clone(member),
            row: Arc::clone(&row),
            json: Arc::clone(&json),
        });
        Ok((row, json))
    }

    fn count(&mut self, hit_member: &HitMember) {
        let member = member_of(hit_member);
        if self.last_member.as_ref() == Some(&member) {
            return;
        }
        let is_new = |all: &mut HashSet<MemberId>| all.insert(member.clone());
        if self.all_members.as_mut().is_none_or(is_new) {
            self.members += 1;
            let (id, name) = (&hit_member.machine_id, &hit_member.device);
            self.devices
                .extend(device_key(id.as_deref(), name.as_deref()));
        }
        self.last_member = Some(member);
    }
}

fn member_row(member: &HitMember) -> MemberRow {
    let locator = Locator {
        layers: member.layers.clone(),
        ..Locator::of_result(member.id)
    };
    // A result that is its own member has no member path; its own path names it.
    let path = match (member.path.as_str(), &member.result_path) {
        ("", Some(path)) => path.clone(),
        (path, _) => path.to_string(),
    };
    MemberRow {
        place: ResultPlace::of(&locator, member.device.clone(), member.machine_id.clone()),
        script: member.script.clone(),
        time: member.time.clone(),
        member: path,
        member_sha256: member.content,
    }
}
