//! TLS between two machines, and whoever is between them: each attempt ends with an error that says what
//! it was, and nobody is let in.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use plurix_wire::ClusterId;
use plurix_wire::frame::HANDSHAKE_BYTES_MAX;
use plurix_wire::handshake::{ClientHello, ClientProof, Rejection, ServerFrame};

use super::*;
use crate::net::connection::Connection;
use crate::net::connection::tests::Anything;
use crate::net::handshake::{Client, ConnectError, Progress, ServerHandshake, connect};
use crate::net::keys::{Authority, KeysError, Machine};
use crate::net::transport::Stream;
use crate::net::{Address, Credentials, Secret};

const CLUSTER: ClusterId = ClusterId([7; 16]);
const PATIENCE: Duration = Duration::from_secs(20);
const HERE: &str = "127.0.0.1";

/// A cluster's authority, with a directory for keys.
struct Realm {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Realm {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::init(dir.path(), 100, false).unwrap();
        Self { dir, authority }
    }

    fn issue(&self, name: &str, hosts: &[&str], days: u32) -> Result<Keys, KeysError> {
        let machine = Machine {
            name: name.to_owned(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            days,
        };
        let dir = self.dir.path().join(name);
        self.authority.issue(&machine, &dir, true).unwrap();
        Keys::from_dir(&dir)
    }

    /// What a machine has that others reach at this address.
    fn machine(&self, name: &str) -> Credentials {
        with_keys(self.issue(name, &[HERE], 10).unwrap())
    }
}

fn with_keys(keys: Keys) -> Credentials {
    Credentials {
        keys: Some(keys),
        ..Credentials::default()
    }
}

/// Two sockets that are connected.
fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.accept().unwrap().0, there)
}

fn connection(stream: TcpStream, frame_max: usize) -> Connection {
    Connection::new(Stream::Tcp(stream), frame_max).unwrap()
}

/// The socket beneath, for whoever speaks behind the connection's back.
fn socket_of(connection: &Connection) -> TcpStream {
    let stream = TcpStream::from(connection.as_fd().try_clone_to_owned().unwrap());
    stream.set_nonblocking(false).unwrap();
    stream
}

/// Two sides that know each other.
pub(in crate::net) fn pair(frame_max: usize) -> (Connection, Connection) {
    let realm = Realm::new();
    let (a, b) = sockets();
    let (mut a, mut b) = (connection(a, frame_max), connection(b, frame_max));
    let keys = realm.issue("both", &[HERE], 10).unwrap();
    b.protect(Session::client(&keys, HERE).unwrap()).unwrap();
    b.flush().unwrap();
    while a.begins_tls().is_none() {
        a.wait(PATIENCE).unwrap();
        a.receive().unwrap();
    }
    a.protect(Session::server(&keys).unwrap()).unwrap();
    while a.channel().is_err() || b.channel().is_err() {
        for side in [&mut a, &mut b] {
            side.flush().unwrap();
            side.receive().unwrap();
        }
    }
    assert_eq!(a.channel().unwrap(), b.channel().unwrap());
    (a, b)
}

/// Lets one in, or not, as a page server does; answers what came of it.
fn serve(credentials: Credentials) -> (Address, JoinHandle<Result<Progress, NetError>>) {
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut connection = connection(listener.accept().unwrap().0, HANDSHAKE_BYTES_MAX);
        let mut handshake = ServerHandshake::new(CLUSTER, credentials);
        let made = loop {
            let received = connection
                .wait(PATIENCE)
                .and_then(|()| connection.receive());
            match handshake.advance(&mut connection) {
                Ok(Progress::Waiting) => {}
                made => break made,
            }
            let _ = connection.flush();
            if let Err(error) = received {
                break Err(error);
            }
        };
        connection.refuse(PATIENCE);
        made
    });
    (address, thread)
}

