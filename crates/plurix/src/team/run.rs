//! A station's life in a team: it meets the others, lays the program's data out, lets its workers run
//! phase after phase, and begins anew with a new team when a member is lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use plurix_memory::{Access, Faults, Mechanism, with_fault_stack};
use plurix_protocol::team::Boundary;
use plurix_wire::message::peer::TEAM_MAX;
use plurix_wire::message::recovery_line::{LineRefusal, RecoveryLine};
use plurix_wire::{PageNumber, Rank};
use tracing::{info, warn};

use super::engine::{Counts, Engine};
use super::keeper::{self, Keeping};
use super::record::Formation;
use super::recovery_line::LineOptions;
use super::tell::Teller;
use super::waits::Waits;
use super::{Program, Setup, TeamError, TeamOptions, Turn, Worker, form, record, statistics};
use crate::error::{ErrorKind, Result, is_of_station};
use crate::net::Address;
use crate::station::{Options, Station};
use crate::transaction::Transaction;

/// What became of a team, as one station sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report<T> {
    /// What each worker of this station answered.
    pub outputs: Vec<T>,
    /// This station's place.
    pub rank: u16,
    /// Phases of the program, those included that an earlier formation of the team has run.
    pub phases: u64,
    /// The phase that the team went on with when it was last formed; zero if it began.
    pub first_phase: u64,
    /// From the first phase to the last barrier.
    pub elapsed: Duration,
    /// What each worker waited at barriers and for locks.
    pub waited: Vec<Duration>,
    /// What the station did for that.
    pub counts: Counts,
    /// How page faults were noticed.
    pub mechanism: Mechanism,
    /// How often the team has begun again, or gone back to a recovery line, because a member was lost.
    pub restarts: u32,
    /// Recovery lines that were taken since the last time.
    pub lines: u64,
    /// Pages of this station in them.
    pub line_pages: u64,
}

/// Joins the cluster at `address` and runs the program as one station of a team, until all are done.
///
/// # Errors
/// Those of [`Station::join`] and [`Station::run_team`].
pub fn run<P: Program>(
    address: &Address,
    options: Options,
    team: &TeamOptions,
    program: &P,
) -> Result<Report<P::Output>> {
    Station::join(address, options)?.run_team(team, program)
}

impl Station {
    /// Runs the program as one station of a team, until all are done. If another station of the team is
    /// lost, all go back to the newest recovery line, or begin again if there is none, as soon as another
    /// one has taken its place; at once, if they are to [spread](TeamOptions::spread).
    ///
    /// # Errors
    /// [`ErrorKind::Team`] if the team cannot begin or go on; the first error that a worker of this
    /// station answers; as [`transaction`](Self::transaction).
    pub fn run_team<P: Program>(
        &mut self,
        team: &TeamOptions,
        program: &P,
    ) -> Result<Report<P::Output>> {
        self.run_team_to(team, program, |_, _| Ok(()))
    }

