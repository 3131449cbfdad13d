//! The cluster of a run: its processes, its files, and the faults that are upon it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use plurix::net::{Address, Secret};
use plurix::{Options, Station, Status};
use rustix::process::Signal;

use crate::archive::Archive;
use crate::judge::evidence::HEAP_BYTES;
use crate::machines::Machines;
use crate::plan::{Fault, Shape, Strike, Transport};
use crate::process::{Member, Server};
use crate::worker::Order;

/// How often somebody who waits looks.
const PERIOD: Duration = Duration::from_millis(5);

/// Where the files of a run are.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) root: PathBuf,
}

impl Files {
    pub(crate) fn heap(&self) -> PathBuf {
        self.root.join("heap")
    }

    /// The copy of the heap's directory that was judged last.
    pub(crate) fn judged(&self) -> PathBuf {
        self.root.join("judged")
    }

    /// All segments of the log, also those that the page server has removed.
    fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn histories(&self) -> PathBuf {
        self.root.join("histories")
    }

    pub(crate) fn ground(&self) -> PathBuf {
        self.root.join("ground.json")
    }

    fn socket(&self) -> Address {
        Address::Unix(self.root.join("socket"))
    }

    fn secret(&self) -> PathBuf {
        self.root.join("secret")
    }

    /// What the page server says of itself.
    pub(crate) fn status(&self) -> Result<Status> {
        let secret = Secret::from_file(&self.secret())?;
        Ok(plurix::status(&self.socket(), Some(&secret))?)
    }

    /// What a process wrote last to its standard error.
    fn last_words(&self, who: &str) -> String {
        let text = fs::read_to_string(self.errors(who)).unwrap_or_default();
        text.lines().last().unwrap_or("it said nothing").to_owned()
    }

    fn errors(&self, who: &str) -> PathBuf {
        self.root.join(format!("{who}.stderr"))
    }
}

/// Processes under faults.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) files: Files,
    pub(crate) shape: Shape,
    seed: u64,
    rate: u64,
    plurix: PathBuf,
    machines: Machines,
    server: Option<Server>,
    workers: Vec<Worker>,
    archive: Archive,
    /// What is broken, and until when.
    ongoing: Vec<(Instant, Fault)>,
    order: Order,
}

#[derive(Debug)]
struct Worker {
    life: u32,
    member: Option<Member>,
}

/// How a cluster is made.
#[derive(Debug)]
pub(crate) struct Making {
    pub(crate) files: Files,
    pub(crate) shape: Shape,
    pub(crate) seed: u64,
    pub(crate) rate: u64,
    pub(crate) plurix: PathBuf,
    pub(crate) machines: Machines,
}

impl Cluster {
    /// Starts a page server on a new heap; workers come later.
    pub(crate) fn start(making: Making) -> Result<Self> {
        let Making {
            files,
            shape,
            seed,
            rate,
            plurix,
            machines,
        } = making;
        fs::create_dir_all(files.histories())?;
        fs::write(files.secret(), format!("a secret of run {seed:032}\n"))?;
        let archive = Archive::new(files.heap().join("log"), files.log())?;
        let mut cluster = Self {
            archive,
            workers: Vec::new(),
            server: None,
            ongoing: Vec::new(),
            order: Order::Go,
            files,
            shape,
            seed,
            rate,
            plurix,
            machines,
        };
        cluster.start_server()?;
        Ok(cluster)
    }

    /// Starts the workers.
    pub(crate) fn start_workers(&mut self) -> Result<()> {
        for index in 0..self.shape.workers.len() {
            self.workers.push(Worker {
                life: 0,
                member: None,
            });
            self.start_worker(index)?;
        }
        Ok(())
    }

    /// A station of this process, which takes part in no fault.
    pub(crate) fn observer(&self) -> Result<Station> {
        let mut options = Options::default();
        options.observer = true;
        options.secret = Some(Secret::from_file(&self.files.secret())?);
        Ok(Station::join(&self.files.socket(), options)?)
    }

