//! Checks a document and prints it with every default written out:
//! `cargo run -p snakepit-config --example check -- pools.toml`, or without a file to see one.

use snakepit_config::{Config, ConfigError};

const SHOWN: &str = r#"
[pool.default]
adapter = "adapter.py"

[pool.batch]
adapter = "reports.py:Reports"
workers = 2
timeouts.profile = "batch"
"#;

fn main() -> Result<(), ConfigError> {
    let config = match std::env::args_os().nth(1) {
        Some(path) => Config::from_file(path)?,
        None => Config::from_toml(SHOWN)?,
    };
    print!("{}", config.to_toml());
    Ok(())
}
