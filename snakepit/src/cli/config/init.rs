//! `snakepit config init`: a settings file to start from.

use std::path::PathBuf;

use serde_json::json;

use super::super::diagnostic::{Failure, Reporter};
use super::super::{Outcome, output};
use super::write_new;

#[derive(clap::Args)]
pub(super) struct InitArgs {
    /// The file to write; an existing one is left alone
    #[arg(value_name = "FILE", default_value = "snakepit.toml")]
    file: PathBuf,

    /// The adapter of its pool; the one that ships with Snakepit, if left out
    #[arg(short, long, value_name = "SPEC", default_value = "snakepit.showcase:Showcase")]
    adapter: String,
}

pub(super) fn run(args: &InitArgs, reporter: Reporter) -> Result<Outcome, Failure> {
    if super::format_of(&args.file)?.name() != "toml" {
        return Err(Failure::usage("the file is written as TOML: end its name in .toml"));
    }
    let text = starter(&args.adapter);
    // An adapter that is no adapter is told of now, not when the pools start.
    snakepit::config::Config::from_toml(&text).map_err(Failure::settings)?;
    write_new(&args.file, &text)?;
    let file = args.file.display();
    output::print(&match reporter.json {
        true => format!("{}\n", json!({ "file": args.file })),
        false => format!("{file} is written; `snakepit run --config {file}` runs its pool\n"),
    })
}

fn starter(adapter: &str) -> String {
    // JSON's texts are TOML's, too.
    let adapter = json!(adapter);
    format!(
        r#"# Settings of Snakepit. `snakepit config check` judges them, `snakepit config show` shows the
# defaults, `snakepit config schema` is for editors.

# [host]
# instance = "shop"            # the name other commands find it by; this file's by default
# shutdown_timeout = "25s"     # for calls and workers to end

[pool.default]
adapter = {adapter}
# workers = 4                  # one for each core
# python = "python3.12"        # the best one of the machine
# queue = 1024                 # calls that wait in the pool

# [pool.default.timeouts]
# profile = "balanced"         # or production_strict, development, ml_inference, batch

# [pool.default.lifecycle]
# ttl = "1h"                   # a worker is replaced after it; never by default
# max_memory = "512MiB"

# [pool.default.logs]
# stdout = "debug"             # the level of what workers print; "off" tells of nothing
"#
    )
}
