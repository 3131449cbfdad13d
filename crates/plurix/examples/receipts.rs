//! Pays between two accounts and writes a receipt for each payment, exactly once, while the program
//! that pays and the page server are killed again and again.
//!
//! `cargo run -p plurix --example receipts -- [SECONDS]`
//!
//! It starts itself as a page server and as a worker, kills one of them or both with SIGKILL every
//! while, and in the end compares the receipts with the accounts.

#![allow(
    clippy::disallowed_methods,
    reason = "this program kills processes when it likes, as the world does"
)]

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use plurix::net::Address;
use plurix::outbox::{Delivery, Journal};
use plurix::{ErrorKind, Options, PageServer, Ptr, ServerOptions, Station};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const OUTBOX: &str = "receipts";
const ACCOUNTS: &str = "accounts";
/// What is in the first account at the beginning.
const WEALTH: u64 = 1 << 40;
/// Payments between two deliveries.
const PAYMENTS: u64 = 10;
/// Time from one kill to the next, at least.
const PEACE: Duration = Duration::from_millis(150);

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", dir] => serve(&Place(dir.into())),
        ["work", dir] => work(&Place(dir.into())),
        [] => supervise(3),
        [seconds] => supervise(seconds.parse()?),
        _ => Err("usage: receipts [SECONDS]".into()),
    }
}

/// Where everything is.
struct Place(PathBuf);

impl Place {
    fn address(&self) -> Result<Address> {
        Ok(format!("unix:{}", self.0.join("socket").display()).parse()?)
    }

    fn receipts(&self) -> PathBuf {
        self.0.join("receipts.txt")
    }

    /// Once this exists, nothing more is paid.
    fn stop(&self) -> PathBuf {
        self.0.join("stop")
    }
}

fn serve(place: &Place) -> Result<()> {
    let options = ServerOptions::new(place.0.join("heap"), place.address()?);
    Ok(PageServer::open(options)?.run()?)
}

/// Joins as soon as there is a page server.
fn join(place: &Place) -> Result<Station> {
    loop {
        match Station::join(&place.address()?, Options::default()) {
            Err(error) if matches!(error.kind(), ErrorKind::Connect(_)) => {
                thread::sleep(Duration::from_millis(5));
            }
            joined => return Ok(joined?),
        }
    }
}

/// Pays and delivers receipts, until it is stopped, or killed.
fn work(place: &Place) -> Result<()> {
    let mut station = join(place)?;
    // Whoever had it open is dead.
    let mut journal = Journal::open(place.receipts())?;
    loop {
        let is_last = place.stop().exists();
        let worked =
            pay_some(&mut station, is_last).and_then(|()| station.deliver_to(OUTBOX, &mut journal));
        match worked {
            Ok(Delivery::Done(_)) if is_last => return Ok(()),
            // The one that was killed just now has it, as far as the page server knows.
            Ok(Delivery::Done(_) | Delivery::Claimed) => {}
            // Whether it has happened is in the heap, and the next payment begins there.
            Err(error) if matches!(error.kind(), ErrorKind::OutcomeUnknown) => {}
            Err(error) => return Err(error.into()),
        }
        station.latest()?;
    }
}

fn pay_some(station: &mut Station, is_last: bool) -> plurix::Result<()> {
    for amount in 1..=if is_last { 0 } else { PAYMENTS } {
        pay(station, amount)?;
    }
    Ok(())
}

/// One payment, its count and its receipt: all of it, or nothing.
fn pay(station: &mut Station, amount: u64) -> plurix::Result<u64> {
    station.transaction(|tx| {
        let accounts = match tx.find_root::<[u64]>(ACCOUNTS)? {
            Some(accounts) => accounts,
            None => {
                let accounts = tx.alloc_slice_from(&[WEALTH, 0, 0])?;
                tx.set_root(ACCOUNTS, accounts)?;
                accounts
            }
        };
        let [from, to, count] = tx.get_mut(accounts)? else {
            return Err(tx.abort("there are two accounts and a count of payments"));
        };
        *from -= amount;
        *to += amount;
        *count += 1;
        let receipt = format!("payment {count}: {amount}, balance {to}");
        tx.outbox(OUTBOX)?.push(receipt.as_bytes())
    })
}

/// Lets them work for a while, killing one after the other, and looks at what came of it.
fn supervise(seconds: u64) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let place = Place(dir.path().into());
    let mut server = start("serve", dir.path())?;
    let mut worker = start("work", dir.path())?;
    let rounds = seconds * 1000 / PEACE.as_millis() as u64;
    let mut kills = 0;
    for round in 0..rounds {
        thread::sleep(PEACE + Duration::from_millis(round * 37 % 50));
        let (kills_server, kills_worker) = (round % 3 != 0, round % 3 != 1);
        for (role, process) in [
            kills_server.then_some(("serve", &mut server)),
            kills_worker.then_some(("work", &mut worker)),
        ]
        .into_iter()
        .flatten()
        {
            process.kill()?;
            process.wait()?;
            *process = start(role, dir.path())?;
            kills += 1;
        }
    }
    fs::write(place.stop(), "")?;
    let ended = worker.wait()?;
    let found = if ended.success() {
        compare(&place)
    } else {
        Err("the worker failed".into())
    };
    server.kill()?;
    server.wait()?;
    let payments = found?;
    println!("{kills} kills, {payments} payments, {payments} receipts, each exactly once");
    Ok(())
}

fn start(role: &str, dir: &Path) -> Result<Child> {
    Ok(Command::new(env::current_exe()?)
        .arg(role)
        .arg(dir)
        .spawn()?)
}

/// How many payments there were, if there is one receipt for each.
fn compare(place: &Place) -> Result<u64> {
    let mut station = join(place)?;
    let accounts = station.transaction(|tx| {
        let accounts: Ptr<[u64]> = tx.root(ACCOUNTS)?;
        Ok(tx.get(accounts)?.to_vec())
    })?;
    let receipts = fs::read_to_string(place.receipts())?;
    let (mut count, mut balance) = (0, 0);
    for line in receipts.lines() {
        count += 1;
        balance = match line.split_once(", balance ") {
            Some((_, balance)) => balance.parse()?,
            None => return Err(format!("line {count} is no receipt: {line}").into()),
        };
        let number = line.split(' ').next();
        let is_next = number == Some(&count.to_string());
        if !is_next || !line.contains(&format!(" payment {count}: ")) {
            return Err(format!("line {count} is not that of payment {count}: {line}").into());
        }
    }
    if accounts != [WEALTH - balance, balance, count] {
        return Err(format!("{count} receipts over {balance}, accounts {accounts:?}").into());
    }
    Ok(count)
}
