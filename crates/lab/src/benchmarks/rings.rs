//! A raw round trip through shared memory, between two threads on two processors: what the rings
//! alone take, for whoever compares a commit or a miss with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use plurix_memory::{Error, Rings};

use super::{commit, miss};
use crate::figure::{Figure, Spread, Target, number};
use crate::frames::Sizes;
use crate::machine::{self, Pinned};
use crate::rounds::{Latencies, Plan};

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    Ok(vec![
        measure(plan, "rings-commit", commit::sizes()?)?,
        measure(plan, "rings-miss", miss::sizes()?)?,
    ])
}

fn measure(plan: &Plan, name: &str, sizes: Sizes) -> Result<Figure> {
    let _pinned = Pinned::to(0)?;
    let other = machine::processor(1).context("this process may use no processor")?;
    let (mut host, descriptor) = Rings::host()?;
    let mut guest = Rings::open(&descriptor)?;
    let is_over = AtomicBool::new(false);
    let (mut rounds, mut worst) = (Vec::new(), Vec::new());
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            machine::pin(other)?;
            let mut buffer = vec![7; sizes.request.max(sizes.reply)];
            while receive(&mut guest, &mut buffer[..sizes.request], &is_over)? {
                guest.push([&buffer[..sizes.reply]])?;
            }
            anyhow::Ok(())
        });
        let mut buffer = vec![7; sizes.request.max(sizes.reply)];
        for _ in 0..plan.rounds {
            let round = Latencies::take(plan.warm_up(), plan.round_trips, || {
                host.push([&buffer[..sizes.request]])?;
                receive(&mut host, &mut buffer[..sizes.reply], &is_over).map(drop)
            });
            // Before anything else, lest the server ask for ever.
            let round = round.inspect_err(|_| is_over.store(true, Ordering::Release))?;
            rounds.push(round.p50());
            worst.push(round.p99());
        }
        is_over.store(true, Ordering::Release);
        server.join().expect("an echo does not panic")
    })?;
    let what = format!(
        "a raw round trip, shared memory, {} + {} bytes, both spinning, p50",
        sizes.request, sizes.reply
    );
    let p99 = number(Spread::of(worst).median);
    Ok(Figure::new(name, what, "µs", rounds, Target::None).note(format!("p99 {p99} µs")))
}

/// Fills `buffer` with what arrives; `false` if it `is_over` before.
fn receive(rings: &mut Rings, buffer: &mut [u8], is_over: &AtomicBool) -> Result<bool, Error> {
    let mut received = 0;
    while received < buffer.len() {
        received += rings.pull(&mut buffer[received..])?;
        if is_over.load(Ordering::Relaxed) {
            return Ok(false);
        }
    }
    Ok(true)
}
