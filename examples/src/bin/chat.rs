//! A chat: each line is appended to a vector in the heap, and whoever sleeps on its length wakes. The
//! history needs no code of its own: a vector is read from its beginning.

use std::io::{self, BufRead};

use anyhow::Result;
use clap::Parser;
use plurix::collections::{HeapStr, HeapVec};
use plurix::{Station, plain};
use plurix_examples::{Join, Role};

/// A chat over a shared heap; it lasts as long as the first member.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  chat --name Ada                                         # the first member
  chat --name Charles --join unix:/tmp/plurix-XXXX/socket # another one, from another terminal
  printf 'hello\\n' | chat --name Ada                      # lines from a file or another program")]
struct Arguments {
    /// What others call you
    #[arg(long, env = "USER", default_value = "somebody")]
    name: String,
    #[command(flatten)]
    join: Join,
}

/// One line of the chat.
#[plain]
struct Line {
    /// The life of the station that said it: names may be the same, lives never are.
    from: u64,
    /// It is the last one from there.
    is_farewell: u64,
    name: HeapStr,
    text: HeapStr,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.join.begin(1)? {
        Role::Station(speaker) => chat(*speaker, &arguments),
        Role::First(cluster) => cluster.finish(),
    }
}

/// Speaks in this thread and listens in another one, each with a station of its own.
fn chat(mut speaker: Station, arguments: &Arguments) -> Result<()> {
    let address = arguments.join.join.as_ref();
    let listener = plurix_examples::join(address.expect("a station has joined"), true)?;
    let lines = speaker.transaction(|tx| tx.named::<HeapVec<Line>>("chat"))?;
    let me = speaker.incarnation().0;
    let listening = std::thread::spawn(move || listen(listener, lines, me));
    let mut say = |text: &str, is_farewell: bool| {
        speaker.transaction(|tx| {
            let line = Line {
                from: me,
                is_farewell: is_farewell.into(),
                name: HeapStr::new(tx, &arguments.name)?,
                text: HeapStr::new(tx, text)?,
            };
            lines.push(tx, line)
        })
    };
    say("has joined", false)?;
    for line in io::stdin().lock().lines() {
        say(&line?, false)?;
    }
    say("has left", true)?;
    listening.join().expect("the listener does not panic")?;
    Ok(())
}

/// Prints all lines from the first on, each as soon as it is there, until our own farewell.
fn listen(mut station: Station, lines: HeapVec<Line>, me: u64) -> plurix::Result<()> {
    station.latest()?;
    let mut shown = 0;
    loop {
        let (line, text) = station.transaction(|tx| {
            let Some(line) = lines.get(tx, shown)? else {
                return Err(tx.wait_for_change());
            };
            let (name, text) = (line.name.as_str(tx)?, line.text.as_str(tx)?);
            Ok((*line, format!("{name}: {text}")))
        })?;
        println!("{text}");
        shown += 1;
        if line.from == me && line.is_farewell == 1 {
            return Ok(());
        }
    }
}
