//! Recovery lines as the leader takes them: when the parts of all members make a line, when they do not, and
//! what is left of a line when the leader starts again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use plurix_protocol::leader::{Command, Durability, Event, Images, Leader, LostLine, Settings};
use plurix_protocol::{ConnectionId, Time};
use plurix_wire::message::peer::Pages;
use plurix_wire::message::recovery_line::{
    Basis, LineAnswer, LineRefusal, LineRequest, Offer, RecoveryLine,
};
use plurix_wire::message::{Join, PageRun, ToLeader, ToStation};
use plurix_wire::record::{Body, Record, Stamp};
use plurix_wire::{
    CommitNumber, Generation, Incarnation, PAGE_BYTES, PageBytes, PageNumber, Rank, TeamId, Term,
};

const TEAM: TeamId = TeamId(64);
const PAGES: u64 = 32;
/// Connections of members' sessions, and those for their parts.
const SESSION: [ConnectionId; 2] = [ConnectionId(1), ConnectionId(2)];
const PART: [ConnectionId; 2] = [ConnectionId(11), ConnectionId(12)];

/// A leader and its log, with two members.
struct Scene {
    leader: Leader,
    lives: [Incarnation; 2],
    answers: BTreeMap<ConnectionId, Vec<LineAnswer>>,
    log: Vec<Record>,
    /// The cut and the state of a checkpoint that has begun.
    checkpoint: Option<(Stamp, Vec<u8>)>,
    formation: u64,
}

impl Scene {
    fn new() -> Self {
        let mut leader = Leader::new(settings());
        leader.start(Time(0), Term(1), None);
        let mut scene = Self {
            leader,
            lives: [Incarnation(0); 2],
            answers: BTreeMap::new(),
            log: Vec::new(),
            checkpoint: None,
            formation: 0,
        };
        scene.carry_out();
        for (at, session) in SESSION.into_iter().enumerate() {
            let join = Join {
                station: None,
                observer: false,
                generation: Generation(0),
                seen: CommitNumber(0),
            };
            scene.lives[at] = scene.joined(session, join);
        }
        assert_eq!(scene.newest(), None);
        scene
    }

    fn joined(&mut self, connection: ConnectionId, join: Join) -> Incarnation {
        let message = ToLeader::Join(join);
        self.leader.handle(Time(1), Event::Room(1 << 20));
        self.leader.handle(
            Time(1),
            Event::Message {
                connection,
                message,
            },
        );
        let mut life = None;
        while let Some(command) = self.leader.poll() {
            match command {
                Command::Send {
                    message: ToStation::Welcome(welcome),
                    ..
                } => life = Some(welcome.incarnation),
                Command::Append(record) => self.log.push(record),
                _ => {}
            }
        }
        life.expect("it is let in")
    }

    fn handle(&mut self, event: Event) {
        self.leader.handle(Time(1), event);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.leader.poll() {
            match command {
                Command::Append(record) => self.log.push(record),
                Command::BeginCheckpoint { cut, state, .. } => self.checkpoint = Some((cut, state)),
                Command::Send {
                    connection,
                    message: ToStation::RecoveryLine(answer),
                } => self.answers.entry(connection).or_default().push(answer),
                _ => {}
            }
        }
    }

    fn say(&mut self, at: usize, connection: ConnectionId, request: LineRequest) {
        let message = ToLeader::RecoveryLine {
            incarnation: self.lives[at],
            generation: Generation(0),
            request,
        };
        self.handle(Event::Message {
            connection,
            message,
        });
    }

    /// What has been answered on a connection since this was last asked.
    fn heard(&mut self, connection: ConnectionId) -> Vec<LineAnswer> {
        self.answers.remove(&connection).unwrap_or_default()
    }

    /// The first station forms the team, and asks for the newest line.
    fn newest(&mut self) -> Option<RecoveryLine> {
        let connection = ConnectionId(99);
        self.say(0, connection, LineRequest::Ask(TEAM));
        match self.heard(connection).pop() {
            Some(LineAnswer::Newest { formation, line }) => {
                self.formation = formation;
                line
            }
            other => panic!("{other:?}"),
        }
    }

