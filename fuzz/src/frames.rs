//! Messages from peers: whatever bytes a frame holds, decoding answers a message or an error, and a
//! message that was decoded is encoded to bytes that mean the same.

use std::fmt::Debug;

use bytes::Bytes;
use plurix_wire::frame::{self, FRAME_BYTES_MAX, HANDSHAKE_BYTES_MAX, HEADER_BYTES, Message};
use plurix_wire::handshake::{
    ClientHello, ClientProof, Greeting, MAGIC, Rejection, ServerFrame, VERSION,
};
use plurix_wire::message::insight::{Conflicts, Insight, LineConflicts, Question, StationNumbers};
use plurix_wire::message::peer::{
    Acknowledgement, Arrive, Changes, Cut, Home, Introduction, Pages, Release, ToPeer, Written,
};
use plurix_wire::message::recovery_line::{
    Basis, LineAnswer, LineRefusal, LineRequest, Offer, RecoveryLine,
};
use plurix_wire::message::{
    Batch, Commit, CommitRefusal, Content, Delta, Item, Join, Lines, Member, Page, PageLines,
    PageRun, Request, Resume, SessionRefusal, StationStatus, Status, ToLeader, ToStation,
    Violation, Welcome,
};
use plurix_wire::{
    ClusterId, CommitNumber, CommitSequence, Generation, Incarnation, Interval, LineMask,
    PAGE_BYTES, PageNumber, Rank, StationId, StreamSequence, SyncId, TeamId, Term,
};
use serde::de::DeserializeOwned;

use crate::diffs;
use crate::write_set::sample;

type Seeds = Vec<(&'static str, Vec<u8>)>;

/// Byte strings of at least this many bytes are sent from where they are.
const LENT_BYTES_MIN: usize = 16;

pub(crate) fn check_to_leader(bytes: &[u8]) {
    check::<ToLeader>(bytes);
}

pub(crate) fn check_to_station(bytes: &[u8]) {
    check::<ToStation>(bytes);
}

pub(crate) fn check_to_peer(bytes: &[u8]) {
    check::<ToPeer>(bytes);
    check::<Introduction>(bytes);
    check::<Acknowledgement>(bytes);
}

/// The first frame is checked as it comes from the wire, header and all; the others as bodies.
pub(crate) fn check_handshake(bytes: &[u8]) {
    if let Ok(Some(length)) = frame::length(bytes, HANDSHAKE_BYTES_MAX) {
        assert!(length <= HEADER_BYTES + HANDSHAKE_BYTES_MAX);
    }
    match Greeting::decode(&framed(bytes)) {
        Ok(Greeting::Hello(hello)) => {
            assert_eq!((hello.magic, hello.version), (MAGIC, VERSION));
            let again = Greeting::decode(&encoded(&hello));
            assert_eq!(again, Ok(Greeting::Hello(hello)));
        }
        Ok(Greeting::OtherVersion(version)) => assert_ne!(version, VERSION),
        Ok(Greeting::Foreign) | Err(_) => {}
    }
    check::<ClientHello>(bytes);
    check::<ServerFrame>(bytes);
    check::<ClientProof>(bytes);
}

/// Checks the decoder of `M` on a frame with this body.
fn check<M: Message + DeserializeOwned + PartialEq + Debug>(body: &[u8]) {
    let whole = framed(body);
    let length = frame::length(&whole, FRAME_BYTES_MAX);
    assert_eq!(length, Ok(Some(whole.len())), "a header is read back");
    assert!(frame::length(&whole, body.len().saturating_sub(1)).is_err() || body.is_empty());
    let Ok(message) = frame::decode::<M>(&whole) else {
        return;
    };
    let canonical = encoded(&message);
    assert!(
        canonical.len() <= whole.len(),
        "what is encoded is the shortest form"
    );
    let again: M = frame::decode(&canonical).expect("what was encoded can be decoded");
    assert_eq!(again, message);
    assert_eq!(encoded(&again), canonical);
    let mut out = Vec::new();
    let lends = |bytes: &[u8]| bytes.len() >= LENT_BYTES_MIN;
    let lent = frame::encode_lending(&message, &mut out, lends).expect("it was encoded above");
    for piece in lent.into_iter().rev() {
        out.splice(piece.at..piece.at, piece.bytes.iter().copied());
    }
    assert_eq!(
        out, canonical,
        "to send from where it is changes no byte of a frame"
    );
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes(), body].concat()
}

