//! The keeper of a station's recovery lines: what is said on which connection, and how each part ends.

use bytes::Bytes;
use plurix_protocol::team::{Job, Keeper, KeeperCommand, KeeperSettings};
use plurix_wire::message::peer::{Cut, Pages};
use plurix_wire::message::recovery_line::{
    Basis, LineAnswer, LineRefusal, LineRequest, LineState, Marks, Offer,
};
use plurix_wire::message::{CheckpointStatus, PageRun, ToStation};
use plurix_wire::{CommitNumber, PageNumber, Rank, TeamId};
use proptest::prelude::*;

const TEAM: TeamId = TeamId(8);
const FORMATION: u64 = 3;
const LINE: CommitNumber = CommitNumber(5);
const NUMBER: CommitNumber = CommitNumber(9);

fn keeper_of(rank: Rank, is_blocking: bool) -> Keeper {
    Keeper::new(KeeperSettings {
        team: TEAM,
        rank,
        size: 4,
        is_blocking,
    })
}

fn keeper() -> Keeper {
    keeper_of(Rank(1), false)
}

fn cut(ordinal: u32) -> Cut {
    Cut {
        ordinal,
        basis: Basis::Changed(LINE),
    }
}

fn state() -> LineState {
    LineState {
        phase: 7,
        marks: Marks::default(),
    }
}

fn hand_over(ordinal: u32) -> Job {
    Job::HandOver {
        formation: FORMATION,
        cut: cut(ordinal),
        state: state(),
    }
}

fn run(first: u32, count: u32) -> PageRun {
    PageRun::new(PageNumber(first), count)
}

fn load(first: u32, count: u32) -> Job {
    let run = run(first, count);
    Job::Load { line: LINE, run }
}

fn pages(first: u32, count: u32) -> Pages {
    Pages {
        run: run(first, count),
        bytes: Bytes::new(),
    }
}

fn hear(keeper: &mut Keeper, answer: LineAnswer) {
    let heard = keeper.hear(ToStation::RecoveryLine(answer));
    heard.expect("it has asked for that");
}

fn hear_of_checkpoint(keeper: &mut Keeper, is_taken: bool) {
    let taken = Ok(Box::new(CheckpointStatus::default()));
    let outcome = if is_taken { taken } else { Err(String::new()) };
    let heard = keeper.hear(ToStation::Checkpointed(outcome));
    heard.expect("it has asked for that");
}

fn done(keeper: &mut Keeper) -> Vec<KeeperCommand> {
    std::iter::from_fn(|| keeper.poll()).collect()
}

fn offer(ordinal: u32) -> Offer {
    Offer {
        team: TEAM,
        formation: FORMATION,
        cut: ordinal,
        basis: cut(ordinal).basis,
        rank: Rank(1),
        size: 4,
    }
}

fn ended(ordinal: u32, number: Option<CommitNumber>) -> KeeperCommand {
    let cut = cut(ordinal);
    KeeperCommand::Ended { cut, number }
}

fn says_offer(ordinal: u32) -> KeeperCommand {
    KeeperCommand::Say(LineRequest::Offer(offer(ordinal)))
}

fn says_withdraw(ordinal: u32) -> KeeperCommand {
    KeeperCommand::Say(LineRequest::Withdraw(offer(ordinal)))
}

fn says_pages(first: u32, count: u32) -> KeeperCommand {
    KeeperCommand::Say(LineRequest::Pages(pages(first, count)))
}

fn says_load(first: u32, count: u32) -> KeeperCommand {
    KeeperCommand::Say(LineRequest::Load {
        team: TEAM,
        line: LINE,
        run: run(first, count),
    })
}

fn says_complete() -> KeeperCommand {
    let state = Vec::new();
    KeeperCommand::Say(LineRequest::Complete { state })
}

#[test]
fn a_part_is_offered_handed_over_and_taken() {
    let mut keeper = keeper();
    assert!(keeper.is_idle());
    keeper.begin(hand_over(1));
    assert!(!keeper.is_idle(), "it needs a connection");
    assert_eq!((done(&mut keeper), keeper.wants_pages()), (vec![], None));
    keeper.connected();
    assert_eq!(done(&mut keeper), [says_offer(1)]);
    assert_eq!(keeper.wants_pages(), Some(cut(1)));
    keeper.collected(Some((vec![pages(0, 2)], false)));
    assert_eq!(done(&mut keeper), [says_pages(0, 2)]);
    assert_eq!(keeper.wants_pages(), Some(cut(1)));
    keeper.collected(Some((vec![pages(4, 1)], true)));
    assert_eq!(done(&mut keeper), [says_pages(4, 1), says_complete()]);
    assert_eq!(keeper.wants_pages(), None);
    hear(&mut keeper, LineAnswer::Taken(NUMBER));
    assert_eq!(done(&mut keeper), [ended(1, Some(NUMBER))]);
    keeper.disconnected();
    assert!(keeper.is_idle(), "nothing is left to be done");
}

