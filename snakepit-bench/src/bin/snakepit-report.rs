//! `snakepit-report`: what is made of reports that `snakepit-load` has written. Measures nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use snakepit_bench::report::{Report, compare, html, markdown};

#[derive(Parser)]
#[command(about = "Renders and compares reports of snakepit-load")]
struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Write a report as Markdown and as one page of HTML
    Render {
        /// The report.
        report: PathBuf,
        /// The Markdown file.
        #[arg(long)]
        markdown: Option<PathBuf>,
        /// The page.
        #[arg(long)]
        html: Option<PathBuf>,
    },
    /// Show what became of the figures of an earlier report
    Compare {
        /// The earlier report.
        earlier: PathBuf,
        /// The later report.
        later: PathBuf,
    },
}

fn main() -> Result<ExitCode> {
    match Options::parse().task {
        Task::Render { report, markdown: text, html: page } => {
            let report = Report::read(&report)?;
            if let Some(file) = text {
                std::fs::write(file, markdown::render(&report))?;
            }
            if let Some(file) = page {
                std::fs::write(file, html::render(&report))?;
            }
        }
        Task::Compare { earlier, later } => {
            let comparison = compare::compare(&Report::read(&earlier)?, &Report::read(&later)?);
            print!("{}", markdown::comparison(&comparison));
        }
    }
    Ok(ExitCode::SUCCESS)
}
