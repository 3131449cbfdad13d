//! The `plurix` command: one binary that is each member of a cluster, and the supervisor that runs
//! a whole cluster on one machine.
//!
//! ```text
//!  plurix run APP ──starts──► plurix page-server      SIGKILL any of them: the supervisor starts
//!      │          ──starts──► plurix station  × N     its successor, and the program goes on
//!      └── observes: set up, progress, finish
//! ```
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

mod activities;
mod arguments;
mod checkpoint;
mod conflicts;
mod contact;
mod diary;
mod join;
mod keys;
mod logging;
mod metrics;
mod moment;
mod observer;
mod output;
mod page_server;
mod pages;
mod ready;
mod restore;
mod roots;
mod run;
mod server_settings;
mod shell;
mod shutdown;
mod signals;
mod station;
mod status;
mod supervised;
mod table;
mod timeline;
mod told;
mod top;
mod units;

use std::process::ExitCode;

use arguments::Command;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Done,
    Failed,
    Interrupted,
}

/// The command line asks for what cannot be; beyond what its grammar could tell.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Interrupted => 130,
        })
    }
}

/// The exit code for wrong usage, as clap has it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let (command, logging) = match arguments::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    logging.begin();
    let exit = match command {
        Command::Run(options) => run::run(*options, logging),
        Command::PageServer(options) => page_server::run(&options),
        Command::Station(options) => station::run(&options),
        Command::Status(options) => status::run(&options),
        Command::Top(options) => top::run(&options),
        Command::Conflicts(options) => conflicts::run(&options),
        Command::Roots(options) => roots::run(&options),
        Command::Pages(options) => pages::run(&options),
        Command::Activities(options) => activities::run(&options),
        Command::Checkpoint(options) => checkpoint::run(&options),
        Command::Completions(options) => shell::completions(&options),
        Command::Man(options) => shell::man(&options),
        Command::Keys(options) => keys::run(&options),
        Command::Shutdown(options) => shutdown::run(&options),
    };
    match exit {
        Ok(exit) => exit.into(),
        Err(error) => {
            // The errors name their causes themselves.
            output::note(format_args!("error: {error}"));
            if error.is::<Usage>() {
                ExitCode::from(USAGE)
            } else {
                Exit::Failed.into()
            }
        }
    }
}
