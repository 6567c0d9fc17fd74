//! Limits of a traversal. Every number has its reason.

/// Levels of containers inside containers. Real evidence nests three or four
/// deep (a zip in a KAPE zip in a gzip); an archive that contains itself has
/// no last level.
pub const DEPTH_MAX: u32 = 16;

/// Entries of all containers of a result together: the files of a whole disk.
/// Each costs 64 bytes while its directory is open.
pub const MEMBERS_MAX: u64 = 1_000_000;

/// Decompressed bytes of all containers of a result together. A 3 GB zip of
/// logs, at the 20:1 that text reaches, needs half of it.
pub const INFLATED_BYTES_MAX: u64 = 128 << 30;

/// Bytes of one member: ten times the largest result of the service.
pub const MEMBER_BYTES_MAX: u64 = 32 << 30;

/// Bytes of one member per byte of the result, above [`RATIO_FLOOR_BYTES`].
/// Logs reach 100:1; deflate ends at 1,032:1, which only runs of one byte
/// reach.
pub const RATIO_MAX: u64 = 200;

/// Bytes to read from one member at any ratio. A few hundred megabytes of
/// one repeated line are read completely, and a bomb of some kilobytes costs
/// seconds, not a minute.
pub const RATIO_FLOOR_BYTES: u64 = 512 << 20;

/// Multiple of the ratio limit of one member that all members together may
/// reach. The members after a bomb are still read, and a member of a nested
/// archive counts twice: by itself and as part of the archive.
pub const RATIO_MEMBERS: u64 = 2;

/// Bytes that may be read per byte that may be decompressed. Compressed data
/// is smaller than its content and is read a few times at most: to check a
/// header or a password, then for the members. Only an archive in which very
/// many members refer to the same bytes reads more.
pub const READS_OVER_WORK: u64 = 4;

/// Bytes that a read counts at least: a read takes time even if it returns
/// little.
pub const READ_BYTES_MIN: u64 = 512;

/// Bytes of a nested archive to spool for seeking: twice the largest result.
pub const SCRATCH_BYTES_MAX: u64 = 8 << 30;

/// Nested archives up to this size stay in memory. Most are smaller, and one
/// is open at each level.
pub const MEMORY_BYTES_MAX: u64 = 8 << 20;

/// Window of zstd, dictionary of LZMA and xz, allocated while one member is
/// decoded. Only archives made with the most expensive settings need more.
pub const WINDOW_BYTES_MAX: u32 = 64 << 20;

/// Bytes read at once from the reader below a decoder.
pub const READ_BYTES: usize = 64 << 10;

/// Problems of one container's directory to report one by one. The rest is
/// counted in one more problem, so that an invalid directory with a
/// million entries cannot fill the index with problems.
pub const PROBLEMS_LISTED_MAX: u64 = 1_000;

/// The limits of a traversal. The defaults are the constants of this module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraverseLimits {
    /// Levels of containers inside containers.
    pub depth_max: u32,
    /// Entries of all containers together.
    pub members_max: u64,
    /// Decompressed bytes of all containers together.
    pub inflated_bytes_max: u64,
    /// Bytes of one member.
    pub member_bytes_max: u64,
    /// Bytes of one member per byte of the result, above `ratio_floor_bytes`.
    pub ratio_max: u64,
    /// Bytes to read from one member at any ratio.
    pub ratio_floor_bytes: u64,
    /// Bytes of a nested archive to spool.
    pub scratch_bytes_max: u64,
    /// Bytes of a nested archive to spool in memory.
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

/// A number of bytes, and a description of the limit for messages.
#[derive(Clone, Debug)]
pub(crate) struct ByteLimit {
    pub bytes: u64,
    pub description: String,
}

impl TraverseLimits {
    /// Bytes that may be decompressed from a result of `source_bytes`.
    pub(crate) fn total(&self, source_bytes: u64) -> ByteLimit {
        let by_ratio = self.by_ratio(source_bytes).saturating_mul(RATIO_MEMBERS);
        self.lower(by_ratio, source_bytes, self.inflated_bytes_max)
    }

    /// Bytes that may be decompressed from one member of it.
    pub(crate) fn member(&self, source_bytes: u64) -> ByteLimit {
        let by_ratio = self.by_ratio(source_bytes);
        self.lower(by_ratio, source_bytes, self.member_bytes_max)
    }

    /// Entries that may still be listed after `listed` entries.
    pub(crate) fn entries_left(&self, listed: u64) -> u64 {
        // Ordinals have 32 bits.
        self.members_max
            .saturating_sub(listed)
            .min(u64::from(u32::MAX))
    }

    fn by_ratio(&self, source_bytes: u64) -> u64 {
        source_bytes
            .saturating_mul(self.ratio_max)
            .max(self.ratio_floor_bytes)
    }

    fn lower(&self, by_ratio: u64, source_bytes: u64, max: u64) -> ByteLimit {
        if max <= by_ratio {
            return ByteLimit {
                bytes: max,
                description: format!("{} of decompressed data", print_size(max)),
            };
        }
        ByteLimit {
            bytes: by_ratio,
            description: format!(
                "{} decompressed from {} (ratio {} above {})",
                print_size(by_ratio),
                print_size(source_bytes),
                self.ratio_max,
                print_size(self.ratio_floor_bytes)
            ),
        }
    }
}

/// A number of bytes for a message, exact: `8 GiB` or `1000 bytes`.
pub(crate) fn print_size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units
        .iter()
        .find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    match unit {
        Some((shift, name)) => format!("{} {name}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_exactly() {
        for (bytes, printed) in [
            (0, "0 bytes"),
            (1000, "1000 bytes"),
            (64 << 10, "64 KiB"),
            ((5 << 20) + 1, "5242881 bytes"),
            (128 << 30, "128 GiB"),
        ] {
            assert_eq!(print_size(bytes), printed);
        }
    }
}
