//! A job scheduler: numbers of jobs wait in a queue in the heap, a map says how each job is, and workers
//! in several processes run them.
//!
//! ```text
//!             +--- exit code not 0, attempts left ---+
//!             v                                      |
//!  submit: waiting --take--> running by a life --record--> done | failed
//!             ^                   |
//!             +---- that life is over; whoever is idle sees it
//! ```
//!
//! A command may run again, if its worker dies before the result is in the heap; the result is recorded
//! once.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use plurix::collections::{HeapMap, HeapQueue, HeapStr};
use plurix::{ErrorKind, Incarnation, Station, Transaction, plain};
use plurix_examples::{Join, Role, end_work, is_work_ended, json_text};

/// Runs shell commands on several processes.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  jobs                                    # eight jobs, of which one kills its worker
  jobs --workers 4 'make -C a' 'make -C b'
  jobs --file commands.txt --json         # one command a line; - is standard input
  jobs --join unix:/tmp/plurix-XXXX/socket # one more worker, from another terminal

A command finds its number in $JOB and its attempt, from 1, in $ATTEMPT.

Exit codes: 0 all jobs succeeded, 1 one failed or the scheduler could not run, 2 wrong usage.")]
struct Arguments {
    /// Commands for the shell
    #[arg(value_name = "COMMAND", conflicts_with = "file")]
    commands: Vec<String>,
    /// A file of commands, one a line
    #[arg(long)]
    file: Option<PathBuf>,
    /// Worker processes to start
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// How often a job is begun at most, until it succeeds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    attempts: u64,
    /// Print an array of JSON objects
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    join: Join,
}

/// What is kept of a job's output.
const OUTPUT_LINES_MAX: usize = 5;
const OUTPUT_BYTES_MAX: u64 = 2048;
/// An idle worker looks for jobs of the dead this often: no change of the heap tells of a death.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// The exit code of a job that has none: it, or its worker, was killed.
const KILLED: i64 = -1;

/// How a job is.
const WAITING: u64 = 0;
const RUNNING: u64 = 1;
const DONE: u64 = 2;
const FAILED: u64 = 3;

/// A job, from its submission on.
#[plain]
struct Job {
    command: HeapStr,
    /// The first lines that its last attempt has printed.
    output: HeapStr,
    state: u64,
    /// How often it was begun, and how often it may be.
    attempts: u64,
    attempts_max: u64,
    /// The life of the station that runs it, or was the last to run it.
    owner: u64,
    /// The process of that station.
    process: u64,
    code: i64,
    /// How many final results were recorded: one, in the end.
    results: u64,
}

/// The two structures in the heap.
#[derive(Clone, Copy)]
struct Board {
    waiting: HeapQueue<u64>,
    jobs: HeapMap<u64, Job>,
}

/// What a worker has taken.
struct Taken {
    number: u64,
    attempt: u64,
    command: String,
}

enum Next {
    Run(Taken),
    LookAround,
    End,
}

/// What the first process tells of a job.
struct Told {
    number: u64,
    job: Job,
    command: String,
    output: String,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    // What cannot be read is told before anything is started.
    let commands = match &arguments.join.join {
        Some(_) => Vec::new(),
        None => commands(&arguments)?,
    };
    match arguments.join.begin(arguments.workers.into())? {
        Role::Station(mut station) => {
            work(&mut station)?;
            Ok(ExitCode::SUCCESS)
        }
        Role::First(cluster) => {
            let mut station = cluster.observe()?;
            let board = submit(&mut station, &commands, arguments.attempts)?;
            let told = wait(&mut station, board, commands.len())?;
            end_work(&mut station)?;
            drop(station);
            cluster.finish()?;
            tell(&told, arguments.json)
        }
    }
}

fn commands(arguments: &Arguments) -> Result<Vec<String>> {
    let commands = match &arguments.file {
        Some(path) => {
            let reader: Box<dyn Read> = match path == Path::new("-") {
                true => Box::new(io::stdin()),
                false => Box::new(
                    File::open(path).with_context(|| format!("cannot read {}", path.display()))?,
                ),
            };
            let lines = BufReader::new(reader).lines();
            let lines: io::Result<Vec<String>> = lines.collect();
            let mut lines = lines.with_context(|| format!("cannot read {}", path.display()))?;
            lines.retain(|line| !line.trim().is_empty());
            lines
        }
        None if arguments.commands.is_empty() => demonstration(),
        None => arguments.commands.clone(),
    };
    ensure!(!commands.is_empty(), "there is no command to run");
    Ok(commands)
}