    /// What the page server says of itself.
    pub(crate) fn status(&self) -> Result<Status> {
        self.files.status()
    }

    fn start_server(&mut self) -> Result<()> {
        let mut command = self.machines.server_command(&self.plurix);
        let durability = if self.shape.durable {
            "durable"
        } else {
            "memory"
        };
        command
            .args(["page-server", "--segment-bytes=20MiB"])
            .args(&self.shape.checkpoints)
            .args(self.machines.server_options())
            .arg(format!("--durability={durability}"))
            .arg(format!("--heap-bytes={HEAP_BYTES}"))
            .arg(format!("--silence={}ms", self.shape.silence.as_millis()))
            .arg(format!("--listen={}", self.machines.listen()))
            .arg(format!("--listen={}", self.files.socket()))
            .arg("--dir")
            .arg(self.files.heap())
            .arg("--secret-file")
            .arg(self.files.secret())
            // The Unix socket beside its TCP port is to be found by nobody who shall use TCP.
            .env("TMPDIR", &self.files.root);
        let errors = self.files.errors("page-server");
        let server = Server::start(&mut command, &errors)?;
        self.machines.server_is_at(server.tcp);
        self.server = Some(server);
        Ok(())
    }

    fn start_worker(&mut self, index: usize) -> Result<()> {
        let transport = self.shape.workers[index];
        let number = index + 1;
        let worker = &mut self.workers[index];
        worker.life += 1;
        let life = worker.life;
        let history = format!("worker-{number}-life-{life:04}.jsonl");
        let join = match transport {
            Transport::Tcp => self.machines.address(index)?,
            Transport::Shared | Transport::Unix => self.files.socket().to_string(),
        };
        let program = std::env::current_exe()?;
        let mut command: Command = self.machines.worker_command(index, &program);
        command
            .arg("worker")
            .arg(format!("--join={join}"))
            .arg(format!("--station={number}"))
            .arg(format!("--life={life}"))
            .arg(format!("--seed={}", self.seed))
            .arg(format!("--rate={}", self.rate))
            .arg("--secret-file")
            .arg(self.files.secret())
            .arg("--history")
            .arg(self.files.histories().join(history));
        if transport != Transport::Shared {
            command.arg("--socket-alone");
        }
        let errors = self.files.errors(&format!("worker-{number}"));
        let mut member = Member::start(&mut command, &errors)?;
        member.tell(self.order);
        worker.member = Some(member);
        Ok(())
    }

    /// Lets a fault strike; answers whether there was anything that it could hit.
    pub(crate) fn strike(&mut self, strike: &Strike) -> Result<bool> {
        let hit = match strike.fault {
            Fault::KillServer => self.server.take().is_some(),
            Fault::KillWorker(index) => self.workers[index].member.take().is_some(),
            Fault::FreezeServer => {
                let server = self.server.as_ref();
                server.map(|server| server.signal(Signal::STOP)).is_some()
            }
            Fault::FreezeWorker(index) => {
                let member = self.workers[index].member.as_ref();
                member.map(|member| member.signal(Signal::STOP)).is_some()
            }
            fault => self.machines.strike(fault)?,
        };
        if hit {
            let end = Instant::now() + strike.lasts;
            self.ongoing.push((end, strike.fault));
        }
        Ok(hit)
    }

    /// Ends the faults whose time is over; all of them if `now` is.
    pub(crate) fn repair(&mut self, all: bool) -> Result<()> {
        let now = Instant::now();
        let (over, ongoing) = std::mem::take(&mut self.ongoing)
            .into_iter()
            .partition(|(end, _)| all || *end <= now);
        self.ongoing = ongoing;
        for (_, fault) in Vec::from_iter::<Vec<_>>(over) {
            match fault {
                Fault::KillServer if self.server.is_none() => self.start_server()?,
                Fault::KillWorker(index) if self.workers[index].member.is_none() => {
                    self.start_worker(index)?;
                }
                Fault::KillServer | Fault::KillWorker(_) => {}
                Fault::FreezeServer => {
                    if let Some(server) = &self.server {
                        server.signal(Signal::CONT);
                    }
                }
                Fault::FreezeWorker(index) => {
                    if let Some(member) = &self.workers[index].member {
                        member.signal(Signal::CONT);
                    }
                }
                fault => self.machines.repair(fault)?,
            }
        }
        Ok(())
    }

