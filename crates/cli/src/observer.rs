//! What the commands share that look at a heap: who is asked, and joining as an observer.

use clap::Args;
use plurix::net::{Address, Credentials};
use plurix::{Options, Station};

use crate::contact::Protection;

#[derive(Debug, Args)]
pub(crate) struct Target {
    /// The page server: HOST:PORT, or unix:PATH.
    #[arg(value_name = "ADDRESS", required_unless_present = "join")]
    address: Option<Address>,
    /// The page server, as other commands are told of it.
    #[arg(long, value_name = "ADDR", conflicts_with = "address")]
    join: Option<Address>,
    #[command(flatten)]
    protection: Protection,
}

impl Target {
    pub(crate) fn address(&self) -> &Address {
        let address = self.address.as_ref().or(self.join.as_ref());
        address.expect("the grammar asks for one of them")
    }

    /// What is shown to the page server.
    pub(crate) fn credentials(&self) -> anyhow::Result<Credentials> {
        self.protection.read()
    }

    /// A station that only looks, and sees all that was committed before.
    pub(crate) fn observe(&self) -> anyhow::Result<Station> {
        let mut options = Options::default();
        options.observer = true;
        options.set_credentials(self.credentials()?);
        let mut station = Station::join(self.address(), options)?;
        station.latest()?;
        Ok(station)
    }
}
