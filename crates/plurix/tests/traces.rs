//! What the library traces, as a subscriber of a program sees it.

#![allow(clippy::unwrap_used)]

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use plurix::{Cluster, Ptr};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

/// A line that no structure of the heap uses in these tests, which do not allocate.
const WORD: u64 = 1 << 34;

/// What was traced.
#[derive(Debug, Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

impl Traced {
    /// The lines with this text in them.
    fn lines(&self, with: &str) -> Vec<String> {
        let bytes = self.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        let lines = text.lines().filter(|line| line.contains(with));
        lines.map(str::to_owned).collect()
    }
}

impl io::Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut traced = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        traced.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Traced {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Runs `body` and answers what this thread traced meanwhile.
fn traced(body: impl FnOnce()) -> Traced {
    let traced = Traced::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::DEBUG)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(traced.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, body);
    traced
}

#[test]
fn each_attempt_of_a_transaction_is_a_span_that_says_how_it_ended() {
    let mut cluster = Cluster::local(2).unwrap();
    let [first, second] = cluster.stations() else {
        panic!("there are two stations")
    };
    let word = Ptr::<u64>::at(WORD);
    let traced = traced(|| {
        let mut is_first = true;
        let counted = first.transaction(|tx| {
            let number = *tx.get(word)?;
            if std::mem::take(&mut is_first) {
                second.transaction(|tx| tx.set(word, 5)).unwrap();
            }
            tx.set(word, number + 1)?;
            Ok(number + 1)
        });
        assert_eq!(counted.unwrap(), 6);
    });
    let attempts = traced.lines("plurix::transaction: close");
    // The other station's transaction was inside the first attempt, and ended first.
    let outcomes = ["done", "conflict", "done"];
    assert_eq!(attempts.len(), outcomes.len(), "{attempts:?}");
    for (attempt, outcome) in attempts.iter().zip(outcomes) {
        assert!(
            attempt.contains(&format!("outcome=\"{outcome}\"")),
            "{attempt}"
        );
        assert_eq!(attempt.contains("commit="), outcome == "done", "{attempt}");
    }
}

#[test]
fn what_a_pipeline_runs_again_is_told() {
    let mut cluster = Cluster::local(1).unwrap();
    let mut other = cluster.join().unwrap();
    let station = &mut cluster.stations()[0];
    let word = Ptr::<u64>::at(WORD);
    let mut is_first = true;
    let traced = traced(|| {
        let commit = station.submit(move |tx| {
            let number = *tx.get(word)?;
            if std::mem::take(&mut is_first) {
                other.transaction(|tx| tx.set(word, 5)).unwrap();
            }
            tx.set(word, number + 1)?;
            Ok(number + 1)
        });
        assert_eq!(commit.wait(station).unwrap(), 6);
    });
    assert_eq!(traced.lines("settled").len(), 2, "refused, then committed");
    assert_eq!(traced.lines("run again").len(), 1);
}
