//! The bank on the heap: each transfer is a transaction, each teller an activity, and auditors add
//! up all accounts while the money moves.
//!
//! ```text
//!  root "bank" ─► Books ─┬─► accounts   one a line: only transfers of the same account conflict
//!                        └─► tellers    one a line: the step that comes next, and some counts
//! ```
//!
//! A transfer changes two accounts and the teller's step together. So a teller that dies leaves its
//! successor nothing to find out: it begins with the step that it finds. Not even two tellers of
//! the same number could make a transfer twice.
//!
//! A bank that is open for a time has a word in the heap that closes it. Each transfer reads it, so
//! closing conflicts with every transfer under way, and none is made after it.

use std::time::{Duration, Instant};

use plurix::activity::{Activity, Done, Work};
use plurix::{Ptr, Result, Station, Transaction, plain};
use zerocopy::IntoBytes;

use super::{Bank, BankOptions};
use crate::app::{App, AppError, Progress, Report};
use crate::run::{self, Fingerprint, Run};

/// A teller audits before every so many transfers.
const AUDIT_PERIOD: u64 = 1000;

/// Options of the bank.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = "Examples:
  plurix run bank --stations 3 --kill 2@1s
  plurix run bank --stations 4 --accounts 10 --tellers 16       (nearly every transfer conflicts)
  plurix run bank --stations 2 --accounts 100000 --transfers 10000
  plurix run bank --stations 3 --seconds 30")]
pub struct Options {
    /// Number of accounts, at least 2; few make many conflicts
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub accounts: u64,
    /// Number of tellers; each is an activity that one station runs
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub tellers: u64,
    /// Transfers that each teller makes [default: 50000, unless --seconds is given]
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    pub transfers: Option<u64>,
    /// Be open for so long instead, from the set up on; a run that is continued is open as long
    /// again
    #[arg(long, value_name = "N", value_parser = parse_seconds)]
    pub seconds: Option<Duration>,
    /// Largest amount of a transfer; each account begins with 1000
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub amount_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            accounts: 1000,
            tellers: 8,
            transfers: None,
            seconds: None,
            amount_max: 100,
        }
    }
}

/// Transfers that each teller makes if nothing was said of it.
const TRANSFERS: u64 = 50_000;

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::try_from_secs_f64);
    match seconds {
        Some(Ok(time)) if !time.is_zero() => Ok(time),
        _ => Err("give a number of seconds above zero, like 30 or 2.5".to_owned()),
    }
}

/// When the tellers stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hours {
    /// After so many transfers each.
    Transfers(u64),
    /// After this time.
    Time(Duration),
}

/// The bank as an application.
#[derive(Debug)]
pub struct BankRun {
    bank: Bank,
    tellers: u64,
    hours: Hours,
    /// When this coordinator first found the bank set up.
    opened: Option<Instant>,
    /// Audits by the coordinator, and how many found another sum than the bank's.
    audits: u64,
    wrong_audits: u64,
}

/// What the heap holds of a run.
#[plain]
struct Books {
    fingerprint: Fingerprint,
    rules: BankOptions,
    /// Transfers that each teller makes at most.
    transfers: u64,
    /// 1 if the bank closes by the clock; otherwise nobody reads `closed`.
    is_timed: u64,
    /// 1 once it is closed.
    closed: Ptr<u64>,
    accounts: Ptr<[Account]>,
    tellers: Ptr<[Teller]>,
    /// 1 once the accounts are filled and the tellers' activities spawned.
    is_open: u64,
}

impl Run for Books {
    const NAME: &'static str = "bank";

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// An account, alone in its line.
#[plain]
#[repr(C, align(64))]
struct Account {
    balance: u64,
    reserved: [u64; 7],
}

/// What a teller has done, alone in its line.
#[plain]
#[derive(Default)]
#[repr(C, align(64))]
struct Teller {
    /// Transfers made or refused, which is the step that comes next.
    step: u64,
    /// Transfers refused because the account held too little.
    refused: u64,
    audits: u64,
    /// Attempts that others' commits made vain. A teller that dies takes its last few with it.
    restarts: u64,
    /// 1 once it has made its last transfer.
    is_done: u64,
    reserved: [u64; 3],
}

/// Enables a station to run tellers.
pub fn register(station: &mut Station) {
    station.register::<Serve>();
}

/// The activity of one teller.
struct Serve;

#[plain]
struct Desk {
    books: Ptr<Books>,
    number: u64,
}

impl Activity for Serve {
    const NAME: &'static str = "bank.teller";
    type Argument = Desk;
    type Output = ();

