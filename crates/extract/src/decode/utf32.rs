//! UTF-32.

use crate::decode::encoding::ByteOrder;
use crate::decode::stats::DecodeStats;

/// Decodes the complete units of `bytes` and returns how many bytes they have.
/// With `last`, a rest of a unit is replaced.
pub(crate) fn decode(
    order: ByteOrder,
    bytes: &[u8],
    last: bool,
    out: &mut String,
    stats: &mut DecodeStats,
) -> usize {
    let units = bytes.chunks_exact(4);
    let rest = units.remainder().len();
    for unit in units {
        let unit: [u8; 4] = unit.try_into().unwrap_or_default();
        let number = match order {
            ByteOrder::Little => u32::from_le_bytes(unit),
            ByteOrder::Big => u32::from_be_bytes(unit),
        };
        out.push(char::from_u32(number).unwrap_or_else(|| {
            stats.replacements += 1;
            char::REPLACEMENT_CHARACTER
        }));
    }
    if last && rest > 0 {
        out.push(char::REPLACEMENT_CHARACTER);
        stats.replacements += 1;
        return bytes.len();
    }
    bytes.len() - rest
}
