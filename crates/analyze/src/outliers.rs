//! Distances between the devices of a fleet. Each device is reduced to a sketch
//! (MinHash: the smallest hash of its texts in each of 256 bins), so comparing
//! all pairs is cheap.

use crate::groups::Groups;

/// Bins of a sketch; distances are accurate to about 0.03.
const BINS: usize = 256;
const EMPTY: u32 = u32::MAX;
/// The distance of a device is the mean over this many nearest devices, so one
/// other device that was modified in the same way does not hide it.
const NEAREST: usize = 5;

/// Sketches of all devices.
///
/// **Memory**: 1 KiB per device.
#[derive(Debug)]
pub struct Sketches {
    bins: Vec<u32>,
    texts: Vec<u32>,
}

/// A device with its distance from the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlier {
    pub device: u32,
    /// Mean distance to the nearest devices, 0 to 1.
    pub distance: f64,
    /// Nearest device and its distance.
    pub nearest: Option<(u32, f64)>,
    /// Number of texts on the device.
    pub texts: u32,
}

impl Sketches {
    pub fn new(devices: usize) -> Self {
        Self {
            bins: vec![EMPTY; devices * BINS],
            texts: vec![0; devices],
        }
    }

    /// Adds the texts of every device.
    pub fn add(&mut self, groups: &Groups) {
        for number in groups.numbers() {
            // An unseeded hash: distances are equal in every process.
            let hash = blake3::hash(groups.text(number).as_bytes());
            let [a, b, c, d, bin, ..] = *hash.as_bytes();
            // The largest value marks an empty bin.
            let least = u32::from_le_bytes([a, b, c, d]).min(EMPTY - 1);
            for device in groups.held(number, 0).devices.iter() {
                let device = device as usize;
                let bin = &mut self.bins[device * BINS + usize::from(bin)];
                *bin = least.min(*bin);
                self.texts[device] += 1;
            }
        }
    }

    fn sketch(&self, device: usize) -> &[u32] {
        &self.bins[device * BINS..(device + 1) * BINS]
    }

    /// Distance of two devices, from 0 (equal) to 1 (nothing in common).
    pub fn distance(&self, a: u32, b: u32) -> f64 {
        let (a, b) = (self.sketch(a as usize), self.sketch(b as usize));
        let (mut same, mut used) = (0u32, 0u32);
        for (a, b) in a.iter().zip(b) {
            let is_used = *a & *b != EMPTY;
            used += u32::from(is_used);
            same += u32::from(is_used && a == b);
        }
        match used {
            0 => 0.0,
            used => 1.0 - f64::from(same) / f64::from(used),
        }
    }

    /// All devices, the largest distance first.
    ///
    /// **Cost**: compares all pairs, on `threads` threads.
    pub fn rank(&self, threads: usize) -> Vec<Outlier> {
        let count = self.texts.len();
        let share = count.div_ceil(threads.max(1)).max(1);
        let mut outliers: Vec<Outlier> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..count)
                .step_by(share)
                .map(|from| {
                    let devices = from..(from + share).min(count);
                    scope.spawn(move || devices.map(|d| self.outlier(d as u32)).collect::<Vec<_>>())
                })
                .collect();
            let done = workers.into_iter().map(|worker| {
                let done = worker.join();
                done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            done.flatten().collect()
        });
        outliers.sort_by(|a, b| {
            let by_distance = b.distance.total_cmp(&a.distance);
            by_distance.then(a.device.cmp(&b.device))
        });
        outliers
    }

    fn outlier(&self, device: u32) -> Outlier {
        let mut nearest: Vec<(f64, u32)> = Vec::with_capacity(NEAREST + 1);
        for other in (0..self.texts.len() as u32).filter(|other| *other != device) {
            let distance = self.distance(device, other);
            let at = nearest.partition_point(|near| near.0 <= distance);
            if at < NEAREST {
                nearest.insert(at, (distance, other));
                nearest.truncate(NEAREST);
            }
        }
        // An empty sum would be -0.
        let sum = nearest.iter().fold(0.0, |sum, near| sum + near.0);
        Outlier {
            device,
            distance: sum / nearest.len().max(1) as f64,
            nearest: nearest.first().map(|(distance, other)| (*other, *distance)),
            texts: self.texts[device as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::{Devices, First, GroupKeys, Holding};

    #[test]
    fn outlier_comes_first_and_distances_are_accurate() {
        let keys = GroupKeys::new([7; 16]);
        let mut groups = Groups::new(20, 0..=u64::MAX);
        for n in 0..3_000u64 {
            // Devices 0 to 9 share two thirds of the texts, 10 to 18 the rest;
            // 19 has its own.
            let devices: Vec<u32> = match n % 3 {
                0 => (0..19).collect(),
                1 => (0..10).collect(),
                _ => (10..19).collect(),
            };
            let devices = Devices::of(if n < 300 { vec![19] } else { devices }, 20);
            let text = format!("line {n}");
            let number = groups.number(keys.of(&text), &text, false).unwrap();
            groups.add(
                number,
                0,
                &Holding {
                    devices: &devices,
                    hits: 1,
                    first: First {
                        rank: 0,
                        place: (0, 0, n),
                    },
                    last: None,
                },
            );
        }
        let mut sketches = Sketches::new(20);
        sketches.add(&groups);
        let ranked = sketches.rank(3);
        assert_eq!(ranked, sketches.rank(1));
        assert_eq!((ranked[0].device, ranked[0].texts), (19, 300));
        assert!(ranked[0].distance > 0.97, "{:?}", ranked[0]);
        assert!(ranked[1].distance < 0.01, "{:?}", ranked[1]);
        let apart = sketches.distance(0, 10);
        assert!((apart - 2.0 / 3.0).abs() < 0.1, "{apart}");
        assert_eq!(Sketches::new(1).rank(2)[0].distance, 0.0);
        assert!(Sketches::new(0).rank(2).is_empty());
    }
}
