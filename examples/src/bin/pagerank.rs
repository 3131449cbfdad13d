//! PageRank: each round, activities compute the next ranks of parts of the nodes from the ranks in the
//! heap; the first process decides whether another round is needed. Parts are the same however many
//! stations there are, and sums are folded in their order, so that the result has the same bits as that
//! of one thread.
//!
//! S. Brin, L. Page: The anatomy of a large-scale hypertextual web search engine, Computer Networks 30
//! (1998). The rank of nodes without a link is spread over all nodes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use plurix::activity::{Activity, Done, Work};
use plurix::{Ptr, Station, plain};
use plurix_examples::{Join, Role, end_work, store, wait_for_all, work_until_done};

/// Ranks the nodes of a graph by who links to them, on several processes.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  pagerank --undirected examples/data/karate.txt      # a graph of 34 people
  pagerank web-Google.txt --stations 4 --top 20       # kill -9 a station meanwhile
  pagerank graph.txt --tolerance 1e-6 --json

A graph is a text file as snap.stanford.edu publishes them: a link a line, as two numbers with white
space between them; lines that begin with # are comments. A link that comes twice counts twice.")]
struct Arguments {
    /// The graph
    #[arg(value_name = "FILE")]
    graph: PathBuf,
    /// Each line is a link in both directions
    #[arg(long)]
    undirected: bool,
    /// How likely a link is followed
    #[arg(long, default_value_t = 0.85, value_parser = fraction)]
    damping: f64,
    /// Rounds at most
    #[arg(long, default_value_t = 100)]
    iterations: usize,
    /// End when all ranks together change by less in a round
    #[arg(long, default_value_t = 1e-10)]
    tolerance: f64,
    /// How many nodes to print
    #[arg(long, default_value_t = 10)]
    top: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Station processes to start
    #[arg(long, default_value_t = 3)]
    stations: usize,
    #[command(flatten)]
    join: Join,
}

const PARTS: usize = 16;

/// Who links to whom, with nodes numbered from 0 in the order of their names.
struct Graph {
    names: Vec<u64>,
    /// The links to node `i` are `sources[starts[i]..starts[i + 1]]`.
    starts: Vec<u64>,
    sources: Vec<u32>,
    /// How many links leave each node.
    degrees: Vec<u32>,
}

/// The graph where an activity finds it.
#[plain]
struct Shared {
    starts: Ptr<[u64]>,
    sources: Ptr<[u32]>,
    degrees: Ptr<[u32]>,
    /// The ranks of even rounds, and those of odd ones.
    ranks: [Ptr<[f64]>; 2],
}

/// What a part needs of the graph, in the heap or beside it: its own links, and all degrees.
struct Links<'a> {
    starts: &'a [u64],
    sources: &'a [u32],
    degrees: &'a [u32],
}

/// How much the ranks have changed, and how much rank lies on nodes without a link.
type Sums = [f64; 2];

/// What all parts of a round have in common.
#[plain]
struct Round {
    number: u64,
    damping: f64,
    /// What each node gets without a link.
    base: f64,
}

/// Computes the next ranks of one part.
struct Advance;

#[plain]
struct Part {
    graph: Ptr<Shared>,
    round: Round,
    nodes: [u64; 2],
}

impl Activity for Advance {
    const NAME: &'static str = "advance";
    type Argument = Part;
    type Output = Sums;

    fn run(work: Work<'_, Self>, part: Part) -> plurix::Result<Done<Self>> {
        // The ranks and the end of the activity are in the heap together, whoever dies.
        work.complete(|tx| {
            let graph = *tx.get(part.graph)?;
            let nodes = part.nodes[0] as usize..part.nodes[1] as usize;
            let [before, after] = match part.round.number % 2 {
                0 => graph.ranks,
                _ => [graph.ranks[1], graph.ranks[0]],
            };
            let starts = graph.starts.range(nodes.start..nodes.end + 1);
            let starts = tx.get(starts.expect("a part is in the whole"))?;
            let sources = graph.sources.range(links_of(starts));
            let links = Links {
                starts,
                sources: tx.get(sources.expect("links of a part are in the whole"))?,
                degrees: tx.get(graph.degrees)?,
            };
            let (ranks, sums) = advance(&links, tx.get(before)?, nodes.clone(), &part.round);
            let place = after.range(nodes).expect("a part is in the whole");
            tx.set_slice(place, &ranks)?;
            Ok(sums)
        })
    }
}