/// The shell's parent is the worker; so one of these jobs kills the worker that runs it.
fn demonstration() -> Vec<String> {
    let mut commands = vec!["test $ATTEMPT -gt 1 || kill -9 $PPID; echo survived".to_owned()];
    commands.extend((2..=8).map(|i| format!("sleep 0.1; echo {i} squared is $(({i} * {i}))")));
    commands
}

impl Board {
    fn open(tx: &mut Transaction<'_>) -> plurix::Result<Self> {
        Ok(Self {
            waiting: tx.named("waiting")?,
            jobs: tx.named("jobs")?,
        })
    }

    fn job<'t>(self, tx: &'t mut Transaction<'_>, number: u64) -> plurix::Result<&'t mut Job> {
        let job = self.jobs.get_mut(tx, number)?;
        Ok(job.expect("jobs are not removed"))
    }

    /// Takes a job, or waits a while for one, or for the end of all.
    fn take(self, tx: &mut Transaction<'_>) -> plurix::Result<Next> {
        if is_work_ended(tx)? {
            return Ok(Next::End);
        }
        let Some(number) = self.waiting.pop_wait_for(tx, LOOK_AGAIN)? else {
            return Ok(Next::LookAround);
        };
        let life = tx.incarnation().0;
        let job = self.job(tx, number)?;
        (job.state, job.owner, job.process) = (RUNNING, life, std::process::id().into());
        job.attempts += 1;
        let (attempt, command) = (job.attempts, job.command);
        Ok(Next::Run(Taken {
            number,
            attempt,
            command: command.as_str(tx)?.to_owned(),
        }))
    }

    /// Ends the attempts whose workers are dead.
    fn look_around(self, tx: &mut Transaction<'_>) -> plurix::Result<()> {
        let mut orphans = Vec::new();
        for entry in self.jobs.iter(tx)? {
            let (number, job) = entry?;
            if job.state == RUNNING && !tx.is_alive(Incarnation(job.owner)) {
                orphans.push(*number);
            }
        }
        orphans
            .into_iter()
            .try_for_each(|number| self.end_attempt(tx, number, KILLED, "its worker was killed"))
    }

    /// The worker's last word on a job that it has taken. If it was taken for dead meanwhile, the job is
    /// another's, and what it has found does not count.
    fn record(self, tx: &mut Transaction<'_>, number: u64, ran: &Ran) -> plurix::Result<()> {
        let life = tx.incarnation().0;
        let job = self.job(tx, number)?;
        if (job.state, job.owner) == (RUNNING, life) {
            self.end_attempt(tx, number, ran.code, &ran.output)?;
        }
        Ok(())
    }

    fn end_attempt(
        self,
        tx: &mut Transaction<'_>,
        number: u64,
        code: i64,
        output: &str,
    ) -> plurix::Result<()> {
        let output = HeapStr::new(tx, output)?;
        let job = self.job(tx, number)?;
        job.code = code;
        job.state = match code {
            0 => DONE,
            _ if job.attempts < job.attempts_max => WAITING,
            _ => FAILED,
        };
        job.results += u64::from(job.state != WAITING);
        let (state, before) = (job.state, std::mem::replace(&mut job.output, output));
        before.destroy(tx)?;
        match state {
            WAITING => self.waiting.push(tx, number),
            _ => Ok(()),
        }
    }
}

/// All jobs are there at once, or none is.
fn submit(station: &mut Station, commands: &[String], attempts_max: u64) -> plurix::Result<Board> {
    station.transaction(|tx| {
        let board = Board::open(tx)?;
        for (number, command) in (1..).zip(commands) {
            let job = Job {
                command: HeapStr::new(tx, command)?,
                output: HeapStr::new(tx, "")?,
                state: WAITING,
                attempts: 0,
                attempts_max,
                owner: 0,
                process: 0,
                code: 0,
                results: 0,
            };
            board.jobs.insert(tx, number, job)?;
            board.waiting.push(tx, number)?;
        }
        Ok(board)
    })
}

