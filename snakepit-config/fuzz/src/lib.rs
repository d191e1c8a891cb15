//! What must hold of any text that the readers of settings are given: one function for each target,
//! which the fuzzer and a test without one share.

use snakepit_config::{Config, Format, Translation};

/// Any document in any format, ours or the original's: settings or problems, and settings survive
/// being written. The first byte chooses the format.
pub fn document(data: &[u8]) {
    let Some((first, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let format = Format::ALL[usize::from(*first) % Format::ALL.len()];
    if let Ok(config) = Config::from_text(text, format) {
        for format in Format::ALL {
            assert_eq!(Config::from_text(&config.to_text(format), format).unwrap(), config);
        }
    }
    if let Ok(translated) = Translation::of_document(text, format) {
        Config::from_toml(translated.document()).unwrap();
    }
}

/// Any Elixir file: settings that can be read, or problems.
pub fn elixir(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(translated) = Translation::of_elixir(text) {
        Config::from_toml(translated.document()).unwrap();
    }
}
