//! The keeper of a station's recovery lines: what it says to the page server, on a connection of its own,
//! to hand over what has changed at a cut and to get pages of the line that the team went on from.
//!
//! ```text
//!   Load ─────► loads: asked, and asked again on the next connection ──── Load ─────► page server
//!    Loaded ◄── as many fewer ◄────────────────────────────────────────── Pages ◄────
//!
//!   HandOver ─► part: offered ──► begun ──► all on its way ──► taken ──► on disk, if workers wait for it
//!               Offer ────► Pages … ────► Complete ───► ◄── Taken   Checkpoint ─► ◄─ Checkpointed
//!               │ refused, or the connection broke when it was begun    │             │
//!               └──► Ended(nowhere), withdrawn                          └─ Ended(number)
//! ```
//!
//! A line that cannot be handed over is given up: the team computes on, and its next line has all pages.
//!
//! **Invariants**
//! 1. Pages of a part leave on one connection: a part that was begun on another one, where some may have
//!    been lost, is withdrawn. It is so on each connection until there is another part, for a page server
//!    that has started since knows of nothing.
//! 2. A part ends once, unless the team's next cut overtakes it: then nobody asks for it any more.
//! 3. Offers are answered in order, so an answer is to the first that was not answered on this connection.
//!    What is said of the part before changes nothing.
//! 4. What was asked for and has not come is asked for on each connection, in order, from where its pages
//!    stopped.
//! 5. What is to be said is of the connection that there is; nothing of it is left for the next one.

use std::collections::VecDeque;

use plurix_wire::canary::{self, Canary};
use plurix_wire::message::peer::{Cut, Pages};
use plurix_wire::message::recovery_line::{LineAnswer, LineRefusal, LineRequest, LineState, Offer};
use plurix_wire::message::{PageRun, ToStation};
use plurix_wire::{CommitNumber, Rank, TeamId};

use super::COORDINATOR;

/// What a station wants of its keeper.
#[derive(Debug, Clone, PartialEq)]
pub enum Job {
    /// Pages of the line that the team went on from.
    Load {
        /// That line.
        line: CommitNumber,
        /// The pages.
        run: PageRun,
    },
    /// Hand over this station's part of a line.
    HandOver {
        /// As the page server has named the team.
        formation: u64,
        /// Which part.
        cut: Cut,
        /// What the coordinator says of the line.
        state: LineState,
    },
}

/// What a driver carries out.
#[derive(Debug, Clone, PartialEq)]
pub enum KeeperCommand {
    /// Say this to the page server.
    Say(LineRequest),
    /// Ask the page server for a checkpoint.
    AskCheckpoint,
    /// Pages have come that were asked for: they are the member's ([`loaded`](super::Member::loaded)).
    Loaded(Pages),
    /// A line has ended.
    Ended {
        /// That of this cut. The team may have come to a later one since.
        cut: Cut,
        /// It is in the heap as this commit, and on disk if workers wait for that; or nowhere.
        number: Option<CommitNumber>,
    },
    /// The team cannot go on.
    Lost(LineRefusal),
}

/// The page server has said what nobody had asked for; it may be ending.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the page server said what a keeper of recovery lines does not ask for: {0:?}")]
pub struct Unasked(pub Box<ToStation>);

/// Whose parts these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeeperSettings {
    /// The team.
    pub team: TeamId,
    /// The station's place in it.
    pub rank: Rank,
    /// Members of the team.
    pub size: u16,
    /// A line has ended when it is on disk.
    pub is_blocking: bool,
}

/// See the module's text.
#[derive(Debug, Clone)]
pub struct Keeper {
    settings: KeeperSettings,
    /// The line that the team went on from.
    line: CommitNumber,
    /// What the page server calls the team.
    formation: u64,
    is_connected: bool,
    /// What was asked for and has not come, in order.
    loads: VecDeque<PageRun>,
    /// The part that is being handed over.
    part: Option<Part>,
    /// Offers that have not been answered on this connection, in order.
    offered: VecDeque<Cut>,
    /// The last cut, if this station's part is of no line.
    withdrawn: Option<Cut>,
    out: VecDeque<KeeperCommand>,
}

#[derive(Debug, Clone)]
struct Part {
    cut: Cut,
    /// Until all pages are on their way.
    state: Option<LineState>,
    /// Some of its pages were collected.
    is_begun: bool,
    /// It is in the heap, and shall be on disk.
    is_taken: Option<CommitNumber>,
}

impl Keeper {
    /// A keeper that has nothing to do, and no connection.
    #[must_use]
    pub fn new(settings: KeeperSettings) -> Self {
        Self {
            settings,
            line: CommitNumber(0),
            formation: 0,
            is_connected: false,
            loads: VecDeque::new(),
            part: None,
            offered: VecDeque::new(),
            withdrawn: None,
            out: VecDeque::new(),
        }
    }

    /// Whether it needs no connection, and has none.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let wants = !self.loads.is_empty() || self.part.is_some() || self.withdrawn.is_some();
        !wants && !self.is_connected
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<KeeperCommand> {
        self.out.pop_front()
    }

    /// The station wants something.
    pub fn begin(&mut self, job: Job) {
        match job {
            Job::Load { line, run } => {
                self.line = line;
                self.loads.push_back(run);
                self.say_load(run);
            }
            Job::HandOver {
                formation,
                cut,
                state,
            } => {
                self.formation = formation;
                self.withdrawn = None;
                self.part = Some(Part {
                    cut,
                    state: Some(state),
                    is_begun: false,
                    is_taken: None,
                });
                self.say_offer();
            }
        }
    }

