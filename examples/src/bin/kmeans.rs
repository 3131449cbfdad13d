//! k-means: each round, activities assign parts of the points to the nearest centroids and add them up;
//! the first process moves the centroids. Parts are the same however many stations there are, and sums
//! are folded in their order, so that the result has the same bits as that of one thread.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use plurix::activity::{Activity, Done, Work};
use plurix::{Ptr, Station, plain};
use plurix_examples::{Join, Role, store, wait_for_all, work_until_done};

/// Finds clusters of points, on several processes.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  kmeans                                  # random points, three stations
  kmeans --points data.csv --stations 2   # two columns, one point a line
  kmeans --count 1000000 --seed 7         # kill -9 a station meanwhile")]
struct Arguments {
    /// A file of points, x,y a line; without it points are made
    #[arg(long, value_name = "CSV")]
    points: Option<PathBuf>,
    /// How many points to make
    #[arg(long, default_value_t = 200_000)]
    count: usize,
    /// What the made points depend on
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Rounds
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Station processes to start
    #[arg(long, default_value_t = 3)]
    stations: usize,
    #[command(flatten)]
    join: Join,
}

type Point = [f64; 2];
/// The number of clusters.
const K: usize = 5;
type Centroids = [Point; K];
/// For each cluster: sum of x, sum of y, and how many points.
type Sums = [[f64; 3]; K];
const PARTS: usize = 16;

/// Adds up one part of the points.
struct Assign;

#[plain]
struct Part {
    points: Ptr<[Point]>,
    centroids: Centroids,
}

impl Activity for Assign {
    const NAME: &'static str = "assign";
    type Argument = Part;
    type Output = Sums;

    fn run(work: Work<'_, Self>, part: Part) -> plurix::Result<Done<Self>> {
        // The sums and the end of the activity are in the heap together, whoever dies.
        work.complete(|tx| Ok(assign(tx.get(part.points)?, &part.centroids)))
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // What cannot be read is told before anything is started.
    let points = match &arguments.join.join {
        Some(_) => Vec::new(),
        None => read_or_make(&arguments)?,
    };
    ensure!(
        arguments.join.join.is_some() || points.len() >= K,
        "{K} points are needed at least"
    );
    match arguments.join.begin(arguments.stations)? {
        Role::Station(mut station) => {
            station.register::<Assign>();
            work_until_done(*station)
        }
        Role::First(cluster) => {
            let mut station = cluster.observe()?;
            let found = shared(&mut station, &points, arguments.rounds)?;
            plurix_examples::end_work(&mut station)?;
            drop(station);
            cluster.finish()?;
            for [x, y] in found {
                println!("centroid {x:9.4} {y:9.4}");
            }
            ensure!(
                found == alone(&points, arguments.rounds),
                "one thread finds others"
            );
            println!("the same, bit by bit, as one thread finds");
            Ok(())
        }
    }
}

/// The algorithm on the heap: spawn a round, wait for it, move the centroids.
fn shared(station: &mut Station, points: &[Point], rounds: usize) -> plurix::Result<Centroids> {
    let heap = store(station, points)?;
    let mut centroids = first(points);
    for _ in 0..rounds {
        let spawned = station.transaction(|tx| {
            let parts = parts(points.len()).map(|range| {
                let points = heap.range(range).expect("a part is in the whole");
                tx.spawn::<Assign>(Part { points, centroids })
            });
            parts.collect::<plurix::Result<Vec<_>>>()
        })?;
        centroids = moved(&wait_for_all(station, &spawned)?, &centroids);
    }
    Ok(centroids)
}

/// The reference: the same on one thread, without a heap.
fn alone(points: &[Point], rounds: usize) -> Centroids {
    (0..rounds).fold(first(points), |centroids, _| {
        let sums: Vec<Sums> = parts(points.len())
            .map(|range| assign(&points[range], &centroids))
            .collect();
        moved(&sums, &centroids)
    })
}

fn parts(len: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..PARTS).map(move |part| len * part / PARTS..len * (part + 1) / PARTS)
}

fn first(points: &[Point]) -> Centroids {
    std::array::from_fn(|k| points[k * points.len() / K])
}

fn assign(points: &[Point], centroids: &Centroids) -> Sums {
    let mut sums = Sums::default();
    for &[x, y] in points {
        let distance = |c: &Point| (x - c[0]).powi(2) + (y - c[1]).powi(2);
        let nearest =
            (0..K).min_by(|&a, &b| distance(&centroids[a]).total_cmp(&distance(&centroids[b])));
        let sum = &mut sums[nearest.expect("there are centroids")];
        *sum = [sum[0] + x, sum[1] + y, sum[2] + 1.0];
    }
    sums
}

fn moved(parts: &[Sums], before: &Centroids) -> Centroids {
    std::array::from_fn(|k| {
        let total = |i: usize| parts.iter().map(|part| part[k][i]).sum::<f64>();
        match total(2) {
            0.0 => before[k],
            count => [total(0) / count, total(1) / count],
        }
    })
}

fn read_or_make(arguments: &Arguments) -> Result<Vec<Point>> {
    let Some(path) = &arguments.points else {
        let mut state = arguments.seed;
        return Ok((0..arguments.count).map(|_| made(&mut state)).collect());
    };
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = |(number, line): (usize, &str)| {
        let point = line
            .split_once(',')
            .and_then(|(x, y)| Some([x.trim().parse().ok()?, y.trim().parse().ok()?]));
        let place = format!("{}:{}", path.display(), number + 1);
        point.with_context(|| format!("{place}: two numbers x,y are needed, not {line:?}"))
    };
    text.lines().enumerate().map(read).collect()
}

/// A point around one of five places (random numbers: Knuth's 64-bit congruential generator).
fn made(state: &mut u64) -> Point {
    let mut random = || {
        *state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (*state >> 11) as f64 / (1u64 << 53) as f64
    };
    let place = (random() * K as f64).floor();
    [place * 2.0 + random(), (place * 3.0) % 7.0 + random()]
}
