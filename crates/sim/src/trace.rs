//! What happened, line by line: hashed as a whole, so that two runs can be compared, and its end
//! kept, so that a failure can be read.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

use plurix_protocol::Time;

/// Lines kept for a failure.
const TAIL_LINES: usize = 40;
/// Source: the FNV hash of Fowler, Noll and Vo, RFC 9923, section 6.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// The trace of one run.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    tail: VecDeque<String>,
    print: bool,
}

impl Trace {
    pub(crate) fn new(print: bool) -> Self {
        Self {
            hash: FNV_BASIS,
            tail: VecDeque::new(),
            print,
        }
    }

    pub(crate) fn note(&mut self, now: Time, what: fmt::Arguments<'_>) {
        let mut line = if self.tail.len() == TAIL_LINES {
            self.tail.pop_front().unwrap_or_default()
        } else {
            String::new()
        };
        line.clear();
        let (ms, ns) = (now.0 / 1_000_000, now.0 % 1_000_000);
        // Writing to a string cannot fail.
        let _ = write!(line, "{ms:6}.{ns:06} {what}");
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        if self.print {
            println!("{line}");
        }
        self.tail.push_back(line);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn tail(&self) -> Vec<String> {
        self.tail.iter().cloned().collect()
    }
}
