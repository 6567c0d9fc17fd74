//! Output of Windows tools: one function for each kind, from a golden image, a
//! device and a random stream.

mod activity;
mod files;
mod logs;
mod persistence;
mod system;

use crate::clock::UnixTime;
use crate::device::SyntheticDevice;
use crate::golden::Image;
use crate::random::Random;
use crate::text::TextBuilder;

/// Kind of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// `systeminfo` and `ipconfig`.
    System,
    Hotfixes,
    Software,
    /// Local users and administrators.
    Users,
    Services,
    Tasks,
    /// Autostart entries with hashes, comma separated.
    Autoruns,
    /// A dump of the Run keys.
    RunKeys,
    Processes,
    /// `netstat -ano`.
    Connections,
    DnsCache,
    Prefetch,
    /// PowerShell history.
    History,
    /// A recorded PowerShell session with its header.
    Transcript,
    /// Hashes of system files.
    Hashes,
    /// Hashes of user files, unique to each device.
    UserFiles,
    /// The event log as text.
    Events,
    /// `pfirewall.log`.
    Firewall,
    /// Component servicing log.
    Servicing,
    /// Event log with one line of XML per event.
    EventLines,
}

/// Device, time and needles of a section.
pub(crate) struct Scene<'a> {
    pub device: &'a SyntheticDevice,
    pub image: &'a Image,
    pub now: UnixTime,
    pub random: Random,
    pub pending: Vec<Plant<'a>>,
    /// Length of lists without a natural length.
    ///
    /// **Units**: per cent.
    pub plenty: u64,
    /// Lists of files are complete and equal on each device.
    pub whole: bool,
}

/// A line to plant in the first section of its kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plant<'a> {
    pub number: usize,
    pub section: Section,
    pub line: &'a str,
    /// Part of the line that is searched for.
    pub needle: &'a str,
}

impl Scene<'_> {
    pub fn write(&mut self, section: Section, text: &mut TextBuilder) {
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

    fn plant(&mut self, section: Section, text: &mut TextBuilder) {
        self.pending.retain(|plant| {
            let here = plant.section == section;
            if here {
                text.plant(plant.number, plant.line, plant.needle);
            }
            !here
        });
    }

    /// Prints `count` lines with the needles at random positions.
    fn list(
        &mut self,
        section: Section,
        text: &mut TextBuilder,
        count: usize,
        mut print: impl FnMut(&mut Self, usize, &mut TextBuilder),
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
