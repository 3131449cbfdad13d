//! How long something took, many times: a histogram of fixed size whose buckets grow with the time
//! they stand for (as HdrHistogram by Tene does it), so that it can be added to others and costs a few
//! instructions a value.
//!
//! ```text
//!   nanoseconds  0..256 | 256 320 384 448 | 512 640 768 896 | 1024 ...   four buckets to a doubling:
//!   bucket          0   |  1   2   3   4  |  5   6   7   8  |  9   ...   a value is known to a quarter
//! ```
//!
//! It comes from peers: what is decoded has no more buckets than there are, and no sum of counts can
//! overflow.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Buckets to a doubling, as a power of two.
const STEP_BITS: u32 = 2;
/// Times below two to this power, in nanoseconds, are not told apart.
const FIRST_BITS: u32 = 8;
/// The last bucket begins below two to this power, in nanoseconds: 69 s.
const LAST_BITS: u32 = 36;
/// How many buckets there are.
pub const BUCKETS: usize = 1 + ((LAST_BITS - FIRST_BITS) << STEP_BITS) as usize;

/// A histogram of times.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Latencies {
    counts: [u64; BUCKETS],
    sum_ns: u64,
    max_ns: u64,
}

/// As it travels: without the empty buckets at its end.
#[derive(Serialize, Deserialize)]
struct Packed {
    counts: Vec<u64>,
    sum_ns: u64,
    max_ns: u64,
}

/// What people read of a histogram, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Percentiles {
    /// How many times were measured.
    pub count: u64,
    /// The mean.
    pub mean_us: f64,
    /// Half of them took no longer,
    pub p50_us: f64,
    /// nine of ten,
    pub p90_us: f64,
    /// and 99 of a hundred.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            sum_ns: 0,
            max_ns: 0,
        }
    }
}

impl Latencies {
    /// Counts one more, of so many nanoseconds.
    #[inline]
    pub fn record(&mut self, nanos: u64) {
        let count = &mut self.counts[bucket(nanos)];
        *count = count.saturating_add(1);
        self.sum_ns = self.sum_ns.saturating_add(nanos);
        self.max_ns = self.max_ns.max(nanos);
    }

    /// Adds what `other` counted.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// What was counted since `before`. The longest time is not known of that; it is the longest of
    /// all.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        for (count, less) in since.counts.iter_mut().zip(&before.counts) {
            *count = count.saturating_sub(*less);
        }
        since.sum_ns = since.sum_ns.saturating_sub(before.sum_ns);
        since
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts
            .iter()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// All of them together, in nanoseconds.
    #[must_use]
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// How many took no longer than `limit_ns`, rounded to a bucket.
    #[must_use]
    pub fn within(&self, limit_ns: u64) -> u64 {
        let within = (0..BUCKETS).take_while(|&at| end_of(at) <= limit_ns);
        within.fold(0, |sum: u64, at| sum.saturating_add(self.counts[at]))
    }

    /// The time that so many of a thousand did not exceed, in nanoseconds; zero if nothing was counted.
    #[must_use]
    pub fn permille(&self, permille: u64) -> u64 {
        let count = u128::from(self.count());
        let rank = (count * u128::from(permille)).div_ceil(1000).max(1);
        let mut seen = 0;
        for (at, in_bucket) in self.counts.iter().enumerate() {
            seen += u128::from(*in_bucket);
            if seen >= rank {
                return end_of(at).min(self.max_ns);
            }
        }
        0
    }

    /// What people read of it.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        let us = |nanos: u64| nanos as f64 / 1e3;
        let count = self.count();
        if count == 0 {
            return Percentiles::default();
        }
        Percentiles {
            count,
            mean_us: us(self.sum_ns) / count as f64,
            p50_us: us(self.permille(500)),
            p90_us: us(self.permille(900)),
            p99_us: us(self.permille(990)),
            max_us: us(self.max_ns),
        }
    }
}

/// The bucket of a time.
#[inline]
fn bucket(nanos: u64) -> usize {
    if nanos < 1 << FIRST_BITS {
        return 0;
    }
    let bits = nanos.ilog2();
    if bits >= LAST_BITS {
        return BUCKETS - 1;
    }
    let step = (nanos >> (bits - STEP_BITS)) & ((1 << STEP_BITS) - 1);
    1 + (((bits - FIRST_BITS) << STEP_BITS) as usize) + step as usize
}

/// The first time, in nanoseconds, that is beyond the bucket at `at`.
fn end_of(at: usize) -> u64 {
    let steps = at as u64;
    let (bits, step) = (steps >> STEP_BITS, steps & ((1 << STEP_BITS) - 1));
    if at + 1 == BUCKETS {
        return u64::MAX;
    }
    let begin = 1u64 << (u64::from(FIRST_BITS) + bits);
    begin + step * (begin >> STEP_BITS)
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return self.percentiles().serialize(serializer);
        }
        let used = self.counts.iter().rposition(|count| *count > 0);
        let used = used.map_or(0, |last| last + 1);
        let packed = Packed {
            counts: self.counts[..used].to_vec(),
            sum_ns: self.sum_ns,
            max_ns: self.max_ns,
        };
        packed.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let packed = Packed::deserialize(deserializer)?;
        let mut latencies = Self {
            sum_ns: packed.sum_ns,
            max_ns: packed.max_ns,
            ..Self::default()
        };
        let into = latencies.counts.get_mut(..packed.counts.len());
        let into = into.ok_or_else(|| serde::de::Error::custom("more buckets than there are"))?;
        into.copy_from_slice(&packed.counts);
        Ok(latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_without_gaps() {
        for at in 0..BUCKETS - 1 {
            let end = end_of(at);
            assert_eq!((bucket(end - 1), bucket(end)), (at, at + 1), "{end}");
        }
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn percentiles_are_known_to_a_quarter() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|us| latencies.record(us * 1000));
        let found = latencies.percentiles();
        for (found, exact) in [
            (found.p50_us, 500.0),
            (found.p90_us, 900.0),
            (found.p99_us, 990.0),
        ] {
            assert!((exact..exact * 1.25).contains(&found), "{found} {exact}");
        }
        assert_eq!((found.count, found.max_us), (1000, 1000.0));
        assert_eq!(Latencies::default().percentiles(), Percentiles::default());
    }

    #[test]
    fn what_travels_is_the_same_and_no_longer_than_it_may_be() {
        let mut latencies = Latencies::default();
        latencies.record(3_000);
        latencies.record(1_000_000_000_000);
        for sent in [Latencies::default(), latencies] {
            let bytes = postcard::to_allocvec(&sent).unwrap();
            assert_eq!(postcard::from_bytes(&bytes), Ok(sent));
        }
        let long = Packed {
            counts: vec![1; BUCKETS + 1],
            sum_ns: 0,
            max_ns: 0,
        };
        let bytes = postcard::to_allocvec(&long).unwrap();
        assert!(postcard::from_bytes::<Latencies>(&bytes).is_err());
    }

    #[test]
    fn hostile_counts_neither_overflow_nor_go_below_zero() {
        let most = Latencies {
            counts: [u64::MAX; BUCKETS],
            sum_ns: u64::MAX,
            max_ns: 0,
        };
        let mut sum = most.clone();
        sum.add(&most);
        sum.record(u64::MAX);
        assert_eq!(sum.count(), u64::MAX);
        assert_eq!(Latencies::default().since(&sum).count(), 0);
        assert!(sum.percentiles().p99_us >= 0.0);
        assert_eq!(most.permille(500), 0);
    }
}
