//! `snakepit config`: looks at settings without running anything. The config crate owns every rule.

mod init;
mod show;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use snakepit::config::{ConfigError, Format, Layers, Loaded, Remark, RemarkKind, Translation};

use super::diagnostic::{Failure, Reporter};
use super::{Outcome, output};

/// Settings, without running them.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Judge a settings file, with the environment's SNAKEPIT_POOL__… over it
    Check(CheckArgs),
    /// Show all settings, defaults included
    Show(show::ShowArgs),
    /// Print the JSON Schema of settings files
    Schema,
    /// Turn an Elixir config file of the original's into settings
    ///
    /// Literal data of `config :snakepit, …` is taken. What became of each key, and what could not be
    /// taken over, is listed on standard error.
    Import(TranslateArgs),
    /// Turn a file in the original's flat or multi-pool form into settings of our own
    ///
    /// What became of each key is listed on standard error.
    Migrate(TranslateArgs),
    /// Write a settings file to start from
    Init(init::InitArgs),
}

#[derive(clap::Args)]
struct CheckArgs {
    /// Settings file: TOML, JSON or YAML, by its ending
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Leave the environment out
    #[arg(long)]
    no_env: bool,
}

#[derive(clap::Args)]
struct TranslateArgs {
    /// The file to read
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Write the settings here instead of to standard output; an existing file is left alone
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    match args.command {
        Command::Check(args) => check(&args, reporter),
        Command::Show(args) => show::run(&args, reporter),
        Command::Schema => {
            let schema = snakepit::config::schema();
            output::print(&format!("{schema:#}\n"))
        }
        Command::Import(args) => translate(&args, reporter, Translation::of_elixir),
        Command::Migrate(args) => {
            let format = format_of(&args.file)?;
            translate(&args, reporter, |text| Translation::of_document(text, format))
        }
        Command::Init(args) => init::run(&args, reporter),
    }
}

fn load(file: &Path, no_env: bool) -> Result<Loaded, Failure> {
    let layers = Layers::new().file(file);
    let layers = if no_env { layers } else { layers.environment() };
    layers.load().map_err(Failure::settings)
}

fn check(args: &CheckArgs, reporter: Reporter) -> Result<Outcome, Failure> {
    let loaded = load(&args.file, args.no_env)?;
    let names: Vec<&str> = loaded.config().pools().iter().map(|pool| pool.name()).collect();
    if reporter.json {
        let found = json!({ "valid": true, "pools": names, "remarks": loaded.remarks() });
        return output::print(&format!("{found}\n"));
    }
    let file = args.file.display();
    let remarks: String =
        loaded.remarks().iter().map(|remark| format!("{file}:{remark}\n")).collect();
    let pools =
        if names.len() == 1 { "1 pool".to_owned() } else { format!("{} pools", names.len()) };
    output::print(&format!("{remarks}{file}: {pools}, no problems: {}\n", names.join(", ")))
}

fn translate(
    args: &TranslateArgs,
    reporter: Reporter,
    read: impl FnOnce(&str) -> Result<Translation, ConfigError>,
) -> Result<Outcome, Failure> {
    let cannot = |error| Failure::usage(format!("cannot read {}: {error}", args.file.display()));
    let text = std::fs::read_to_string(&args.file).map_err(cannot)?;
    let named = |error: ConfigError| Failure::settings(error.of_source(args.file.display()));
    let translated = read(&text).map_err(named)?;
    if let Some(path) = &args.output {
        write_new(path, translated.document())?;
    }
    let document = args.output.is_none().then(|| translated.document());
    if reporter.json {
        let whole = json!({
            "document": translated.document(),
            "output": args.output,
            "remarks": translated.remarks(),
        });
        return output::print(&format!("{whole}\n"));
    }
    let left_out = |remark: &&Remark| remark.kind == RemarkKind::NotTakenOver;
    for remark in translated.remarks() {
        eprintln!("{}:{remark}", args.file.display());
    }
    let left_out = translated.remarks().iter().filter(left_out).count();
    if left_out > 0 {
        eprintln!("{left_out} of the file's settings were not taken over: look at their lines");
    }
    output::print(document.unwrap_or_default())
}

/// Writes a file that is not there yet.
fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        let message = format!("cannot write {}: {error}", path.display());
        Failure::usage(message)
    };
    let mut file = std::fs::File::create_new(path).map_err(cannot)?;
    file.write_all(text.as_bytes()).map_err(cannot)
}

/// The format that a file's ending names.
fn format_of(path: &Path) -> Result<Format, Failure> {
    let message = || format!("{}: its ending is none of .toml, .json, .yaml, .yml", path.display());
    Format::of_path(path).ok_or_else(|| Failure::usage(message()))
}