/// What a computation has found.
#[derive(PartialEq)]
struct Found {
    ranks: Vec<f64>,
    rounds: usize,
    change: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.join.join.is_some() {
        return match arguments.join.begin(0)? {
            Role::Station(mut station) => {
                station.register::<Advance>();
                work_until_done(*station)
            }
            Role::First(_) => unreachable!("it has joined"),
        };
    }
    // What cannot be read is told before anything is started.
    let graph = read(&arguments.graph, arguments.undirected)?;
    let Role::First(cluster) = arguments.join.begin(arguments.stations)? else {
        unreachable!("it has not joined");
    };
    let mut station = cluster.observe()?;
    let found = shared(&mut station, &graph, &arguments)?;
    end_work(&mut station)?;
    drop(station);
    cluster.finish()?;
    tell(&graph, &found, &arguments);
    ensure!(
        found == alone(&graph, &arguments),
        "one thread finds others"
    );
    eprintln!("the same, bit by bit, as one thread finds");
    Ok(())
}

/// The algorithm on the heap: spawn a round, wait for it, decide whether to go on.
fn shared(station: &mut Station, graph: &Graph, arguments: &Arguments) -> plurix::Result<Found> {
    let nodes = graph.names.len();
    let heap = Shared {
        starts: store(station, &graph.starts)?,
        sources: store(station, &graph.sources)?,
        degrees: store(station, &graph.degrees)?,
        ranks: [
            store(station, &first(nodes))?,
            store(station, &first(nodes))?,
        ],
    };
    let place = station.transaction(|tx| tx.alloc(heap))?;
    let (rounds, change) = iterate(graph, arguments, |round| {
        let spawned = station.transaction(|tx| {
            let parts = parts(nodes).map(|part| {
                let nodes = [part.start as u64, part.end as u64];
                let graph = place;
                tx.spawn::<Advance>(Part {
                    graph,
                    round,
                    nodes,
                })
            });
            parts.collect::<plurix::Result<Vec<_>>>()
        })?;
        wait_for_all(station, &spawned)
    })?;
    let ranks = heap.ranks[rounds % 2];
    let ranks = station.transaction(|tx| Ok(tx.get(ranks)?.to_vec()))?;
    Ok(Found {
        ranks,
        rounds,
        change,
    })
}

/// The reference: the same on one thread, without a heap.
fn alone(graph: &Graph, arguments: &Arguments) -> Found {
    let mut ranks = first(graph.names.len());
    let ended = iterate(graph, arguments, |round| {
        let (next, sums): (Vec<_>, Vec<_>) = parts(ranks.len())
            .map(|part| {
                let starts = &graph.starts[part.start..=part.end];
                let links = Links {
                    starts,
                    sources: &graph.sources[links_of(starts)],
                    degrees: &graph.degrees,
                };
                advance(&links, &ranks, part, &round)
            })
            .unzip();
        ranks = next.concat();
        Ok(sums)
    });
    let (rounds, change) = ended.expect("nothing can fail without a heap");
    Found {
        ranks,
        rounds,
        change,
    }
}

/// Runs rounds until the ranks stand still, or the limit is reached; answers how many, and the last
/// change.
fn iterate(
    graph: &Graph,
    arguments: &Arguments,
    mut run: impl FnMut(Round) -> plurix::Result<Vec<Sums>>,
) -> plurix::Result<(usize, f64)> {
    let (nodes, damping) = (graph.names.len() as f64, arguments.damping);
    let sinks = graph.degrees.iter().filter(|&&degree| degree == 0).count();
    let (mut dangling, mut change) = (sinks as f64 / nodes, f64::INFINITY);
    let mut rounds = 0;
    while rounds < arguments.iterations && change >= arguments.tolerance {
        let sums = run(Round {
            number: rounds as u64,
            damping,
            base: (1.0 - damping + damping * dangling) / nodes,
        })?;
        [change, dangling] = [0, 1].map(|i| sums.iter().map(|part| part[i]).sum());
        rounds += 1;
    }
    Ok((rounds, change))
}

fn parts(nodes: usize) -> impl Iterator<Item = Range<usize>> {
    (0..PARTS).map(move |part| nodes * part / PARTS..nodes * (part + 1) / PARTS)
}

fn first(nodes: usize) -> Vec<f64> {
    vec![1.0 / nodes as f64; nodes]
}

