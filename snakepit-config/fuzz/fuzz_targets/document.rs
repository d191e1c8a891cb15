//! See `snakepit_config_fuzz::document`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| snakepit_config_fuzz::document(data));
