//! Counts the words of files on three stations.
//!
//! ```sh
//! cargo run --release -p plurix-apps --example wordcount FILE...
//! ```

use std::time::Instant;

use plurix_apps::wordcount::{Options, Wordcount};
use plurix_apps::{AppError, run_local};

fn main() -> Result<(), AppError> {
    let files: Vec<_> = std::env::args_os().skip(1).map(Into::into).collect();
    let out = std::env::temp_dir().join("counts.txt");
    println!(
        "counting the words of {} files into {}",
        files.len(),
        out.display()
    );
    let mut app = Wordcount::new(Options {
        out: Some(out),
        ..Options::new(files)
    })?;
    let begin = Instant::now();
    let report = run_local(&mut app, 3)?;
    println!(
        "{:.2} s, verified: {}",
        begin.elapsed().as_secs_f64(),
        report.verified
    );
    for (name, value) in &report.facts {
        println!("{name:>20}: {value}");
    }
    Ok(())
}