    fn run(mut work: Work<'_, Self>, desk: Desk) -> Result<Done<Self>> {
        let (books, bank, teller) = work.transaction(|tx| {
            let books = *tx.get(desk.books)?;
            let bank = Bank::new(books.rules).map_err(|error| tx.abort(error))?;
            Ok((
                books,
                bank,
                run::element(books.tellers, desk.number as usize)?,
            ))
        })?;
        let (mut step, mut audits) = (work.transaction(|tx| Ok(tx.get(teller)?.step))?, 0);
        let mut restarts = 0;
        while step < books.transfers {
            if step.is_multiple_of(AUDIT_PERIOD) {
                work.transaction(|tx| audit(tx, &books, &bank))?;
                audits += 1;
            }
            let mut attempts = 0;
            let next = work.transaction(|tx| {
                attempts += 1;
                let own = tx.get_mut(teller)?;
                (own.audits, own.restarts) = (own.audits + audits, own.restarts + restarts);
                transfer(tx, &books, &bank, desk.number)
            })?;
            (audits, restarts) = (0, attempts - 1);
            match next {
                Some(next) => step = next,
                None => break,
            }
        }
        work.complete(|tx| {
            let own = tx.get_mut(teller)?;
            (own.restarts, own.is_done) = (own.restarts + restarts, 1);
            Ok(())
        })
    }
}

/// Makes the teller's next transfer, if one is left; answers the step that comes next, or `None` if
/// the bank is closed.
fn transfer(
    tx: &mut Transaction<'_>,
    books: &Books,
    bank: &Bank,
    number: u64,
) -> Result<Option<u64>> {
    if books.is_timed != 0 && *tx.get(books.closed)? != 0 {
        return Ok(None);
    }
    let teller = run::element(books.tellers, number as usize)?;
    let step = tx.get(teller)?.step;
    if step == books.transfers {
        return Ok(Some(step));
    }
    let transfer = bank.transfer(number, step);
    let [from, to] = tx.get_many_mut([
        run::element(books.accounts, transfer.from as usize)?,
        run::element(books.accounts, transfer.to as usize)?,
    ])?;
    let moved = transfer.apply(from.balance, to.balance);
    if let Some((from_after, to_after)) = moved {
        (from.balance, to.balance) = (from_after, to_after);
    }
    let teller = tx.get_mut(teller)?;
    teller.refused += u64::from(moved.is_none());
    teller.step += 1;
    Ok(Some(teller.step))
}

/// Adds up all accounts, at one snapshot.
fn sum(tx: &Transaction<'_>, books: &Books) -> Result<u128> {
    let accounts = tx.get(books.accounts)?;
    Ok(accounts
        .iter()
        .map(|account| u128::from(account.balance))
        .sum())
}

/// Checks that the accounts hold what the bank began with.
fn audit(tx: &Transaction<'_>, books: &Books, bank: &Bank) -> Result<()> {
    let (found, total) = (sum(tx, books)?, bank.total());
    if found == u128::from(total) {
        return Ok(());
    }
    Err(tx.abort(format!(
        "an audit found {found} in the accounts, the bank has {total}"
    )))
}

impl BankRun {
    /// Checks that there can be such a bank.
    ///
    /// # Errors
    /// [`AppError::Bank`] naming the option that makes it impossible.
    pub fn new(options: Options) -> Result<Self, AppError> {
        let Options {
            accounts,
            tellers,
            transfers,
            seconds,
            amount_max,
        } = options;
        let rules = BankOptions {
            accounts,
            amount_max,
            ..BankOptions::default()
        };
        Ok(Self {
            bank: Bank::new(rules)?,
            tellers,
            hours: match seconds {
                Some(time) => Hours::Time(time),
                None => Hours::Transfers(transfers.unwrap_or(TRANSFERS)),
            },
            opened: None,
            audits: 0,
            wrong_audits: 0,
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        let counts = [self.tellers, self.transfers_max(), self.is_timed()];
        run::fingerprint([self.bank.options().as_bytes(), counts.as_bytes()])
    }

    /// Of each teller.
    fn transfers_max(&self) -> u64 {
        match self.hours {
            Hours::Transfers(count) => count,
            Hours::Time(_) => u64::MAX,
        }
    }

    /// As the heap says it. How long the bank is open is no part of what it is.
    fn is_timed(&self) -> u64 {
        u64::from(matches!(self.hours, Hours::Time(_)))
    }

    /// Closes the bank when its time is over.
    fn close_in_time(&mut self, station: &mut Station, open: Duration) -> Result<(), AppError> {
        if self.opened.get_or_insert_with(Instant::now).elapsed() < open {
            return Ok(());
        }
        Ok(station.transaction(|tx| {
            let closed = run::find::<Books>(tx)?.closed;
            if *tx.get(closed)? == 0 {
                tx.set(closed, 1)?;
            }
            Ok(())
        })?)
    }

    /// How far a bank is that has made `done` transfers, in the unit that it ends by.
    fn progress_at(&self, done: u64, is_done: bool) -> Progress {
        let (done, total, unit) = match self.hours {
            Hours::Transfers(count) => (done, self.tellers.saturating_mul(count), "transfers"),
            Hours::Time(open) => {
                let total = open.as_secs_f64().ceil() as u64;
                let since = self.opened.map_or(0, |opened| opened.elapsed().as_secs());
                // Tellers that are still at their last transfer keep it from being finished.
                let done = if is_done { total } else { since.min(total - 1) };
                (done, total, "seconds")
            }
        };
        Progress { done, total, unit }
    }

    /// Notes what an audit by the coordinator found.
    fn note(&mut self, sum: u128) {
        self.audits += 1;
        self.wrong_audits += u64::from(sum != u128::from(self.bank.total()));
    }
}

impl App for BankRun {
    fn register(&self, station: &mut Station) {
        register(station);
    }

    fn setup(&mut self, station: &mut Station) -> Result<(), AppError> {
        let (rules, fingerprint) = (*self.bank.options(), self.fingerprint());
        let (ptr, books) = run::open(station, fingerprint, |tx| {
            Ok(Books {
                fingerprint,
                rules,
                transfers: self.transfers_max(),
                is_timed: self.is_timed(),
                closed: tx.alloc(0)?,
                accounts: tx.alloc_slice(rules.accounts as usize)?,
                tellers: tx.alloc_slice(self.tellers as usize)?,
                is_open: 0,
            })
        })?;
        if books.is_open != 0 {
            return Ok(());
        }
        let account = Account {
            balance: rules.initial_balance,
            reserved: [0; 7],
        };
        run::fill(
            station,
            books.accounts,
            &vec![account; rules.accounts as usize],
        )?;
        Ok(station.transaction(|tx| open_desks(tx, ptr, self.tellers))?)
    }

    fn progress(&mut self, station: &mut Station) -> Result<Progress, AppError> {
        run::check_failures(station)?;
        if let Hours::Time(open) = self.hours {
            self.close_in_time(station, open)?;
        }
        let (done, is_done, sum) = station.transaction(|tx| {
            let books = run::find::<Books>(tx)?;
            let tellers = tx.get(books.tellers)?;
            let done = tellers.iter().map(|teller| teller.step).sum();
            let is_done = tellers.iter().all(|teller| teller.is_done != 0);
            Ok((done, is_done, sum(tx, &books)?))
        })?;
        self.note(sum);
        Ok(self.progress_at(done, is_done))
    }

    fn finish(&mut self, station: &mut Station) -> Result<Report, AppError> {
        station.latest()?;
        let (tellers, sum) = station.transaction(|tx| {
            let books = run::find::<Books>(tx)?;
            Ok((tx.get(books.tellers)?.to_vec(), sum(tx, &books)?))
        })?;
        self.note(sum);
        let total = |count: fn(&Teller) -> u64| tellers.iter().map(count).sum::<u64>();
        let transfers = total(|teller| teller.step);
        let (is_complete, expected) = match self.hours {
            Hours::Transfers(_) => {
                let expected = self.progress_at(transfers, true).total;
                (transfers == expected, Some(expected))
            }
            Hours::Time(_) => (tellers.iter().all(|teller| teller.is_done != 0), None),
        };
        let report = Report {
            facts: Vec::new(),
            verified: self.wrong_audits == 0 && is_complete,
        }
        .with("transfers", transfers);
        let report = match expected {
            Some(expected) => report.with("expected transfers", expected),
            None => report,
        };
        Ok(report
            .with("refused transfers", total(|teller| teller.refused))
            .with("conflicts", total(|teller| teller.restarts))
            .with("audits", self.audits + total(|teller| teller.audits))
            .with("accounts", self.bank.options().accounts)
            .with("sum", u64::try_from(sum).unwrap_or(u64::MAX))
            .with("expected sum", self.bank.total()))
    }
}

/// Spawns the tellers, unless that was done.
fn open_desks(tx: &mut Transaction<'_>, books: Ptr<Books>, tellers: u64) -> Result<()> {
    if tx.get(books)?.is_open != 0 {
        return Ok(());
    }
    for number in 0..tellers {
        tx.spawn::<Serve>(Desk { books, number })?;
    }
    tx.get_mut(books)?.is_open = 1;
    Ok(())
}
