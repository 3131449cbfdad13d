//! What a connection promises, whichever way its bytes go.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use super::*;
use plurix_wire::message::{Batch, Content, Item, Page, ToStation};
use plurix_wire::{CommitNumber, Generation, PAGE_BYTES, PageNumber, StreamSequence, Term};
use serde::{Deserialize, Serialize};

/// Whatever somebody may say.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::net) struct Anything<T>(pub(in crate::net) T);

impl<T: Serialize> Message for Anything<T> {}

/// How bytes get to the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Socket,
    Memory,
    Tls,
}

const WAYS: [Way; 3] = [Way::Socket, Way::Memory, Way::Tls];

/// Two connected sides.
fn pair(frame_max: usize, way: Way) -> (Connection, Connection) {
    match way {
        Way::Socket => {
            let (a, b) = UnixStream::pair().unwrap();
            let connection = |stream| Connection::new(Stream::Unix(stream), frame_max).unwrap();
            (connection(a), connection(b))
        }
        Way::Memory => {
            let (a, b, _) = sharing_pair(frame_max);
            (a, b)
        }
        Way::Tls => crate::net::tls::tests::pair(frame_max),
    }
}

/// Two sides that share memory, and that memory as a file.
fn sharing_pair(frame_max: usize) -> (Connection, Connection, File) {
    let (mut a, mut b) = pair(frame_max, Way::Socket);
    let (rings, descriptor) = Rings::host().unwrap();
    a.queue(&Anything(0)).unwrap();
    a.hand_over(rings, &descriptor).unwrap();
    let (_, passed) = b.receive_passed().unwrap();
    assert_eq!(b.next().unwrap(), Some(Anything(0)));
    b.take_over(&passed.unwrap()).unwrap();
    (a, b, File::from(descriptor))
}

fn pump(from: &mut Connection, to: &mut Connection) -> Vec<Anything<Vec<u8>>> {
    let mut messages = Vec::new();
    loop {
        let sent = from.flush().unwrap();
        let received = to.receive().unwrap();
        while let Some(message) = to.next().unwrap() {
            messages.push(message);
        }
        if sent && !received {
            break;
        }
    }
    messages
}

#[test]
fn messages_of_all_sizes_arrive_whole_and_in_order() {
    let sizes = [0, 1, 100, 4096, READ_BYTES, 3 * READ_BYTES, 5 << 20, 7];
    for way in WAYS {
        let (mut from, mut to) = pair(10 << 20, way);
        let sent: Vec<_> = (0u8..)
            .zip(sizes)
            .map(|(value, size)| Anything(vec![value; size]))
            .collect();
        sent.iter().for_each(|message| from.queue(message).unwrap());
        assert_eq!(pump(&mut from, &mut to), sent);
    }
}

#[test]
fn pages_sent_from_where_they_are_arrive_whole_however_full_the_socket() {
    WAYS.into_iter().for_each(pages_arrive_whole);
}

fn pages_arrive_whole(way: Way) {
    let (mut from, mut to) = pair(10 << 20, way);
    let batch = |first: u32| {
        let pages = (first..first + 3 * LENT_MAX as u32).map(|page| {
            Item::Page(Box::new(Page {
                page: PageNumber(page),
                base: CommitNumber(1),
                held_from: CommitNumber(1),
                content: Content::Bytes(vec![page as u8; PAGE_BYTES].into()),
                since: Vec::new(),
            }))
        });
        ToStation::Batch(Batch {
            term: Term(1),
            generation: Generation(0),
            sequence: StreamSequence(u64::from(first)),
            through: CommitNumber(1),
            durable: CommitNumber(0),
            last: true,
            items: pages.collect(),
        })
    };
    let (mut received, mut kept) = (0, Vec::new());
    for first in 0..20 {
        from.send(&batch(first)).unwrap();
        // The reader lags, so that later messages find the socket full.
        if first % 4 == 3 {
            while received <= first {
                from.flush().unwrap();
                to.receive().unwrap();
                while let Some(message) = to.next::<ToStation>().unwrap() {
                    assert_eq!(message, batch(received));
                    // Some stay, and with them the buffer.
                    kept.extend((received % 3 > 0).then_some((received, message)));
                    received += 1;
                }
            }
        }
    }
    for (number, message) in kept {
        assert_eq!(message, batch(number));
    }
    assert!(from.flush().unwrap() && received == 20);
}

