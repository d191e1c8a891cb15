//! See `snakepit_shm_fuzz::bodies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| snakepit_shm_fuzz::bodies(data));
