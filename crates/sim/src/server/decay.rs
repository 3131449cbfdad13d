//! Bits that flip on the disk while no page server runs: one starts on a damaged copy of the disk,
//! and its oracle compares what it says with a start on the sound one. What it refuses, an operator
//! restores; what it does not mind stays on the disk.

use std::convert::Infallible;

use plurix_store::simulated::Machine;
use plurix_store::{Options, Store};

use crate::oracle::Violation;
use crate::oracle::decay::{self, Start};
use crate::world::World;

/// So many flips are tried, each alone, in a disk that decays.
const FLIPS_MAX: u64 = 4;

impl World {
    /// Flips bits; answers whether the page server refuses to start until they are restored.
    pub(super) fn decay(&mut self) -> Result<bool, Violation> {
        let names = self.server.machine.names();
        if names.is_empty() {
            return Ok(false);
        }
        let sound = start(&copy(&self.server.machine), &self.server.options);
        let mut is_refused = false;
        for _ in 0..self.decay.within(1..FLIPS_MAX + 1) {
            let file = &names[self.decay.below(names.len() as u64) as usize];
            let Some(bit) = self.any_bit(file) else {
                continue;
            };
            let machine = copy(&self.server.machine);
            machine.flip_bit(file, bit);
            let damaged = start(&machine, &self.server.options);
            let harmless = decay::judge(file, &sound, &damaged)?;
            self.note(format_args!(
                "bit {bit} of {file} flips: {}",
                match &damaged {
                    Err(refusal) => refusal.to_string(),
                    Ok((recovered, _)) => format!("{} records", recovered.records),
                }
            ));
            if harmless {
                self.tally.decay_harmless += 1;
                self.server.machine.flip_bit(file, bit);
            } else if damaged.is_err() && sound.is_ok() {
                self.tally.decay_noticed += 1;
                is_refused = true;
            }
        }
        Ok(is_refused)
    }

    /// A bit of a file, mostly one of the bytes that somebody wrote.
    fn any_bit(&mut self, file: &str) -> Option<u64> {
        let bytes = self.server.machine.bytes(file)?;
        let written = bytes.iter().rposition(|byte| *byte != 0);
        let length = match written {
            Some(last) if self.decay.chance(90) => last as u64 + 1,
            _ => bytes.len() as u64,
        };
        (length > 0).then(|| self.decay.below(8 * length))
    }
}

/// The same files on another machine, as a process finds them.
fn copy(machine: &Machine) -> Machine {
    let copy = Machine::new();
    for name in machine.names() {
        copy.put(&name, machine.bytes(&name).unwrap_or_default());
    }
    copy
}

/// Starts a page server on the machine as far as the end of its replay.
fn start(machine: &Machine, options: &Options) -> Start {
    let mut store = Store::create_or_open(machine.disk(), options.clone())?;
    let mut records = Vec::new();
    let recovered = store.replay(|record| {
        records.push(record.clone());
        Ok::<(), Infallible>(())
    })?;
    Ok((recovered, records))
}