    fn offer(&self, at: usize, cut: u32, basis: Basis) -> Offer {
        Offer {
            team: TEAM,
            formation: self.formation,
            cut,
            basis,
            rank: Rank(at as u16),
            size: 2,
        }
    }

    /// A member offers its part, of one page that is full of `value`.
    fn begin(&mut self, at: usize, cut: u32, basis: Basis, value: u8) {
        let offer = self.offer(at, cut, basis);
        self.say(at, PART[at], LineRequest::Offer(offer));
        let pages = LineRequest::Pages(page(at as u32, value));
        self.say(at, PART[at], pages);
    }

    fn complete(&mut self, at: usize) {
        let state = vec![at as u8 + 7];
        self.say(at, PART[at], LineRequest::Complete { state });
    }

    /// Both hand over; answers what both are told.
    fn line(&mut self, cut: u32, basis: Basis, value: u8) -> Vec<LineAnswer> {
        for at in [1, 0] {
            self.begin(at, cut, basis, value);
            self.complete(at);
        }
        let told = [self.heard(PART[0]), self.heard(PART[1])];
        assert_eq!(told[0], told[1], "both are told the same");
        told.concat().split_off(told[1].len())
    }

    fn first_byte(&self, page: u32) -> u8 {
        let page = self.leader.page(PageNumber(page));
        page.map_or(0, |bytes| bytes[0])
    }

    fn close(&mut self, connection: ConnectionId, died: bool) {
        self.handle(Event::Closed { connection, died });
    }
}

fn settings() -> Settings {
    Settings::new(PAGES * PAGE_BYTES as u64, Durability::Memory)
}

fn page(page: u32, value: u8) -> Pages {
    Pages {
        run: PageRun::from(PageNumber(page)),
        bytes: Bytes::from(vec![value; PAGE_BYTES]),
    }
}

fn abandoned() -> Vec<LineAnswer> {
    vec![LineAnswer::Refused(LineRefusal::Abandoned)]
}

fn first(number: u64) -> Basis {
    Basis::Changed(CommitNumber(number))
}

#[test]
fn the_parts_of_all_become_one_commit() {
    let mut scene = Scene::new();
    scene.begin(0, 1, first(0), 5);
    scene.complete(0);
    scene.begin(1, 1, first(0), 5);
    assert_eq!(
        scene.leader.number(),
        CommitNumber(0),
        "one part is missing"
    );
    assert_eq!(scene.first_byte(0), 0, "nothing is seen of it before");
    scene.complete(1);
    let taken = vec![LineAnswer::Taken(CommitNumber(1))];
    assert_eq!(
        (scene.heard(PART[0]), scene.heard(PART[1])),
        (taken.clone(), taken)
    );
    assert_eq!((scene.first_byte(0), scene.first_byte(1)), (5, 5));
    let line = scene.newest().expect("there is one");
    assert_eq!(
        (line.number, line.state),
        (CommitNumber(1), vec![7]),
        "what the coordinator says"
    );
}

#[test]
fn a_part_of_the_dead_is_of_no_line() {
    for died in [true, false] {
        let mut scene = Scene::new();
        scene.begin(1, 1, first(0), 5);
        scene.complete(1);
        scene.begin(0, 1, first(0), 5);
        match died {
            true => scene.close(SESSION[1], true),
            false => scene.close(PART[1], false),
        }
        scene.complete(0);
        assert_eq!(scene.heard(PART[0]), abandoned());
        assert_eq!((scene.newest(), scene.first_byte(1)), (None, 0));
    }
}