fn encoded<M: Message>(message: &M) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode(message, &mut out).expect("a decoded message is no longer than its frame");
    out
}

fn bodies<M: Message>(messages: impl IntoIterator<Item = (&'static str, M)>) -> Seeds {
    messages
        .into_iter()
        .map(|(name, message)| (name, encoded(&message).split_off(HEADER_BYTES)))
        .collect()
}

const LIFE: Incarnation = Incarnation(1 << 32 | 2);

fn run(first: u32, count: u32) -> PageRun {
    PageRun {
        first: PageNumber(first),
        count,
    }
}

fn request(request: Request) -> ToLeader {
    ToLeader::Request {
        incarnation: LIFE,
        generation: Generation(1),
        request,
    }
}

const OFFER: Offer = Offer {
    team: TeamId(64),
    formation: 1 << 32 | 1,
    cut: 3,
    basis: Basis::Changed(CommitNumber(300)),
    rank: Rank(1),
    size: 4,
};

fn line_request(request: LineRequest) -> ToLeader {
    ToLeader::RecoveryLine {
        incarnation: LIFE,
        generation: Generation(1),
        request,
    }
}

fn line_pages(bytes: Bytes) -> Pages {
    Pages {
        run: run(3, 1),
        bytes,
    }
}

pub(crate) fn to_leader_seeds() -> Seeds {
    bodies([
        ("join", ToLeader::Join(Join::default())),
        (
            "join-as",
            ToLeader::Join(Join {
                station: Some(StationId(7)),
                observer: true,
                generation: Generation(1),
                seen: CommitNumber(300),
            }),
        ),
        (
            "resume",
            ToLeader::Resume(Resume {
                incarnation: LIFE,
                generation: Generation(1),
                through: CommitNumber(300),
                pages: vec![run(0, 3), run(9, 1)],
            }),
        ),
        (
            "commit",
            request(Request::Commit(Commit {
                sequence: CommitSequence(4),
                acknowledged: CommitSequence(3),
                snapshot: CommitNumber(300),
                follows: None,
                reads: vec![PageLines {
                    page: PageNumber(3),
                    lines: LineMask(0b101),
                }],
                writes: sample(),
            })),
        ),
        (
            "fetch",
            request(Request::Fetch {
                run: run(5, 8),
                snapshot: CommitNumber(300),
            }),
        ),
        ("line-ask", line_request(LineRequest::Ask(TeamId(64)))),
        (
            "line-load",
            line_request(LineRequest::Load {
                team: TeamId(64),
                line: CommitNumber(300),
                run: run(3, 4),
            }),
        ),
        ("line-offer", line_request(LineRequest::Offer(OFFER))),
        (
            "line-pages",
            line_request(LineRequest::Pages(line_pages(vec![7; PAGE_BYTES].into()))),
        ),
        (
            "line-complete",
            line_request(LineRequest::Complete { state: vec![7; 20] }),
        ),
        ("line-withdraw", line_request(LineRequest::Withdraw(OFFER))),
        (
            "drop",
            request(Request::Drop {
                pages: vec![run(1, 1), run(5, 8)],
            }),
        ),
        ("latest", request(Request::Latest)),
        (
            "durable",
            request(Request::Durable {
                through: CommitNumber(300),
            }),
        ),
        ("watch", request(Request::Watch)),
        ("token", request(Request::Token { attempt_us: 70_000 })),
        ("return-token", request(Request::ReturnToken)),
        ("heartbeat", request(Request::Heartbeat)),
        ("leave", request(Request::Leave)),
        ("numbers", request(Request::Numbers(Box::new(numbers())))),
        (
            "conflicts",
            ToLeader::Ask(Question::Conflicts {
                limit: 20,
                reset: false,
            }),
        ),
        (
            "pages",
            ToLeader::Ask(Question::Pages(vec![PageRun::new(PageNumber(3), 2)])),
        ),
        ("status", ToLeader::Status),
        ("shutdown", ToLeader::Shutdown),
        ("checkpoint", ToLeader::Checkpoint),
    ])
}

pub(crate) fn to_station_seeds() -> Seeds {
    let member = Member {
        station: StationId(2),
        incarnation: LIFE,
        observer: false,
    };
    bodies([
        (
            "line-newest",
            ToStation::RecoveryLine(LineAnswer::Newest {
                formation: 1 << 32 | 1,
                line: Some(RecoveryLine {
                    number: CommitNumber(300),
                    state: vec![7; 20],
                }),
            }),
        ),
        (
            "line-served",
            ToStation::RecoveryLine(LineAnswer::Pages(line_pages(vec![7; PAGE_BYTES].into()))),
        ),
        (
            "line-zero",
            ToStation::RecoveryLine(LineAnswer::Pages(line_pages(Bytes::new()))),
        ),
        (
            "line-taken",
            ToStation::RecoveryLine(LineAnswer::Taken(CommitNumber(300))),
        ),
        (
            "line-refused",
            ToStation::RecoveryLine(LineAnswer::Refused(LineRefusal::Abandoned)),
        ),
        (
            "line-lost",
            ToStation::RecoveryLine(LineAnswer::Lost(LineRefusal::OtherLine(CommitNumber(4)))),
        ),
        (
            "welcome",
            ToStation::Welcome(Welcome {
                station: StationId(2),
                incarnation: LIFE,
                term: Term(1),
                generation: Generation(1),
                through: CommitNumber(300),
                heap_bytes: 1 << 40,
                silence_ms_max: 2000,
                in_flight_max: 64,
                members: vec![member],
            }),
        ),
        (
            "rolled-back",
            ToStation::Refused(SessionRefusal::RolledBack {
                generation: Generation(2),
                cut: CommitNumber(5),
            }),
        ),
        (
            "violation",
            ToStation::Refused(SessionRefusal::Violation(Violation::PageBeyondHeap)),
        ),
        ("batch", ToStation::Batch(batch(member))),
        (
            "status",
            ToStation::Status(Box::new(Status {
                cluster: "05".repeat(16),
                durability: "memory".to_owned(),
                stations: vec![StationStatus {
                    numbers: Some(Box::new(numbers())),
                    ..StationStatus::default()
                }],
                ..Status::default()
            })),
        ),
        ("stopping", ToStation::Stopping),
        ("checkpointed", ToStation::Checkpointed(Ok(Box::default()))),
        (
            "not-checkpointed",
            ToStation::Checkpointed(Err("no room".to_owned())),
        ),
        (
            "conflicts",
            ToStation::Insight(Box::new(Insight::Conflicts(Conflicts {
                lines: vec![LineConflicts {
                    stations: vec![Default::default(); 2],
                    ..LineConflicts::default()
                }],
                ..Conflicts::default()
            }))),
        ),
        (
            "pages",
            ToStation::Insight(Box::new(Insight::Pages(vec![Default::default()]))),
        ),
    ])
}

/// What a station tells of itself.
fn numbers() -> StationNumbers {
    let mut numbers = StationNumbers::default();
    numbers.commit_latency.record(7_000);
    numbers
}

/// A batch with an item of each kind.
fn batch(member: Member) -> Batch {
    let delta = Delta {
        number: CommitNumber(299),
        writes: sample(),
    };
    let page = |content, since| Page {
        page: PageNumber(3),
        base: CommitNumber(298),
        held_from: CommitNumber(299),
        content,
        since,
    };
    let bytes = Bytes::from(vec![7; PAGE_BYTES]);
    let conflict = CommitRefusal::Conflict(PageLines::default());
    let refused = |sequence, why| Item::Refused {
        sequence: CommitSequence(sequence),
        why,
    };
    Batch {
        term: Term(1),
        generation: Generation(1),
        sequence: StreamSequence(1),
        through: CommitNumber(300),
        durable: CommitNumber(299),
        last: true,
        items: vec![
            Item::Committed {
                sequence: CommitSequence(1),
                number: CommitNumber(298),
            },
            refused(2, conflict),
            refused(3, CommitRefusal::LogFull),
            Item::Delta(delta.clone()),
            Item::Page(Box::new(page(Content::Zero, vec![]))),
            Item::Page(Box::new(page(Content::Bytes(bytes), vec![delta]))),
            Item::Lines(Box::new(Lines {
                number: CommitNumber(300),
                writes: sample(),
            })),
            Item::Latest,
            Item::Token,
            Item::Joined(member),
            Item::Left(LIFE),
        ],
    }
}

pub(crate) fn to_peer_seeds() -> Seeds {
    let (lock, written) = (SyncId(7), vec![run(1, 2), run(9, 1)]);
    let home = Home {
        run: run(3, 4),
        rank: Rank(1),
    };
    let interval = Interval(300);
    let pages = |bytes| {
        ToPeer::Pages(Pages {
            run: run(3, 1),
            bytes,
        })
    };
    let basis = Basis::Changed(CommitNumber(7));
    let arrive = Arrive {
        interval,
        written: written.clone(),
        wanted: vec![run(1, 1)],
        sent: vec![0, 300, 2],
        brings: Some(vec![1, 2, 3]),
        may_cut: true,
        cut: Some(basis),
    };
    let wrote = |sole| Written {
        run: run(1, 2),
        sole,
    };
    let release = Release {
        interval,
        written: vec![wrote(None), wrote(Some(Rank(2)))],
        moved: vec![home],
        expected: vec![1, 0, 300],
        brought: vec![None, Some(vec![4])],
        cut: Some(Cut { ordinal: 2, basis }),
    };
    bodies([
        ("claim", ToPeer::Claim { run: run(3, 4) }),
        ("claimed", ToPeer::Claimed(vec![home])),
        (
            "fetch",
            ToPeer::Fetch {
                interval,
                run: run(3, 4),
            },
        ),
        ("pages", pages(vec![7; PAGE_BYTES].into())),
        ("blank", pages(Bytes::new())),
        (
            "changes",
            ToPeer::Changes(Changes {
                interval,
                diffs: diffs::sample(),
            }),
        ),
        ("applied", ToPeer::Applied(300)),
        ("arrive", ToPeer::Arrive(arrive)),
        ("release", ToPeer::Release(release)),
        ("acquire", ToPeer::Acquire(lock)),
        ("revoke", ToPeer::Revoke(lock)),
        (
            "hand-back",
            ToPeer::HandBack {
                lock,
                written: written.clone(),
            },
        ),
        (
            "grant",
            ToPeer::Grant {
                lock,
                written: written.clone(),
            },
        ),
        (
            "raise",
            ToPeer::Raise {
                flag: lock,
                value: 300,
                written: written.clone(),
            },
        ),
        (
            "await",
            ToPeer::Await {
                flag: lock,
                least: 300,
            },
        ),
        (
            "raised",
            ToPeer::Raised {
                flag: lock,
                value: 301,
                written,
            },
        ),
        (
            "add",
            ToPeer::Add {
                counter: lock,
                value: 1,
            },
        ),
        (
            "added",
            ToPeer::Added {
                counter: lock,
                before: 300,
            },
        ),
        ("leave", ToPeer::Leave),
        ("give-up", ToPeer::GiveUp),
    ])
}

pub(crate) fn handshake_seeds() -> Seeds {
    let mut seeds = bodies([(
        "hello",
        ClientHello {
            magic: MAGIC,
            version: VERSION,
            nonce: [3; 16],
            cluster: Some(ClusterId([5; 16])),
        },
    )]);
    seeds.extend(bodies([
        (
            "server",
            ServerFrame::Hello {
                version: VERSION,
                cluster: ClusterId([5; 16]),
                nonce: [4; 16],
                proof: Some([9; 32]),
            },
        ),
        (
            "accepted",
            ServerFrame::Accepted {
                shares_memory: true,
            },
        ),
        (
            "rejected",
            ServerFrame::Rejected(Rejection::Version { ours: 1, theirs: 9 }),
        ),
    ]));
    let proof = ClientProof {
        proof: Some([9; 32]),
        shares_memory: true,
    };
    seeds.extend(bodies([("proof", proof)]));
    seeds
}