    /// As [`run_team`](Self::run_team), and leaves in the heap what `finish` writes there: in one
    /// transaction with the end of the team, before any station goes away. So whoever takes the place
    /// of a station that died behind the last barrier, and is told [`TeamError::Over`], knows that
    /// some station has left its results; and if none has, all run the program again.
    ///
    /// # Errors
    /// As [`run_team`](Self::run_team), and those of `finish`.
    pub fn run_team_to<P: Program>(
        &mut self,
        team: &TeamOptions,
        program: &P,
        mut finish: impl FnMut(&mut Transaction<'_>, &Report<P::Output>) -> Result<()>,
    ) -> Result<Report<P::Output>> {
        if team.stations == 0 || team.stations > TEAM_MAX || team.workers == 0 {
            return Err(TeamError::Size.into());
        }
        let listener = form::listen(self, team)?;
        let mut restarts = 0;
        loop {
            let (engine, formation) = form::gather(self, team, &listener)?;
            info!(
                target: "plurix::team",
                team = team.name,
                rank = formation.rank,
                size = formation.size(),
                "the team has formed"
            );
            let engine = Arc::new(engine);
            let finish = |station: &mut Self, report: &mut Report<P::Output>| {
                report.restarts = restarts;
                station.transaction(|tx| {
                    finish(tx, report)?;
                    record::end(tx, &team.name)
                })
            };
            match live(self, (&engine, &formation), team, program, finish) {
                Ok(report) => return Ok(report),
                Err(error) if is_loss(&error) => {
                    warn!(target: "plurix::team", team = team.name, %error, "the team forms anew");
                    restarts += 1;
                    give_back(engine)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether a member was lost, so that another may take its place.
fn is_loss(error: &crate::Error) -> bool {
    use TeamError::{LineLost, Lost};
    matches!(error.kind(), ErrorKind::Team(why) if matches!(**why, Lost { .. } | LineLost(_)))
}

/// Has a thread give the memory of a formation back, for which the kernel takes as long as for hundreds of
/// messages: meanwhile the next one is formed.
fn give_back(engine: Arc<Engine>) -> Result<()> {
    let thread = std::thread::Builder::new().name("plurix-memory".to_owned());
    let spawned = thread.spawn(move || drop(engine));
    spawned
        .map(drop)
        .map_err(|error| ErrorKind::System(Box::new(error)).into())
}

/// Lives in one formation of the team, while a thread looks after its connections.
fn live<P: Program>(
    station: &mut Station,
    (engine, formation): (&Arc<Engine>, &Formation),
    team: &TeamOptions,
    program: &P,
    finish: impl FnOnce(&mut Station, &mut Report<P::Output>) -> Result<()>,
) -> Result<Report<P::Output>> {
    let system = |error: Box<dyn std::error::Error + Send + Sync>| ErrorKind::System(error);
    let handler = Arc::new(Handler(Arc::downgrade(engine)));
    let noticed = engine.with(|core| core.view.on_fault(handler));
    noticed.map_err(|error| system(Box::new(error)))?;
    let keeping = form::keeping(station, formation, team);
    let mut threads = vec![spawn("plurix-team", engine, |engine| engine.serve())?];
    if let Some(keeping) = keeping.clone() {
        let keep = move |engine: &Engine| keeper::Driver::new(engine, &keeping).run();
        threads.push(spawn("plurix-lines", engine, keep)?);
    }
    let place = (&**engine, keeping.as_ref(), formation);
    let answer = work(station, place, team, program, finish);
    if let Err(error) = &answer {
        match error.kind() {
            // Others find this one lost, and form another team with it.
            kind if is_of_station(kind) || is_loss(error) => engine.abandon(),
            ErrorKind::Team(why) => engine.give_up((**why).clone()),
            _ => engine.give_up(TeamError::WorkerFailed),
        }
    }
    engine.end();
    for thread in threads {
        // A panic there has been printed; there is nothing to add.
        let _ = thread.join();
    }
    answer
}

fn spawn(
    name: &str,
    engine: &Arc<Engine>,
    run: impl FnOnce(&Engine) + Send + 'static,
) -> Result<JoinHandle<()>> {
    let engine = Arc::clone(engine);
    let thread = std::thread::Builder::new().name(name.to_owned());
    let spawned = thread.spawn(move || run(&engine));
    Ok(spawned.map_err(|error| ErrorKind::System(Box::new(error)))?)
}

/// Sets the team up, if nobody has, runs the workers of this station, and leaves their results.
fn work<P: Program>(
    station: &mut Station,
    (engine, keeping, formation): (&Engine, Option<&Keeping>, &Formation),
    team: &TeamOptions,
    program: &P,
    finish: impl FnOnce(&mut Station, &mut Report<P::Output>) -> Result<()>,
) -> Result<Report<P::Output>> {
    let (data, phase) = lay_out(station, (engine, keeping), team, program)?;
    let mechanism = engine.with(|core| core.view.mechanism());
    let begin = Instant::now();
    let ran = run_workers(station, (engine, formation), team, program, (&data, phase))?;
    let elapsed = begin.elapsed();
    let mut report = Report {
        outputs: Vec::new(),
        rank: formation.rank,
        phases: 0,
        first_phase: phase,
        elapsed,
        waited: Vec::new(),
        counts: Counts::default(),
        mechanism,
        restarts: 0,
        lines: 0,
        line_pages: 0,
    };
    let (fine, failed): (Vec<_>, Vec<_>) = ran.into_iter().partition(Result::is_ok);
    if let Some(error) = cause(failed, engine) {
        return Err(error);
    }
    for ran in fine.into_iter().flatten() {
        report.outputs.push(ran.output);
        report.waited.push(ran.waited);
        report.phases = ran.phases;
    }
    (report.counts, report.lines, report.line_pages) =
        engine.with(|core| (core.counts(), core.lines.taken, core.lines.pages));
    finish(station, &mut report)?;
    // Nothing of this station's is missing if others are lost now.
    let _ = leave(engine, formation.size());
    Ok(report)
}

/// What each worker of this station comes to. Meanwhile the station tells how far they are.
fn run_workers<P: Program>(
    station: &mut Station,
    (engine, formation): (&Engine, &Formation),
    team: &TeamOptions,
    program: &P,
    (data, first): (&P::Data, u64),
) -> Result<Vec<Result<Ran<P::Output>>>> {
    let count = usize::from(team.stations) * usize::from(team.workers);
    let crew = formation.workers(count);
    let handle = engine.with(|core| core.view.handle());
    let phase = &AtomicU64::new(first);
    let waits = &Waits::new(crew.len());
    std::thread::scope(|scope| {
        // Nothing is sent: it is closed when the last worker ends.
        let (running, ended) = mpsc::channel::<()>();
        let workers: Vec<_> = crew
            .clone()
            .zip(waits.clocks())
            .map(|(index, waits)| {
                let worker = Worker {
                    engine,
                    view: handle.clone(),
                    index,
                    count,
                    crew: crew.clone(),
                    waits,
                    holds_up: team.lines.is_some_and(LineOptions::is_blocking),
                };
                let running = running.clone();
                scope.spawn(move || {
                    let _running = running;
                    run_phases(program, worker, (data, first), phase)
                })
            })
            .collect();
        drop(running);
        let teller = Teller {
            engine,
            waits,
            phases: phase,
            first_phase: first,
        };
        let told = teller.tell(station, team, formation.rank, &ended);
        if told.is_err() {
            engine.abandon();
        }
        let joined = workers.into_iter().map(|worker| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let joined = joined.collect();
        told.map(|()| joined)
    })
}

/// Why workers failed, if some did: all that follows from the end of the team has that for its cause.
fn cause<T>(failed: Vec<Result<T>>, engine: &Engine) -> Option<crate::Error> {
    let is_consequence = |error: &crate::Error| matches!(error.kind(), ErrorKind::Team(why) if matches!(**why, TeamError::WorkerFailed));
    let mut errors: Vec<_> = failed.into_iter().filter_map(Result::err).collect();
    match engine.with(|core| core.failure().cloned()) {
        Some(why) if !matches!(why, TeamError::WorkerFailed) => Some(why.into()),
        _ => {
            errors.sort_by_key(is_consequence);
            errors.into_iter().next()
        }
    }
}

/// Waits until nobody needs anything of this station any more.
fn leave(engine: &Engine, size: u16) -> Result<()> {
    let mut has_left = false;
    engine.wait(|core| {
        if !std::mem::replace(&mut has_left, true) {
            core.member.leave();
        }
        let own = core.member.rank();
        let mut others = (0..size).map(Rank).filter(|rank| *rank != own);
        Ok(others.all(|rank| core.member.has_left(rank)).then_some(()))
    })?;
    Ok(())
}

/// What a worker comes to.
struct Ran<T> {
    output: T,
    phases: u64,
    waited: Duration,
}

/// One worker's life.
fn run_phases<P: Program>(
    program: &P,
    mut worker: Worker<'_>,
    (data, first): (&P::Data, u64),
    phases: &AtomicU64,
) -> Result<Ran<P::Output>> {
    let engine = worker.engine;
    let lives = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        with_fault_stack(|| {
            for phase in first.. {
                let turn = program.phase(&mut worker, data, phase)?;
                let is_done = matches!(turn, Turn::Done(_));
                if !worker.end_phase(phase, is_done)? {
                    return Err(TeamError::Disagreement.into());
                }
                // All workers have run as many.
                phases.store(phase + 1, Ordering::Relaxed);
                if let Turn::Done(output) = turn {
                    return Ok(Ran {
                        output,
                        phases: phase + 1,
                        waited: worker.waited(),
                    });
                }
            }
            unreachable!("there is always a next phase")
        })
    }));
    let answer = match lives {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(ErrorKind::System(Box::new(error)).into()),
        // Who runs on with rubbish after a member was lost may come to anything.
        Err(_) if engine.with(|core| core.failure().is_some()) => {
            Err(TeamError::WorkerFailed.into())
        }
        Err(panic) => {
            engine.give_up(TeamError::WorkerFailed);
            std::panic::resume_unwind(panic);
        }
    };
    if answer.is_err() {
        // The others wait for this worker.
        engine.give_up(TeamError::WorkerFailed);
    }
    answer
}

/// Lays the program's data out, unless that was done, and tells the protocol of its regions, and of the
/// recovery line that they begin as. Answers the first phase.
fn lay_out<P: Program>(
    station: &mut Station,
    (engine, keeping): (&Engine, Option<&Keeping>),
    team: &TeamOptions,
    program: &P,
) -> Result<(P::Data, u64)> {
    let name = &team.name;
    let root = format!("data/{name}");
    let mut line = None;
    if engine.with(|core| core.member.rank()) == Rank(0) {
        // All go on from the line that the first one is told of, whatever becomes of the page server.
        if let Some((formation, found)) = keeping.map(ask).transpose()? {
            let mut bytes = formation.to_le_bytes().to_vec();
            if let Some(found) = found {
                bytes.extend_from_slice(&found.number.0.to_le_bytes());
                bytes.extend_from_slice(&found.state);
            }
            line = Some(bytes);
        }
        station.transaction(|tx| {
            if record::regions(tx, name)?.is_some() {
                return Ok(());
            }
            let mut setup = Setup {
                tx,
                regions: Vec::new(),
            };
            let data = program.setup(&mut setup)?;
            let Setup { tx, regions } = setup;
            let data = tx.alloc(data)?;
            tx.set_root(&root, data)?;
            statistics::set_up(tx, name, team.stations)?;
            record::set_up(tx, name, &regions)
        })?;
    }
    meet(engine, line)?;
    station.latest()?;
    let (data, regions) = station.transaction(|tx| {
        let regions = record::regions(tx, name)?;
        let regions = regions.ok_or(ErrorKind::Corrupt { what: "team" })?;
        Ok((*tx.get(tx.root::<P::Data>(&root)?)?, regions))
    })?;
    let phase = engine.with(|core| {
        let phase = core.go_on_from_line()?;
        let apart = regions.iter().all(|region| {
            let region = region.protocol();
            region.is_some_and(|region| core.member.add_region(region))
        });
        match apart {
            true => Ok(phase),
            false => Err(crate::Error::from(ErrorKind::Corrupt { what: "team" })),
        }
    })?;
    meet(engine, None)?;
    Ok((data, phase))
}

/// What the page server calls the team that begins, and the line that it goes on from. To meet again would
/// not bring back one that was forgotten.
fn ask(keeping: &Keeping) -> std::result::Result<(u64, Option<RecoveryLine>), TeamError> {
    keeping.ask().map_err(|error| match error {
        TeamError::LineLost(LineRefusal::OtherLine(line)) => TeamError::LineForgotten(line),
        error => error,
    })
}

/// A barrier of stations, without their workers.
fn meet(engine: &Engine, mut brings: Option<Vec<u8>>) -> Result<()> {
    let mut before = None;
    engine.wait(|core| {
        let interval = core.member.interval();
        let before = match before {
            Some(before) => before,
            None => {
                before = Some(interval);
                core.member
                    .arrive(brings.take(), Boundary::Within, &mut core.view)?;
                interval
            }
        };
        Ok((core.member.interval() > before).then_some(()))
    })?;
    Ok(())
}

/// Brings page faults of workers to the engine.
struct Handler(Weak<Engine>);

impl Faults for Handler {
    fn fault(&self, page: PageNumber, wants: Access) {
        if let Some(engine) = self.0.upgrade() {
            let mut is_new = true;
            // If the team cannot go on, the memory is open, and the worker finds out later.
            let _ = engine.wait(|core| {
                let is_first = std::mem::take(&mut is_new);
                core.counts.faults += u64::from(is_first);
                let ready = core.member.access(page, wants, &mut core.view)?;
                if is_first && !ready {
                    core.expected = Some(page);
                }
                Ok(ready.then_some(()))
            });
        }
    }
}
