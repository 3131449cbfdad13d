//! Which faults strike when: a function of the seed alone. Each seed draws which faults it has and
//! how often (Groce et al., "Swarm testing", ISSTA 2012), so that some runs see a lot of one kind.

use std::fmt;
use std::time::Duration;

use crate::chance::Chance;

/// How a worker is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A Unix socket and shared memory.
    Shared,
    /// A Unix socket alone.
    Unix,
    /// TCP, through something that can be broken.
    Tcp,
}

/// What the seed decides about a whole run.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) durable: bool,
    /// How the page server takes checkpoints: its options.
    pub(crate) checkpoints: Vec<String>,
    /// The page server gives up whoever is silent for longer.
    pub(crate) silence: Duration,
    /// How each worker is connected.
    pub(crate) workers: Vec<Transport>,
    /// The kinds of fault that there are, often in proportion to how often they stand here.
    kinds: Vec<Kind>,
    /// The mean time between two faults, in milliseconds.
    pause_ms: u64,
}

/// A fault, and when it strikes, after the beginning of its round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Strike {
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
    /// How long it lasts.
    pub(crate) lasts: Duration,
}

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9` of the page server, which is started again.
    KillServer,
    /// `kill -9` of a worker, which is started again.
    KillWorker(usize),
    /// SIGSTOP of the page server.
    FreezeServer,
    /// SIGSTOP of a worker.
    FreezeWorker(usize),
    /// A connection is closed under both ends.
    Cut(usize),
    /// What is sent arrives only when this is over.
    Stall(usize, Direction),
    /// What is sent is lost, and then the connection.
    BlackHole(usize, Direction),
    /// The link between two machines is down.
    LinkDown(usize),
    /// A link loses every packet in one direction.
    OneWay(usize, Direction),
    /// A link is slow and loses some packets.
    BadLink(usize),
}

/// Which way what is sent is hindered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToWorker,
    Both,
}

/// The faults, without whom they strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    KillServer,
    KillWorker,
    FreezeServer,
    FreezeWorker,
    Cut,
    Stall,
    BlackHole,
    LinkDown,
    OneWay,
    BadLink,
}

impl Fault {
    /// The kind of fault, for the summary.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KillServer => "kill -9 page server",
            Self::KillWorker(_) => "kill -9 worker",
            Self::FreezeServer => "SIGSTOP page server",
            Self::FreezeWorker(_) => "SIGSTOP worker",
            Self::Cut(_) => "cut connection",
            Self::Stall(..) => "stall connection",
            Self::BlackHole(..) => "black hole",
            Self::LinkDown(_) => "link down",
            Self::OneWay(..) => "one-way partition",
            Self::BadLink(_) => "slow and lossy link",
        }
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, fault, lasts } = self;
        let at = at.as_secs_f64();
        write!(f, "{at:7.3} s  {fault:?} for {} ms", lasts.as_millis())
    }
}

impl Shape {
    /// The shape of a seed; `networks` tells whether its machines have networks of their own, and
    /// `workers` how many there are, if the seed shall not decide.
    pub(crate) fn of(seed: u64, networks: bool, workers: Option<usize>) -> Self {
        let mut chance = Chance::new(seed, 0);
        let count = chance.within(3..6) as usize;
        let count = workers.unwrap_or(count);
        let mut transports: Vec<_> = (0..count)
            .map(|_| chance.pick(&[Transport::Shared, Transport::Tcp, Transport::Unix]))
            .collect();
        // Each run has the two that matter most.
        for (transport, fixed) in transports
            .iter_mut()
            .zip([Transport::Shared, Transport::Tcp])
        {
            *transport = fixed;
        }
        let mut all = vec![
            Kind::KillServer,
            Kind::KillWorker,
            Kind::FreezeServer,
            Kind::FreezeWorker,
        ];
        all.extend(if networks {
            [Kind::LinkDown, Kind::OneWay, Kind::BadLink]
        } else {
            [Kind::Cut, Kind::Stall, Kind::BlackHole]
        });
        let mut kinds = Vec::new();
        for kind in all {
            kinds.extend((0..chance.pick(&[0, 1, 1, 2, 4])).map(|_| kind));
        }
        if kinds.is_empty() {
            kinds.push(Kind::KillServer);
        }
        Self {
            durable: chance.percent(30),
            checkpoints: checkpoints(&mut Chance::new(seed, 2)),
            silence: Duration::from_millis(chance.pick(&[300, 600, 1500])),
            workers: transports,
            kinds,
            pause_ms: chance.pick(&[150, 400, 1000]),
        }
    }

    /// The strikes of a round that takes `length`, in order.
    pub(crate) fn strikes(&self, seed: u64, round: u64, length: Duration) -> Vec<Strike> {
        let mut chance = Chance::new(seed, 1 << 32 | round);
        let mut strikes = Vec::new();
        let mut at = Duration::ZERO;
        loop {
            at += Duration::from_millis(chance.within(20..2 * self.pause_ms));
            if at >= length {
                return strikes;
            }
            let kind = chance.pick(&self.kinds);
            let lasts = self.duration(kind, &mut chance);
            if let Some(fault) = self.aim(kind, &mut chance) {
                strikes.push(Strike { at, fault, lasts });
            }
        }
    }

    /// Shorter and longer than what is taken for death.
    fn duration(&self, kind: Kind, chance: &mut Chance) -> Duration {
        let silence = self.silence.as_millis() as u64;
        let ms = match kind {
            // How long nobody is there before the next process is started.
            Kind::KillServer | Kind::KillWorker => chance.within(0..silence),
            Kind::Cut => chance.pick(&[0, 0, silence / 2]),
            _ if chance.percent(50) => chance.within(10..silence),
            _ => chance.within(silence..3 * silence),
        };
        Duration::from_millis(ms)
    }

    /// The fault of a kind that strikes somebody it can strike, if there is anybody.
    fn aim(&self, kind: Kind, chance: &mut Chance) -> Option<Fault> {
        let anybody = chance.index(self.workers.len());
        let remote: Vec<usize> = (0..self.workers.len())
            .filter(|index| self.workers[*index] == Transport::Tcp)
            .collect();
        let far = (!remote.is_empty()).then(|| chance.pick(&remote));
        let direction = chance.pick(&[Direction::ToServer, Direction::ToWorker, Direction::Both]);
        let one_way = chance.pick(&[Direction::ToServer, Direction::ToWorker]);
        Some(match kind {
            Kind::KillServer => Fault::KillServer,
            Kind::KillWorker => Fault::KillWorker(anybody),
            Kind::FreezeServer => Fault::FreezeServer,
            Kind::FreezeWorker => Fault::FreezeWorker(anybody),
            Kind::Cut => Fault::Cut(far?),
            Kind::Stall => Fault::Stall(far?, direction),
            Kind::BlackHole => Fault::BlackHole(far?, direction),
            Kind::LinkDown => Fault::LinkDown(far?),
            Kind::OneWay => Fault::OneWay(far?, one_way),
            Kind::BadLink => Fault::BadLink(far?),
        })
    }
}

/// Checkpoints of any kind, mostly so often that one is under way whenever something happens.
fn checkpoints(chance: &mut Chance) -> Vec<String> {
    let strategy = chance.pick(&["nonblocking", "nonblocking", "blocking", "log", "none"]);
    let every = chance.pick(&["20ms", "100ms", "1s", "1MiB"]);
    let compress = chance.pick(&["none", "lz4", "zstd"]);
    let mut options = vec![
        format!("--checkpoint={strategy}"),
        format!("--every={every}"),
        format!("--compress={compress}"),
    ];
    let cache = chance.pick(&[None, Some("128KiB"), Some("1MiB")]);
    options.extend(cache.map(|bytes| format!("--cache-bytes={bytes}")));
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_depends_on_the_seed_alone() {
        let plan = |seed, round| {
            let shape = Shape::of(seed, false, None);
            shape.strikes(seed, round, Duration::from_secs(30))
        };
        assert_eq!(plan(7, 0), plan(7, 0));
        assert_ne!(plan(7, 0), plan(7, 1));
        assert_ne!(plan(7, 0), plan(8, 0));
    }

    #[test]
    fn strikes_come_in_order_and_hit_only_what_is_there() {
        for seed in 0..200 {
            let networks = seed % 2 == 0;
            let shape = Shape::of(seed, networks, None);
            let strikes = shape.strikes(seed, 0, Duration::from_secs(20));
            assert!(strikes.is_sorted_by_key(|strike| strike.at));
            for strike in strikes {
                let (remote, of_networks) = match strike.fault {
                    Fault::Cut(who) | Fault::Stall(who, _) | Fault::BlackHole(who, _) => {
                        (Some(who), Some(false))
                    }
                    Fault::LinkDown(who) | Fault::OneWay(who, _) | Fault::BadLink(who) => {
                        (Some(who), Some(true))
                    }
                    _ => (None, None),
                };
                assert!(of_networks.is_none_or(|of_networks| of_networks == networks));
                assert!(remote.is_none_or(|who| shape.workers[who] == Transport::Tcp));
            }
        }
    }
}
