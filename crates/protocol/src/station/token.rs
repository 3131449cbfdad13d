//! The token that lets a station commit before others, as it knows of it. Whether the lease has run out
//! meanwhile only the leader knows: then the commit may be refused like any other.

use plurix_wire::message::{Batch, Item, Request};

use super::{State, Station};
use crate::Span;

/// What the leader said of the token on this connection.
#[derive(Debug, Clone, Copy, Default, Hash)]
pub(super) struct Token {
    /// It is asked for, or granted, and not yet spent or returned.
    wanted: bool,
    /// It was granted, in a group that has not ended or has.
    arrived: bool,
    held: bool,
}

impl Token {
    /// A transaction that begins at the end of the group sees all that was committed before the
    /// token was granted.
    pub(super) fn hear(&mut self, batch: &Batch) {
        self.arrived |= batch.items.iter().any(|item| matches!(item, Item::Token));
        self.held |= self.wanted && self.arrived && batch.last;
    }

    /// The leader takes it back with the commit.
    pub(super) fn spent(&mut self) {
        *self = Self::default();
    }
}

impl Station {
    /// Asks for the token, for a transaction whose last attempt took so long; nothing is asked while
    /// the station is no member. [`has_token`](Self::has_token) tells when it is there; it is lost
    /// with the connection.
    pub fn ask_token(&mut self, attempt: Span) {
        if matches!(self.state, State::Active) {
            self.token = Token {
                wanted: true,
                ..Token::default()
            };
            let attempt_us = u32::try_from(attempt.0 / 1_000).unwrap_or(u32::MAX);
            self.request(Request::Token { attempt_us });
        }
    }

    /// Whether the next commit of this station goes before those of others.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.token.held
    }

    /// Gives the token back, or the wish for it, if there is any.
    pub fn return_token(&mut self) {
        if std::mem::take(&mut self.token).wanted {
            self.request(Request::ReturnToken);
        }
    }
}