#[test]
fn the_coordinator_says_how_the_program_goes_on() {
    let mut keeper = keeper_of(Rank(0), false);
    keeper.connected();
    keeper.begin(hand_over(1));
    keeper.collected(Some((Vec::new(), true)));
    let state = state().to_bytes();
    let complete = KeeperCommand::Say(LineRequest::Complete { state });
    assert_eq!(done(&mut keeper).pop(), Some(complete));
}

#[test]
fn a_part_that_was_begun_on_a_connection_that_broke_is_withdrawn() {
    let mut keeper = keeper();
    keeper.connected();
    keeper.begin(hand_over(1));
    keeper.collected(Some((vec![pages(0, 2)], false)));
    done(&mut keeper);
    keeper.disconnected();
    assert_eq!((done(&mut keeper), keeper.wants_pages()), (vec![], None));
    keeper.connected();
    let withdrawn = [ended(1, None), says_withdraw(1)];
    assert_eq!(done(&mut keeper), withdrawn);
    assert_eq!(keeper.wants_pages(), None);
    // Another page server knows nothing of it.
    keeper.disconnected();
    assert!(!keeper.is_idle());
    keeper.connected();
    assert_eq!(done(&mut keeper), [says_withdraw(1)]);
    keeper.begin(hand_over(2));
    keeper.disconnected();
    keeper.connected();
    assert_eq!(done(&mut keeper), [says_offer(2)], "the next part is whole");
}

#[test]
fn a_part_that_was_not_begun_is_offered_again() {
    let mut keeper = keeper();
    keeper.connected();
    keeper.begin(hand_over(1));
    done(&mut keeper);
    keeper.disconnected();
    keeper.connected();
    assert_eq!(done(&mut keeper), [says_offer(1)]);
    hear(&mut keeper, LineAnswer::Taken(NUMBER));
    let taken = [ended(1, Some(NUMBER))];
    assert_eq!(
        done(&mut keeper),
        taken,
        "the first offer is of the other connection"
    );
}

#[test]
fn what_has_not_come_is_asked_for_again_from_where_it_stopped() {
    let mut keeper = keeper();
    keeper.begin(load(10, 3));
    keeper.connected();
    keeper.begin(load(40, 2));
    assert_eq!(done(&mut keeper), [says_load(10, 3), says_load(40, 2)]);
    hear(&mut keeper, LineAnswer::Pages(pages(10, 1)));
    let came = KeeperCommand::Loaded(pages(10, 1));
    assert_eq!(done(&mut keeper), [came]);
    keeper.disconnected();
    keeper.begin(load(7, 1));
    keeper.connected();
    let again = [says_load(11, 2), says_load(40, 2), says_load(7, 1)];
    assert_eq!(done(&mut keeper), again);
    for (first, count) in [(11, 2), (40, 2), (7, 1)] {
        hear(&mut keeper, LineAnswer::Pages(pages(first, count)));
    }
    keeper.disconnected();
    assert!(keeper.is_idle());
}

#[test]
fn an_answer_to_an_old_offer_does_not_end_the_new_part() {
    for answer in [
        LineAnswer::Taken(NUMBER),
        LineAnswer::Refused(LineRefusal::Abandoned),
    ] {
        let mut keeper = keeper();
        keeper.connected();
        keeper.begin(hand_over(1));
        keeper.collected(Some((Vec::new(), true)));
        keeper.begin(hand_over(2));
        done(&mut keeper);
        hear(&mut keeper, answer);
        assert_eq!(done(&mut keeper), []);
        assert_eq!(keeper.wants_pages(), Some(cut(2)));
        hear(&mut keeper, LineAnswer::Taken(NUMBER));
        assert_eq!(done(&mut keeper), [ended(2, Some(NUMBER))]);
    }
}

