//! Redis, for comparison: its server on a Unix socket without persistence, and the little of its
//! protocol (RESP2) that an optimistic increment takes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use plurix::net::Address;

/// How long the server may take to listen.
const START_MAX: Duration = Duration::from_secs(10);

/// A running redis-server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) socket: PathBuf,
}

impl Server {
    /// Starts one with its socket in `directory`; `None` if Redis is not installed.
    pub(crate) fn start(directory: &Path) -> Result<Option<Self>> {
        let socket = directory.join("redis.sock");
        let started = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .arg("--unixsocket")
            .arg(&socket)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let child = match started {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            started => started.context("cannot start redis-server")?,
        };
        let server = Self { child, socket };
        let begun = Instant::now();
        while UnixStream::connect(&server.socket).is_err() {
            if begun.elapsed() > START_MAX {
                bail!(
                    "redis-server does not listen on {}",
                    server.socket.display()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Some(server))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A reply of the server.
#[derive(Debug, PartialEq)]
enum Reply {
    /// A simple string, or the digits of an integer.
    Simple(String),
    Bulk(Option<Vec<u8>>),
    Array(Option<Vec<Reply>>),
}

/// A connection to Redis.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    /// How much of `input` is consumed.
    at: usize,
    output: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: &Address) -> Result<Self> {
        let Address::Unix(path) = address else {
            bail!("Redis is measured over its Unix socket, not {address}");
        };
        Ok(Self {
            stream: UnixStream::connect(path).context("cannot reach redis-server")?,
            input: Vec::new(),
            at: 0,
            output: Vec::new(),
        })
    }

    /// Increments a counter as a transaction, repeated until nobody came in between: WATCH, GET,
    /// then MULTI, SET and EXEC together, as client libraries do it. `pipelined`, WATCH and GET go
    /// together too; fewer than two round trips are impossible, because what is written depends on
    /// what was read.
    pub(crate) fn increment(&mut self, counter: u64, pipelined: bool) -> Result<()> {
        let key = format!("counter:{counter}");
        loop {
            self.command(&["WATCH", &key]);
            if !pipelined {
                self.send()?;
                self.reply()?;
            }
            self.command(&["GET", &key]);
            self.send()?;
            if pipelined {
                self.reply()?;
            }
            let value = match self.reply()? {
                Reply::Bulk(None) => 0,
                Reply::Bulk(Some(digits)) => std::str::from_utf8(&digits)?.parse::<u64>()?,
                other => bail!("Redis answers GET with {other:?}"),
            };
            let next = (value + 1).to_string();
            self.command(&["MULTI"]);
            self.command(&["SET", &key, &next]);
            self.command(&["EXEC"]);
            self.send()?;
            self.reply()?;
            self.reply()?;
            match self.reply()? {
                Reply::Array(Some(_)) => return Ok(()),
                Reply::Array(None) | Reply::Bulk(None) => {}
                other => bail!("Redis answers EXEC with {other:?}"),
            }
        }
    }

    fn command(&mut self, words: &[&str]) {
        self.output
            .extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.output
                .extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
    }

    fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    fn reply(&mut self) -> Result<Reply> {
        let line = self.line()?;
        let (kind, rest) = line
            .split_at_checked(1)
            .context("Redis sent an empty line")?;
        let length = || rest.parse::<i64>().context("Redis sent a malformed length");
        Ok(match kind {
            "+" | ":" => Reply::Simple(rest.to_owned()),
            "-" => bail!("Redis: {rest}"),
            "$" => Reply::Bulk(match usize::try_from(length()?) {
                Err(_) => None,
                Ok(bytes) => Some(self.bulk(bytes)?),
            }),
            "*" => Reply::Array(match usize::try_from(length()?) {
                Err(_) => None,
                Ok(count) => Some((0..count).map(|_| self.reply()).collect::<Result<_>>()?),
            }),
            _ => bail!("Redis sent '{line}', which is no reply"),
        })
    }

    fn line(&mut self) -> Result<String> {
        loop {
            let waiting = &self.input[self.at..];
            if let Some(end) = waiting.windows(2).position(|pair| pair == b"\r\n") {
                let line = std::str::from_utf8(&waiting[..end])?.to_owned();
                self.at += end + 2;
                return Ok(line);
            }
            self.fill()?;
        }
    }

    fn bulk(&mut self, bytes: usize) -> Result<Vec<u8>> {
        while self.input.len() < self.at + bytes + 2 {
            self.fill()?;
        }
        let bulk = self.input[self.at..self.at + bytes].to_vec();
        self.at += bytes + 2;
        Ok(bulk)
    }

    fn fill(&mut self) -> Result<()> {
        if self.at == self.input.len() {
            self.input.clear();
            self.at = 0;
        }
        let mut bytes = [0; 4096];
        let count = self.stream.read(&mut bytes)?;
        if count == 0 {
            bail!("redis-server closed the connection");
        }
        self.input.extend_from_slice(&bytes[..count]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(bytes: &[u8]) -> Client {
        let (stream, mut other) = UnixStream::pair().unwrap();
        other.write_all(bytes).unwrap();
        Client {
            stream,
            input: Vec::new(),
            at: 0,
            output: Vec::new(),
        }
    }

    #[test]
    fn replies_are_read_one_after_the_other() {
        let mut client = client(b"+OK\r\n$-1\r\n$3\r\nabc\r\n*2\r\n:7\r\n$0\r\n\r\n*-1\r\n");
        assert_eq!(client.reply().unwrap(), Reply::Simple("OK".into()));
        assert_eq!(client.reply().unwrap(), Reply::Bulk(None));
        assert_eq!(client.reply().unwrap(), Reply::Bulk(Some(b"abc".into())));
        let two = vec![Reply::Simple("7".into()), Reply::Bulk(Some(Vec::new()))];
        assert_eq!(client.reply().unwrap(), Reply::Array(Some(two)));
        assert_eq!(client.reply().unwrap(), Reply::Array(None));
    }

    #[test]
    fn an_error_or_nonsense_is_an_error() {
        assert!(client(b"-ERR no\r\n").reply().is_err());
        assert!(client(b"?\r\n").reply().is_err());
        assert!(client(b"\r\n").reply().is_err());
    }
}
