//! `plurix completions` and `plurix man`: what shells and readers of manuals want to know of the
//! command, made from its grammar.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;
use serde::Serialize;

use crate::{Exit, arguments, output};

const COMPLETIONS: &str = "\
Examples:
  plurix completions bash > ~/.local/share/bash-completion/completions/plurix
  plurix completions zsh > ~/.zfunc/_plurix
  plurix completions fish > ~/.config/fish/completions/plurix.fish";

const MAN: &str = "\
Example:
  plurix man ~/.local/share/man/man1 && man plurix-page-server";

#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS)]
pub(crate) struct CompletionsOptions {
    /// The shell to be told.
    shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = MAN)]
pub(crate) struct ManOptions {
    /// Where the pages go; made if it is not there.
    dir: PathBuf,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// The pages that were written.
#[derive(Debug, Serialize)]
struct Written {
    pages: Vec<PathBuf>,
}

/// Prints a script for a shell.
pub(crate) fn completions(options: &CompletionsOptions) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    let mut grammar = arguments::grammar();
    clap_complete::generate(options.shell, &mut grammar, "plurix", &mut script);
    // A reader that has gone misses nothing that it wanted.
    let _ = std::io::stdout().write_all(&script);
    Ok(Exit::Done)
}

/// Writes a page for each command.
pub(crate) fn man(options: &ManOptions) -> anyhow::Result<Exit> {
    let dir = &options.dir;
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut pages = Vec::new();
    page(arguments::grammar(), "plurix", dir, &mut pages)?;
    if options.json {
        output::line(serde_json::to_string_pretty(&Written { pages })?);
    } else {
        output::line(format_args!("{} pages in {}", pages.len(), dir.display()));
    }
    Ok(Exit::Done)
}

/// Writes the page of a command, and those of its subcommands.
fn page(command: Command, name: &str, dir: &Path, pages: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for sub in command.get_subcommands() {
        page(
            sub.clone(),
            &format!("{name}-{}", sub.get_name()),
            dir,
            pages,
        )?;
    }
    // A command lives as long as the process, and so may its name.
    let title: &'static str = Box::leak(name.to_owned().into_boxed_str());
    let path = dir.join(format!("{name}.1"));
    let mut text = Vec::new();
    clap_mangen::Man::new(command.name(title)).render(&mut text)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    pages.push(path);
    Ok(())
}
