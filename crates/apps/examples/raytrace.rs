//! Renders the sphereflake on as many stations as the machine has cores.
//!
//! ```sh
//! cargo run --release -p plurix-apps --example raytrace [STATIONS]
//! ```

use std::time::Instant;

use plurix_apps::raytrace::{Options, Raytrace};
use plurix_apps::{AppError, run_local};

fn main() -> Result<(), AppError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let stations = std::env::args()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(cores);
    let mut app = Raytrace::new(Options::new(std::env::temp_dir().join("balls.png")))?;
    let begin = Instant::now();
    let report = run_local(&mut app, stations)?;
    println!(
        "{stations} stations: {:.2} s",
        begin.elapsed().as_secs_f64()
    );
    for (name, value) in &report.facts {
        println!("{name:>20}: {value}");
    }
    Ok(())
}