#[test]
fn a_part_that_is_refused_is_withdrawn_on_the_next_connection() {
    let mut keeper = keeper();
    keeper.connected();
    keeper.begin(hand_over(1));
    done(&mut keeper);
    let refused = LineAnswer::Refused(LineRefusal::Abandoned);
    hear(&mut keeper, refused);
    assert_eq!(
        done(&mut keeper),
        [ended(1, None)],
        "this page server knows"
    );
    assert_eq!(keeper.wants_pages(), None);
    keeper.disconnected();
    keeper.connected();
    assert_eq!(done(&mut keeper), [says_withdraw(1)]);
}

#[test]
fn a_line_that_workers_wait_for_ends_with_its_checkpoint() {
    for (is_taken, number) in [(true, Some(NUMBER)), (false, None)] {
        let mut keeper = keeper_of(Rank(1), true);
        keeper.connected();
        keeper.begin(hand_over(1));
        keeper.collected(Some((Vec::new(), true)));
        hear_of_checkpoint(&mut keeper, true);
        done(&mut keeper);
        hear(&mut keeper, LineAnswer::Taken(NUMBER));
        assert_eq!(done(&mut keeper), [KeeperCommand::AskCheckpoint]);
        hear_of_checkpoint(&mut keeper, is_taken);
        assert_eq!(done(&mut keeper), [ended(1, number)]);
        hear_of_checkpoint(&mut keeper, is_taken);
        assert_eq!(done(&mut keeper), []);
    }
}

#[test]
fn a_line_whose_checkpoint_nobody_told_of_is_given_up() {
    let mut keeper = keeper_of(Rank(1), true);
    keeper.connected();
    keeper.begin(hand_over(1));
    keeper.collected(Some((Vec::new(), true)));
    hear(&mut keeper, LineAnswer::Taken(NUMBER));
    keeper.disconnected();
    assert_eq!(done(&mut keeper), [], "what was not said is not said later");
    keeper.connected();
    let withdrawn = [ended(1, None), says_withdraw(1)];
    assert_eq!(done(&mut keeper), withdrawn);
}

#[test]
fn a_part_that_another_cut_has_overtaken_is_dropped() {
    let mut keeper = keeper();
    keeper.connected();
    keeper.begin(hand_over(1));
    done(&mut keeper);
    keeper.collected(None);
    assert_eq!((done(&mut keeper), keeper.wants_pages()), (vec![], None));
    keeper.begin(hand_over(2));
    hear(&mut keeper, LineAnswer::Refused(LineRefusal::Abandoned));
    assert_eq!(done(&mut keeper), [says_offer(2)]);
    assert_eq!(keeper.wants_pages(), Some(cut(2)));
}

#[test]
fn what_has_come_is_told_even_if_the_connection_breaks_behind_it() {
    let mut keeper = keeper();
    keeper.connected();
    keeper.begin(load(1, 1));
    keeper.begin(hand_over(1));
    hear(&mut keeper, LineAnswer::Pages(pages(1, 1)));
    hear(&mut keeper, LineAnswer::Taken(NUMBER));
    hear(&mut keeper, LineAnswer::Lost(LineRefusal::NotAMember));
    keeper.disconnected();
    let came = [
        KeeperCommand::Loaded(pages(1, 1)),
        ended(1, Some(NUMBER)),
        KeeperCommand::Lost(LineRefusal::NotAMember),
    ];
    assert_eq!(done(&mut keeper), came);
}

#[test]
fn what_it_has_not_asked_for_changes_nothing() {
    let mut keeper = keeper();
    keeper.connected();
    keeper.begin(hand_over(1));
    let newest = LineAnswer::Newest {
        formation: FORMATION,
        line: None,
    };
    for answer in [ToStation::RecoveryLine(newest), ToStation::Stopping] {
        assert!(keeper.hear(answer).is_err());
    }
    assert_eq!(done(&mut keeper), [says_offer(1)]);
    assert_eq!(keeper.wants_pages(), Some(cut(1)));
}

/// What may happen to a keeper.
#[derive(Debug, Clone)]
enum Op {
    HandOver,
    Collect { is_last: bool },
    Overtake,
    Load(u32),
    Connect,
    Disconnect,
    Take,
    Refuse,
    Serve(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::HandOver),
        6 => any::<bool>().prop_map(|is_last| Op::Collect { is_last }),
        1 => Just(Op::Overtake),
        2 => (1..4_u32).prop_map(Op::Load),
        6 => Just(Op::Connect),
        2 => Just(Op::Disconnect),
        2 => Just(Op::Take),
        1 => Just(Op::Refuse),
        3 => (1..3_u32).prop_map(Op::Serve),
    ]
}

