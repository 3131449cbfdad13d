//! The bank without anything around it: three stations move money between ten accounts, and the sum
//! never changes.
//!
//! ```sh
//! cargo run --release -p plurix-apps --example bank
//! ```

use std::thread;

use plurix::{Cluster, Ptr, Result, Station};
use plurix_apps::bank::{Bank, BankOptions};

const TRANSFERS: u64 = 10_000;

fn main() -> Result<()> {
    let rules = BankOptions {
        accounts: 10,
        ..BankOptions::default()
    };
    let bank = Bank::new(rules).expect("ten accounts make a bank");
    let mut cluster = Cluster::local(3)?;
    let balances = vec![rules.initial_balance; rules.accounts as usize];
    let accounts = cluster.stations()[0].transaction(|tx| tx.alloc_slice_from(&balances))?;

    thread::scope(|scope| {
        let serve = |(teller, station): (u64, &'_ mut Station)| -> Result<()> {
            station.latest()?; // The accounts were made by another station.
            (0..TRANSFERS).try_for_each(|step| transfer(station, &bank, accounts, teller, step))
        };
        let tellers: Vec<_> = (0..)
            .zip(cluster.stations())
            .map(|teller| scope.spawn(move || serve(teller)))
            .collect();
        tellers
            .into_iter()
            .try_for_each(|teller| teller.join().expect("tellers do not panic"))
    })?;

    let station = &mut cluster.stations()[0];
    station.latest()?;
    let sum: u64 = station.transaction(|tx| Ok(tx.get(accounts)?.iter().sum()))?;
    println!(
        "{} transfers later the accounts hold {sum} of {}",
        3 * TRANSFERS,
        bank.total()
    );
    assert_eq!(sum, bank.total());
    Ok(())
}

/// One transfer, which happens as a whole or not at all.
fn transfer(
    station: &mut Station,
    bank: &Bank,
    accounts: Ptr<[u64]>,
    teller: u64,
    step: u64,
) -> Result<()> {
    let transfer = bank.transfer(teller, step);
    station.transaction(|tx| {
        let account = |index| accounts.get(index as usize).expect("accounts of the bank");
        let [from, to] = tx.get_many_mut([account(transfer.from), account(transfer.to)])?;
        if let Some(after) = transfer.apply(*from, *to) {
            (*from, *to) = after;
        }
        Ok(())
    })
}
