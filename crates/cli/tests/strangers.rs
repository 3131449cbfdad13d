//! Strangers at the page server's door: noise, another version, and silence.

#![allow(
    clippy::unwrap_used,
    reason = "clippy does not see that this is a test"
)]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;

use common::{Member, stations};

/// A page server that listens on TCP, and its address.
fn server(dir: &Path) -> (Member, String) {
    let heap = dir.join("heap").display().to_string();
    let line = format!("page-server --dir {heap} --listen 127.0.0.1:0");
    let (server, ready) = Member::ready(&line);
    let addresses = ready["addresses"].as_array().unwrap();
    let address = addresses.last().unwrap().as_str().unwrap();
    (server, address.to_owned())
}

/// A message behind its length.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&length.to_le_bytes(), message].concat()
}

#[test]
fn noise_disturbs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = server(dir.path());
    let (_station, _) = Member::ready(&format!("station --join {address}"));
    let before = stations(&address);
    let noise: Vec<u8> = (0..10_000u32).map(|n| ((n * n) >> 3) as u8).collect();
    let oversized = framed(&[b"PLURIX\r\n\x02", &[7; 5000][..]].concat());
    for bytes in [
        &noise[..],
        &oversized,
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 64],
        &[0; 4],
        b"",
    ] {
        let mut stranger = TcpStream::connect(&address).unwrap();
        // The server may close the connection before it has heard all of it.
        let _ = stranger.write_all(bytes);
        let _ = stranger.shutdown(Shutdown::Write);
        let _ = stranger.read_to_end(&mut Vec::new());
    }
    assert_eq!(stations(&address), before);
}

#[test]
fn a_later_version_is_told_which_versions_met() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = server(dir.path());
    // Magic and version, as they stand in every version, and fields of later times.
    let hello = framed(&[b"PLURIX\r\n\x09", &[0xee; 100][..]].concat());
    let mut later = TcpStream::connect(&address).unwrap();
    later.write_all(&hello).unwrap();
    let mut answer = Vec::new();
    later.read_to_end(&mut answer).unwrap();
    // Rejected, for the version: ours is 7, theirs is 9.
    assert_eq!(answer, framed(&[2, 1, 7, 9]));
}

#[test]
fn silent_strangers_are_turned_away_and_keep_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, address) = server(dir.path());
    // More than are let in at a time.
    let connect = |_| TcpStream::connect(&address).unwrap();
    let silent: Vec<TcpStream> = (0..300).map(connect).collect();
    let (_station, _) = Member::ready(&format!("station --join {address}"));
    for mut stranger in silent {
        assert_eq!(stranger.read(&mut [0; 64]).unwrap(), 0);
    }
    assert_eq!(stations(&address).len(), 1);
}
