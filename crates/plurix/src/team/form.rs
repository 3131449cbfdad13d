//! How a team comes together: each station enters itself in the heap, waits until all have, and connects
//! to them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plurix_memory::View;
use plurix_protocol::team::{KeeperSettings, Member, Settings};
use plurix_wire::Rank;

use super::engine::Engine;
use super::keeper::{Keeping, Mailbox};
use super::mesh::Meeting;
use super::record::{self, Formation};
use super::recovery_line::{LineOptions, Lines};
use super::{TeamError, TeamOptions};
use crate::error::{ErrorKind, Result};
use crate::net::{Address, Listener};
use crate::station::Station;

/// While members meet, it is looked this often whether the team is still the same.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Opens a port for the other members.
pub(super) fn listen(station: &Station, team: &TeamOptions) -> Result<Listener> {
    let failed = |error: Arc<dyn std::error::Error + Send + Sync>| TeamError::Listen(error);
    let reached = station
        .reached
        .as_ref()
        .filter(|address| !address.is_local());
    let chosen = match (&team.listen, reached) {
        (Some(address), _) => address.clone(),
        (None, None) => {
            // No other station has both.
            let (cluster, life) = (station.cluster(), station.incarnation());
            let name = format!("plurix-team-{cluster}-{life}.sock");
            Address::Unix(PathBuf::from_iter([std::env::temp_dir(), name.into()]))
        }
        (None, Some(reached)) => {
            let host = reached
                .own_host()
                .map_err(|error| failed(Arc::new(error)))?;
            Address::from(std::net::SocketAddr::new(host, 0))
        }
    };
    let credentials = station.shared.driver().options().credentials();
    Listener::check(&chosen, &credentials).map_err(|error| failed(Arc::new(error)))?;
    let listener = Listener::bind(&chosen).map_err(|error| failed(Arc::new(error)))?;
    Ok(listener)
}

/// Waits until the team is complete, and connects to all of it.
pub(super) fn gather(
    station: &mut Station,
    team: &TeamOptions,
    listener: &Listener,
) -> Result<(Engine, Formation)> {
    let deadline = Instant::now() + team.patience;
    let own = listener.address().map_err(TeamError::from)?;
    let credentials = station.shared.driver().options().credentials();
    let (formation, links) = loop {
        let formation = form(station, team, &own, deadline)?;
        let meeting = Meeting {
            listener,
            cluster: station.cluster(),
            credentials: &credentials,
            shares_memory: team.shared_memory,
            team: formation.key,
            rank: Rank(formation.rank),
            addresses: &formation.addresses,
            deadline,
        };
        let mut looked = Instant::now();
        let still = || {
            if looked.elapsed() < LOOK_AGAIN {
                return Ok(true);
            }
            looked = Instant::now();
            station.latest()?;
            let now = record::enlist(station, team, &own)?;
            Ok(now.as_ref() == Some(&formation))
        };
        if let Some(links) = meeting.meet(still)? {
            break (formation, links);
        }
    };
    let settings = Settings {
        read_ahead: team.read_ahead,
        ..Settings::default()
    };
    let member = Member::new(Rank(formation.rank), formation.size(), settings);
    let system = |error: Box<dyn std::error::Error + Send + Sync>| ErrorKind::System(error);
    let view = View::reserve(station.heap_bytes(), team.mechanism);
    let view = view.map_err(|error| system(Box::new(error)))?;
    let mailbox = Mailbox::new().map_err(|error| system(Box::new(error)))?;
    // Without a page server that can be reached there is nowhere to keep them.
    let options = team.lines.filter(|_| station.reached.is_some());
    let lines = Lines::new(options, mailbox);
    let engine = Engine::new(member, view, links, lines, team.spin);
    let engine = engine.map_err(|error| system(Box::new(error)))?;
    Ok((engine, formation))
}

/// What the station's recovery lines need, unless it has no page server that can be reached.
pub(super) fn keeping(
    station: &Station,
    formation: &Formation,
    team: &TeamOptions,
) -> Option<Keeping> {
    let address = station.reached.clone()?;
    let driver = station.shared.driver();
    let (credentials, patience) = (driver.options().credentials(), driver.options().patience);
    drop(driver);
    Some(Keeping {
        address,
        cluster: station.cluster(),
        credentials,
        patience,
        incarnation: station.incarnation(),
        generation: station.generation(),
        settings: KeeperSettings {
            team: formation.team,
            rank: Rank(formation.rank),
            size: formation.size(),
            is_blocking: team.lines.is_some_and(LineOptions::is_blocking),
        },
    })
}

/// Enters the team and waits until all its members are there.
fn form(
    station: &mut Station,
    team: &TeamOptions,
    own: &Address,
    deadline: Instant,
) -> Result<Formation> {
    // It may have entered just now, and be the last one: nobody else would bring it any news.
    let mut formation = record::enlist(station, team, own)?;
    loop {
        if formation.is_none() {
            formation = record::enlist(station, team, own)?;
        }
        if let Some(formation) = formation {
            return Ok(formation);
        }
        if Instant::now() > deadline {
            return Err(TeamError::Absent(Rank(team.stations - 1)).into());
        }
        station.wait_for_news(LOOK_AGAIN)?;
        station.latest()?;
    }
}
