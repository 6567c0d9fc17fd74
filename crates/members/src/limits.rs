//! How far a walk goes: every number with its reason.

/// Containers in containers. Real evidence nests three or four deep (a zip in
/// a KAPE zip in a gzip); archives that hold themselves nest for ever.
pub const DEPTH_MAX: u32 = 16;

/// Entries of all containers of a result together. A whole disk's worth of
/// files; each costs 64 bytes while its directory is open.
pub const MEMBERS_MAX: u64 = 1_000_000;

/// Bytes out of all wrappings of a result together. A 3 GB zip of logs at the
/// 20:1 that text reaches is half of it.
pub const INFLATED_BYTES_MAX: u64 = 128 << 30;

/// Bytes of one member: ten times what the service lets anyone collect.
pub const MEMBER_BYTES_MAX: u64 = 32 << 30;

/// Bytes of one member over bytes of the result, counted beyond
/// [`RATIO_FLOOR_BYTES`]. Logs reach 100:1; deflate ends at 1,032:1, which only
/// emptiness reaches.
pub const RATIO_MAX: u64 = 200;

/// What may come out of one member whatever the ratio: a few hundred megabytes
/// of one line repeated are read whole, and a bomb of some kilobytes costs
/// seconds, not a minute.
pub const RATIO_FLOOR_BYTES: u64 = 512 << 20;

/// All members together may have so many times what one may: a bomb leaves
/// room for what stands behind it, and a member of a nested archive counts
/// again as part of it.
pub const RATIO_MEMBERS: u64 = 2;

/// Bytes that may be read over those that may be inflated. What is packed is
/// smaller than what comes of it, and is read some times at most: to see
/// whether a header or a password speaks the truth, and then for its members.
/// Only an archive in which a million members lie about the same stretch
/// reads more.
pub const READS_OVER_WORK: u64 = 4;

/// What one read counts at least, since it takes its time however little it
/// brings.
pub const READ_BYTES_MIN: u64 = 512;

/// Bytes of a nested archive put aside for seeking; twice a largest result.
pub const SCRATCH_BYTES_MAX: u64 = 8 << 30;

/// Nested archives up to this size stay in memory: most do, and one is open
/// at each depth.
pub const MEMORY_BYTES_MAX: u64 = 8 << 20;

/// Window of zstd, dictionary of LZMA and xz. Held while one member is
/// decoded; only archives made with the costliest settings ask for more.
pub const WINDOW_BYTES_MAX: u32 = 64 << 20;

/// Bytes read at once from whatever is below a decoder.
pub const READ_BYTES: usize = 64 << 10;

/// Problems of one container's directory reported one by one; the rest is
/// counted in one more, so that a lying directory of a million entries cannot
/// fill the index with complaints.
pub const PROBLEMS_LISTED_MAX: u64 = 1_000;

/// The limits of a walk. The defaults are the named numbers of this file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraverseLimits {
    pub depth_max: u32,
    pub members_max: u64,
    pub inflated_bytes_max: u64,
    pub member_bytes_max: u64,
    pub ratio_max: u64,
    pub ratio_floor_bytes: u64,
    pub scratch_bytes_max: u64,
    pub memory_bytes_max: u64,
}

impl Default for TraverseLimits {
    fn default() -> Self {
        Self {
            depth_max: DEPTH_MAX,
            members_max: MEMBERS_MAX,
            inflated_bytes_max: INFLATED_BYTES_MAX,
            member_bytes_max: MEMBER_BYTES_MAX,
            ratio_max: RATIO_MAX,
            ratio_floor_bytes: RATIO_FLOOR_BYTES,
            scratch_bytes_max: SCRATCH_BYTES_MAX,
            memory_bytes_max: MEMORY_BYTES_MAX,
        }
    }
}

/// A number of bytes, and the limit that says so.
#[derive(Clone, Debug)]
pub(crate) struct ByteLimit {
    pub bytes: u64,
    pub why: String,
}

impl TraverseLimits {
    /// What may be inflated from a result of `source_bytes`.
    pub(crate) fn work(&self, source_bytes: u64) -> ByteLimit {
        let by_ratio = self.by_ratio(source_bytes).saturating_mul(RATIO_MEMBERS);
        self.lower(by_ratio, source_bytes, self.inflated_bytes_max)
    }

    /// What may be inflated from one member of it.
    pub(crate) fn member(&self, source_bytes: u64) -> ByteLimit {
        let by_ratio = self.by_ratio(source_bytes);
        self.lower(by_ratio, source_bytes, self.member_bytes_max)
    }

    fn by_ratio(&self, source_bytes: u64) -> u64 {
        source_bytes
            .saturating_mul(self.ratio_max)
            .max(self.ratio_floor_bytes)
    }

    fn lower(&self, by_ratio: u64, source_bytes: u64, max: u64) -> ByteLimit {
        if max <= by_ratio {
            let why = format!("{max} bytes inflated");
            return ByteLimit { bytes: max, why };
        }
        let why = format!(
            "{by_ratio} bytes out of {source_bytes} (ratio {} beyond {} bytes)",
            self.ratio_max, self.ratio_floor_bytes
        );
        ByteLimit {
            bytes: by_ratio,
            why,
        }
    }
}
