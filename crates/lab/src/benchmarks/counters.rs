//! Increments of random counters by two station processes, one transaction in flight each, against
//! the same by two processes that use Redis transactions. Everybody waits as it does by default.

use anyhow::Result;

use crate::figure::{Figure, Target, number};
use crate::process::{Place, Process, Server, ServerKind, Transport};
use crate::redis;
use crate::rounds::Plan;

const COUNTERS: &str = "10000";
const CLIENTS: usize = 2;
const NAME: &str = "counters-shared";
const WHAT: &str = "increments of 10 000 random counters, 2 station processes, shared memory";
const WHAT_UNIX: &str =
    "increments of 10 000 random counters, 2 station processes, Unix socket alone";
const TARGET: Target = Target::RatioAtLeast(3.0);

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let (directory, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let kind = ServerKind::default();
    let server = Server::start(directory.path(), kind)?;
    let stations = clients("increments", &server.address.to_string(), &[])?;
    let redis = redis::Server::start(directory.path())?;
    let Some(redis) = redis else {
        let ours = rates(&mut [stations], plan)?.remove(0);
        return Ok(vec![
            Figure::new(NAME, WHAT, "commits/s", ours, TARGET)
                .note("redis-server is not installed: nothing to compare with"),
        ]);
    };
    // A server of its own: stations that hold the same pages are told each increment.
    let kind = ServerKind {
        transport: Transport::Unix,
        ..kind
    };
    let over_unix = Server::start(other.path(), kind)?;
    let address = over_unix.address.to_string();
    let over_unix = clients("increments", &address, &["--socket-alone"])?;
    let address = format!("unix:{}", redis.socket.display());
    let usual = clients("redis-increments", &address, &[])?;
    let pipelined = clients("redis-increments", &address, &["--pipelined"])?;
    let rates = rates(&mut [stations, over_unix, usual, pipelined], plan)?;
    let [shared, over_unix, usual, pipelined] = &rates[..] else {
        unreachable!("as many as were asked for")
    };
    let against = |name: &str, what: &str, ours: &[f64], theirs: &[f64], floor: &str, target| {
        let rounds = ours.iter().copied().zip(theirs.iter().copied());
        let rounds: Vec<(f64, f64)> = rounds.collect();
        let figure = Figure::against(name, what, "commits/s", floor, &rounds, target);
        let each = CLIENTS as f64 * 1e6 / figure.value.median;
        figure.note(format!("{} µs an increment and station", number(each)))
    };
    let three = "Redis: WATCH, GET, then MULTI+SET+EXEC, 2 processes";
    let two = "Redis: WATCH+GET, then MULTI+SET+EXEC, 2 processes";
    Ok(vec![
        against(NAME, WHAT, shared, usual, three, TARGET),
        against("counters-unix", WHAT_UNIX, over_unix, usual, three, TARGET),
        against(
            "counters-pipelined",
            WHAT,
            shared,
            pipelined,
            two,
            Target::None,
        ),
    ])
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
