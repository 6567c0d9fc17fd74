//! What was seen in the lines of a segment, kept beside the index: the next
//! comparison of the same lines need not read them.
//!
//! Derived and in nobody's way: a file that is missing, damaged or of something
//! else is as good as none, and the folder may be deleted at any time.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::app::compare::line_templates::Looks;
use crate::app::compare::normalizer::Lens;
use index::SegmentHolders;

const FOLDER: &str = "templates";
/// Another number means another way of writing them.
const SCHEMA: u32 = 1;
/// Fewer looks than this cost less to make than a file costs to keep.
const LOOKS_MIN: usize = 1 << 14;
/// **Units**: bytes of looks that are held in memory at once, some 500,000.
const PAGE_MAX: usize = 16 << 20;
/// **Units**: bytes of a page with all that was seen in its last frame: lines
/// that name machines may be seen 17 times. What is larger is not kept.
const READ_MAX: usize = 2 * PAGE_MAX;
/// **Units**: bytes of all files, some hundreds of comparisons; what was not
/// used for longest goes first, and what alone is larger is not kept.
const ALL_MAX: u64 = 512 << 20;

/// What is being written for longer was left by a crash.
const LEFT: Duration = Duration::from_secs(3_600);

/// Where looks are kept, and what they depend on beside the lines.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    folder: PathBuf,
    context: blake3::Hasher,
    looks_min: usize,
}

impl Kept {
    /// `None` where what they depend on cannot be told.
    pub(super) fn new(archive: &Path, lens: &Lens) -> Option<Self> {
        let mut context = blake3::Hasher::new();
        let (rules, machines) = lens.depends_on();
        // How texts are hashed may differ between versions and machines.
        let probes = ["", "probe", "a probe of more than sixteen bytes"];
        let hashes = probes.map(|probe| lens.keys.of(probe).number());
        let depends = (SCHEMA, env!("CARGO_PKG_VERSION"), rules, machines, hashes);
        serde_json::to_writer(&mut context, &depends).ok()?;
        Some(Self {
            folder: archive.join(FOLDER),
            context,
            looks_min: LOOKS_MIN,
        })
    }

    /// Keeps however little is seen.
    #[cfg(test)]
    pub(super) fn with_the_least(mut self) -> Self {
        self.looks_min = 1;
        self
    }

    fn path(&self, held: &SegmentHolders<'_>) -> PathBuf {
        let mut hasher = self.context.clone();
        held.identify(&mut |bytes| {
            hasher.update(bytes);
        });
        self.folder.join(&hasher.finalize().to_hex()[..32])
    }

    /// Hands out what was seen in these lines before. `false` where that is not
    /// there or not whole: some of it may have been handed out.
    pub(super) fn replay(
        &self,
        held: &SegmentHolders<'_>,
        lens: &Lens,
        take: &mut dyn FnMut(Looks),
    ) -> bool {
        let path = self.path(held);
        let Ok(file) = File::open(&path) else {
            return false;
        };
        let mut file = BufReader::new(file);
        loop {
            match read_page(&mut file) {
                Ok(page) if page.is_empty() => break,
                Ok(page) => match Looks::read(&page, &lens.keys) {
                    Some(looks) => take(looks),
                    None => return false,
                },
                Err(_) => return false,
            }
        }
        // So that it is not the next to go. On media that cannot be written
        // nothing goes.
        if let Ok(file) = File::options().append(true).open(&path) {
            let _ = file.set_modified(SystemTime::now());
        }
        true
    }

