//! A key-value shell: several processes, one ordered map in the heap. Whoever watches a key sleeps
//! until somebody changes it; nobody polls, and nobody has to signal anything.

use std::io::{self, BufRead, Write};

use anyhow::Result;
use clap::Parser;
use plurix::Station;
use plurix::collections::{HeapBTreeMap, HeapStr};
use plurix_examples::{Join, Role};

/// A key-value shell on a shared heap; the map lives as long as the first shell.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  kv                                       # the first shell, which says how others join
  kv --join unix:/tmp/plurix-XXXX/socket   # another one, on the same map
  printf 'set a 1\\nlist\\n' | kv            # commands from a file or another program")]
struct Arguments {
    #[command(flatten)]
    join: Join,
}

/// Keys and values are strings in the heap. The map frees its keys; values are ours to free.
type Map = HeapBTreeMap<HeapStr, HeapStr>;

const HELP: &str = "set KEY VALUE | get KEY | del KEY | list [PREFIX] | watch KEY | quit";

fn main() -> Result<()> {
    match Arguments::parse().join.begin(1)? {
        Role::Station(station) => shell(*station),
        Role::First(cluster) => cluster.finish(),
    }
}

/// Reads commands and answers them, line by line.
fn shell(mut station: Station) -> Result<()> {
    let map = station.transaction(|tx| tx.named::<Map>("kv"))?;
    println!("{HELP}");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (command, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        // What others have committed before the command was typed is seen by it.
        station.latest()?;
        match (command, rest) {
            ("quit", _) => break,
            ("set", rest) if rest.contains(' ') => {
                let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
                set(&mut station, map, key, value)?;
                println!("ok");
            }
            ("get", key) if !key.is_empty() => show(get(&mut station, map, key)?.as_deref()),
            ("del", key) if !key.is_empty() => match remove(&mut station, map, key)? {
                true => println!("ok"),
                false => show(None),
            },
            ("list", prefix) => {
                for (key, value) in list(&mut station, map, prefix)? {
                    println!("{key} = {value}");
                }
            }
            ("watch", key) if !key.is_empty() => watch(&mut station, map, key)?,
            ("", _) => {}
            _ => println!("{HELP}"),
        }
        io::stdout().flush()?;
    }
    Ok(())
}

fn show(value: Option<&str>) {
    println!("{}", value.unwrap_or("(none)"));
}

/// The new string, the change of the map and the end of the old string happen as one.
fn set(station: &mut Station, map: Map, key: &str, value: &str) -> plurix::Result<()> {
    station.transaction(|tx| {
        let value = HeapStr::new(tx, value)?;
        match map.insert(tx, key, value)? {
            Some(old) => old.destroy(tx),
            None => Ok(()),
        }
    })
}

fn get(station: &mut Station, map: Map, key: &str) -> plurix::Result<Option<String>> {
    station.transaction(|tx| match map.get(tx, key)? {
        Some(value) => Ok(Some(value.as_str(tx)?.to_owned())),
        None => Ok(None),
    })
}

/// Answers whether there was such a key.
fn remove(station: &mut Station, map: Map, key: &str) -> plurix::Result<bool> {
    station.transaction(|tx| match map.remove(tx, key)? {
        Some(value) => value.destroy(tx).map(|()| true),
        None => Ok(false),
    })
}

/// All keys with a prefix, as of one moment, in order.
fn list(station: &mut Station, map: Map, prefix: &str) -> plurix::Result<Vec<(String, String)>> {
    station.transaction(|tx| {
        let mut found = Vec::new();
        for entry in map.range(tx, prefix..)? {
            let (key, value) = entry?;
            let key = key.as_str(tx)?;
            if !key.starts_with(prefix) {
                break;
            }
            found.push((key.to_owned(), value.as_str(tx)?.to_owned()));
        }
        Ok(found)
    })
}

/// Shows the value of a key, and again once it is another.
fn watch(station: &mut Station, map: Map, key: &str) -> Result<()> {
    let before = get(station, map, key)?;
    show(before.as_deref());
    let after = station.transaction(|tx| {
        let now = match map.get(tx, key)? {
            Some(value) => Some(value.as_str(tx)?.to_owned()),
            None => None,
        };
        if now == before {
            // Sleeps until something that was read here has changed, then decides anew.
            return Err(tx.wait_for_change());
        }
        Ok(now)
    })?;
    show(after.as_deref());
    Ok(())
}
