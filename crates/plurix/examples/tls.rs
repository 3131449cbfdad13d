//! What TLS costs: commits, misses, the transfer of many pages and the beginning of connections, over
//! TCP as it is and with keys, one beside the other.

use std::time::{Duration, Instant};

use plurix::net::keys::{Authority, Machine};
use plurix::net::{Address, Credentials};
use plurix::{Options, PageServer, Result, ServerOptions, Station};

/// An address that leads to this machine, and not to the Unix socket beside it.
const HOST: &str = "0.0.0.0";
const COMMITS: usize = 20_000;
const CONNECTIONS: usize = 300;
const PAGE: usize = 4096;
const MISSES: usize = 4_000;
const BULK_PAGES: usize = 32 << 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("plurix-tls-{}", std::process::id()));
    let authority = Authority::init(&dir.join("authority"), 10, false)?;
    let machine = Machine {
        name: "both".to_owned(),
        hosts: vec![HOST.to_owned()],
        days: 10,
    };
    authority.issue(&machine, &dir.join("keys"), false)?;
    let keys = Credentials::from_dir(&dir.join("keys"))?;
    println!("            commit p50   miss p50   pages MiB/s   connection p50");
    for round in 0..3 {
        for (name, credentials) in [("TCP", Credentials::default()), ("TLS", keys.clone())] {
            let heap = dir.join(format!("{name}-{round}"));
            let mut options = ServerOptions::new(heap, "127.0.0.1:0".parse()?);
            options.set_credentials(credentials.clone());
            let server = PageServer::open(options)?;
            let (addresses, stop) = (server.addresses(), server.stop_handle());
            let thread = std::thread::spawn(|| server.run());
            let port = addresses.last().map(Address::to_string).unwrap_or_default();
            let address = port.replace("127.0.0.1", HOST).parse()?;
            let [commit, miss, bulk, begin] = measure(&address, &credentials)?;
            println!("{name:4} {round} {commit:12.1} µs {miss:7.1} µs {bulk:11.0} {begin:14.1} µs");
            stop.stop();
            let _ = thread.join();
        }
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn join(address: &Address, credentials: &Credentials, read_ahead: u32) -> Result<Station> {
    let mut options = Options::default();
    options.set_credentials(credentials.clone());
    options.read_ahead = read_ahead;
    Station::join(address, options)
}

fn measure(address: &Address, credentials: &Credentials) -> Result<[f64; 4]> {
    let mut writer = join(address, credentials, 32)?;
    let number = writer.transaction(|tx| tx.alloc(0u64))?;
    let commit = median(COMMITS, |_| {
        writer.transaction(|tx| {
            *tx.get_mut(number)? += 1;
            Ok(())
        })
    })?;
    let part = vec![7u8; 256 * PAGE];
    let mut parts = Vec::new();
    for _ in 0..BULK_PAGES / 256 {
        parts.push(writer.transaction(|tx| tx.alloc_slice_from(&part))?);
    }
    let mut single = Vec::new();
    for _ in 0..MISSES / 250 {
        let more = writer.transaction(|tx| {
            (0..250)
                .map(|_| tx.alloc([7u8; PAGE]))
                .collect::<Result<Vec<_>>>()
        })?;
        single.extend(more);
    }
    let mut reader = join(address, credentials, 0)?;
    let miss = median(MISSES, |index| {
        // Never the next one, so that nothing is fetched ahead.
        let page = single[index * 1009 % MISSES];
        reader.transaction(|tx| Ok(tx.get(page)?[0])).map(drop)
    })?;
    let mut reader = join(address, credentials, 256)?;
    let begin = Instant::now();
    for slice in &parts {
        let sum = reader.transaction(|tx| {
            let slice = tx.get(*slice)?;
            Ok(slice
                .iter()
                .step_by(PAGE)
                .map(|byte| u64::from(*byte))
                .sum::<u64>())
        })?;
        assert!(sum > 0);
    }
    let bulk = (BULK_PAGES * PAGE) as f64 / (1 << 20) as f64 / begin.elapsed().as_secs_f64();
    let connection = median(CONNECTIONS, |_| {
        plurix::status(address, credentials).map(drop)
    })?;
    Ok([commit, miss, bulk, connection])
}

/// The median time of so many calls, in microseconds.
fn median(count: usize, mut call: impl FnMut(usize) -> Result<()>) -> Result<f64> {
    let mut times = Vec::with_capacity(count);
    for index in 0..count {
        let begin = Instant::now();
        call(index)?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(count / 2).map_or(0.0, Duration::as_secs_f64) * 1e6)
}
