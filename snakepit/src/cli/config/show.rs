//! `snakepit config show`: all settings, as a document or as a table with the origin of each.

use std::path::PathBuf;

use serde_json::json;
use snakepit::config::{Format, Loaded};

use super::super::diagnostic::{Failure, Reporter};
use super::super::{Outcome, output};
use super::load;

#[derive(clap::Args)]
pub(super) struct ShowArgs {
    /// Settings file: TOML, JSON or YAML, by its ending
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Show where each value comes from: a place in the file, a variable, or the default
    #[arg(long)]
    origin: bool,

    /// Leave the environment out
    #[arg(long)]
    no_env: bool,

    /// Write the document in this format
    #[arg(long, value_name = "FORMAT", value_parser = ["toml", "json", "yaml"],
          default_value = "toml", conflicts_with = "origin")]
    format: String,
}

pub(super) fn run(args: &ShowArgs, reporter: Reporter) -> Result<Outcome, Failure> {
    let loaded = load(&args.file, args.no_env)?;
    let text = match (args.origin, reporter.json) {
        (true, true) => format!("{}\n", json!(loaded.settings())),
        (true, false) => table(&loaded),
        (false, true) => loaded.config().to_json(),
        (false, false) => {
            let named = |format: &Format| format.name() == args.format;
            let format = Format::ALL.into_iter().find(named).unwrap_or(Format::Toml);
            loaded.config().to_text(format)
        }
    };
    output::print(&text)
}

fn table(loaded: &Loaded) -> String {
    let rows = loaded.settings().into_iter().map(|setting| {
        let origin = setting.origin.to_string();
        vec![setting.path, setting.value.to_string(), origin]
    });
    let header = ["SETTING", "VALUE", "ORIGIN"].map(str::to_owned);
    output::table(header.to_vec(), rows.collect(), 3)
}
