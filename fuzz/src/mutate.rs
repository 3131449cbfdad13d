//! Inputs for everyday tests: random bytes, and seeds that are changed a little, all of it decided
//! by a number.

/// Pseudo-random numbers (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*,
/// OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The sequence that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: usize) -> usize {
        (self.word() % end as u64) as usize
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.word() as u8).collect()
    }
}

/// An input of at most `bytes_max`: one of `seeds` with some changes, or random bytes.
#[must_use]
pub fn input(random: &mut SplitMix64, seeds: &[Vec<u8>], bytes_max: usize) -> Vec<u8> {
    if seeds.is_empty() || random.below(4) == 0 {
        let shift = random.below(8);
        let length = random.below((bytes_max >> shift).max(1) + 1);
        return random.bytes(length);
    }
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        mutate(random, &mut bytes, seeds);
    }
    bytes.truncate(bytes_max);
    bytes
}

fn mutate(random: &mut SplitMix64, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    /// Values at which encodings and limits change.
    const EDGES: [u8; 8] = [0, 1, 0x0f, 0x7f, 0x80, 0xfe, 0xff, b'\n'];
    let at = random.below(bytes.len() + 1);
    let end = (at + 1 + random.below(16)).min(bytes.len());
    match random.below(7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = EDGES[random.below(EDGES.len())],
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        5 => {
            let count = 1 + random.below(8);
            let more = random.bytes(count);
            bytes.splice(at..at, more);
        }
        _ => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}
