//! A station's program as a machine that stops wherever a real one would wait: on a miss, in
//! thought, and for the answer to its commit.
//!
//! ```text
//!  (asking)  begin          missing page            asked to commit
//!   Idle ----------> Running -----------> Missing       |
//!    ^                | ^  ^                 |          v
//!    |                | |  +-----installed---+      Committing
//!    |    think, wake v |                                |
//!    |              Thinking                             |
//!    +---- abort, too old, lost, read only, answered ----+
//! ```

use std::ops::Range;

use plurix_memory::AccessError;
use plurix_protocol::Span;
use plurix_protocol::station::{Miss, Outcome, State};
use plurix_wire::message::CommitRefusal;
use plurix_wire::{CommitId, PageNumber};

use crate::member::{Process, Role};
use crate::oracle::blackbox::Outcome as Seen;
use crate::oracle::{Attempt, Moment, Violation, bank, bounds, demand, opacity};
use crate::queue::Event;
use crate::tally::Mark;
use crate::trace::{Ending, Kind, Lane};
use crate::workload::{Author, REGISTER_BYTES, Script, Step, fill, value};
use crate::world::{Phase, World};

const ORACLE: &str = "program";
/// A script is tried again so often before another one is drawn.
const TRIES_MAX: u32 = 8;

/// What a transaction takes that waits for nobody: without it, time would stand still for a program
/// that only reads.
const WORK: Span = Span::from_micros(20);

/// Where a program stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum At {
    #[default]
    Idle,
    /// For the newest snapshot.
    Asking,
    Running,
    Thinking,
    Missing(PageNumber),
    Committing,
}

/// The program of one station process.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) at: At,
    script: Script,
    next: usize,
    tries: u32,
    pub(crate) attempt: Attempt,
    /// It was sent again when the log had it already.
    repeats_logged: bool,
    /// The newest commit answered to anybody when it asked for the newest snapshot.
    strict: Option<Moment>,
    /// The sum of the balances read so far.
    total: i64,
    number: u64,
    /// Names the wake-up that counts.
    token: u64,
}

impl Program {
    /// The station sends the commit under this id; sent again, it is the same. Answers whether it
    /// was sent before.
    pub(crate) fn asked(&mut self, id: CommitId, is_logged: bool) -> Result<bool, Violation> {
        let before = self.attempt.id.replace(id);
        demand!(
            before.is_none_or(|before| before == id),
            ORACLE,
            "{before:?} is sent again as {id}"
        );
        self.repeats_logged |= before.is_some() && is_logged;
        Ok(before.is_some())
    }
}

impl World {
    pub(crate) fn wake_after(&mut self, index: usize, span: Span) {
        let member = &mut self.members[index];
        if let Some(process) = &mut member.process {
            process.program.token += 1;
            let (life, token) = (member.life, process.program.token);
            self.queue.push(
                self.now + span,
                Event::Wake {
                    member: index,
                    life,
                    token,
                },
            );
        }
    }

    /// The time that a program waited for has come.
    pub(crate) fn wake(&mut self, index: usize, token: u64) -> Result<(), Violation> {
        let Some(process) = &mut self.members[index].process else {
            return Ok(());
        };
        if process.program.token != token {
            return Ok(());
        }
        match process.program.at {
            At::Idle => self.ask_or_begin(index)?,
            At::Thinking => process.program.at = At::Running,
            // It has waited for its answer for as long as it wanted to.
            At::Committing if !process.station.is_answered() => return self.despair(index),
            At::Asking | At::Running | At::Missing(_) | At::Committing => {}
        }
        self.member_acts(index)
    }

    /// A program gives up a commit without knowing what becomes of it. Its station is of no use any
    /// more, and another one is opened.
    fn despair(&mut self, index: usize) -> Result<(), Violation> {
        self.program_is_gone(index);
        if let Some(process) = &mut self.members[index].process {
            process.station.give_up(&mut process.memory);
            process.program.at = At::Idle;
            self.tally.given_up += 1;
            let gives_up = Kind::Remark(Lane::Station(index));
            self.tell(gives_up, format_args!("gives up its commit"));
        }
        self.leave_member(index)
    }

    /// Sometimes a program wants to see all that anybody has done so far; it may ask twice.
    fn ask_or_begin(&mut self, index: usize) -> Result<(), Violation> {
        let member = &mut self.members[index];
        let leaves = self.plan.workload.leave_permille;
        if self.phase == Phase::Chaos && member.random.below(1000) < leaves {
            return self.leave_member(index);
        }
        let percent = self.plan.workload.latest_percent;
        let Some(process) = &mut member.process else {
            return Ok(());
        };
        if !member.random.chance(percent) || process.station.state() != State::Active {
            return self.begin(index);
        }
        process.station.ask_latest();
        process.program.strict = Some(self.oracles.answered);
        if let Some(history) = &mut self.history {
            history.asked(index, self.now);
        }
        process.program.at = At::Asking;
        Ok(())
    }

