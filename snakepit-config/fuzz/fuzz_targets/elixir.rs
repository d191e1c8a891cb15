//! See `snakepit_config_fuzz::elixir`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| snakepit_config_fuzz::elixir(data));