    /// Gathers what is seen now.
    pub(super) fn keeper(&self, held: &SegmentHolders<'_>) -> Keeper<'_> {
        Keeper {
            kept: self,
            path: self.path(held),
            page: Looks::default(),
            new: None,
            is_given_up: false,
        }
    }

    /// Removes what was not used for longest; what is being written is the
    /// youngest.
    fn make_room(&self) -> io::Result<()> {
        let files = fs::read_dir(&self.folder)?.filter_map(|entry| {
            let entry = entry.ok()?;
            let about = entry.metadata().ok()?;
            Some((about.modified().ok()?, about.len(), entry.path()))
        });
        let mut files: Vec<_> = files.collect();
        files.sort();
        let mut all: u64 = files.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in files {
            if all <= ALL_MAX {
                break;
            }
            all -= len;
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// Looks that are being gathered to be kept. Nothing depends on whether they
/// can be: archives may be on media that cannot be written.
///
/// **Memory**: a page, and what is made of it to be written.
pub(super) struct Keeper<'k> {
    kept: &'k Kept,
    path: PathBuf,
    page: Looks,
    /// What is written so far.
    new: Option<New>,
    is_given_up: bool,
}

/// A file that has no name yet by which it would be found.
struct New {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Keeper<'_> {
    pub(super) fn take(&mut self, looks: &Looks) {
        if self.is_given_up {
            return;
        }
        self.page.append(looks);
        if self.page.bytes() > PAGE_MAX {
            self.is_given_up = self.write_page().is_err();
        }
    }

    pub(super) fn keep(mut self) {
        let is_worth_it = self.new.is_some() || self.page.looks.len() >= self.kept.looks_min;
        if !self.is_given_up && is_worth_it {
            let _ = self.finish();
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        if !self.page.looks.is_empty() {
            self.write_page()?;
        }
        if let Some(new) = &mut self.new {
            new.file.write_all(&0u32.to_le_bytes())?;
            // Not synced: a file that a crash left torn is as good as none.
            fs::rename(&new.path, &self.path)?;
            self.new = None;
        }
        self.kept.make_room()
    }

    fn write_page(&mut self) -> io::Result<()> {
        let page = std::mem::take(&mut self.page).page();
        if page.len() > READ_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let page = zstd::bulk::compress(&page, 1)?;
        let new = match &mut self.new {
            Some(new) => new,
            none => none.insert(New::create(&self.path)?),
        };
        new.len += page.len() as u64;
        if new.len > ALL_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        new.file.write_all(&(page.len() as u32).to_le_bytes())?;
        new.file.write_all(blake3::hash(&page).as_bytes())?;
        new.file.write_all(&page)
    }
}

impl New {
    /// Whoever keeps the same at once keeps it for both.
    fn create(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let path = path.with_extension("new");
        if let Ok(left) = fs::metadata(&path)
            && left.modified()?.elapsed().is_ok_and(|age| age > LEFT)
        {
            fs::remove_file(&path)?;
        }
        Ok(Self {
            file: File::create_new(&path)?,
            path,
            len: 0,
        })
    }
}

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        if let Some(new) = self.new.take() {
            let _ = fs::remove_file(new.path);
        }
    }
}

/// The next page, which is empty behind the last.
fn read_page(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let (mut len, mut checksum) = ([0; 4], [0; blake3::OUT_LEN]);
    file.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len);
    if len == 0 {
        return Ok(Vec::new());
    }
    file.read_exact(&mut checksum)?;
    let mut packed = Vec::new();
    let most = u64::from(len).min(READ_MAX as u64);
    let read = file.take(most).read_to_end(&mut packed)?;
    if read as u64 != u64::from(len) || blake3::hash(&packed) != checksum {
        return Err(io::ErrorKind::InvalidData.into());
    }
    zstd::bulk::decompress(&packed, READ_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use analyze::RuleSet;

    fn kept(folder: &Path, rules: RuleSet, machines: &[&str], seed: u8) -> Kept {
        let machines = machines.iter().map(|name| name.to_string()).collect();
        let lens = Lens::new(rules, Vec::new(), machines, [seed; 16]).unwrap();
        Kept::new(folder, &lens).unwrap()
    }

    #[test]
    fn other_rules_machines_or_archives_have_other_files() {
        let folder = Path::new("archive");
        let all = [
            kept(folder, RuleSet::default(), &["pc1", "pc2"], 1),
            kept(folder, RuleSet::none(), &["pc1", "pc2"], 1),
            kept(folder, RuleSet::default(), &["pc2", "pc1"], 1),
            kept(folder, RuleSet::default(), &["pc1pc2"], 1),
            kept(folder, RuleSet::default(), &["pc1", "pc2"], 2),
        ];
        let names = all.iter().map(|kept| kept.context.finalize().to_hex());
        let names: std::collections::BTreeSet<String> = names.map(|n| n.to_string()).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let kept = kept(folder.path(), RuleSet::default(), &[], 1);
        fs::create_dir(&kept.folder).unwrap();
        for (name, age) in [("old", 300), ("older", 400), ("new", 100)] {
            let file = File::create_new(kept.folder.join(name)).unwrap();
            file.set_len(ALL_MAX / 2).unwrap();
            let age = Duration::from_secs(age);
            file.set_modified(SystemTime::now() - age).unwrap();
        }
        kept.make_room().unwrap();
        let is_there = |name: &str| kept.folder.join(name).exists();
        assert_eq!(["old", "older", "new"].map(is_there), [true, false, true]);
    }

    #[test]
    fn what_a_crash_left_half_written_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("name");
        let first = New::create(&path).unwrap();
        assert!(New::create(&path).is_err(), "it is being written");
        let long_ago = SystemTime::now() - 2 * LEFT;
        first.file.set_modified(long_ago).unwrap();
        // A crash leaves no file open, which could not be replaced on Windows.
        drop(first);
        assert!(New::create(&path).is_ok());
    }
}
