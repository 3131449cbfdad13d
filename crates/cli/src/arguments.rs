//! The grammar of the command line.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use plurix_apps::AppCommand;

use crate::logging::Logging;
use crate::{
    USAGE, activities, checkpoint, conflicts, keys, output, page_server, pages, roots, run, shell,
    shutdown, station, status, top,
};

const EXAMPLES: &str = "\
Examples:
  plurix run raytrace --stations 3 --kill 2@1s --out balls.png
      a whole cluster on this machine; one station is killed after a second and replaced
  plurix page-server --dir heap --listen 0.0.0.0:7700 --keys keys
  plurix station --join node-1:7700 --keys keys
      a cluster of several machines, one command on each
  plurix status --join 127.0.0.1:7700
  plurix top 127.0.0.1:7700
      what stations and teams do
  plurix checkpoint list --dir heap
  plurix page-server --dir heap --restore 17
      the heap goes back to one of its checkpoints

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.";

/// Fault-tolerant distributed shared memory: programs on several machines work in one heap, and any
/// machine may be killed at any moment.
#[derive(Debug, Parser)]
#[command(name = "plurix", version, after_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    logging: Logging,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program on a page server and several stations, all on this machine.
    Run(Box<run::Options>),
    /// Be a page server: order commits, serve pages, keep the log.
    PageServer(page_server::Options),
    /// Be a station: run activities of all programs until told to end.
    Station(station::Options),
    /// Ask a page server how it and its stations stand.
    Status(status::Options),
    /// Show what stations and running teams do, again and again.
    Top(top::Options),
    /// Show which lines transactions conflict about, and what can be done.
    Conflicts(conflicts::Options),
    /// Show the names of a heap and what they stand for.
    Roots(roots::Options),
    /// Show what the pages of a heap are, and who holds them.
    Pages(pages::Options),
    /// Show which activities wait, run, and have failed.
    Activities(activities::Options),
    /// Take, look at, move and remove checkpoints of a heap.
    Checkpoint(checkpoint::Options),
    /// Make and look at the keys that machines of a cluster know each other by.
    Keys(keys::Options),
    /// Tell a page server to end in order; its stations end too.
    Shutdown(shutdown::Options),
    /// Print a script with which a shell completes the command.
    Completions(shell::CompletionsOptions),
    /// Write manual pages of all commands.
    Man(shell::ManOptions),
}

/// The grammar itself, for those who describe it.
pub(crate) fn grammar() -> clap::Command {
    Arguments::command()
}

/// Parses the command line. Whatever ends here has been printed.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<(Command, Logging), ExitCode> {
    let parsed = Arguments::try_parse_from(arguments);
    parsed
        .map(|arguments| (arguments.command, arguments.logging))
        .map_err(|error| {
            if let Some(app) = unknown_app(&error) {
                let apps = AppCommand::NAMES.join(", ");
                output::note(format_args!(
                    "error: there is no app '{app}'; the apps are: {apps} (see 'plurix run --help')"
                ));
                return ExitCode::from(USAGE);
            }
            // A closed stdout is no reason to fail.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE))
        })
}

/// The name given as an app, if that is what is wrong.
fn unknown_app(error: &clap::Error) -> Option<&str> {
    let is_subcommand = error.kind() == ErrorKind::InvalidSubcommand;
    let usage = error.get(ContextKind::Usage)?.to_string();
    match error.get(ContextKind::InvalidSubcommand)? {
        ContextValue::String(name) if is_subcommand && usage.contains("plurix run") => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_has_no_contradictions() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_of_run_may_stand_before_or_after_the_app() {
        for line in [
            "plurix run --stations 3 --kill 2@1s bank",
            "plurix run bank --stations 3 --kill 2@1s",
        ] {
            let (command, _) = parse(line.split(' ').map(OsString::from)).unwrap();
            let Command::Run(options) = command else {
                panic!("{line}")
            };
            let found = (options.app.name(), options.stations, options.kill.len());
            assert_eq!(found, ("bank", 3, 1));
        }
    }

    #[test]
    fn wrong_usage_is_told_apart_from_failure() {
        for line in [
            "plurix",
            "plurix fly",
            "plurix run",
            "plurix run fly",
            "plurix status",
            "plurix top",
            "plurix top node-1:7700 --join node-1:7700",
            "plurix top node-1:7700 --every 1ms",
            "plurix checkpoint",
            "plurix checkpoint list",
            "plurix checkpoint show --dir heap 0",
            "plurix checkpoint prune --dir heap --keep 1",
            "plurix page-server --dir heap --restore never",
            "plurix status --join 127.0.0.1:7700 --log fly",
        ] {
            let code = parse(line.split(' ').map(OsString::from)).unwrap_err();
            assert_eq!(code, ExitCode::from(USAGE), "{line}");
        }
    }
}