#[test]
fn nobody_waits_for_a_part_that_was_withdrawn() {
    // Before the other one offers his, and behind.
    for is_early in [true, false] {
        let mut scene = Scene::new();
        let withdraw = LineRequest::Withdraw(scene.offer(1, 2, first(0)));
        if is_early {
            scene.say(1, PART[1], withdraw.clone());
        }
        scene.begin(0, 2, first(0), 5);
        if !is_early {
            scene.say(1, PART[1], withdraw);
        }
        assert_eq!(scene.heard(PART[0]), abandoned());
        scene.complete(0);
        assert_eq!(scene.heard(PART[0]), vec![], "it is of no line any more");
        let all = Basis::All(CommitNumber(0));
        let next = scene.line(3, all, 6);
        assert_eq!(next, vec![LineAnswer::Taken(CommitNumber(1))]);
    }
}

#[test]
fn who_comes_late_to_a_line_that_was_given_up_hears_of_it() {
    let mut scene = Scene::new();
    scene.begin(0, 1, first(0), 5);
    scene.close(PART[0], false);
    scene.begin(1, 1, first(0), 5);
    assert_eq!(scene.heard(PART[1]), abandoned());
}

#[test]
fn a_later_line_takes_the_place_of_the_one_before() {
    let mut scene = Scene::new();
    scene.begin(1, 1, first(0), 5);
    // The same connection, as when the first member's part was lost and there was another cut.
    let all = Basis::All(CommitNumber(0));
    scene.begin(1, 2, all, 6);
    assert_eq!(scene.heard(PART[1]), abandoned(), "the first of the two");
    scene.begin(0, 2, all, 6);
    scene.complete(0);
    scene.complete(1);
    assert_eq!(
        scene.heard(PART[1]),
        vec![LineAnswer::Taken(CommitNumber(1))]
    );
    scene.begin(0, 1, first(1), 7);
    assert_eq!(scene.first_byte(0), 6);
}

#[test]
fn pages_that_changed_are_added_to_their_line_alone() {
    let mut scene = Scene::new();
    assert_eq!(
        scene.line(1, first(0), 5),
        vec![LineAnswer::Taken(CommitNumber(1))]
    );
    let other = LineAnswer::Refused(LineRefusal::OtherLine(CommitNumber(1)));
    for (cut, basis) in [
        (2, first(0)),
        (3, first(2)),
        (4, Basis::All(CommitNumber(2))),
    ] {
        scene.begin(0, cut, basis, 6);
        assert_eq!(scene.heard(PART[0]), vec![other.clone()], "{basis:?}");
    }
    for (cut, basis) in [(5, first(1)), (6, Basis::All(CommitNumber(1)))] {
        let number = CommitNumber(u64::from(cut) - 3);
        assert_eq!(scene.line(cut, basis, 7), vec![LineAnswer::Taken(number)]);
    }
    let all = Basis::All(CommitNumber(1));
    assert_eq!(
        scene.line(7, all, 8),
        vec![LineAnswer::Taken(CommitNumber(4))]
    );
}

#[test]
fn each_member_says_for_itself_which_line_must_be_there() {
    let mut scene = Scene::new();
    scene.line(1, first(0), 5);
    // The line that the team went on from is not there any more.
    let (none, lost) = (Basis::All(CommitNumber(0)), Basis::All(CommitNumber(2)));
    scene.begin(1, 2, none, 6);
    scene.complete(1);
    scene.begin(0, 2, lost, 6);
    let other = LineAnswer::Refused(LineRefusal::OtherLine(CommitNumber(1)));
    assert_eq!(scene.heard(PART[0]), vec![other]);
    assert_eq!(scene.heard(PART[1]), abandoned());
    let taken = vec![LineAnswer::Taken(CommitNumber(2))];
    assert_eq!(scene.line(3, none, 7), taken);
    // It is there.
    scene.begin(1, 4, none, 8);
    scene.complete(1);
    scene.begin(0, 4, lost, 8);
    scene.complete(0);
    let taken = vec![LineAnswer::Taken(CommitNumber(3))];
    assert_eq!(scene.heard(PART[0]), taken);
    assert_eq!(scene.heard(PART[1]), taken);
}

