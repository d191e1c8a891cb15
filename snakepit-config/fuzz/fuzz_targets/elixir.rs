//! Any Elixir file: settings that can be read, or problems.
#![no_main]

use libfuzzer_sys::fuzz_target;
use snakepit_config::{Config, Translation};

fuzz_target!(|text: &str| {
    if let Ok(translated) = Translation::of_elixir(text) {
        Config::from_toml(translated.document()).unwrap();
    }
});
