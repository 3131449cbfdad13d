//! The programs that are measured, as threads and as stations of a team run them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use plurix::Options;
use plurix::net::Address;
use plurix::team::{Report, TeamOptions};
use plurix_apps::jacobi::{self, Jacobi, JacobiOptions};
use plurix_apps::matmul::{self, Matmul, MatmulOptions};
use plurix_apps::plate;
use plurix_apps::sor::{self, Sor, SorOptions};
use plurix_apps::sort::{self, Sort, SortOptions, TeamSort};

use crate::rounds::ProgramSizes;

/// The programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Jacobi,
    Sor,
    Matmul,
    Sort,
}

/// A program and how much there is to do for it, as a process of the team is told.
#[derive(Debug, Clone, Args)]
pub(super) struct Size {
    #[arg(long)]
    program: Kind,
    /// Points or elements along a side; of a sort, keys.
    #[arg(long)]
    side: u64,
    #[arg(long, default_value_t = 0)]
    iterations: u64,
    /// Of a sort.
    #[arg(long)]
    keys: Option<PathBuf>,
}

/// What a run took, and all that it has found, bit for bit.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) time: Duration,
    pub(super) found: Vec<u64>,
}

/// A program that was found possible.
#[derive(Debug)]
pub(super) enum Program {
    Jacobi(Jacobi),
    Sor(Sor),
    Matmul(Matmul),
    Sort(Sort),
}

/// What is measured, each with the least speed that it shall have against threads. Makes the file `keys`.
pub(super) fn sizes(sizes: &ProgramSizes, keys: &Path) -> Result<[(Size, f64); 4]> {
    sort::generate(keys, sizes.keys, 1)?;
    let size = |program, side, iterations| Size {
        program,
        side,
        iterations,
        keys: None,
    };
    let to_sort = Size {
        keys: Some(keys.to_owned()),
        ..size(Kind::Sort, sizes.keys, 0)
    };
    Ok([
        (size(Kind::Jacobi, sizes.grid, sizes.iterations), 0.85),
        (size(Kind::Sor, sizes.grid, sizes.iterations), 0.8),
        (size(Kind::Matmul, sizes.matrix, 0), 0.9),
        (to_sort, 0.6),
    ])
}

impl Size {
    pub(super) fn arguments(&self) -> Vec<String> {
        let program = self.program.to_possible_value();
        let program = program.map_or_else(String::new, |value| value.get_name().to_owned());
        let mut arguments = vec![
            format!("--program={program}"),
            format!("--side={}", self.side),
            format!("--iterations={}", self.iterations),
        ];
        let keys = self.keys.as_deref();
        arguments.extend(keys.map(|keys| format!("--keys={}", keys.display())));
        arguments
    }
}

impl Program {
    pub(super) fn new(size: &Size) -> Result<Self> {
        let &Size {
            side, iterations, ..
        } = size;
        Ok(match size.program {
            Kind::Jacobi => Self::Jacobi(Jacobi::new(JacobiOptions { side, iterations })?),
            Kind::Sor => Self::Sor(Sor::new(SorOptions {
                side,
                iterations,
                ..SorOptions::default()
            })?),
            Kind::Matmul => Self::Matmul(Matmul::new(MatmulOptions {
                side,
                ..MatmulOptions::default()
            })?),
            Kind::Sort => Self::Sort(Sort::new(SortOptions {
                input: size.keys.clone().context("a sort has a file of keys")?,
                output: None,
            })?),
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Jacobi(_) => "jacobi",
            Self::Sor(_) => "sor",
            Self::Matmul(_) => "matmul",
            Self::Sort(_) => "sort",
        }
    }

    /// For a reader.
    pub(super) fn what(&self) -> String {
        let plate = |side: u64, iterations| format!("{side}² points, {iterations} iterations");
        match self {
            Self::Jacobi(jacobi) => {
                let JacobiOptions { side, iterations } = *jacobi.options();
                format!("Jacobi's method on {}", plate(side, iterations))
            }
            Self::Sor(sor) => {
                let &SorOptions {
                    side, iterations, ..
                } = sor.options();
                format!("over-relaxation of {}", plate(side, iterations))
            }
            Self::Matmul(matmul) => format!("a product of matrices of {}²", matmul.side()),
            Self::Sort(sort) => format!("a sort of {} keys", sort.keys()),
        }
    }

    /// The whole run by threads of this process.
    pub(super) fn by_threads(&self, workers: u16) -> Result<Run> {
        let workers = usize::from(workers);
        let begin = Instant::now();
        let found = match self {
            Self::Jacobi(jacobi) => of_plate(&jacobi::threads(jacobi, workers)),
            Self::Sor(sor) => of_plate(&sor::threads(sor, workers)),
            Self::Matmul(matmul) => of_matmul(&matmul::threads(matmul, workers)),
            Self::Sort(sort) => {
                let sorted = sort::threads(sort, workers)?;
                vec![sorted.checksum, sorted.keys, sorted.verified.into()]
            }
        };
        let time = begin.elapsed();
        Ok(Run { time, found })
    }

    /// The whole run, as one of the stations of a team of `stations` with one worker each.
    pub(super) fn by_team(&self, join: &Address, stations: u16) -> Result<Run> {
        match self {
            Self::Jacobi(jacobi) => play(join, stations, jacobi, of_plate),
            Self::Sor(sor) => play(join, stations, sor, of_plate),
            Self::Matmul(matmul) => play(join, stations, matmul, |found: &matmul::Found| {
                of_matmul(&(*found).into())
            }),
            Self::Sort(sort) => {
                let sort = TeamSort::new(&sort.options().input, stations.into())?;
                play(join, stations, &sort, |found: &sort::Found| {
                    vec![found.checksum(), found.output.keys, found.is_right().into()]
                })
            }
        }
    }
}

fn of_plate(found: &plate::Outcome) -> Vec<u64> {
    vec![
        found.checksum,
        found.residual.to_bits(),
        found.center.to_bits(),
    ]
}

fn of_matmul(found: &matmul::Outcome) -> Vec<u64> {
    vec![found.checksum, found.trace.to_bits(), found.verified.into()]
}

fn play<P: plurix::team::Program>(
    join: &Address,
    stations: u16,
    program: &P,
    bits: impl Fn(&P::Output) -> Vec<u64>,
) -> Result<Run> {
    let team = TeamOptions::new("program").stations(stations);
    let Report {
        outputs, elapsed, ..
    } = plurix::team::run(join, Options::default(), &team, program)?;
    let found: Vec<_> = outputs.iter().map(bits).collect();
    ensure!(
        found.windows(2).all(|pair| pair[0] == pair[1]),
        "workers have found different results: {found:x?}"
    );
    Ok(Run {
        time: elapsed,
        found: found.into_iter().next().context("a station has a worker")?,
    })
}
