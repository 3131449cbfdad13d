//! A program that a member of the test sets up and finishes, so that the test can treat page server
//! and stations as it likes while the work is done.

use std::path::Path;

use plurix::Station;
use plurix::net::Secret;
use plurix_apps::bank::{BankRun, Options};
use plurix_apps::{App, Report};

use super::wait_for;

/// A program, and the observer that looks after it. Any station of the cluster works at it.
pub(crate) struct Program<A> {
    app: A,
    observer: Station,
}

impl Program<BankRun> {
    /// A bank with eight tellers, each of which makes so many transfers.
    pub(crate) fn bank(address: &str, secret: Option<&Path>, transfers: u64) -> Self {
        let options = Options {
            transfers: Some(transfers),
            ..Options::default()
        };
        Self::begin(BankRun::new(options).unwrap(), address, secret)
    }
}

impl<A: App> Program<A> {
    pub(crate) fn begin(mut app: A, address: &str, secret: Option<&Path>) -> Self {
        let mut options = plurix::Options::default();
        options.observer = true;
        options.secret = secret.map(|file| Secret::from_file(file).unwrap());
        let mut observer = Station::join(&address.parse().unwrap(), options).unwrap();
        app.setup(&mut observer).unwrap();
        Self { app, observer }
    }

    /// How much is done. There must be work left: else nothing can be seen to go on.
    fn done(&mut self) -> u64 {
        self.observer.latest().unwrap();
        let progress = self.app.progress(&mut self.observer).unwrap();
        assert!(
            !progress.is_finished(),
            "the test needs more work than that"
        );
        progress.done
    }

    /// Waits until so much more is done, which shows that the work goes on.
    pub(crate) fn goes_on(&mut self, more: u64) {
        let goal = self.done() + more;
        wait_for("progress", || (self.done() >= goal).then_some(()));
    }

    /// Waits for the end of the work; the program's own check of its result must succeed.
    pub(crate) fn ends(mut self) -> Report {
        wait_for("the end of the work", || {
            let progress = self.app.progress(&mut self.observer).unwrap();
            progress.is_finished().then_some(())
        });
        let report = self.app.finish(&mut self.observer).unwrap();
        assert!(report.verified, "{report:?}");
        report
    }
}
