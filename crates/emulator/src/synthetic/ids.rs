//! Ids that depend only on a name.

use evidence::{ActionId, CommandIndex, ResultKey};

/// A GUID that depends only on `name`.
pub(crate) fn guid_from_name(name: &str) -> ActionId {
    let mut bytes = [0u8; 16];
    blake3::Hasher::new()
        .update(name.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    // Version and variant of a random GUID (version 4), for strict parsers.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    ActionId::from_bytes(bytes)
}

pub(crate) fn result_key(action: ActionId, index: u32) -> ResultKey {
    ResultKey::new(action, CommandIndex(index))
}

/// The machine id of a device: 40 hex digits, as in the service, that depend
/// only on the device's name.
pub fn machine_id(device: &str) -> String {
    let hash = blake3::hash(format!("machine {}", device.to_ascii_lowercase()).as_bytes());
    hash.to_hex().chars().take(40).collect()
}
