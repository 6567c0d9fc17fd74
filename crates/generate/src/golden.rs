//! Golden images: the content that devices installed from one image share.
//!
//! Two thirds of the content is the same in all images of a fleet; the rest
//! differs in version or hash.

use crate::random::Random;
use crate::words::{FOLDERS, PROCESSES, PRODUCTS, SERVICES, STEMS, TAILS, TASKS, VENDORS};

/// Number of images of a fleet.
pub(crate) const IMAGES: u64 = 5;

/// Lines of an image, generated once.
pub(crate) struct Image {
    pub edition: &'static str,
    pub build: String,
    /// Whether the service runs, and the rest of the line.
    pub services: Vec<(bool, String)>,
    pub tasks: Vec<String>,
    /// Key, and one line per value.
    pub run_keys: Vec<(String, Vec<String>)>,
    pub autoruns: Vec<String>,
    pub software: Vec<String>,
    pub hotfixes: Vec<String>,
    /// SHA-256 and path of system files.
    pub hashes: Vec<String>,
    /// Image name and command line.
    pub processes: Vec<(String, String)>,
    pub prefetch: Vec<String>,
    pub host_names: Vec<String>,
}

/// Random streams of an item: one for all images, or one per image.
struct ItemStreams {
    seed: u64,
    image: u64,
}

#[derive(Clone, Copy)]
enum Item {
    Service = 1,
    Task,
    RunKey,
    Autorun,
    Software,
    Hotfix,
    File,
    Process,
    Prefetch,
    Host,
}

impl ItemStreams {
    fn common(&self, item: Item, number: u64) -> Random {
        Random::new(self.seed, &[GOLDEN, item as u64, number])
    }

    /// Stream for content that can differ between images; two thirds of it does
    /// not.
    fn own(&self, item: Item, number: u64) -> Random {
        let differs = self.common(item, number).once_in(3);
        let image = if differs { self.image + 1 } else { 0 };
        Random::new(self.seed, &[GOLDEN, item as u64, number, image])
    }
}

/// Separates the streams of images from those of devices.
const GOLDEN: u64 = 0x676f_6c64;

impl Image {
    /// `files` is the number of hashed system files, which determines the size
    /// of an image.
    pub fn new(seed: u64, image: u64, files: u64) -> Self {
        let source = ItemStreams { seed, image };
        let build = match image {
            0 | 1 => 26100,
            2 | 3 => 22631,
            _ => 20348,
        };
        Self {
            edition: match image {
                4 => "Microsoft Windows Server 2022 Standard",
                _ => "Microsoft Windows 11 Enterprise",
            },
            build: format!("10.0.{build}.{}", 2000 + 317 * image),
            services: (0..220).map(|n| service(&source, n)).collect(),
            tasks: (0..150).map(|n| task(&source, n)).collect(),
            run_keys: run_keys(&source),
            autoruns: (0..140).map(|n| autorun(&source, n)).collect(),
            software: (0..70).map(|n| software(&source, n)).collect(),
            hotfixes: (0..14).map(|n| hotfix(&source, n)).collect(),
            hashes: (0..files).map(|n| hash(&source, n)).collect(),
            processes: processes(&source),
            prefetch: (0..150).map(|n| prefetch(&source, n)).collect(),
            host_names: (0..60).map(|n| host_name(&source, n)).collect(),
        }
    }
}

fn file_name(random: &mut Random) -> String {
    let (stem, tail) = (random.pick(STEMS), random.pick(TAILS));
    match random.below(4) {
        0 => format!("{stem}{}{tail}", random.pick(STEMS)),
        1 => format!("{stem}{tail}{}", random.between(10, 64)),
        _ => format!("{stem}{tail}"),
    }
}

fn product(random: &mut Random) -> (String, String) {
    let (vendor, product) = (random.pick(VENDORS), random.pick(PRODUCTS));
    (vendor.to_string(), product.to_string())
}

fn version(random: &mut Random) -> String {
    format!(
        "{}.{}.{}",
        random.between(1, 24),
        random.below(20),
        random.below(9000)
    )
}

fn service(source: &ItemStreams, number: u64) -> (bool, String) {
    let mut common = source.common(Item::Service, number);
    let running = !common.once_in(3);
    let start =
        ["Auto", "Manual", "Manual", "Disabled"][common.below(3 + u64::from(!running)) as usize];
    let (name, display, path) = match SERVICES.get(number as usize) {
        Some((name, display, group)) => (
            name.to_string(),
            display.to_string(),
            format!(r"C:\Windows\system32\svchost.exe -k {group}"),
        ),
        None => {
            let (vendor, product) = product(&mut common);
            let name = format!("{}{}", file_name(&mut common), common.below(90));
            let version = version(&mut source.own(Item::Service, number));
            let path = format!(
                "\"C:\\Program Files\\{vendor}\\{product}\\{version}\\{name}.exe\" --service"
            );
            (name, format!("{vendor} {product} Service"), path)
        }
    };
    (
        running,
        format!("{name:<28} {display:<46} {start:<9} {path}"),
    )
}