#[test]
fn an_oversized_frame_is_refused() {
    for way in WAYS {
        let (mut from, mut to) = pair(1000, way);
        from.queue(&Anything(vec![0u8; 5000])).unwrap();
        from.flush().unwrap();
        to.receive().unwrap();
        assert!(matches!(
            to.next::<Anything<Vec<u8>>>(),
            Err(NetError::Wire(plurix_wire::Error::FrameTooLong { .. }))
        ));
    }
}

#[test]
fn the_end_of_the_peer_is_noticed_behind_its_last_word() {
    for way in WAYS {
        let (mut from, mut to) = pair(1000, way);
        from.queue(&Anything("last")).unwrap();
        from.flush().unwrap();
        drop(from);
        to.wait(Duration::from_secs(10)).unwrap();
        assert!(to.look().unwrap());
        assert_eq!(to.next().unwrap(), Some(Anything("last".to_owned())));
        to.notice_end().unwrap();
        assert!(matches!(to.look(), Err(NetError::Closed)));
    }
}

#[test]
fn who_looks_at_shared_memory_learns_of_the_end_when_it_asks_for_it() {
    let (from, mut to) = pair(1000, Way::Memory);
    drop(from);
    assert!(!to.look().unwrap());
    to.notice_end().unwrap();
    assert!(matches!(to.look(), Err(NetError::Closed)));
}

#[test]
fn a_peer_that_scribbles_over_the_shared_memory_is_refused() {
    let scribbled = |at| {
        let (ours, theirs, memory) = sharing_pair(1 << 20);
        memory
            .write_all_at(&(1u64 << 40).to_ne_bytes(), at)
            .unwrap();
        (ours, theirs)
    };
    // Where the two sides say how much they have pushed.
    for at in [0, 256] {
        let (mut ours, mut theirs) = scribbled(at);
        let refused = ours.receive().err().or(theirs.receive().err());
        assert!(matches!(refused, Some(NetError::Memory(_))), "{at}");
    }
    // Where they say how much they have pulled: looked at for lack of room.
    for at in [128, 384] {
        let (mut ours, mut theirs) = scribbled(at);
        let mut refused = Vec::new();
        for side in [&mut ours, &mut theirs] {
            side.queue(&Anything(vec![7u8; 1 << 20])).unwrap();
            refused.extend(side.flush().err());
        }
        assert!(matches!(refused[..], [NetError::Memory(_)]), "{at}");
    }
}

/// Both sides sleep whenever they have nothing to do, the writer on a full ring or socket.
#[test]
fn sides_that_sleep_wake_each_other() {
    const MESSAGES: u32 = 2000;
    for way in WAYS {
        let (mut from, mut to) = pair(1 << 20, way);
        let writer = std::thread::spawn(move || {
            for number in 0..MESSAGES {
                let bytes = vec![7u8; (number * 37 % 9001) as usize];
                from.queue(&Anything((number, bytes))).unwrap();
                while !from.flush().unwrap() {
                    from.wait(Duration::from_secs(20)).unwrap();
                }
            }
            from
        });
        let mut next = 0;
        while next < MESSAGES {
            if !to.receive_waiting().unwrap() {
                continue;
            }
            while let Some(Anything((number, bytes))) =
                to.next::<Anything<(u32, Vec<u8>)>>().unwrap()
            {
                assert_eq!((number, bytes.len()), (next, (next * 37 % 9001) as usize));
                next += 1;
            }
        }
        writer.join().unwrap();
    }
}
