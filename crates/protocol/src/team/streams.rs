//! Which misses continue earlier ones, so that more is asked for at once: by each worker, in each
//! array that it walks through.

use plurix_wire::PageNumber;
use plurix_wire::message::PageRun;

/// So many walks are told apart.
const STREAMS: usize = 16;

/// Where some walks have come to.
#[derive(Debug, Clone, Default)]
pub(super) struct Streams {
    streams: [Stream; STREAMS],
    /// The next to be forgotten.
    oldest: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Stream {
    /// The page behind the last one asked for.
    next: PageNumber,
    /// How many were asked for last.
    count: u32,
}

impl Streams {
    /// How many pages to ask for from `page` on: one, or twice as many as last time if this is where
    /// that ended.
    pub(super) fn window(&self, page: PageNumber, most: u32) -> u32 {
        let stream = self.streams.iter().find(|stream| stream.continues(page));
        stream
            .map_or(1, |stream| (2 * stream.count).min(most))
            .max(1)
    }

    /// These pages have been asked for.
    pub(super) fn asked(&mut self, run: PageRun) {
        let continued = self.streams.iter().position(|s| s.continues(run.first));
        let at = continued.unwrap_or(self.oldest);
        if continued.is_none() {
            self.oldest = (self.oldest + 1) % STREAMS;
        }
        self.streams[at] = Stream {
            next: PageNumber(run.first.0.saturating_add(run.count)),
            count: run.count,
        };
    }
}

impl Stream {
    fn continues(self, page: PageNumber) -> bool {
        self.count > 0 && self.next == page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_asked_for_in_growing_runs_beside_others() {
        let mut streams = Streams::default();
        let mut ask = |first| {
            let first = PageNumber(first);
            let count = streams.window(first, 8);
            streams.asked(PageRun { first, count });
            count
        };
        assert_eq!([ask(10), ask(11), ask(13)], [1, 2, 4]);
        assert_eq!([ask(500), ask(501)], [1, 2]);
        assert_eq!([ask(17), ask(25)], [8, 8]);
        assert_eq!([ask(503), ask(900)], [4, 1]);
    }
}
