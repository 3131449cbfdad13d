//! Prints what one access costs, in nanoseconds: the figures by which the hot paths are judged.
//!
//! Run it with `cargo run --release -p plurix-memory --example access`.

use std::hint::black_box;
use std::time::Instant;

use plurix_memory::{AccessError, HeapMemory};
use plurix_wire::PageNumber;

const PAGES: u64 = 256;
const PAGE: u64 = 4096;
const LINE: u64 = 64;
const ROUNDS: usize = 9;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut heap = HeapMemory::reserve(1 << 40)?;
    println!(
        "heap of {} GiB reserved, {PAGES} pages installed\n",
        heap.len() >> 30
    );
    for page in 0..PAGES {
        heap.install(PageNumber(page as u32), &[1; PAGE as usize]);
    }

    report("read, line read before", 1 << 20, || {
        reads_hot(&heap, 1 << 20)
    })?;
    heap.finish();
    report("open, line opened before", 1 << 20, || {
        opens_hot(&mut heap, 1 << 20)
    })?;
    report("overwrite 8 bytes, line saved before", 1 << 20, || {
        overwrites(&mut heap, 1 << 20)
    })?;
    heap.finish();
    report("first read of a line", PAGES * 64, || {
        first_reads(&mut heap)
    })?;
    report("first open of a line", PAGES * 64, || {
        first_opens(&mut heap)
    })?;
    report("transaction of 4 first reads", 1 << 16, || {
        small_transactions(&mut heap, 1 << 16, 4)
    })?;
    report("transaction of 1 first read", 1 << 16, || {
        small_transactions(&mut heap, 1 << 16, 1)
    })?;
    report("transaction of 4 reads, 1 open, rollback", 1 << 16, || {
        rollbacks(&mut heap, 1 << 16)
    })?;
    two_lines_opened(&mut heap)?;
    report("write set of 2 lines", 1 << 16, || {
        (0..1 << 16).for_each(|_| drop(black_box(heap.write_set())));
        Ok(())
    })?;
    Ok(())
}

/// Times `operations` in some rounds and prints the median of one.
fn report(
    name: &str,
    operations: u64,
    mut round: impl FnMut() -> Result<(), AccessError>,
) -> Result<(), AccessError> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        round()?;
        rounds.push(start.elapsed().as_secs_f64() * 1e9 / operations as f64);
    }
    rounds.sort_by(f64::total_cmp);
    println!("{name:<42} {:>8.2} ns", rounds[ROUNDS / 2]);
    Ok(())
}

/// Offsets that wander over some lines of some pages.
fn wander(step: u64) -> u64 {
    black_box((step % 16) * PAGE + (step % 8) * LINE)
}

fn reads_hot(heap: &HeapMemory, count: u64) -> Result<(), AccessError> {
    let mut sum = 0;
    for step in 0..count {
        sum += *heap.read::<u64>(wander(step))?;
    }
    black_box(sum);
    Ok(())
}

fn opens_hot(heap: &mut HeapMemory, count: u64) -> Result<(), AccessError> {
    for step in 0..count {
        *heap.open::<u64>(wander(step))? += 1;
    }
    Ok(())
}

fn overwrites(heap: &mut HeapMemory, count: u64) -> Result<(), AccessError> {
    for step in 0..count {
        heap.overwrite(wander(step), &step.to_le_bytes())?;
    }
    Ok(())
}

fn first_reads(heap: &mut HeapMemory) -> Result<(), AccessError> {
    for line in 0..PAGES * 64 {
        black_box(heap.read::<u64>(black_box(line * LINE))?);
    }
    heap.finish();
    Ok(())
}

fn first_opens(heap: &mut HeapMemory) -> Result<(), AccessError> {
    for line in 0..PAGES * 64 {
        black_box(heap.open::<u64>(black_box(line * LINE))?);
    }
    heap.finish();
    Ok(())
}

fn small_transactions(heap: &mut HeapMemory, count: u64, reads: u64) -> Result<(), AccessError> {
    for step in 0..count {
        for read in 0..reads {
            black_box(heap.read::<u64>(wander(step + read))?);
        }
        heap.finish();
    }
    Ok(())
}

fn rollbacks(heap: &mut HeapMemory, count: u64) -> Result<(), AccessError> {
    for step in 0..count {
        for read in 0..4 {
            black_box(heap.read::<u64>(wander(step + read))?);
        }
        *heap.open::<u64>(wander(step))? += 1;
        heap.rollback();
    }
    Ok(())
}

fn two_lines_opened(heap: &mut HeapMemory) -> Result<(), AccessError> {
    *heap.open::<u64>(LINE)? += 1;
    *heap.open::<u64>(9 * PAGE)? += 1;
    Ok(())
}