#[test]
fn a_person_is_told_once_that_the_line_a_team_went_on_from_is_lost() {
    let mut scene = Scene::new();
    scene.line(1, first(0), 5);
    let (changed, lacking) = (first(2), Basis::All(CommitNumber(2)));
    scene.begin(0, 2, changed, 6);
    assert_eq!(scene.leader.lost_line(), None, "the next one may be taken");
    let lost = LostLine {
        team: TEAM,
        line: CommitNumber(2),
        newest: CommitNumber(1),
    };
    // Both members lack pages, at two cuts.
    for (cut, told) in [(3, Some(lost)), (4, None)] {
        for at in [0, 1] {
            scene.begin(at, cut, lacking, 6);
        }
        assert_eq!(scene.leader.lost_line(), told);
        assert_eq!(scene.leader.lost_line(), None);
    }
    let all = Basis::All(CommitNumber(1));
    let taken = vec![LineAnswer::Taken(CommitNumber(2))];
    scene.heard(PART[0]);
    scene.heard(PART[1]);
    assert_eq!(scene.line(5, all, 7), taken);
    assert_eq!(scene.leader.lost_line(), None);
    // The team that forms next has lost another one.
    scene.newest();
    scene.begin(0, 1, Basis::All(CommitNumber(9)), 8);
    let told = scene
        .leader
        .lost_line()
        .map(|lost| (lost.line, lost.newest));
    assert_eq!(told, Some((CommitNumber(9), CommitNumber(2))));
}

#[test]
fn a_formation_that_has_ended_hands_over_nothing() {
    let mut scene = Scene::new();
    let old = [0, 1].map(|at| LineRequest::Offer(scene.offer(at, 1, first(0))));
    scene.begin(0, 1, first(0), 5);
    scene.complete(0);
    scene.begin(1, 1, first(0), 5);
    // The same lives form the team anew; what is under way comes behind that.
    assert_eq!(scene.newest(), None);
    scene.complete(1);
    assert_eq!(scene.heard(PART[0]), abandoned());
    scene.heard(PART[1]);
    for (at, old) in old.into_iter().enumerate() {
        scene.say(at, ConnectionId(20 + at as u64), old);
        let answer = scene.heard(ConnectionId(20 + at as u64));
        assert_eq!(answer, abandoned());
    }
    assert_eq!(scene.first_byte(0), 0);
    let next = scene.line(1, first(0), 6);
    assert_eq!(
        next,
        vec![LineAnswer::Taken(CommitNumber(1))],
        "it counts from one again"
    );
}

