//! Looking at a heap, its stations and its teams again and again, on a thread of its own: the page server may be away
//! for a while, and whoever is shown something can still end the command.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use plurix::net::Address;
use plurix::team::{self, TeamStatistics};
use plurix::{Error, Station, Status};

use crate::join::{is_away, is_lost_session, is_shutdown, join};

/// The thread has so long to leave the cluster in order; it may be waiting for the page server.
const FAREWELL: Duration = Duration::from_millis(300);

/// A pause before the page server is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// What is seen at one moment, or nearly.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    pub(crate) status: Status,
    pub(crate) teams: Vec<TeamStatistics>,
}

/// What becomes of a watch.
#[derive(Debug)]
pub(crate) enum Event {
    /// What was seen.
    Seen(Box<Look>),
    /// The page server has ended in order.
    Ended,
    Failed(Error),
    /// A signal asks for the end.
    Stop,
}

/// An observer of a heap.
#[derive(Debug)]
pub(crate) struct Observer {
    address: Address,
    options: plurix::Options,
    station: Station,
}

impl Observer {
    /// Joins the cluster.
    ///
    /// # Errors
    /// As [`Station::join`].
    pub(crate) fn join(address: Address, mut options: plurix::Options) -> plurix::Result<Self> {
        options.observer = true;
        let station = Station::join(&address, options.clone())?;
        Ok(Self {
            address,
            options,
            station,
        })
    }

    /// Looks once. A session that was lost is followed by another one.
    ///
    /// # Errors
    /// If the page server cannot be reached, or has something else there than teams.
    pub(crate) fn look(&mut self) -> plurix::Result<Look> {
        loop {
            let teams = self.teams()?;
            match plurix::status(&self.address, self.options.credentials()) {
                Ok(status) => return Ok(Look { status, teams }),
                // The station waits until it is back, or knows that it will not be.
                Err(error) if is_away(&error) => std::thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        }
    }

    fn teams(&mut self) -> plurix::Result<Vec<TeamStatistics>> {
        match look(&mut self.station) {
            Err(error) if is_lost_session(&error) => {
                self.station = join(&self.address, &self.options, |_| {})?;
                look(&mut self.station)
            }
            seen => seen,
        }
    }
}

fn look(station: &mut Station) -> plurix::Result<Vec<TeamStatistics>> {
    station.latest()?;
    station.transaction(|tx| {
        let teams = team::names(tx)?;
        let teams = teams.iter().map(|name| team::statistics(tx, name));
        Ok(teams
            .collect::<plurix::Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect())
    })
}

/// A watch under way; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    quit: Option<Sender<()>>,
    ended: Receiver<()>,
}

impl Watch {
    /// Looks at once and then every so often, and tells what is seen.
    ///
    /// # Errors
    /// If there can be no thread.
    pub(crate) fn begin(
        observer: Observer,
        every: Duration,
        events: Sender<Event>,
    ) -> std::io::Result<Self> {
        let (quit, asked) = mpsc::channel();
        // Nothing is sent: it is closed when the thread ends.
        let (running, ended) = mpsc::channel();
        std::thread::Builder::new()
            .name("plurix-watch".to_owned())
            .spawn(move || {
                let _running = running;
                watch(observer, every, &events, &asked);
            })?;
        Ok(Self {
            quit: Some(quit),
            ended,
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.quit = None;
        let _ = self.ended.recv_timeout(FAREWELL);
    }
}

fn watch(mut observer: Observer, every: Duration, events: &Sender<Event>, quit: &Receiver<()>) {
    loop {
        let event = match observer.look() {
            Ok(seen) => Event::Seen(Box::new(seen)),
            Err(error) if is_shutdown(&error) => Event::Ended,
            Err(error) => Event::Failed(error),
        };
        let goes_on = matches!(event, Event::Seen(_));
        let is_heard = events.send(event).is_ok();
        let is_time = matches!(quit.recv_timeout(every), Err(RecvTimeoutError::Timeout));
        if !(goes_on && is_heard && is_time) {
            return;
        }
    }
}
