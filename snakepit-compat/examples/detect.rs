//! Lists the interpreter that would be used by default and the free-threaded one, as this machine
//! has them: `cargo run -p snakepit-compat --example detect`.

use snakepit_compat::{Interpreter, Search, WorkerPackage};

fn main() {
    let search = Search::from_env();
    show("default", search.find_default());
    show("free-threaded", search.find_free_threaded());
}

fn show<E: std::error::Error>(what: &str, found: Result<Interpreter, E>) {
    let python = match found {
        Ok(python) => python,
        Err(error) => {
            println!("{what}: {error}");
            if let Some(source) = error.source() {
                println!("  {source}");
            }
            return;
        }
    };
    let gil = if python.gil_enabled { "on" } else { "off" };
    let environment = if python.is_virtual_environment() { ", virtual environment" } else { "" };
    println!("{what}: {python}, GIL {gil}, {}{environment}", python.platform);
    match WorkerPackage::locate(&python) {
        Some(path) => println!("  worker package: {}", path.display()),
        None => println!("  worker package for {}: not installed", python.wheel_abi()),
    }
}
