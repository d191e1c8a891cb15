//! Makes sure that this machine has a free-threaded interpreter, however it takes, and says what it
//! is: `cargo run -p snakepit-compat --example provide`.

use snakepit_compat::Search;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let python = Search::from_env().provide_free_threaded(&mut |step| eprintln!("{step}"))?;
    println!("{python}, GIL {}", if python.gil_enabled { "on" } else { "off" });
    Ok(())
}
