//! Increments of random counters by two station processes, one transaction in flight each or many,
//! against the same by two processes that use Redis transactions. Everybody waits as it does by
//! default.

use std::path::Path;

use anyhow::Result;

use crate::figure::{Figure, Target, number};
use crate::process::{Place, Process, Server, ServerKind, Transport};
use crate::redis;
use crate::rounds::Plan;

const COUNTERS: &str = "10000";
const CLIENTS: usize = 2;
/// A way in which stations increment.
struct Ours {
    name: &'static str,
    what: &'static str,
    transport: Transport,
    /// With many transactions in flight.
    submits: bool,
    target: Target,
}

const OURS: [Ours; 4] = [
    Ours {
        name: "counters-shared",
        what: "increments of 10 000 random counters, 2 station processes, shared memory",
        transport: Transport::Shared,
        submits: false,
        target: Target::RatioAtLeast(3.0),
    },
    Ours {
        name: "counters-unix",
        what: "increments of 10 000 random counters, 2 station processes, Unix socket alone",
        transport: Transport::Unix,
        submits: false,
        target: Target::RatioAtLeast(3.0),
    },
    Ours {
        name: "counters-submitted-shared",
        what: "the same, submitted without waiting, shared memory",
        transport: Transport::Shared,
        submits: true,
        target: Target::RatioAtLeast(20.0),
    },
    Ours {
        name: "counters-submitted-unix",
        what: "the same, submitted without waiting, Unix socket alone",
        transport: Transport::Unix,
        submits: true,
        target: Target::RatioAtLeast(10.0),
    },
];

impl Ours {
    /// A page server of their own: stations that hold the same pages are told each increment.
    fn start(&self, directory: &Path) -> Result<(Server, Vec<Process>)> {
        let place = directory.join(self.name);
        std::fs::create_dir(&place)?;
        let kind = ServerKind {
            transport: self.transport,
            ..ServerKind::default()
        };
        let server = Server::start(&place, kind)?;
        let mut more = Vec::new();
        if matches!(self.transport, Transport::Unix) {
            more.push("--socket-alone");
        }
        if self.submits {
            more.push("--submit");
        }
        let stations = clients("increments", &server.address.to_string(), &more)?;
        Ok((server, stations))
    }
}

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let stations = OURS.map(|ours| ours.start(directory.path()));
    let mut groups = Vec::new();
    let mut servers = Vec::new();
    for started in stations {
        let (server, clients) = started?;
        servers.push(server);
        groups.push(clients);
    }
    let redis = redis::Server::start(directory.path())?;
    let Some(redis) = redis else {
        let rates = rates(&mut groups, plan)?;
        let figures = OURS.iter().zip(rates).map(|(ours, rates)| {
            Figure::new(ours.name, ours.what, "commits/s", rates, ours.target)
                .note("redis-server is not installed: nothing to compare with")
        });
        return Ok(figures.collect());
    };
    let address = format!("unix:{}", redis.socket.display());
    groups.push(clients("redis-increments", &address, &[])?);
    groups.push(clients("redis-increments", &address, &["--pipelined"])?);
    let rates = rates(&mut groups, plan)?;
    let (ours, theirs) = rates.split_at(OURS.len());
    let against = |name: &str, what: &str, ours: &[f64], theirs: &[f64], floor: &str, target| {
        let rounds = ours.iter().copied().zip(theirs.iter().copied());
        let rounds: Vec<(f64, f64)> = rounds.collect();
        let figure = Figure::against(name, what, "commits/s", floor, &rounds, target);
        let each = CLIENTS as f64 * 1e6 / figure.value.median;
        figure.note(format!("{} µs an increment and station", number(each)))
    };
    let three = "Redis: WATCH, GET, then MULTI+SET+EXEC, 2 processes";
    let two = "Redis: WATCH+GET, then MULTI+SET+EXEC, 2 processes";
    let mut figures: Vec<_> = OURS
        .iter()
        .zip(ours)
        .map(|(one, rates)| against(one.name, one.what, rates, &theirs[0], three, one.target))
        .collect();
    figures.push(against(
        "counters-pipelined",
        OURS[0].what,
        &ours[0],
        &theirs[1],
        two,
        Target::None,
    ));
    Ok(figures)
}

/// Increments a second of each group of clients, round by round; the first round warms up.
fn rates(groups: &mut [Vec<Process>], plan: &Plan) -> Result<Vec<Vec<f64>>> {
    let mut rates = vec![Vec::new(); groups.len()];
    for round in 0..=plan.throughput_rounds {
        for (rates, group) in rates.iter_mut().zip(&mut *groups) {
            let rate = rate(group, plan)?;
            if round > 0 {
                rates.push(rate);
            }
        }
    }
    Ok(rates)
}

fn clients(role: &str, address: &str, more: &[&str]) -> Result<Vec<Process>> {
    (1..=CLIENTS)
        .map(|seed| {
            let seed = seed.to_string();
            let mut arguments = vec![role, "--join", address, "--seed", &seed];
            arguments.extend(["--counters", COUNTERS]);
            arguments.extend(more);
            let mut process = Process::role(&arguments, Place::Anywhere)?;
            process.line()?;
            Ok(process)
        })
        .collect()
}

/// Lets all clients work at once; answers increments a second of all together.
fn rate(clients: &mut [Process], plan: &Plan) -> Result<f64> {
    let round = plan.throughput_round;
    for client in &mut *clients {
        client.tell(&round.as_millis().to_string())?;
    }
    let mut done = 0;
    for client in clients {
        done += client.line()?.parse::<u64>()?;
    }
    Ok(done as f64 / round.as_secs_f64())
}