    /// Fails if a process has ended that nobody has killed.
    pub(crate) fn check_processes(&mut self) -> Result<()> {
        if let Some(server) = &mut self.server
            && let Some(status) = server.ended()?
        {
            let said = self.files.last_words("page-server");
            bail!("the page server has ended by itself ({status}): {said}");
        }
        for (index, worker) in self.workers.iter_mut().enumerate() {
            if let Some(member) = &mut worker.member
                && let Some(status) = member.ended()?
            {
                let who = format!("worker-{}", index + 1);
                let said = self.files.last_words(&who);
                bail!("{who} has ended by itself ({status}): {said}");
            }
        }
        Ok(())
    }

    /// Tells all workers what to do, now and when they are started again.
    pub(crate) fn tell(&mut self, order: Order) {
        self.order = order;
        let members = self.workers.iter_mut().filter_map(|w| w.member.as_mut());
        members.for_each(|member| member.tell(order));
    }

    /// Waits until all workers have come to what they were told; answers those that have not.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Vec<usize>> {
        let begin = Instant::now();
        loop {
            self.check_processes()?;
            self.keep_log()?;
            let has_come = |worker: &Worker| {
                let member = worker.member.as_ref();
                member.is_some_and(|member| member.has_come_to(self.order))
            };
            let late: Vec<usize> = (0..self.workers.len())
                .filter(|index| !has_come(&self.workers[*index]))
                .collect();
            if late.is_empty() || begin.elapsed() > limit {
                return Ok(late);
            }
            std::thread::sleep(PERIOD);
        }
    }

    /// How many processes the page server and the workers have been.
    pub(crate) fn lives(&self) -> u32 {
        self.workers.iter().map(|worker| worker.life).sum()
    }

    /// Sees to it that nothing of the log gets lost. To be called more often than segments fill up.
    pub(crate) fn keep_log(&self) -> Result<()> {
        self.archive.keep()
    }

    /// Kills the page server, copies what it left, with all of its log, and starts it again.
    pub(crate) fn copy_heap(&mut self) -> Result<()> {
        drop(self.server.take());
        self.archive.keep()?;
        let (from, to) = (self.files.heap(), self.files.judged());
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        copy(&from, &to).context("cannot copy the heap's directory")?;
        self.archive.complete(&to.join("log"))?;
        self.start_server()
    }

    /// Ends everybody in order.
    pub(crate) fn stop(mut self, limit: Duration) -> Result<()> {
        self.tell(Order::Stop);
        let begin = Instant::now();
        for (index, worker) in self.workers.iter_mut().enumerate() {
            let Some(mut member) = worker.member.take() else {
                continue;
            };
            let status = wait_for(begin, limit, || member.ended())?;
            let status = status.with_context(|| format!("worker {} does not end", index + 1))?;
            anyhow::ensure!(status.success(), "worker {} failed: {status}", index + 1);
        }
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        server.signal(Signal::TERM);
        let status = wait_for(begin, limit, || server.ended())?;
        let status = status.context("the page server does not end")?;
        anyhow::ensure!(status.success(), "the page server failed: {status}");
        Ok(())
    }
}

/// Asks again and again until there is an answer or the time is over.
fn wait_for<T>(
    begin: Instant,
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<Option<T>> {
    loop {
        let answer = ask()?;
        if answer.is_some() || begin.elapsed() > limit {
            return Ok(answer);
        }
        std::thread::sleep(PERIOD);
    }
}

/// Copies a directory with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