/// Where the links of nodes are whose starts, and the end of the last, are these.
fn links_of(starts: &[u64]) -> Range<usize> {
    starts[0] as usize..starts[starts.len() - 1] as usize
}

/// The next ranks of `nodes`.
fn advance(
    links: &Links<'_>,
    ranks: &[f64],
    nodes: Range<usize>,
    round: &Round,
) -> (Vec<f64>, Sums) {
    let [mut change, mut dangling] = Sums::default();
    let mut sources = links.sources.iter();
    let next = nodes.zip(links.starts.windows(2)).map(|(node, starts)| {
        let count = links_of(starts).len();
        let given = sources.by_ref().take(count).map(|&source| {
            let source = source as usize;
            ranks[source] / f64::from(links.degrees[source])
        });
        let rank = round.base + round.damping * given.sum::<f64>();
        change += (rank - ranks[node]).abs();
        if links.degrees[node] == 0 {
            dangling += rank;
        }
        rank
    });
    (next.collect(), [change, dangling])
}

fn read(path: &Path, undirected: bool) -> Result<Graph> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
    let mut edges = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.with_context(|| format!("cannot read {name}:{number}"))?;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (from, to) = edge(&line).with_context(|| {
            format!("{name}:{number}: two numbers of nodes are needed, not {line:?}")
        })?;
        edges.push((from, to));
        if undirected && from != to {
            edges.push((to, from));
        }
    }
    ensure!(!edges.is_empty(), "{name} has no links");
    Graph::new(&edges)
}

fn edge(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_whitespace().map(|field| field.parse().ok());
    let edge = (fields.next()??, fields.next()??);
    fields.next().is_none().then_some(edge)
}

impl Graph {
    fn new(edges: &[(u64, u64)]) -> Result<Self> {
        let mut numbers: BTreeMap<u64, u32> = BTreeMap::new();
        for (from, to) in edges {
            numbers.extend([(*from, 0), (*to, 0)]);
        }
        for (number, node) in numbers.values_mut().enumerate() {
            *node = u32::try_from(number).context("a graph has 4294967296 nodes at most")?;
        }
        let mut links: Vec<[u32; 2]> = edges
            .iter()
            .map(|(from, to)| [numbers[to], numbers[from]])
            .collect();
        links.sort_unstable();
        let mut starts = vec![0; numbers.len() + 1];
        let mut degrees = vec![0; numbers.len()];
        for &[to, from] in &links {
            starts[to as usize + 1] += 1;
            degrees[from as usize] += 1;
        }
        for node in 0..numbers.len() {
            starts[node + 1] += starts[node];
        }
        Ok(Self {
            names: numbers.into_keys().collect(),
            starts,
            sources: links.into_iter().map(|[_, from]| from).collect(),
            degrees,
        })
    }
}

fn tell(graph: &Graph, found: &Found, arguments: &Arguments) {
    let mut order: Vec<usize> = (0..found.ranks.len()).collect();
    // The sort is stable: nodes of the same rank stay in the order of their names.
    order.sort_by(|&a, &b| found.ranks[b].total_cmp(&found.ranks[a]));
    order.truncate(arguments.top);
    let (nodes, links) = (graph.names.len(), graph.sources.len());
    let (rounds, change, checksum) = (found.rounds, found.change, checksum(&found.ranks));
    let top = order
        .iter()
        .map(|&node| (graph.names[node], found.ranks[node]));
    if arguments.json {
        let top: Vec<String> = top
            .map(|(name, rank)| format!("    {{\"node\": {name}, \"rank\": {rank:?}}}"))
            .collect();
        let change = match change.is_finite() {
            true => format!("{change:?}"),
            false => "null".to_owned(),
        };
        println!(
            "{{\n  \"nodes\": {nodes}, \"links\": {links}, \"iterations\": {rounds}, \"change\": {change},\n  \
             \"checksum\": \"{checksum:016x}\",\n  \"top\": [\n{}\n  ]\n}}",
            top.join(",\n")
        );
        return;
    }
    println!("{nodes} nodes, {links} links, {rounds} iterations, checksum {checksum:016x}");
    top.for_each(|(name, rank)| println!("{rank:.8} {name}"));
}

/// FNV-1a of the bits of all ranks.
fn checksum(ranks: &[f64]) -> u64 {
    let bytes = ranks.iter().flat_map(|rank| rank.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn fraction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..1.0).contains(&value) => Ok(value),
        _ => Err("a number from 0 to less than 1 is needed".to_owned()),
    }
}
