//! Transfers between accounts: the sum of all is the same at every commit, so every reader of all
//! accounts must find it.

use plurix::{Ptr, Result, Station};

use super::program::{Dice, Program};
use super::report::{Desk, Recorded};

const ORACLE: &str = "bank";
const ROOT: &str = "accounts";
const ACCOUNTS: usize = 48;
/// What is in each account at first.
const BALANCE: u64 = 1_000;

/// The program of one station.
#[derive(Debug)]
pub(super) struct Bank;

/// The accounts; made by whoever comes first.
fn accounts(record: &mut Recorded<'_, '_>) -> Result<Ptr<[u64]>> {
    record.root(ROOT, &[BALANCE; ACCOUNTS])
}

fn audit(station: &mut Station, desk: &Desk) -> Result<()> {
    let (sum, at) = desk.transaction(station, |record| {
        let accounts = accounts(record)?;
        let sum = record.slice(accounts)?.iter().sum::<u64>();
        Ok((sum, record.tx.snapshot()))
    })?;
    if sum != BALANCE * ACCOUNTS as u64 {
        desk.broken(ORACLE, format!("the accounts hold {sum} at {at}"));
    }
    Ok(())
}

impl Program for Bank {
    fn open(&mut self, _: &mut Station) {}

    fn turn(&mut self, station: &mut Station, desk: &Desk, dice: &mut Dice) -> Result<()> {
        if dice.random.chance(20) {
            return audit(station, desk);
        }
        let [from, to] = [0; 2].map(|_| dice.random.below(ACCOUNTS as u64) as usize);
        let amount = dice.random.within(1..100);
        let gives_up = dice.random.chance(5);
        let think = dice.random.chance(30).then(|| dice.think());
        desk.transaction(station, |record| {
            let accounts = accounts(record)?;
            let account = |index| accounts.get(index).expect("an index below the length");
            let rest = record.get(account(from))?;
            if rest < amount || from == to {
                return Ok(());
            }
            record.set(account(from), rest - amount)?;
            if let Some(span) = think {
                desk.think(span);
            }
            let sum = record.get(account(to))? + amount;
            record.set(account(to), sum)?;
            if gives_up {
                return Err(record.abort("the program has changed its mind"));
            }
            Ok(())
        })
    }

    fn finish(&mut self, _: &mut Station, _: &Desk) -> Result<()> {
        Ok(())
    }

    fn inspect(&mut self, station: &mut Station, desk: &Desk) -> Result<()> {
        audit(station, desk)
    }
}
