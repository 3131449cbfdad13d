//! `plurix keys`: makes the authority of a cluster and the keys of its machines, and tells what a
//! certificate says. Nothing here needs a cluster that runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use plurix::net::keys::{Authority, Certificate, Machine};
use serde::Serialize;

use crate::checkpoint::calendar::date;
use crate::{Exit, output};

const EXAMPLES: &str = "\
Examples:
  plurix keys init authority
      once for a cluster; keep the directory where nobody else can read it
  plurix keys issue authority --name node-1 --host node-1.example --host 10.0.0.1 --out node-1
      once for each machine; copy the directory node-1 to it, and give it there as --keys
  plurix keys issue authority --name operator --out operator
      keys for a machine that only connects to others
  plurix keys show node-1";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make the authority of a cluster, and its secret.
    Init {
        /// Where they shall be.
        dir: PathBuf,
        /// How long the authority is valid.
        #[arg(long, value_name = "N", default_value_t = 3650, value_parser = days())]
        days: u32,
        /// Replace an authority that is there; all keys that it has issued are of no more use.
        #[arg(long)]
        force: bool,
    },
    /// Make the keys of a machine.
    Issue {
        /// Where the authority is.
        authority: PathBuf,
        /// How people call the machine.
        #[arg(long)]
        name: String,
        /// A host name or IP address by which others connect to it; may be given several times. Stations
        /// of teams are reached by IP address.
        #[arg(long, value_name = "HOST")]
        host: Vec<String>,
        /// Where the keys shall be [default: a directory of that name in the authority's].
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// How long they are valid; never longer than the authority.
        #[arg(long, value_name = "N", default_value_t = 365, value_parser = days())]
        days: u32,
        /// Replace keys that are there.
        #[arg(long)]
        force: bool,
    },
    /// Tell what a certificate says, and when it ends.
    Show {
        /// A certificate, or a directory of keys.
        path: PathBuf,
    },
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=36_500)
}

/// A certificate in JSON.
#[derive(Debug, Serialize)]
struct Told<'a> {
    path: &'a Path,
    #[serde(flatten)]
    certificate: &'a Certificate,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    let (path, certificate) = match &options.what {
        What::Init { dir, days, force } => {
            let authority = Authority::init(dir, *days, *force)?;
            (dir.clone(), authority.certificate().clone())
        }
        What::Issue {
            authority,
            name,
            host,
            out,
            days,
            force,
        } => {
            let machine = Machine {
                name: name.clone(),
                hosts: host.clone(),
                days: *days,
            };
            let out = match out {
                Some(out) => out.clone(),
                None => inside(authority, name)?,
            };
            let issued = Authority::open(authority)?.issue(&machine, &out, *force)?;
            (out, issued)
        }
        What::Show { path } => {
            let file = file_of(path);
            let certificate = Certificate::from_file(&file)?;
            (file, certificate)
        }
    };
    if options.json {
        let told = Told {
            path: &path,
            certificate: &certificate,
        };
        output::line(serde_json::to_string_pretty(&told)?);
    } else {
        show(&path, &certificate);
    }
    Ok(Exit::Done)
}

/// The directory of a machine within the authority's.
fn inside(authority: &Path, name: &str) -> anyhow::Result<PathBuf> {
    anyhow::ensure!(
        !name.contains('/') && !name.starts_with('.'),
        "'{name}' is no name of a directory; give one with --out"
    );
    Ok(authority.join(name))
}

/// The certificate that is meant by `path`.
fn file_of(path: &Path) -> PathBuf {
    if !path.is_dir() {
        return path.to_owned();
    }
    let machine = path.join("machine.pem");
    match machine.exists() {
        true => machine,
        false => path.join("authority.pem"),
    }
}

fn show(path: &Path, certificate: &Certificate) {
    output::line(format_args!("file      {}", path.display()));
    output::line(format_args!("name      {}", certificate.name()));
    output::line(format_args!("issuer    {}", certificate.issuer()));
    output::line(format_args!("serial    {}", certificate.serial()));
    let hosts = match (certificate.hosts(), certificate.is_authority()) {
        (_, true) => "none: it is an authority".to_owned(),
        ([], false) => "none: it only connects to others".to_owned(),
        (hosts, false) => hosts.join(", "),
    };
    output::line(format_args!("hosts     {hosts}"));
    let at = |seconds| date(Duration::from_secs(seconds));
    output::line(format_args!(
        "valid     {} to {}",
        at(certificate.begins()),
        at(certificate.ends())
    ));
}