fn task(source: &ItemStreams, number: u64) -> String {
    let mut common = source.common(Item::Task, number);
    match TASKS.get(number as usize) {
        Some((folder, name)) => format!(r"\Microsoft\Windows\{folder}\{name}"),
        None => {
            let mut own = source.own(Item::Task, number);
            let (vendor, product) = product(&mut common);
            format!(
                r"\{vendor}\{product} {} {}",
                file_name(&mut common),
                version(&mut own)
            )
        }
    }
}

fn run_keys(source: &ItemStreams) -> Vec<(String, Vec<String>)> {
    const KEYS: &[&str] = &[
        r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Run",
        r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\RunOnce",
        r"HKEY_LOCAL_MACHINE\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Run",
        r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon",
        r"HKEY_CURRENT_USER\SOFTWARE\Microsoft\Windows\CurrentVersion\Run",
    ];
    let below = |key: usize| {
        (0..12).map(move |value| {
            let number = (12 * key + value) as u64;
            let mut common = source.common(Item::RunKey, number);
            let mut own = source.own(Item::RunKey, number);
            let (vendor, product) = product(&mut common);
            format!(
                "    {}    REG_SZ    \"C:\\Program Files\\{vendor}\\{product}\\{}\\{}.exe\" /min",
                file_name(&mut common),
                version(&mut own),
                file_name(&mut common),
            )
        })
    };
    KEYS.iter()
        .enumerate()
        .map(|(key, name)| (name.to_string(), below(key).collect()))
        .collect()
}

fn autorun(source: &ItemStreams, number: u64) -> String {
    const PLACES: &[&str] = &[
        r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run",
        r"HKLM\SOFTWARE\Wow6432Node\Microsoft\Windows\CurrentVersion\Run",
        r"HKLM\System\CurrentControlSet\Services",
        r"HKLM\System\CurrentControlSet\Services",
        r"HKLM\SOFTWARE\Classes\Protocols\Handler",
        r"HKLM\SOFTWARE\Microsoft\Internet Explorer\Extensions",
    ];
    let mut common = source.common(Item::Autorun, number);
    let mut own = source.own(Item::Autorun, number);
    let place = common.pick(PLACES);
    let (vendor, product) = product(&mut common);
    let file = file_name(&mut common);
    format!(
        "{place},{file},enabled,{product},(Verified) {vendor} Ltd,{},C:\\Program Files\\{vendor}\\{product}\\{file}.exe,{}",
        version(&mut own),
        own.hex_upper(16),
    )
}

fn software(source: &ItemStreams, number: u64) -> String {
    let (vendor, product) = product(&mut source.common(Item::Software, number));
    let mut own = source.own(Item::Software, number);
    let name = format!("{vendor} {product}");
    format!(
        "{name:<44} {:<16} {:<18} 2025{:02}{:02}",
        version(&mut own),
        format!("{vendor} Ltd"),
        own.between(1, 12),
        own.between(1, 28),
    )
}

fn hotfix(source: &ItemStreams, number: u64) -> String {
    let mut own = source.own(Item::Hotfix, number);
    let kind = own.pick(&["Update", "Security Update"]);
    format!(
        "{kind:<16} KB50{:05}     NT AUTHORITY\\SYSTEM  {}/{}/2026 12:00:00 AM",
        own.between(20_000, 74_999),
        own.between(1, 2),
        own.between(1, 28),
    )
}

fn hash(source: &ItemStreams, number: u64) -> String {
    let mut common = source.common(Item::File, number);
    let folder = common.pick(FOLDERS);
    let ending = common.pick(&["dll", "dll", "dll", "exe", "sys"]);
    let file = file_name(&mut common);
    let sha256 = source.own(Item::File, number).hex_upper(32);
    format!("SHA256          {sha256}       {folder}{file}.{ending}")
}

fn processes(source: &ItemStreams) -> Vec<(String, String)> {
    let services = SERVICES.iter().take(46).map(|(name, _, group)| {
        let line = format!(r"C:\Windows\system32\svchost.exe -k {group} -s {name}");
        ("svchost.exe".to_string(), line)
    });
    let common = PROCESSES
        .iter()
        .map(|(name, line)| (name.to_string(), line.to_string()));
    let vendors = (0..24).map(|number| {
        let mut random = source.common(Item::Process, number);
        let (vendor, product) = product(&mut random);
        let file = file_name(&mut random);
        let line = format!("\"C:\\Program Files\\{vendor}\\{product}\\{file}.exe\" --agent");
        (format!("{file}.exe"), line)
    });
    common.chain(services).chain(vendors).collect()
}

fn prefetch(source: &ItemStreams, number: u64) -> String {
    let mut common = source.common(Item::Prefetch, number);
    format!(
        "{}.EXE-{}.pf",
        file_name(&mut common).to_uppercase(),
        common.hex_upper(4)
    )
}

fn host_name(source: &ItemStreams, number: u64) -> String {
    let mut common = source.common(Item::Host, number);
    let (domain, vendor) = (
        crate::words::DOMAINS[number as usize % crate::words::DOMAINS.len()],
        common.pick(VENDORS).to_lowercase(),
    );
    format!("{domain}.{vendor}.example")
}
