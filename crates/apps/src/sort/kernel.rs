//! What one worker does with its slices, wherever these are.

use std::ops::Range;

/// How many samples a block gives at most.
pub const SAMPLES: usize = 256;

/// Takes samples of `block` at regular places, and answers how many: less than [`SAMPLES`] only if
/// it has less keys.
pub fn sample(block: &[u64], samples: &mut [u64; SAMPLES]) -> usize {
    let count = block.len().min(SAMPLES);
    for (index, sample) in samples[..count].iter_mut().enumerate() {
        *sample = block[index * block.len() / count];
    }
    count
}

/// Where to cut the range of all keys so that each of `workers` gets about as many, as the samples of
/// all blocks show it. A key that is a cut belongs above it. The samples are sorted.
#[must_use]
pub fn cuts(samples: &mut [u64], workers: usize) -> Vec<u64> {
    samples.sort_unstable();
    let cut = |worker| samples.get(worker * samples.len() / workers).copied();
    (1..workers)
        .map(|worker| cut(worker).unwrap_or(0))
        .collect()
}

/// Copies `block` to `parted`, the keys for the first worker first. Sets `starts` to where the keys
/// of each worker begin, and behind these, to the number of all keys.
///
/// # Panics
/// If there is not one more of `starts` than workers, or not room for all keys.
pub fn partition(block: &[u64], cuts: &[u64], parted: &mut [u64], starts: &mut [u64]) {
    assert_eq!(
        starts.len(),
        cuts.len() + 2,
        "a start for each worker, and the end"
    );
    assert_eq!(parted.len(), block.len(), "as many keys out as in");
    let worker = |key: u64| cuts.partition_point(|&cut| cut <= key);
    starts.fill(0);
    for &key in block {
        starts[worker(key) + 1] += 1;
    }
    for index in 1..starts.len() {
        starts[index] += starts[index - 1];
    }
    let mut places = starts.to_vec();
    for &key in block {
        let place = &mut places[worker(key)];
        parted[*place as usize] = key;
        *place += 1;
    }
}

/// Where the keys of `worker` are in a block that [`partition`] left.
///
/// # Panics
/// If there is no such worker.
#[must_use]
pub fn bucket(starts: &[u64], worker: usize) -> Range<usize> {
    starts[worker] as usize..starts[worker + 1] as usize
}

/// Copies the keys that each block has for a worker to `part`, and sorts them there.
///
/// # Panics
/// If they are not as many as `part` has places.
pub fn gather<'a>(buckets: impl IntoIterator<Item = &'a [u64]>, part: &mut [u64]) {
    let mut rest = &mut *part;
    for bucket in buckets {
        let place;
        (place, rest) = rest.split_at_mut(bucket.len());
        place.copy_from_slice(bucket);
    }
    assert!(rest.is_empty(), "{} keys are missing", rest.len());
    part.sort_unstable();
}

/// Whether no key of all parts, one after the other, is larger than the next.
#[must_use]
pub fn are_sorted(parts: &[impl AsRef<[u64]>]) -> bool {
    let mut largest = 0;
    parts.iter().map(AsRef::as_ref).all(|part| {
        let goes_on = part.first().is_none_or(|&first| largest <= first);
        largest = part.last().copied().unwrap_or(largest);
        goes_on && part.is_sorted()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = Vec<u64>> {
        let key = prop_oneof![0..10_u64, any::<u64>(), Just(u64::MAX)];
        prop::collection::vec(key, 0..2000)
    }

    proptest! {
        #[test]
        fn samples_are_regular(block in keys()) {
            let mut samples = [0; SAMPLES];
            let count = sample(&block, &mut samples);
            prop_assert_eq!(count, block.len().min(SAMPLES));
            prop_assert_eq!(samples[..count].first(), block.first());
            if block.len() <= SAMPLES {
                prop_assert_eq!(&samples[..count], block);
            }
        }

        #[test]
        fn a_partition_keeps_the_keys_and_respects_the_cuts(
            block in keys(), mut samples in keys(), workers in 1usize..9,
        ) {
            let cuts = cuts(&mut samples, workers);
            prop_assert_eq!(cuts.len(), workers - 1);
            prop_assert!(cuts.is_sorted());
            let (mut parted, mut starts) = (vec![0; block.len()], vec![9; workers + 1]);
            partition(&block, &cuts, &mut parted, &mut starts);
            let mut end = 0;
            for worker in 0..workers {
                let bucket = bucket(&starts, worker);
                prop_assert_eq!(bucket.start, end);
                end = bucket.end;
                for &key in &parted[bucket] {
                    prop_assert!(worker == 0 || cuts[worker - 1] <= key);
                    prop_assert!(worker == workers - 1 || key < cuts[worker]);
                }
            }
            prop_assert_eq!(end, block.len());
            let mut sorted = vec![0; block.len()];
            gather([&parted[..end / 3], &parted[end / 3..]], &mut sorted);
            let mut expected = block;
            expected.sort_unstable();
            prop_assert!(are_sorted(&[&sorted]));
            prop_assert_eq!(sorted, expected);
        }
    }

    #[test]
    fn random_keys_are_cut_fairly() {
        let mut generator = crate::bank::SplitMix64::new(1);
        let block: Vec<u64> = (0..100_000).map(|_| generator.draw()).collect();
        let mut samples = [0; SAMPLES];
        sample(&block, &mut samples);
        let (mut parted, mut starts) = (vec![0; block.len()], [0; 5]);
        partition(&block, &cuts(&mut samples, 4), &mut parted, &mut starts);
        let largest = (0..4).map(|worker| bucket(&starts, worker).len()).max();
        assert!(largest < Some(40_000), "{starts:?}");
    }
}