/// A keeper between a station that collects the pages 0, 1, ... of each part, and a page server.
struct Scene {
    keeper: Keeper,
    is_connected: bool,
    cuts: u32,
    /// Pages of the last cut that were collected.
    collected: u32,
    /// Cuts that have ended, and when they were the last.
    ended: Vec<u32>,
    /// On this connection: offers without an answer,
    offers: Vec<u32>,
    /// pages of the last one,
    came: u32,
    /// and what was asked for and not served.
    asked: Vec<PageRun>,
    /// Pages that were asked for, of which so many were served.
    wanted: u32,
    served: u32,
}

impl Scene {
    fn new() -> Self {
        Self {
            keeper: keeper(),
            is_connected: false,
            cuts: 0,
            collected: 0,
            ended: Vec::new(),
            offers: Vec::new(),
            came: 0,
            asked: Vec::new(),
            wanted: 0,
            served: 0,
        }
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::HandOver => {
                self.cuts += 1;
                self.collected = 0;
                self.keeper.begin(hand_over(self.cuts));
            }
            Op::Collect { is_last } => {
                if let Some(wanted) = self.keeper.wants_pages() {
                    assert_eq!(wanted, cut(self.cuts));
                    let pages = pages(self.collected, 1);
                    self.collected += 1;
                    self.keeper.collected(Some((vec![pages], is_last)));
                }
            }
            Op::Overtake => {
                if self.keeper.wants_pages().is_some() {
                    self.keeper.collected(None);
                    self.ended.push(self.cuts);
                }
            }
            Op::Load(count) => {
                self.keeper.begin(load(self.wanted, count));
                self.wanted += count;
            }
            Op::Connect if !self.is_connected => {
                self.is_connected = true;
                self.keeper.connected();
            }
            Op::Connect => {}
            Op::Disconnect => {
                self.is_connected = false;
                self.offers.clear();
                self.asked.clear();
                self.keeper.disconnected();
            }
            Op::Take => self.answer(LineAnswer::Taken(NUMBER)),
            Op::Refuse => self.answer(LineAnswer::Refused(LineRefusal::Abandoned)),
            Op::Serve(most) => self.serve(most),
        }
        self.carry_out();
    }

    fn answer(&mut self, answer: LineAnswer) {
        if !self.offers.is_empty() {
            self.offers.remove(0);
            hear(&mut self.keeper, answer);
        }
    }

    fn serve(&mut self, most: u32) {
        let Some(first) = self.asked.first_mut() else {
            return;
        };
        assert_eq!(first.first.0, self.served, "in order, without a gap");
        let count = most.min(first.count);
        self.served += count;
        let answer = pages(first.first.0, count);
        *first = run(first.first.0 + count, first.count - count);
        self.asked.retain(|run| run.count > 0);
        hear(&mut self.keeper, LineAnswer::Pages(answer));
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.keeper.poll() {
            let KeeperCommand::Say(request) = command else {
                if let KeeperCommand::Ended { cut, .. } = command {
                    assert_eq!(cut.ordinal, self.cuts);
                    assert!(!self.ended.contains(&self.cuts), "{} ended", self.cuts);
                    self.ended.push(self.cuts);
                }
                continue;
            };
            assert!(self.is_connected, "{request:?} is said to nobody");
            match request {
                LineRequest::Offer(offer) => {
                    assert_eq!(offer.cut, self.cuts);
                    self.offers.push(offer.cut);
                    self.came = 0;
                }
                LineRequest::Pages(pages) => {
                    assert_eq!(pages.run.first.0, self.came, "none is missing here");
                    self.came += 1;
                }
                LineRequest::Complete { .. } => assert_eq!(self.came, self.collected),
                LineRequest::Withdraw(offer) => {
                    assert!(self.offers.is_empty() && self.ended.contains(&offer.cut));
                }
                LineRequest::Load { run, .. } => self.asked.push(run),
                LineRequest::Ask(_) => panic!("nobody wants to know"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parts_leave_whole_and_all_that_was_asked_for_comes(
        ops in proptest::collection::vec(op(), 1..80),
    ) {
        let mut scene = Scene::new();
        ops.iter().for_each(|op| scene.step(op));
        // In the end there is a page server that answers.
        scene.step(&Op::Connect);
        scene.step(&Op::Collect { is_last: true });
        while !scene.offers.is_empty() {
            scene.step(&Op::Take);
        }
        while !scene.asked.is_empty() {
            scene.step(&Op::Serve(9));
        }
        prop_assert_eq!(scene.served, scene.wanted);
        prop_assert!(scene.cuts == 0 || scene.ended.contains(&scene.cuts));
    }
}
