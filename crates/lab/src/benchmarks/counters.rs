//! Increments of random counters by two station processes, one transaction in flight each, against
//! the same by two processes that use Redis transactions. Everybody waits as it does by default.

use anyhow::Result;

use crate::figure::{Figure, Target, number};
use crate::process::{Place, Process, Server, ServerKind, Transport};
use crate::redis;
use crate::rounds::Plan;

const COUNTERS: &str = "10000";
const CLIENTS: usize = 2;

pub(crate) fn run(plan: &Plan) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let kind = ServerKind {
        transport: Transport::Unix,
        spin_us: None,
        durable: false,
        place: Place::Anywhere,
    };
    let server = Server::start(directory.path(), kind)?;
    let mut stations = clients("increments", &server.address.to_string())?;
    let redis = redis::Server::start(directory.path())?;
    let mut others = match &redis {
        Some(redis) => clients(
            "redis-increments",
            &format!("unix:{}", redis.socket.display()),
        )?,
        None => Vec::new(),
    };
    // The first round warms up.
    rate(&mut stations, plan)?;
    if redis.is_some() {
        rate(&mut others, plan)?;
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..plan.throughput_rounds {
        ours.push(rate(&mut stations, plan)?);
        if redis.is_some() {
            theirs.push(rate(&mut others, plan)?);
        }
    }
    let name = "counters-unix";
    let what = "increments of 10 000 random counters, 2 station processes, unix";
    let target = Target::RatioAtLeast(3.0);
    if theirs.is_empty() {
        return Ok(vec![
            Figure::new(name, what, "commits/s", ours, target)
                .note("redis-server is not installed: nothing to compare with"),
        ]);
    }
    let rounds: Vec<(f64, f64)> = ours.into_iter().zip(theirs).collect();
    let figure = Figure::against(
        name,
        what,
        "commits/s",
        "Redis, WATCH+GET then MULTI+SET+EXEC, 2 processes",
        &rounds,
        target,
    );
    let each = CLIENTS as f64 * 1e6 / figure.value.median;
    Ok(vec![figure.note(format!(
        "{} µs an increment and station; Redis pipelined, two round trips an increment",
        number(each)
    ))])
}

fn clients(role: &str, address: &str) -> Result<Vec<Process>> {
    (1..=CLIENTS)
        .map(|seed| {
            let seed = seed.to_string();
            let arguments = [
                role,
                "--join",
                address,
                "--counters",
                COUNTERS,
                "--seed",
                &seed,
            ];
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