    /// The newest snapshot is here, or the question was lost with the connection.
    fn answered(&mut self, index: usize) -> Result<bool, Violation> {
        let member = &mut self.members[index];
        let Some(process) = &mut member.process else {
            return Ok(false);
        };
        if process.station.state() != State::Active {
            process.program.at = At::Idle;
            process.program.strict = None;
            self.wake_after(index, Span::from_micros(100));
        } else if process.station.has_latest() {
            process.program.at = At::Idle;
            if member.random.chance(20) {
                // It changes its mind, and begins later, or asks again.
                process.program.strict = None;
                self.wake_after(index, Span::from_millis(1));
            } else {
                self.begin(index)?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Begins the next transaction, or looks again later if the station is no member.
    fn begin(&mut self, index: usize) -> Result<(), Violation> {
        if self.phase == Phase::Rest {
            return Ok(());
        }
        self.between(index);
        let audit = self.audit.chance(self.plan.audit_percent);
        let answered_before = self.oracles.answered;
        let member = &mut self.members[index];
        let Some(process) = &mut member.process else {
            return Ok(());
        };
        let held_before = process.station.pages_held() + process.station.pages_arrived();
        let Some(number) = process.station.begin(&mut process.memory) else {
            self.wake_after(index, Span::from_millis(1));
            return Ok(());
        };
        let present = process.memory.present_count();
        process.cached = bounds::cache_at_begin(&process.station, present, &self.plan.station)?;
        if process.cached.pages < held_before {
            self.tally.mark(Mark::CacheFull);
        }
        let generation = process.generation;
        let at = Moment { generation, number };
        let life = process.station.incarnation();
        if let Some(life) = life {
            self.oracles.heed(process.sight.began(life, at))?;
        }
        let strict = process.program.strict.take();
        if let (Some(history), Some(life)) = (&mut self.history, life) {
            history.begins(index, life.0, self.now, at, strict.is_some());
        }
        if let Some(asked) = strict {
            self.oracles.heed(process.sight.strict(at, asked))?;
        }
        if audit {
            let seen = opacity::memory(&self.oracles.model, &process.memory, at);
            self.oracles.heed(seen)?;
        }
        member.attempts += 1;
        let program = &mut process.program;
        if program.tries == 0 || program.tries > TRIES_MAX {
            program.tries = 0;
            let workload = &self.plan.workload;
            let writes = member.role != Role::Reader;
            let who = Author { index, writes };
            program.script = match self.phase {
                Phase::Chaos => Script::draw(workload, who, &mut member.random),
                _ => Script::duty(workload, who, &mut member.random),
            };
        }
        let kind = program.script.kind.name();
        program.tries += 1;
        program.number = member.attempts;
        program.next = 0;
        program.repeats_logged = false;
        program.at = At::Running;
        program.attempt = Attempt {
            at,
            answered_before,
            ..Attempt::default()
        };
        program.total = 0;
        self.tally.attempts += 1;
        *self.tally.scripts.entry(kind).or_default() += 1;
        let begins = Kind::Began {
            station: index,
            generation,
            snapshot: number,
        };
        self.tell(begins, format_args!("{kind}"));
        Ok(())
    }

    /// Between transactions: gives up pages, asks for others.
    fn between(&mut self, index: usize) {
        let member = &mut self.members[index];
        let (Some(process), workload) = (&mut member.process, &self.plan.workload) else {
            return;
        };
        if member.random.chance(workload.evict_percent) {
            let random = &mut member.random;
            let present: Vec<PageNumber> = process.memory.present_pages().collect();
            let victims = present.into_iter().filter(|_| random.chance(50));
            process.station.evict(victims, &mut process.memory);
        }
        if member.random.chance(workload.prefetch_percent) {
            let first = PageNumber(member.random.below(workload.pages) as u32);
            let rest = workload.pages as u32 - first.0;
            process.station.prefetch(first, rest.min(4));
        }
    }

    /// The program goes on as far as it can.
    pub(crate) fn advance(&mut self, index: usize) -> Result<(), Violation> {
        loop {
            let Some(process) = &mut self.members[index].process else {
                return Ok(());
            };
            match process.program.at {
                At::Idle | At::Thinking => return Ok(()),
                At::Asking => {
                    if !self.answered(index)? {
                        return Ok(());
                    }
                }
                At::Running => self.step(index)?,
                At::Missing(page) => match process.station.miss(page, &process.memory) {
                    Miss::Pending => return Ok(()),
                    Miss::Installed => process.program.at = At::Running,
                    Miss::SnapshotTooOld => {
                        self.tally.too_old += 1;
                        self.tally.mark(Mark::SnapshotTooOld);
                        self.give_up(index, Ending::TooOld);
                    }
                    Miss::Lost => {
                        self.tally.lost += 1;
                        self.give_up(index, Ending::Lost);
                    }
                },
                At::Committing if process.station.is_answered() => self.settle(index)?,
                At::Committing => return Ok(()),
            }
        }
    }

    fn step(&mut self, index: usize) -> Result<(), Violation> {
        let oracles = &self.oracles;
        let Some(process) = &mut self.members[index].process else {
            return Ok(());
        };
        let program = &process.program;
        let Some(step) = program.script.steps.get(program.next).cloned() else {
            self.finish(index);
            return Ok(());
        };
        if let Step::Think(span) = step {
            process.program.next += 1;
            process.program.at = At::Thinking;
            self.wake_after(index, span);
            return Ok(());
        }
        if step == Step::Balanced {
            let (total, at) = (program.total, program.attempt.at);
            process.program.next += 1;
            return bank::balanced(total, self.plan.workload.accounts, at);
        }
        let value = value(index, program.number, program.next);
        let history = &mut self.history;
        let done = perform(process, &step, value, |attempt, range, seen| {
            if let Some(history) = history {
                history.read(index, attempt, range.clone(), seen);
            }
            oracles.heed(opacity::read(&oracles.model, attempt, range, seen))
        });
        match done {
            Ok(checked) => {
                process.program.next += 1;
                checked
            }
            Err(AccessError::Missing { page }) => {
                self.tally.misses += 1;
                process.program.at = At::Missing(page);
                Ok(())
            }
            Err(other) => Err(Violation {
                oracle: ORACLE,
                what: other.to_string(),
            }),
        }
    }

    /// The script is at its end: commits what was written, if anything was.
    fn finish(&mut self, index: usize) {
        let Some(process) = &mut self.members[index].process else {
            return;
        };
        if process.program.script.abort {
            self.tally.aborts += 1;
            return self.give_up(index, Ending::Aborted);
        }
        let writes = process.memory.write_set();
        if writes.is_empty() {
            self.tally.read_only += 1;
            process.program.tries = 0;
            let is_duty = self.phase == Phase::Duties && self.members[index].role == Role::Reader;
            self.members[index].duties_done += u32::from(is_duty);
            self.transaction_ends(index, Seen::Committed);
            return self.give_up(index, Ending::ReadOnly);
        }
        let reads = process.memory.read_set();
        process.station.commit(reads, writes);
        process.program.at = At::Committing;
        let workload = &self.plan.workload;
        let member = &mut self.members[index];
        if self.phase == Phase::Chaos && member.random.below(1000) < workload.give_up_permille {
            let patience = member.random.micros(workload.patience_us.clone());
            self.wake_after(index, patience);
        }
    }

    fn give_up(&mut self, index: usize, ending: Ending) {
        self.transaction_ends(index, Seen::NotHappened);
        if let Some(process) = &mut self.members[index].process {
            process.station.abort(&mut process.memory);
            self.rest(index, ending, WORK);
        }
    }

    /// Notes what became of the running transaction, unless that is noted already.
    fn transaction_ends(&mut self, index: usize, outcome: Seen) {
        if let (Some(history), Some(process)) = (&mut self.history, &self.members[index].process) {
            history.ends(index, &process.program.attempt, self.now, outcome);
        }
    }

    /// The transaction is over: pauses before the next one, so long at least.
    fn rest(&mut self, index: usize, ending: Ending, least: Span) {
        let member = &mut self.members[index];
        if let Some(process) = &mut member.process {
            process.program.at = At::Idle;
            let pause = member.random.micros(self.plan.workload.pause_us.clone());
            let more = Span(pause.0 * u64::from(process.program.tries));
            let station = index;
            self.tell(Kind::Finished { station, ending }, format_args!(""));
            self.wake_after(index, more.max(least));
        }
    }

    fn settle(&mut self, index: usize) -> Result<(), Violation> {
        let audit = self.audit.chance(self.plan.audit_percent);
        let Some(process) = &mut self.members[index].process else {
            return Ok(());
        };
        let outcome = process.station.settle(&mut process.memory);
        self.transaction_ends(index, seen(outcome));
        let Some(process) = &mut self.members[index].process else {
            return Ok(());
        };
        let attempt = std::mem::take(&mut process.program.attempt);
        let generation = process.generation;
        let ending = match outcome {
            Outcome::Committed(number) => {
                process.program.tries = 0;
                if process.program.repeats_logged {
                    self.tally.mark(Mark::RetryAnsweredFromOutcomes);
                }
                let at = Moment { generation, number };
                process.sight.committed(at);
                self.oracles.committed(&attempt, at)?;
                self.tally.answered += 1;
                let member = &mut self.members[index];
                if let Some(process) = &mut member.process
                    && member.random.chance(self.plan.durable_percent)
                {
                    let known = process.station.ask_durable(number);
                    demand!(known, ORACLE, "{number} was answered and is not known");
                }
                self.members[index].duties_done += u32::from(self.phase == Phase::Duties);
                Ending::Committed(number)
            }
            Outcome::Refused(why) => {
                self.oracles.refused(&attempt)?;
                match why {
                    CommitRefusal::Conflict(lines) => {
                        self.tally.conflicts += 1;
                        Ending::Conflict(lines.page)
                    }
                    CommitRefusal::LogFull => {
                        self.tally.log_full += 1;
                        self.tally.mark(Mark::LogFull);
                        Ending::LogFull
                    }
                    CommitRefusal::Behind => {
                        demand!(false, ORACLE, "a request that follows none is behind one");
                        Ending::LogFull
                    }
                }
            }
            Outcome::Lost => {
                self.tally.lost += 1;
                Ending::Lost
            }
            Outcome::Unknown => {
                self.tally.unknown += 1;
                let number = attempt.id.and_then(|id| self.oracles.model.number_of(id));
                Ending::Unknown(number)
            }
        };
        if audit && let Some(process) = &self.members[index].process {
            // After an answer, memory is as of the new snapshot.
            if matches!(outcome, Outcome::Committed(_) | Outcome::Refused(_)) && process.is_living()
            {
                let number = process.station.snapshot();
                let at = Moment { generation, number };
                let seen = opacity::memory(&self.oracles.model, &process.memory, at);
                self.oracles.heed(seen)?;
            }
        }
        self.rest(index, ending, Span(0));
        Ok(())
    }
}

/// What a program knows of its transaction.
fn seen(outcome: Outcome) -> Seen {
    match outcome {
        Outcome::Committed(_) => Seen::Committed,
        Outcome::Refused(_) | Outcome::Lost => Seen::NotHappened,
        Outcome::Unknown => Seen::Unknown,
    }
}

impl Process {
    /// Whether the leader has not ended this life, as far as the station knows.
    fn is_living(&self) -> bool {
        self.station.incarnation().is_some()
    }
}

/// Carries out one step; what was read goes through `check`.
fn perform(
    process: &mut Process,
    step: &Step,
    value: [u8; 8],
    mut check: impl FnMut(&Attempt, Range<u64>, &[u8]) -> Result<(), Violation>,
) -> Result<Result<(), Violation>, AccessError> {
    let heap = &mut process.memory;
    let attempt = &mut process.program.attempt;
    let register = |offset: u64| offset..offset + REGISTER_BYTES;
    let (range, new, old) = match step {
        Step::Read(range) => {
            let length = (range.end - range.start) as usize;
            let seen = heap.read_slice::<u8>(range.start, length)?;
            let checked = check(attempt, range.clone(), seen);
            attempt.reads.push(range.clone());
            return Ok(checked);
        }
        Step::Blind(range) => {
            let bytes = fill(value, (range.end - range.start) as usize);
            heap.overwrite(range.start, &bytes)?;
            attempt.own.extend(range.clone().zip(bytes));
            return Ok(Ok(()));
        }
        Step::Think(_) | Step::Balanced => return Ok(Ok(())),
        Step::Tally(offset) => {
            let slice = heap.read_slice::<u8>(*offset, REGISTER_BYTES as usize)?;
            let seen: [u8; 8] = slice.try_into().expect("a register was read");
            let checked = check(attempt, register(*offset), &seen);
            attempt.reads.push(register(*offset));
            let balance = i64::from_le_bytes(seen);
            process.program.total = process.program.total.wrapping_add(balance);
            return Ok(checked);
        }
        Step::Add(offset, amount) => {
            let cell = heap.open::<[u8; 8]>(*offset)?;
            let sum = i64::from_le_bytes(*cell).wrapping_add(*amount);
            let new = sum.to_le_bytes();
            (register(*offset), new, std::mem::replace(cell, new))
        }
        Step::Modify(offset) => {
            let register = register(*offset);
            let cell = heap.open::<[u8; 8]>(*offset)?;
            (register, value, std::mem::replace(cell, value))
        }
        Step::Silent(offset) => {
            let cell = heap.open::<[u8; 8]>(*offset)?;
            let old = *cell;
            cell.copy_from_slice(&old);
            (register(*offset), old, old)
        }
        Step::Restored(offset) => {
            let cell = heap.open::<[u8; 8]>(*offset)?;
            let old = std::mem::replace(cell, value);
            *cell = old;
            (register(*offset), old, old)
        }
    };
    let checked = check(attempt, range.clone(), &old);
    attempt.reads.push(range.clone());
    attempt.own.extend(range.zip(new));
    Ok(checked)
}