    /// There is a connection to the page server, on which nothing has been said.
    pub fn connected(&mut self) {
        self.is_connected = true;
        for run in self.loads.clone() {
            if !canary::strikes(Canary::ForgetLoad) {
                self.say_load(run);
            }
        }
        let is_begun = self.part.as_ref().is_some_and(|part| part.is_begun);
        if is_begun && !canary::strikes(Canary::ResumePart) {
            // Some pages may have been lost with the connection: nobody shall wait for this part.
            self.fail();
        }
        if let Some(cut) = self.withdrawn
            && !canary::strikes(Canary::ForgetWithdrawal)
        {
            let offer = self.offer(cut);
            self.say(LineRequest::Withdraw(offer));
        }
        self.say_offer();
    }

    /// The connection has ended, and with it what was said on it.
    pub fn disconnected(&mut self) {
        self.is_connected = false;
        self.offered.clear();
        self.out.retain(|command| {
            !matches!(
                command,
                KeeperCommand::Say(_) | KeeperCommand::AskCheckpoint
            )
        });
    }

    /// The cut of which some pages shall be collected now, if any are wanted: those that
    /// [`Member::collect`](super::Member::collect) answers are for [`collected`](Self::collected).
    #[must_use]
    pub fn wants_pages(&self) -> Option<Cut> {
        let part = self.part.as_ref().filter(|_| self.is_connected)?;
        part.state.is_some().then_some(part.cut)
    }

    /// Some pages of the part, and whether they are the last ones; `None` if there has been another cut,
    /// or the team cannot go on.
    pub fn collected(&mut self, collected: Option<(Vec<Pages>, bool)>) {
        let Some(part) = &mut self.part else { return };
        let Some((pages, is_last)) = collected else {
            self.part = None;
            return;
        };
        part.is_begun = true;
        let state = part.state.take_if(|_| is_last);
        for pages in pages {
            self.say(LineRequest::Pages(pages));
        }
        if let Some(state) = state {
            let state = match self.settings.rank {
                COORDINATOR => state.to_bytes(),
                _ => Vec::new(),
            };
            self.say(LineRequest::Complete { state });
        }
    }

    /// Takes what the page server says on the connection.
    ///
    /// # Errors
    /// [`Unasked`] if it is no answer to a keeper; the connection had better end.
    pub fn hear(&mut self, answer: ToStation) -> Result<(), Unasked> {
        match answer {
            ToStation::RecoveryLine(LineAnswer::Pages(pages)) => {
                self.arrived(pages.run.count);
                self.out.push_back(KeeperCommand::Loaded(pages));
            }
            ToStation::RecoveryLine(LineAnswer::Taken(number)) => self.taken(number),
            ToStation::RecoveryLine(LineAnswer::Refused(_)) => {
                let refused = self.offered.pop_front();
                if self.part.as_ref().map(|part| part.cut) == refused {
                    self.fail();
                }
            }
            ToStation::RecoveryLine(LineAnswer::Lost(why)) => {
                self.out.push_back(KeeperCommand::Lost(why));
            }
            ToStation::Checkpointed(outcome) => {
                if let Some(part) = self.part.take_if(|part| part.is_taken.is_some()) {
                    self.end(&part, part.is_taken.filter(|_| outcome.is_ok()));
                }
            }
            other => return Err(Unasked(Box::new(other))),
        }
        Ok(())
    }

    /// So many pages have come of those that were asked for first.
    fn arrived(&mut self, count: u32) {
        if let Some(first) = self.loads.front_mut() {
            first.first.0 = first.first.0.wrapping_add(count);
            first.count = first.count.saturating_sub(count);
            if first.count == 0 {
                self.loads.pop_front();
            }
        }
    }

    fn taken(&mut self, number: CommitNumber) {
        let taken = self.offered.pop_front();
        let Some(part) = self.part.as_mut().filter(|part| Some(part.cut) == taken) else {
            return;
        };
        if self.settings.is_blocking {
            part.is_taken = Some(number);
            self.out.push_back(KeeperCommand::AskCheckpoint);
        } else if let Some(part) = self.part.take() {
            self.end(&part, Some(number));
        }
    }

    /// The part is of no line.
    fn fail(&mut self) {
        if let Some(part) = self.part.take() {
            self.withdrawn = Some(part.cut);
            self.end(&part, None);
        }
    }

    fn end(&mut self, part: &Part, number: Option<CommitNumber>) {
        let cut = part.cut;
        self.out.push_back(KeeperCommand::Ended { cut, number });
    }

    fn say_load(&mut self, run: PageRun) {
        let (team, line) = (self.settings.team, self.line);
        self.say(LineRequest::Load { team, line, run });
    }

    fn say_offer(&mut self) {
        if let Some(part) = self.part.as_ref().filter(|_| self.is_connected) {
            let cut = part.cut;
            self.offered.push_back(cut);
            self.say(LineRequest::Offer(self.offer(cut)));
        }
    }

    fn offer(&self, cut: Cut) -> Offer {
        let KeeperSettings {
            team, rank, size, ..
        } = self.settings;
        Offer {
            team,
            formation: self.formation,
            cut: cut.ordinal,
            basis: cut.basis,
            rank,
            size,
        }
    }

    /// What cannot be said now is said when there is a connection, or is of no use any more.
    fn say(&mut self, request: LineRequest) {
        if self.is_connected {
            self.out.push_back(KeeperCommand::Say(request));
        }
    }
}
