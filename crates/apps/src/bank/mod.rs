//! A bank whose tellers move money between accounts: the program whose result shows at once
//! whether transactions are what they promise to be.
//!
//! Every teller draws its transfers from its own seed, and each transfer is a function of (seed,
//! teller, step) alone. A teller that died is therefore replaced by one that only needs to know the
//! step, which lives in the heap and moves with the same transaction as the money. At any commit,
//! the balances sum to what the bank began with, and none is ever overdrawn.
//!
//! The rules are here; [`BankRun`] plays them on the shared heap.

mod app;
mod splitmix;

use plurix::plain;

pub use app::{BankRun, Options, register};
pub use splitmix::SplitMix64;

/// What a bank is made of.
#[plain]
#[derive(Debug, PartialEq, Eq)]
pub struct BankOptions {
    /// Number of accounts, at least 2. Few accounts mean many conflicts.
    pub accounts: u64,
    /// What each account holds in the beginning.
    pub initial_balance: u64,
    /// The largest amount of one transfer, at least 1.
    pub amount_max: u64,
    /// Chooses the transfers.
    pub seed: u64,
}

impl Default for BankOptions {
    fn default() -> Self {
        Self {
            accounts: 1000,
            initial_balance: 1000,
            amount_max: 100,
            seed: 1,
        }
    }
}

/// Why there can be no such bank.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BankError {
    /// There is nobody to transfer to.
    #[error("a bank of {0} accounts has no transfers; ask for at least 2")]
    TooFewAccounts(u64),
    /// Every transfer would move nothing.
    #[error("the largest amount of a transfer is 0; ask for at least 1")]
    NoAmount,
    /// One account could end up with more than its 64 bits hold.
    #[error("{accounts} accounts of {initial_balance} exceed a 64-bit sum; ask for less of either")]
    TooMuchMoney {
        /// Number of accounts asked for.
        accounts: u64,
        /// What each would hold in the beginning.
        initial_balance: u64,
    },
}

/// Money that moves from one account to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Index of the account that pays.
    pub from: u64,
    /// Index of the account that is paid; never `from`.
    pub to: u64,
    /// How much; at least 1.
    pub amount: u64,
}

/// A bank that was found possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bank(BankOptions);

impl Bank {
    /// Checks `options`.
    ///
    /// # Errors
    /// [`BankError`] naming the option that makes the bank impossible.
    pub fn new(options: BankOptions) -> Result<Self, BankError> {
        let BankOptions {
            accounts,
            initial_balance,
            amount_max,
            ..
        } = options;
        if accounts < 2 {
            return Err(BankError::TooFewAccounts(accounts));
        }
        if amount_max == 0 {
            return Err(BankError::NoAmount);
        }
        if accounts.checked_mul(initial_balance).is_none() {
            return Err(BankError::TooMuchMoney {
                accounts,
                initial_balance,
            });
        }
        Ok(Self(options))
    }

    /// The options that the bank was made with.
    #[must_use]
    pub fn options(&self) -> &BankOptions {
        &self.0
    }

    /// The sum of all balances, at any time.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.accounts * self.0.initial_balance
    }

    /// The transfer that `teller` makes at its `step`, independent of all others.
    #[must_use]
    pub fn transfer(&self, teller: u64, step: u64) -> Transfer {
        let mut generator = SplitMix64::new(self.0.seed);
        for word in [teller, step] {
            generator = SplitMix64::new(generator.draw() ^ word);
        }
        let from = generator.below(self.0.accounts);
        let distance = 1 + generator.below(self.0.accounts - 1);
        let to = (u128::from(from) + u128::from(distance)) % u128::from(self.0.accounts);
        Transfer {
            from,
            to: to as u64,
            amount: 1 + generator.below(self.0.amount_max),
        }
    }
}

impl Transfer {
    /// The balances of `from` and `to` after the transfer, or `None` if `from` holds too little.
    ///
    /// # Panics
    /// If `to` would hold more than 64 bits: the sum of a [`Bank`] fits, so balances that do not
    /// are corrupt.
    #[must_use]
    pub fn apply(&self, from_balance: u64, to_balance: u64) -> Option<(u64, u64)> {
        let from_after = from_balance.checked_sub(self.amount)?;
        let to_after = to_balance
            .checked_add(self.amount)
            .expect("balances exceed the bank's sum");
        Some((from_after, to_after))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn impossible_banks_are_refused() {
        let possible = BankOptions::default();
        for (options, expected) in [
            (
                BankOptions {
                    accounts: 1,
                    ..possible
                },
                BankError::TooFewAccounts(1),
            ),
            (
                BankOptions {
                    amount_max: 0,
                    ..possible
                },
                BankError::NoAmount,
            ),
            (
                BankOptions {
                    accounts: u64::MAX,
                    initial_balance: 2,
                    ..possible
                },
                BankError::TooMuchMoney {
                    accounts: u64::MAX,
                    initial_balance: 2,
                },
            ),
        ] {
            assert_eq!(Bank::new(options), Err(expected));
        }
    }

    #[test]
    fn money_moves_but_neither_appears_nor_vanishes() {
        let options = BankOptions {
            accounts: 10,
            initial_balance: 50,
            amount_max: 40,
            seed: 3,
        };
        let bank = Bank::new(options).unwrap();
        let mut balances = [50; 10];
        let mut refused = 0;
        for step in 0..1000 {
            let transfer = bank.transfer(step % 4, step / 4);
            let (from, to) = (transfer.from as usize, transfer.to as usize);
            match transfer.apply(balances[from], balances[to]) {
                Some(after) => (balances[from], balances[to]) = after,
                None => refused += 1,
            }
            assert_eq!(balances.iter().sum::<u64>(), bank.total());
        }
        assert!(refused > 0 && refused < 1000 && balances != [50; 10]);
    }

    proptest! {
        #[test]
        fn transfers_are_valid_and_repeatable(
            accounts in 2u64.., amount_max in 1u64.., seed: u64, teller: u64, step: u64,
        ) {
            let options = BankOptions { accounts, initial_balance: 1, amount_max, seed };
            let bank = Bank::new(options).unwrap();
            let transfer = bank.transfer(teller, step);
            prop_assert!(transfer.from < accounts && transfer.to < accounts);
            prop_assert_ne!(transfer.from, transfer.to);
            prop_assert!((1..=amount_max).contains(&transfer.amount));
            prop_assert_eq!(transfer, bank.transfer(teller, step));
        }

        #[test]
        fn neither_another_teller_nor_another_step_draws_the_same(seed: u64, n in 0u64..1000) {
            let accounts = 1 << 60;
            let bank = Bank::new(BankOptions { accounts, initial_balance: 1, amount_max: 9, seed });
            let bank = bank.unwrap();
            prop_assert_ne!(bank.transfer(n, n), bank.transfer(n + 1, n));
            prop_assert_ne!(bank.transfer(n, n), bank.transfer(n, n + 1));
        }
    }
}