#[test]
fn whoever_is_no_member_is_lost() {
    let mut scene = Scene::new();
    scene.lives[1] = Incarnation(77);
    scene.begin(1, 1, first(0), 5);
    let lost = LineAnswer::Lost(LineRefusal::NotAMember);
    assert_eq!(scene.heard(PART[1]), vec![lost.clone(), lost]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut scene = Scene::new();
    let malformed = vec![LineAnswer::Refused(LineRefusal::Malformed)];
    for (rank, size) in [(2, 2), (0, 0), (0, 65)] {
        let offer = Offer {
            rank: Rank(rank),
            size,
            ..scene.offer(0, 1, first(0))
        };
        scene.say(0, PART[0], LineRequest::Offer(offer));
        assert_eq!(scene.heard(PART[0]), malformed, "{rank} of {size}");
    }
    scene.begin(0, 2, first(0), 5);
    scene.say(0, PART[0], LineRequest::Pages(page(PAGES as u32, 1)));
    assert_eq!(scene.heard(PART[0]), malformed, "a page beyond the heap");
    scene.begin(1, 2, first(0), 5);
    assert_eq!(
        scene.heard(PART[1]),
        abandoned(),
        "and the line is given up"
    );
}

#[test]
fn a_log_without_room_takes_no_line() {
    let mut scene = Scene::new();
    scene.begin(0, 1, first(0), 5);
    scene.complete(0);
    scene.begin(1, 1, first(0), 5);
    scene.handle(Event::Room(8));
    scene.complete(1);
    let full = vec![LineAnswer::Refused(LineRefusal::LogFull)];
    assert_eq!(
        (scene.heard(PART[1]), scene.heard(PART[0])),
        (full, abandoned())
    );
    assert_eq!(
        (scene.leader.number(), scene.first_byte(0)),
        (CommitNumber(0), 0)
    );
}

#[test]
fn pages_of_a_line_are_loaded_unless_it_was_lost() {
    let mut scene = Scene::new();
    scene.line(1, first(0), 5);
    let load = |line| LineRequest::Load {
        team: TEAM,
        line: CommitNumber(line),
        run: PageRun::new(PageNumber(0), 3),
    };
    scene.say(0, PART[0], load(1));
    let mut found = Vec::new();
    for answer in scene.heard(PART[0]) {
        let LineAnswer::Pages(pages) = answer else {
            panic!("{answer:?}");
        };
        found.extend(
            pages
                .each()
                .map(|(page, bytes)| (page.0, bytes.map(|it| it[0]))),
        );
    }
    assert_eq!(found, [(0, Some(5)), (1, Some(5)), (2, None)]);
    scene.say(0, PART[0], load(2));
    let lost = LineAnswer::Lost(LineRefusal::OtherLine(CommitNumber(1)));
    assert_eq!(scene.heard(PART[0]), vec![lost]);
}

/// Pages of a checkpoint.
#[derive(Debug)]
struct Image(BTreeMap<PageNumber, Arc<PageBytes>>);

impl Images for Image {
    fn load(&self, page: PageNumber) -> Arc<PageBytes> {
        Arc::clone(&self.0[&page])
    }
}

#[test]
fn a_leader_that_starts_again_has_the_lines_of_its_checkpoint() {
    let mut scene = Scene::new();
    scene.line(1, first(0), 5);
    scene.handle(Event::Message {
        connection: ConnectionId(50),
        message: ToLeader::Checkpoint,
    });
    let (cut, state) = scene.checkpoint.take().expect("somebody asked for it");
    let before = scene.log.len();
    let mut pages = BTreeMap::new();
    while let Some((some, is_last)) = scene.leader.collect(Time(1), 1) {
        pages.extend(some);
        if is_last {
            break;
        }
    }
    scene.handle(Event::Checkpointed);
    // This one is in the log, and what it wrote is not.
    assert_eq!(
        scene.line(2, first(1), 6),
        vec![LineAnswer::Taken(CommitNumber(2))]
    );
    let later: Vec<Record> = scene.log.split_off(before);
    assert!(
        later
            .iter()
            .any(|it| matches!(it.body, Body::RecoveryLine(TEAM)))
    );
    let numbers: Vec<PageNumber> = pages.keys().copied().collect();
    let mut leader = Leader::with_images(settings(), Arc::new(Image(pages)));
    leader
        .start_from(cut, &state, numbers)
        .expect("it is whole");
    for record in &later {
        leader.replay(record).expect("it follows");
    }
    leader.start(Time(2), Term(2), None);
    leader.handle(Time(2), Event::Room(1 << 20));
    let old = std::mem::replace(&mut scene.leader, leader);
    assert_eq!(
        old.number(),
        scene.leader.number(),
        "numbers are not used again"
    );
    scene.carry_out();
    let line = scene.newest().expect("the one before");
    assert_eq!((line.number, line.state), (CommitNumber(1), vec![7]));
    assert_eq!((scene.first_byte(0), scene.first_byte(1)), (5, 5));
    scene.begin(0, 1, first(2), 7);
    let other = LineAnswer::Refused(LineRefusal::OtherLine(CommitNumber(1)));
    assert_eq!(scene.heard(PART[0]), vec![other]);
    let all = Basis::All(CommitNumber(1));
    assert_eq!(
        scene.line(2, all, 8),
        vec![LineAnswer::Taken(CommitNumber(3))]
    );
}