fn join(address: &Address, credentials: &Credentials) -> Result<Connection, ConnectError> {
    let client = Client {
        credentials,
        cluster: None,
        shares_memory: true,
        timeout: PATIENCE,
    };
    connect(address, &client).map(|(connection, _)| connection)
}

/// What both sides make of it.
fn meet(
    server: Credentials,
    client: &Credentials,
) -> (Result<(), ConnectError>, Result<Progress, NetError>) {
    let (address, thread) = serve(server);
    let joined = join(&address, client);
    let joined = joined.map(|connection| assert!(!connection.shares_memory()));
    (joined, thread.join().unwrap())
}

#[test]
fn machines_of_one_authority_meet_with_a_secret_or_without() {
    let realm = Realm::new();
    let (mut server, mut client) = (realm.machine("server"), realm.machine("client"));
    let (joined, served) = meet(server.clone(), &client);
    assert!(
        joined.is_ok() && matches!(served, Ok(Progress::Accepted)),
        "{joined:?}"
    );
    let secret = Secret::new("a secret of good length").unwrap();
    server.secret = Some(secret.clone());
    let (joined, served) = meet(server.clone(), &client);
    let missing = Rejection::Secret;
    assert!(matches!(joined, Err(ConnectError::Rejected { why, .. }) if why == missing));
    assert!(matches!(served, Ok(Progress::Rejected(why)) if why == missing));
    client.secret = Some(secret);
    let (joined, served) = meet(server, &client);
    assert!(
        joined.is_ok() && matches!(served, Ok(Progress::Accepted)),
        "{joined:?}"
    );
}

#[test]
fn who_only_connects_needs_no_host() {
    let realm = Realm::new();
    let operator = with_keys(realm.issue("operator", &[], 10).unwrap());
    let (joined, _) = meet(realm.machine("server"), &operator);
    assert!(joined.is_ok(), "{joined:?}");
    // And nobody takes it for a machine.
    let (joined, served) = meet(operator, &realm.machine("client"));
    let error = joined.unwrap_err();
    assert!(
        is_tls(&error, |why| matches!(
            why,
            TlsError::WrongPurpose | TlsError::WrongHost { .. }
        )),
        "{error:?}"
    );
    assert!(served.is_err());
}

fn is_tls(error: &ConnectError, is_that: impl Fn(&TlsError) -> bool) -> bool {
    assert!(!error.is_passing() && error.may_be_forged());
    matches!(error, ConnectError::Tls { source, .. } if is_that(source))
}

