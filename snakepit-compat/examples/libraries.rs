//! Judges what a project uses for the threads of one free-threaded process:
//! `cargo run -p snakepit-compat --example libraries -- requirements.txt`, or some names instead.

use std::path::Path;
use std::process::ExitCode;

use snakepit_compat::{Abi, Profile, Rating, Requirements, generate_report};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        arguments = ["numpy", "requests", "pandas", "lxml"].map(str::to_owned).to_vec();
    }
    let used = match arguments.as_slice() {
        [file] if Path::new(file).is_file() => Requirements::from_file(Path::new(file))?,
        names => Requirements::from_names(names),
    };
    let abi = Abi { minor: 14, free_threaded: true };
    let report = generate_report(&used, Profile::Thread, abi);
    print!("{report}");
    Ok(if report.rating < Rating::Unknown { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
