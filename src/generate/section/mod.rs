//! What a Windows machine prints when it is asked: one function per kind of
//! output, all of them from a golden image, a device and a random stream.

mod activity;
mod files;
mod logs;
mod persistence;
mod system;

use super::clock::Moment;
use super::device::Device;
use super::golden::Image;
use super::random::Random;
use super::text::Text;

/// A kind of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// `systeminfo` and `ipconfig`.
    System,
    Hotfixes,
    Software,
    /// Local users and the administrators among them.
    Users,
    Services,
    Tasks,
    /// Autostart entries with their hashes, comma separated.
    Autoruns,
    /// A dump of the Run keys.
    RunKeys,
    Processes,
    /// `netstat -ano`.
    Connections,
    DnsCache,
    Prefetch,
    /// Commands typed into PowerShell.
    History,
    /// A session that PowerShell wrote down, with its header.
    Transcript,
    /// Hashes of system files.
    Hashes,
    /// Hashes of users' files, which no other machine has.
    UserFiles,
    /// The event log as text.
    Events,
    /// `pfirewall.log`.
    Firewall,
    /// A component servicing log.
    Servicing,
    /// An event log as one line of XML per event.
    EventLines,
}

/// Whose output, when, and what has to be hidden in it.
pub(super) struct Scene<'a> {
    pub device: &'a Device,
    pub image: &'a Image,
    pub now: Moment,
    pub random: Random,
    pub pending: Vec<Plant<'a>>,
    /// How long lists are that have no natural length.
    ///
    /// **Units**: per cent.
    pub plenty: u64,
    /// Lists of files are whole, the same from every machine.
    pub whole: bool,
}

/// A line that goes into the first section of its kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plant<'a> {
    pub number: usize,
    pub section: Section,
    pub line: &'a str,
    /// The part of the line that is looked for.
    pub needle: &'a str,
}

impl Scene<'_> {
    pub fn write(&mut self, section: Section, text: &mut Text) {
        let write = match section {
            Section::System => system::system,
            Section::Hotfixes => system::hotfixes,
            Section::Software => system::software,
            Section::Users => system::users,
            Section::Services => persistence::services,
            Section::Tasks => persistence::tasks,
            Section::Autoruns => persistence::autoruns,
            Section::RunKeys => persistence::run_keys,
            Section::Processes => activity::processes,
            Section::Connections => activity::connections,
            Section::DnsCache => activity::dns_cache,
            Section::Prefetch => activity::prefetch,
            Section::History => activity::history,
            Section::Transcript => activity::transcript,
            Section::Hashes => files::hashes,
            Section::UserFiles => files::user_files,
            Section::Events => logs::events,
            Section::Firewall => logs::firewall,
            Section::Servicing => logs::servicing,
            Section::EventLines => logs::event_lines,
        };
        write(self, text);
    }

    fn count(&self, usual: u64) -> u64 {
        (usual * self.plenty / 100).max(2)
    }

    fn plant(&mut self, section: Section, text: &mut Text) {
        self.pending.retain(|plant| {
            let here = plant.section == section;
            if here {
                text.plant(plant.number, plant.line, plant.needle);
            }
            !here
        });
    }

    /// Prints a list of `count` lines with what must be planted at a random
    /// place among them.
    fn list(
        &mut self,
        section: Section,
        text: &mut Text,
        count: usize,
        mut print: impl FnMut(&mut Self, usize, &mut Text),
    ) {
        let place = self.random.below(count as u64) as usize;
        for number in 0..count {
            if number == place {
                self.plant(section, text);
            }
            print(self, number, text);
        }
    }
}
