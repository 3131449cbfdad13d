//! Teams whose stations know each other by keys: all that they say to each other goes by TLS.

#![allow(clippy::unwrap_used)]

use plurix::net::keys::{Authority, Machine};
use plurix::net::{Address, Credentials};
use plurix::team::{Program, Region, Setup, TeamOptions, Turn, Worker};
use plurix::{Options, PageServer, Result, ServerOptions};

/// Numbers, more than a page of them for each station.
const LEN: usize = 4096;

/// Each station writes its part; then each adds up all.
struct Sum;

impl Program for Sum {
    type Data = Region<u64>;
    type Output = u64;

    fn setup(&self, setup: &mut Setup<'_, '_>) -> Result<Region<u64>> {
        setup.region(LEN)
    }

    fn phase(&self, worker: &mut Worker<'_>, data: &Region<u64>, phase: u64) -> Result<Turn<u64>> {
        if phase == 1 {
            return Ok(Turn::Done(worker.read(*data, 0..LEN)?.iter().sum()));
        }
        let part = worker.part(LEN);
        let mut mine = worker.write(*data, part.clone())?;
        for (value, at) in mine.iter_mut().zip(part) {
            *value = at as u64;
        }
        Ok(Turn::Next)
    }
}

#[test]
fn stations_of_a_team_speak_by_tls_and_strangers_stay_outside() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::init(&dir.path().join("authority"), 10, false).unwrap();
    // Not the address of the loopback, beside which there is a Unix socket; it leads to this machine.
    let machine = Machine {
        name: "here".to_owned(),
        hosts: vec!["0.0.0.0".to_owned(), "127.0.0.1".to_owned()],
        days: 10,
    };
    let keys = dir.path().join("keys");
    authority.issue(&machine, &keys, false).unwrap();
    let keys = Credentials::from_dir(&keys).unwrap();
    let mut server = ServerOptions::new(dir.path().join("heap"), "127.0.0.1:0".parse().unwrap());
    server.set_credentials(keys.clone());
    let server = PageServer::open(server).unwrap();
    let (addresses, stop) = (server.addresses(), server.stop_handle());
    let server = std::thread::spawn(move || server.run());
    let address = addresses.last().unwrap().to_string();
    let address: Address = address.replace("127.0.0.1", "0.0.0.0").parse().unwrap();
    let team = TeamOptions::new("sum").stations(3);
    let run = |credentials: &Credentials| {
        let mut options = Options::default();
        options.set_credentials(credentials.clone());
        plurix::team::run(&address, options, &team, &Sum)
    };
    run(&Credentials::default()).unwrap_err();
    let reports = std::thread::scope(|scope| {
        let stations = [(); 3].map(|()| scope.spawn(|| run(&keys)));
        stations.map(|station| station.join().unwrap().unwrap())
    });
    let expected = (LEN as u64 - 1) * LEN as u64 / 2;
    for report in reports {
        assert_eq!(report.outputs, [expected]);
    }
    stop.stop();
    server.join().unwrap().unwrap();
}