#[test]
fn a_client_of_another_authority_is_turned_away_and_hears_why() {
    let (ours, theirs) = (Realm::new(), Realm::new());
    // It believes the server, so that the server has to see to it.
    let path = theirs.dir.path().join("client");
    theirs.issue("client", &[HERE], 10).unwrap();
    let both = [ours.dir.path(), theirs.dir.path()].map(|dir| read(&dir.join("authority.pem")));
    std::fs::write(path.join("authority.pem"), both.concat()).unwrap();
    let client = with_keys(Keys::from_dir(&path).unwrap());
    let (joined, served) = meet(ours.machine("server"), &client);
    let error = joined.unwrap_err();
    assert!(
        is_tls(&error, |why| matches!(why, TlsError::Refused { .. })),
        "{error:?}"
    );
    assert!(
        matches!(served, Err(NetError::Tls(TlsError::UnknownAuthority))),
        "{served:?}"
    );
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn a_server_of_another_authority_or_name_is_left() {
    let (ours, theirs) = (Realm::new(), Realm::new());
    let (joined, _) = meet(theirs.machine("server"), &ours.machine("client"));
    let error = joined.unwrap_err();
    assert!(
        is_tls(&error, |why| matches!(why, TlsError::UnknownAuthority)),
        "{error:?}"
    );
    // The keys of one machine do not make another one of it.
    let stolen = with_keys(ours.issue("other", &["10.9.9.9"], 10).unwrap());
    let (joined, served) = meet(stolen, &ours.machine("client"));
    let error = joined.unwrap_err();
    assert!(
        is_tls(&error, |why| matches!(why, TlsError::WrongHost { .. })),
        "{error:?}"
    );
    let text = error.to_string();
    assert!(text.contains("10.9.9.9") && text.contains(HERE), "{text}");
    assert!(served.is_err());
}

#[test]
fn a_certificate_that_has_ended_is_of_no_use() {
    let realm = Realm::new();
    // It was loaded while it was valid, which it is until this second is over.
    let old = loop {
        if let Ok(keys) = realm.issue("old", &[HERE], 0) {
            break with_keys(keys);
        }
    };
    let ended = loop {
        match Keys::from_dir(&realm.dir.path().join("old")) {
            Ok(_) => std::thread::sleep(Duration::from_millis(50)),
            Err(error) => break error,
        }
    };
    assert!(matches!(ended, KeysError::Expired { days: 0, .. }));
    assert!(ended.to_string().contains("plurix keys issue"), "{ended}");
    let (joined, served) = meet(old.clone(), &realm.machine("client"));
    let error = joined.unwrap_err();
    assert!(
        is_tls(&error, |why| matches!(why, TlsError::Expired)),
        "{error:?}"
    );
    assert!(served.is_err());
    let (joined, served) = meet(realm.machine("server"), &old);
    assert!(joined.is_err());
    assert!(
        matches!(served, Err(NetError::Tls(TlsError::Expired))),
        "{served:?}"
    );
}

#[test]
fn plain_and_tls_are_told_apart_on_both_sides() {
    let realm = Realm::new();
    let (machine, plain) = (realm.machine("machine"), Credentials::default());
    for (server, client, expected) in [
        (machine.clone(), plain.clone(), Rejection::KeysNeeded),
        (plain, machine, Rejection::NoKeys),
    ] {
        let (joined, served) = meet(server, &client);
        let error = joined.unwrap_err();
        assert!(
            matches!(error, ConnectError::Rejected { why, .. } if why == expected),
            "{error:?}"
        );
        assert!(error.to_string().contains("--keys"));
        assert!(matches!(served, Ok(Progress::Rejected(why)) if why == expected));
    }
}

#[test]
fn without_keys_nobody_connects_to_another_machine_by_accident() {
    // An address for documentation, where nobody is (RFC 5737).
    let elsewhere = "192.0.2.1:7700".parse().unwrap();
    let error = join(&elsewhere, &Credentials::default()).unwrap_err();
    assert!(matches!(error, ConnectError::KeysNeeded(_)) && !error.is_passing());
    assert!(
        Credentials {
            insecure_plain: true,
            ..Default::default()
        }
        .allow_plain([192, 0, 2, 1].into())
    );
}

/// Somebody between client and server, who does something to what the server says, or the client.
fn between(
    server: &Address,
    tamper: impl FnOnce(TcpStream, TcpStream) + Send + 'static,
) -> (Address, JoinHandle<()>) {
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let server = server.to_string();
    let thread = std::thread::spawn(move || {
        let client = listener.accept().unwrap().0;
        tamper(client, TcpStream::connect(server).unwrap());
    });
    (address, thread)
}

/// Passes on what one says, changed by `change`, until it ends; tells the other one of the end.
fn pass(mut from: TcpStream, mut to: TcpStream, mut change: impl FnMut(&mut Vec<u8>)) {
    let mut part = [0; 4096];
    loop {
        match from.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                let mut bytes = part[..count].to_vec();
                change(&mut bytes);
                if to.write_all(&bytes).is_err() {
                    break;
                }
            }
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Passes on both directions.
fn relay(
    client: &TcpStream,
    server: &TcpStream,
    of_client: impl FnMut(&mut Vec<u8>) + Send + 'static,
    of_server: impl FnMut(&mut Vec<u8>) + Send + 'static,
) {
    let copy = |stream: &TcpStream| stream.try_clone().unwrap();
    let (from, to) = (copy(client), copy(server));
    let other = std::thread::spawn(move || pass(from, to, of_client));
    pass(copy(server), copy(client), of_server);
    other.join().unwrap();
}

#[test]
fn flipped_bits_end_the_handshake_wherever_they_are() {
    let realm = Realm::new();
    let (server, client) = (realm.machine("server"), realm.machine("client"));
    // In the hello, in its random number, in the key share, in what is enciphered, and in each direction.
    for (at, of_server) in [
        (5, false),
        (20, false),
        (120, false),
        (20, true),
        (100, true),
        (400, true),
    ] {
        let (address, served) = serve(server.clone());
        let (address, proxy) = between(&address, move |client, server| {
            let flip = |wanted: bool| {
                let mut seen = 0;
                move |bytes: &mut Vec<u8>| {
                    if let Some(byte) = bytes
                        .get_mut(at - seen.min(at))
                        .filter(|_| wanted && seen <= at)
                    {
                        *byte ^= 1;
                        seen = at + 1;
                    }
                    seen += bytes.len();
                }
            };
            relay(&client, &server, flip(!of_server), flip(of_server));
        });
        let error = join(&address, &client).unwrap_err();
        let is_clear = matches!(
            error,
            ConnectError::Tls { .. } | ConnectError::Rejected { .. }
        );
        assert!(is_clear, "{at} {of_server}: {error:?}");
        assert!(!matches!(served.join().unwrap(), Ok(Progress::Accepted)));
        proxy.join().unwrap();
    }
}

#[test]
fn a_session_that_was_recorded_is_no_use_to_whoever_repeats_it() {
    let realm = Realm::new();
    let (server, client) = (realm.machine("server"), realm.machine("client"));
    let (address, served) = serve(server.clone());
    let (record, recorded) = std::sync::mpsc::channel();
    let (address, proxy) = between(&address, move |client, server| {
        let keep = move |bytes: &mut Vec<u8>| record.send(bytes.clone()).unwrap();
        relay(&client, &server, keep, |_| {});
    });
    drop(join(&address, &client).unwrap());
    assert!(matches!(served.join().unwrap(), Ok(Progress::Accepted)));
    proxy.join().unwrap();
    // The same words, to the same server, from somebody without keys.
    let (address, served) = serve(server);
    let mut replay = TcpStream::connect(address.to_string()).unwrap();
    for bytes in recorded {
        if replay.write_all(&bytes).is_err() {
            break;
        }
    }
    let served = served_while_draining(replay, served);
    assert!(
        matches!(served, Err(NetError::Tls(TlsError::Tampered))),
        "{served:?}"
    );
}

fn served_while_draining(
    mut stream: TcpStream,
    served: JoinHandle<Result<Progress, NetError>>,
) -> Result<Progress, NetError> {
    let _ = stream.read_to_end(&mut Vec::new());
    drop(stream);
    served.join().unwrap()
}

#[test]
fn a_record_that_comes_twice_ends_the_connection() {
    let (mut from, to) = pair(1 << 20);
    // The bytes of one message, sent by hand a second time behind the socket's back.
    let spy = socket_of(&to);
    from.queue(&Anything("pay 100")).unwrap();
    from.flush().unwrap();
    let mut seen = [0; 1000];
    let count = loop {
        match spy.peek(&mut seen) {
            Ok(count) if count > 0 => break count,
            Ok(_) => panic!("closed"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    };
    let mut hand = socket_of(&from);
    hand.write_all(&seen[..count]).unwrap();
    let mut to = to;
    let mut heard = Vec::new();
    let error = loop {
        to.wait(PATIENCE).unwrap();
        let received = to.receive();
        while let Ok(Some(Anything(text))) = to.next::<Anything<String>>() {
            heard.push(text);
        }
        if let Err(error) = received {
            break error;
        }
    };
    assert!(
        matches!(error, NetError::Tls(TlsError::Tampered)),
        "{error:?}"
    );
    assert!(heard.len() <= 1, "{heard:?}");
}

#[test]
fn whoever_answers_in_plain_words_gets_none() {
    let realm = Realm::new();
    let client = realm.machine("client");
    // A proxy that leaves TLS away would answer as a server does that has no keys.
    let (address, served) = serve(Credentials::default());
    let error = join(&address, &client).unwrap_err();
    let why = Rejection::NoKeys;
    assert!(matches!(error, ConnectError::Rejected { why: found, .. } if found == why));
    assert!(matches!(served.join().unwrap(), Ok(Progress::Rejected(_))));
    // Or with the words of a page server, in the hope that the client goes on without TLS.
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let fake = std::thread::spawn(move || {
        let mut connection = connection(listener.accept().unwrap().0, HANDSHAKE_BYTES_MAX);
        let hello = ServerFrame::Hello {
            version: plurix_wire::handshake::VERSION,
            cluster: CLUSTER,
            nonce: [1; 16],
            proof: None,
        };
        connection.wait(PATIENCE).unwrap();
        connection.queue(&hello).unwrap();
        connection.refuse(PATIENCE);
    });
    let error = join(&address, &client).unwrap_err();
    assert!(
        is_tls(&error, |why| matches!(why, TlsError::NotTls)),
        "{error:?}"
    );
    fake.join().unwrap();
}

/// Somebody has keys that the client trusts, and passes on what it says to the true server: the secret
/// tells that there are two connections.
#[test]
fn a_proof_of_the_secret_cannot_be_passed_on_to_another_connection() {
    let realm = Realm::new();
    let secret = Some(Secret::new("a secret of good length").unwrap());
    let with_secret = |name| Credentials {
        secret: secret.clone(),
        ..realm.machine(name)
    };
    let (address, served) = serve(with_secret("server"));
    let thief = realm.issue("thief", &[HERE], 10).unwrap();
    let (address, proxy) = between(&address, move |client, server| {
        let mut client = connection(client, HANDSHAKE_BYTES_MAX);
        let mut server = connection(server, HANDSHAKE_BYTES_MAX);
        server
            .protect(Session::client(&thief, HERE).unwrap())
            .unwrap();
        server.flush().unwrap();
        while client.begins_tls().is_none() {
            client.wait(PATIENCE).unwrap();
            client.receive().unwrap();
        }
        client.protect(Session::server(&thief).unwrap()).unwrap();
        let hello: ClientHello = said(&mut client, &mut server).unwrap();
        server.queue(&hello).unwrap();
        let answer: ServerFrame = said(&mut server, &mut client).unwrap();
        client.queue(&answer).unwrap();
        let proof: Option<ClientProof> = said(&mut client, &mut server);
        assert!(proof.is_none(), "the client saw the trick first");
    });
    let error = join(&address, &with_secret("client")).unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::Rejected {
                why: Rejection::Secret,
                ..
            }
        ),
        "{error:?}"
    );
    proxy.join().unwrap();
    assert!(!matches!(served.join().unwrap(), Ok(Progress::Accepted)));
}

/// The next message of one of two, while both are driven.
fn said<M: plurix_wire::frame::Message + serde::de::DeserializeOwned>(
    from: &mut Connection,
    other: &mut Connection,
) -> Option<M> {
    loop {
        other.flush().ok()?;
        from.flush().ok()?;
        if let Some(message) = from.next().unwrap() {
            return Some(message);
        }
        other.receive().ok()?;
        from.receive().ok()?;
    }
}

#[test]
fn a_connection_that_is_cut_is_lost_like_any_other() {
    let (from, mut to) = pair(1000);
    // Without a word, and in the midst of a record.
    let mut hand = socket_of(&from);
    hand.write_all(&[23, 3, 3, 1, 0, 42]).unwrap();
    drop((hand, from));
    let error = loop {
        to.wait(PATIENCE).unwrap();
        if let Err(error) = to.receive() {
            break error;
        }
    };
    assert!(matches!(error, NetError::Closed), "{error:?}");
}
