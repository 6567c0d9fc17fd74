//! What a Windows machine prints when it is asked: one function per kind of
//! output, all of them from a golden image, a device and a random stream.

mod activity;
mod files;
mod logs;
mod persistence;
mod system;

use crate::clock::Moment;
use crate::device::Device;
use crate::golden::Image;
use crate::random::Random;
use crate::text::Text;

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
pub(crate) struct Scene<'a> {
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
pub(crate) struct Plant<'a> {
    pub number: usize,
    pub section: Section,
    pub line: &'a str,
    /// The part of the line that is looked for.
    pub needle: &'a str,
}

impl Scene<'_> {
    pub fn write(&mut self, section: Section, text: &mut Text) {
        let write = match section {
            Section::System => crate::section::system::system,
            Section::Hotfixes => crate::section::system::hotfixes,
            Section::Software => crate::section::system::software,
            Section::Users => crate::section::system::users,
            Section::Services => crate::section::persistence::services,
            Section::Tasks => crate::section::persistence::tasks,
            Section::Autoruns => crate::section::persistence::autoruns,
            Section::RunKeys => crate::section::persistence::run_keys,
            Section::Processes => crate::section::activity::processes,
            Section::Connections => crate::section::activity::connections,
            Section::DnsCache => crate::section::activity::dns_cache,
            Section::Prefetch => crate::section::activity::prefetch,
            Section::History => crate::section::activity::history,
            Section::Transcript => crate::section::activity::transcript,
            Section::Hashes => crate::section::files::hashes,
            Section::UserFiles => crate::section::files::user_files,
            Section::Events => crate::section::logs::events,
            Section::Firewall => crate::section::logs::firewall,
            Section::Servicing => crate::section::logs::servicing,
            Section::EventLines => crate::section::logs::event_lines,
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
