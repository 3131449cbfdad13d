//! Who is let in, who is not, and what both sides hear of it.

use super::*;
use crate::net::Secret;
use crate::net::connection::tests::Anything;

const CLUSTER: ClusterId = ClusterId([7; 16]);

fn pair() -> (Connection, Connection) {
    let (a, b) = UnixStream::pair().unwrap();
    let connection = |stream| Connection::new(Stream::Unix(stream), HANDSHAKE_BYTES_MAX).unwrap();
    (connection(a), connection(b))
}

fn client(credentials: &Credentials, cluster: Option<ClusterId>) -> Client<'_> {
    Client {
        credentials,
        cluster,
        shares_memory: true,
        timeout: Duration::from_secs(10),
    }
}

/// Shakes hands over a socket pair; answers what each side made of it, and the server's
/// connection.
fn shaken(
    ours: Option<&str>,
    theirs: Option<&str>,
    wanted: Option<ClusterId>,
) -> (
    Result<(Connection, ClusterId), ConnectError>,
    Progress,
    Connection,
) {
    let secret = |text: Option<&str>| {
        let secret = text.map(|text| Secret::new(text).unwrap());
        Credentials::from(secret.as_ref())
    };
    let (mut here, there) = pair();
    let credentials = secret(theirs);
    let client = std::thread::spawn(move || {
        let address = Address::Unix("pair".into());
        let client = client(&credentials, wanted);
        shake(there, &address, &client, Instant::now() + client.timeout)
    });
    let mut server = ServerHandshake::new(CLUSTER, secret(ours));
    let progress = loop {
        here.wait(Duration::from_secs(10)).unwrap();
        if here.receive().is_err() {
            break Progress::Waiting;
        }
        let progress = server.advance(&mut here).unwrap();
        here.flush().unwrap();
        if progress != Progress::Waiting {
            break progress;
        }
    };
    (client.join().unwrap(), progress, here)
}

fn handshake(
    ours: Option<&str>,
    theirs: Option<&str>,
    wanted: Option<ClusterId>,
) -> (Result<ClusterId, ConnectError>, Progress) {
    let (client, progress, _) = shaken(ours, theirs, wanted);
    (client.map(|(_, cluster)| cluster), progress)
}

const SECRET: &str = "a secret of good length";
const OTHER: &str = "a different secret that is wrong";

#[test]
fn equal_secrets_or_none_are_accepted() {
    for secret in [None, Some(SECRET)] {
        let (client, server) = handshake(secret, secret, Some(CLUSTER));
        assert_eq!((client.unwrap(), server), (CLUSTER, Progress::Accepted));
    }
}

#[test]
fn on_one_host_both_sides_go_on_through_shared_memory() {
    let (client, _, mut server) = shaken(None, None, None);
    let (mut client, _) = client.unwrap();
    assert!(client.shares_memory() && server.shares_memory());
    client.queue(&Anything("there")).unwrap();
    server.queue(&Anything("back")).unwrap();
    assert!(client.flush().unwrap() && server.flush().unwrap());
    assert!(client.look().unwrap() && server.look().unwrap());
    let heard = |connection: &mut Connection| connection.next::<Anything<String>>().unwrap();
    assert_eq!(heard(&mut server), Some(Anything("there".to_owned())));
    assert_eq!(heard(&mut client), Some(Anything("back".to_owned())));
}

#[test]
fn a_client_without_the_secret_is_rejected() {
    let (client, server) = handshake(Some(SECRET), None, None);
    assert!(matches!(
        client,
        Err(ConnectError::Rejected {
            why: Rejection::Secret,
            ..
        })
    ));
    assert_eq!(server, Progress::Rejected(Rejection::Secret));
}

#[test]
fn a_server_that_cannot_prove_itself_is_left() {
    for ours in [None, Some(OTHER)] {
        let (client, server) = handshake(ours, Some(SECRET), None);
        assert!(matches!(
            client,
            Err(ConnectError::Rejected {
                why: Rejection::Secret,
                ..
            })
        ));
        assert_eq!(server, Progress::Waiting);
    }
}

#[test]
fn another_cluster_is_named() {
    let (client, _) = handshake(None, None, Some(ClusterId([9; 16])));
    let why = Rejection::WrongCluster(CLUSTER);
    assert!(matches!(client, Err(ConnectError::Rejected { why: found, .. }) if found == why));
}

#[test]
fn who_answers_in_another_language_is_no_page_server() {
    let (mut here, there) = pair();
    here.queue(&Anything("HTTP/1.1 400 Bad Request")).unwrap();
    here.flush().unwrap();
    let address = Address::Unix("pair".into());
    let deadline = Instant::now() + Duration::from_secs(10);
    let error = shake(
        there,
        &address,
        &client(&Credentials::default(), None),
        deadline,
    )
    .unwrap_err();
    assert!(!error.is_passing());
    let why = Rejection::NotPlurix;
    assert!(matches!(error, ConnectError::Rejected { why: found, .. } if found == why));
}

#[test]
fn strangers_and_other_versions_are_rejected() {
    let version = |theirs| Rejection::Version {
        ours: VERSION,
        theirs,
    };
    for (magic, theirs, more, expected) in [
        (*b"HTTP/1.1", VERSION, "", Rejection::NotPlurix),
        (MAGIC, VERSION, "", Rejection::NotPlurix),
        (MAGIC, 99, "", version(99)),
        (MAGIC, 99, "fields of a later version", version(99)),
    ] {
        let (mut here, mut there) = pair();
        there.queue(&Anything((magic, theirs, more))).unwrap();
        there.flush().unwrap();
        here.receive().unwrap();
        let mut server = ServerHandshake::new(CLUSTER, Credentials::default());
        let progress = server.advance(&mut here).unwrap();
        assert_eq!(progress, Progress::Rejected(expected));
    }
}
