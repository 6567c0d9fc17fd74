//! Live response sessions that clients started: which are active, and which
//! were posted more than once.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use crate::synthetic::session_command::SessionCommand;
use crate::timeline::action_timeline::ActionStatus;
use crate::timeline::timeline_view::TimedAction;

/// A session as a client requests it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SessionRequest {
    pub comment: String,
    pub commands: Vec<SessionCommand>,
}

impl SessionRequest {
    /// Identifies the machine, the commands and the comment.
    pub(crate) fn digest(&self, machine: &str) -> [u8; 32] {
        self.digest_with(machine, &self.comment)
    }

    /// Identifies the machine and the commands, for any comment.
    pub(crate) fn command_digest(&self, machine: &str) -> [u8; 32] {
        self.digest_with(machine, "")
    }

    fn digest_with(&self, machine: &str, comment: &str) -> [u8; 32] {
        let commands: Vec<_> = self.commands.iter().map(SessionCommand::json).collect();
        let text = json!([machine, comment, commands]).to_string();
        *blake3::hash(text.as_bytes()).as_bytes()
    }
}

/// The sessions that clients started.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    /// Number of sessions occupied by other users.
    pub held: usize,
    /// Sessions that were active at the last [`count`](Self::count), or started
    /// later.
    active: Vec<Arc<TimedAction>>,
    /// Largest number of sessions that were active at the same time.
    pub most: usize,
    /// Sessions by [`SessionRequest::digest`], in the order they were posted.
    pub by_digest: HashMap<[u8; 32], Vec<Arc<TimedAction>>>,
    /// Sessions by [`SessionRequest::command_digest`]. A client can put a
    /// distinct mark into each comment, so equal work needs its own key.
    pub by_command_digest: HashMap<[u8; 32], Vec<Arc<TimedAction>>>,
    /// Number of actions started on each machine.
    started: HashMap<String, u64>,
}

impl SessionTable {
    /// Number of active sessions of the clients.
    pub(crate) fn count(&mut self, now: Timestamp) -> usize {
        self.active.retain(|action| !action.is_over(now));
        self.active.len()
    }

    /// Whether a machine has an active session, as of the last
    /// [`count`](Self::count).
    pub(crate) fn is_on(&self, machine: &str) -> bool {
        let mut active = self.active.iter();
        active.any(|action| action.text("machineId") == Some(machine))
    }

    /// Whether an equal session was posted before and is active or succeeded.
    pub(crate) fn is_repeated(&self, digest: &[u8; 32], now: Timestamp) -> bool {
        let earlier = self.by_digest.get(digest).into_iter().flatten();
        earlier
            .filter_map(|session| {
                let status = session.timeline()?.status(now);
                Some((status, session.text("status")))
            })
            .any(|(status, final_status)| match status {
                ActionStatus::Pending | ActionStatus::InProgress => true,
                ActionStatus::Finished => final_status == Some("Succeeded"),
                ActionStatus::Cancelled => false,
            })
    }

    pub(crate) fn insert(
        &mut self,
        session: Arc<TimedAction>,
        digest: [u8; 32],
        command_digest: [u8; 32],
    ) {
        self.active.push(session.clone());
        self.most = self.most.max(self.active.len());
        self.by_command_digest
            .entry(command_digest)
            .or_default()
            .push(session.clone());
        self.by_digest.entry(digest).or_default().push(session);
    }

    /// The next number for an action on a machine.
    pub(crate) fn next_number(&mut self, machine: &str) -> u64 {
        let count = self.started.entry(machine.to_string()).or_default();
        *count += 1;
        *count
    }
}