/// Takes jobs and runs them, until there will be no more.
fn work(station: &mut Station) -> Result<()> {
    let board = station.transaction(Board::open)?;
    loop {
        let step = match station.transaction(|tx| board.take(tx)) {
            Ok(Next::End) => return Ok(()),
            Ok(Next::LookAround) => station.transaction(|tx| board.look_around(tx)),
            Ok(Next::Run(taken)) => {
                let ran = run(&taken)?;
                station.transaction(|tx| board.record(tx, taken.number, &ran))
            }
            Err(error) => Err(error),
        };
        match step {
            // The station was taken for dead and has a new life; what it had taken is an orphan.
            Err(error) if matches!(error.kind(), ErrorKind::OutcomeUnknown) => {}
            step => step?,
        }
    }
}

struct Ran {
    code: i64,
    output: String,
}

/// Runs a command, and keeps the first lines of what it prints.
fn run(taken: &Taken) -> Result<Ran> {
    let (output, writer) = io::pipe()?;
    let mut child = Command::new("sh")
        .args(["-c", &taken.command])
        .env("JOB", taken.number.to_string())
        .env("ATTEMPT", taken.attempt.to_string())
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()
        .context("cannot start a shell")?;
    let mut output = BufReader::new(output);
    let mut kept = Vec::new();
    output
        .by_ref()
        .take(OUTPUT_BYTES_MAX)
        .read_to_end(&mut kept)?;
    // A command that cannot write would not end as it does elsewhere.
    io::copy(&mut output, &mut io::sink())?;
    let status = child.wait()?;
    let kept = String::from_utf8_lossy(&kept);
    let lines: Vec<&str> = kept.lines().take(OUTPUT_LINES_MAX).collect();
    Ok(Ran {
        code: status.code().map_or(KILLED, i64::from),
        output: lines.join("\n"),
    })
}

/// Sleeps until all jobs have their result.
fn wait(station: &mut Station, board: Board, count: usize) -> plurix::Result<Vec<Told>> {
    station.transaction(|tx| {
        let mut told = Vec::with_capacity(count);
        for entry in board.jobs.iter(tx)? {
            let (number, job) = entry?;
            if job.results == 0 {
                return Err(tx.wait_for_change());
            }
            told.push(Told {
                number: *number,
                job: *job,
                command: job.command.as_str(tx)?.to_owned(),
                output: job.output.as_str(tx)?.to_owned(),
            });
        }
        told.sort_by_key(|told| told.number);
        Ok(told)
    })
}

fn tell(told: &[Told], json: bool) -> Result<ExitCode> {
    match json {
        true => {
            let objects: Vec<String> = told.iter().map(object).collect();
            println!("[\n{}\n]", objects.join(",\n"));
        }
        false => told.iter().for_each(line),
    }
    let failed = told.iter().filter(|told| told.job.state == FAILED).count();
    let again: u64 = told.iter().map(|told| told.job.attempts - 1).sum();
    eprintln!(
        "{} jobs: {} done, {failed} failed; {again} more attempts than jobs",
        told.len(),
        told.len() - failed
    );
    let once = told.iter().all(|told| told.job.results == 1);
    ensure!(once, "a result was recorded more than once");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn line(told: &Told) {
    let Told { number, job, .. } = told;
    let ended = match job.code {
        KILLED => "killed".to_owned(),
        code => format!("exit {code}"),
    };
    let Job {
        attempts, process, ..
    } = job;
    println!(
        "job {number}: {ended}, attempt {attempts}, process {process}: {}",
        told.command
    );
    for line in told.output.lines() {
        println!("    {line}");
    }
}

fn object(told: &Told) -> String {
    let Told { number, job, .. } = told;
    let state = if job.state == DONE { "done" } else { "failed" };
    let code = match job.code {
        KILLED => "null".to_owned(),
        code => code.to_string(),
    };
    format!(
        "  {{\"job\": {number}, \"command\": {}, \"state\": \"{state}\", \"exit_code\": {code}, \
         \"attempts\": {}, \"results\": {}, \"output\": {}}}",
        json_text(&told.command),
        job.attempts,
        job.results,
        json_text(&told.output)
    )
}
