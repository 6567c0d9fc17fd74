//! Builds valid and invalid zip archives byte by byte. Shares no code with the
//! reader under test.
#![allow(dead_code)]

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

/// A zip under construction.
#[derive(Default)]
pub struct Zip {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: u64,
    /// Sizes and offsets of every directory entry as zip64.
    pub zip64: bool,
    pub comment: Vec<u8>,
}

/// One member, as described by both of its headers.
#[derive(Clone)]
pub struct Part {
    pub name: Vec<u8>,
    pub method: u16,
    pub flags: u16,
    pub crc: u32,
    pub size: u64,
    pub data: Vec<u8>,
    pub central_name: Option<Vec<u8>>,
    pub extra: Vec<u8>,
    pub external: u32,
    pub descriptor: bool,
}

pub fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn stored(name: &str, bytes: &[u8]) -> Part {
    Part {
        name: name.as_bytes().to_vec(),
        method: 0,
        flags: 0x800,
        crc: crc32fast::hash(bytes),
        size: bytes.len() as u64,
        data: bytes.to_vec(),
        central_name: None,
        extra: Vec::new(),
        external: 0,
        descriptor: false,
    }
}

pub fn packed(name: &str, bytes: &[u8]) -> Part {
    Part {
        method: 8,
        data: deflated(bytes),
        ..stored(name, bytes)
    }
}

impl Zip {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that belong to no member.
    pub fn junk(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub fn add(mut self, part: &Part) -> Self {
        let at = self.bytes.len() as u64;
        let streamed = part.descriptor;
        let flags = part.flags | if streamed { 8 } else { 0 };
        let (crc, packed, size) = if streamed {
            (0, 0, 0)
        } else {
            (part.crc, part.data.len() as u64, part.size)
        };
        let mut local = b"PK\x03\x04\x14\0".to_vec();
        put16(&mut local, &[flags, part.method, 0x6000, 0x5a21]);
        put32(&mut local, &[crc, packed as u32, size as u32]);
        put16(
            &mut local,
            &[part.name.len() as u16, part.extra.len() as u16],
        );
        local.extend_from_slice(&part.name);
        local.extend_from_slice(&part.extra);
        self.bytes.extend_from_slice(&local);
        self.bytes.extend_from_slice(&part.data);
        if streamed {
            self.bytes.extend_from_slice(b"PK\x07\x08");
            put32(
                &mut self.bytes,
                &[part.crc, part.data.len() as u32, part.size as u32],
            );
        }
        self.list(part, at)
    }

    /// Adds a member to the directory only, with its header at `at`.
    pub fn list(mut self, part: &Part, at: u64) -> Self {
        let name = part.central_name.as_ref().unwrap_or(&part.name);
        let flags = part.flags | if part.descriptor { 8 } else { 0 };
        let mut extra = part.extra.clone();
        let (mut packed, mut size, mut place) = (part.data.len() as u64, part.size, at);
        if self.zip64 {
            put16(&mut extra, &[1, 24]);
            for value in [size, packed, place] {
                extra.extend_from_slice(&value.to_le_bytes());
            }
            (packed, size, place) = (u64::MAX, u64::MAX, u64::MAX);
        }
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let to = &mut self.directory;
        to.extend_from_slice(b"PK\x01\x02\x14\x03\x14\0");
        put16(to, &[flags, part.method, 0x6000, 0x5a21]);
        put32(to, &[part.crc, narrow(packed), narrow(size)]);
        put16(to, &[name.len() as u16, extra.len() as u16, 0, 0, 0]);
        put32(to, &[part.external, narrow(place)]);
        to.extend_from_slice(name);
        to.extend_from_slice(&extra);
        self.count += 1;
        self
    }

    pub fn finish(self) -> Vec<u8> {
        let count = self.count;
        self.finish_saying(count)
    }

    /// Ends the archive with a given count, which may be wrong.
    pub fn finish_saying(self, count: u64) -> Vec<u8> {
        let mut bytes = self.bytes;
        let at = bytes.len() as u64;
        bytes.extend_from_slice(&self.directory);
        let size = self.directory.len() as u64;
        if self.zip64 {
            let record = bytes.len() as u64;
            bytes.extend_from_slice(b"PK\x06\x06");
            bytes.extend_from_slice(&44u64.to_le_bytes());
            put16(&mut bytes, &[45, 45]);
            put32(&mut bytes, &[0, 0]);
            for value in [count, count, size, at] {
                bytes.extend_from_slice(&value.to_le_bytes());
            }
            bytes.extend_from_slice(b"PK\x06\x07\0\0\0\0");
            bytes.extend_from_slice(&record.to_le_bytes());
            bytes.extend_from_slice(&1u32.to_le_bytes());
            bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff");
            put32(&mut bytes, &[u32::MAX, u32::MAX]);
        } else {
            bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
            put16(&mut bytes, &[count as u16, count as u16]);
            put32(&mut bytes, &[size as u32, at as u32]);
        }
        put16(&mut bytes, &[self.comment.len() as u16]);
        bytes.extend_from_slice(&self.comment);
        bytes
    }
}

fn put16(to: &mut Vec<u8>, values: &[u16]) {
    for value in values {
        to.extend_from_slice(&value.to_le_bytes());
    }
}

fn put32(to: &mut Vec<u8>, values: &[u32]) {
    for value in values {
        to.extend_from_slice(&value.to_le_bytes());
    }
}

/// A gzip, with or without a name.
pub fn gzip(name: Option<&str>, bytes: &[u8]) -> Vec<u8> {
    let mut builder = flate2::GzBuilder::new();
    if let Some(name) = name {
        builder = builder.filename(name);
    }
    let mut encoder: GzEncoder<Vec<u8>> = builder.write(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
