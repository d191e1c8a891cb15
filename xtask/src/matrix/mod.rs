//! `cargo xtask matrix`: derives the facts of the library matrix again, those that a machine can
//! derive, and compares them with what is shipped. The judgements in it are people's business.

mod index;
mod sandbox;

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use toml_edit::{DocumentMut, InlineTable, Item, Table, Value};

use self::index::{Index, Wheels};
use self::sandbox::{Import, Sandbox, Subject};
use crate::run;
use crate::workspace::Workspace;

/// What to derive.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Compare with what is shipped, and fail where it has moved
    #[arg(long, required_unless_present = "update")]
    verify: bool,
    /// Write what was derived into the matrix
    #[arg(long, conflicts_with = "verify")]
    update: bool,
    /// Import libraries of a gigabyte and more, too
    #[arg(long)]
    large: bool,
    /// Ask the package index only, and import nothing
    #[arg(long)]
    index_only: bool,
    /// These libraries only
    names: Vec<String>,
}

/// What is known of one library by looking. Keys and values are those of the file.
type Facts = BTreeMap<&'static str, String>;

pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let path = workspace.root.join("snakepit-compat/data/libraries.toml");
    let text = fs::read_to_string(&path)?;
    let mut document: DocumentMut = text.parse().context("the matrix is no TOML")?;
    let sandbox = Sandbox::new(workspace)?;
    let index = Index::new(&sandbox)?;
    let date = run::output(date())?.trim().to_owned();

    let asked = Look { arguments, sandbox: &sandbox, index: &index, date };
    let mut seen = Vec::new();
    let mut drift = Vec::new();
    let count = document["library"].as_array_of_tables().context("no libraries")?.len();
    for position in 0..count {
        let libraries = document["library"].as_array_of_tables_mut().context("no libraries")?;
        let library = libraries.get_mut(position).context("a library less")?;
        let name = text_of(library, "name")?;
        if !arguments.names.is_empty() && !arguments.names.contains(&name) {
            continue;
        }
        asked.look_at(&name, library, &mut drift)?;
        seen.push(name);
        if arguments.update {
            // At once: a run over all of them takes long enough to be interrupted.
            fs::write(&path, document.to_string())?;
        }
    }
    let unknown = arguments.names.iter().find(|name| !seen.contains(name));
    ensure!(unknown.is_none(), "the matrix has no {}", unknown.map_or("", String::as_str));
    conclude(arguments, seen.len(), &drift)
}

/// Looks at libraries, one after the other.
struct Look<'a> {
    arguments: &'a Arguments,
    sandbox: &'a Sandbox,
    index: &'a Index,
    date: String,
}

impl Look<'_> {
    fn look_at(&self, name: &str, library: &mut Table, drift: &mut Vec<String>) -> Result<()> {
        let builtin = flag(library, "stdlib");
        let wheels = if builtin { None } else { Some(self.index.wheels(name)?) };
        if let Some(wheels) = &wheels {
            self.settle(name, library, "wheels", &wheels.facts(), drift);
        }
        let too_large = flag(library, "large") && !self.arguments.large;
        if self.arguments.index_only || (too_large && library.contains_key("import")) {
            report(name, wheels.as_ref(), None);
            return Ok(());
        }
        let import = match &wheels {
            Some(wheels) if wheels.is_none() => Import::untested("no_wheel", ""),
            _ if too_large => Import::untested("too_large", ""),
            _ => {
                let subject = Subject {
                    name: name.to_owned(),
                    modules: texts(library, "imports"),
                    needs: texts(library, "needs"),
                };
                self.sandbox.import(&subject, wheels.as_ref())?
            }
        };
        report(name, wheels.as_ref(), Some(&import));
        let facts = import.facts(self.sandbox.python());
        self.settle(name, library, "import", &facts, drift);
        Ok(())
    }

    fn settle(
        &self,
        name: &str,
        library: &mut Table,
        key: &str,
        facts: &Facts,
        drift: &mut Vec<String>,
    ) {
        compare(library, key, facts, name, drift);
        if self.arguments.update {
            library[key] = inline(facts, &self.date);
        }
    }
}

fn conclude(arguments: &Arguments, count: usize, drift: &[String]) -> Result<()> {
    for line in drift {
        println!("moved: {line}");
    }
    if arguments.update {
        eprintln!("matrix: {count} libraries looked at, {} facts written", drift.len());
        return Ok(());
    }
    if drift.is_empty() {
        eprintln!("matrix: {count} libraries looked at, every fact as shipped");
        return Ok(());
    }
    bail!("{} facts have moved: look at them, then run with --update", drift.len())
}

/// The facts that say something else than the file does. How old a fact is and which interpreter it
/// was seen with is no fact.
fn compare(library: &Table, key: &str, facts: &Facts, name: &str, drift: &mut Vec<String>) {
    let shipped = library.get(key).and_then(Item::as_inline_table);
    let shipped_at = |field: &str| shipped.and_then(|table| table.get(field)?.as_str());
    for (field, now) in facts {
        if *field == "python" {
            continue;
        }
        let before = shipped_at(field);
        if before != Some(now) {
            drift.push(format!(
                "{name}: {key}.{field} was {}, is {now}",
                before.unwrap_or("nothing")
            ));
        }
    }
    for (field, before) in shipped.into_iter().flat_map(InlineTable::iter) {
        if !facts.contains_key(field) && !["date", "python"].contains(&field) {
            drift.push(format!("{name}: {key}.{field} was {before}, is nothing"));
        }
    }
}

fn inline(facts: &Facts, date: &str) -> Item {
    let mut table = InlineTable::new();
    for (field, value) in facts {
        table.insert(*field, Value::from(value));
    }
    table.insert("date", Value::from(date));
    Item::Value(Value::InlineTable(table))
}

fn report(name: &str, wheels: Option<&Wheels>, import: Option<&Import>) {
    let wheels = wheels.map_or_else(|| "standard library".to_owned(), ToString::to_string);
    let import = import.map_or_else(|| "not imported".to_owned(), ToString::to_string);
    eprintln!("   {name}: {wheels}; {import}");
}

fn texts(library: &Table, key: &str) -> Vec<String> {
    let texts = library.get(key).and_then(Item::as_array).into_iter().flatten();
    texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

fn text_of(library: &Table, key: &str) -> Result<String> {
    Ok(library[key].as_str().with_context(|| format!("a library without {key}"))?.to_owned())
}

fn flag(library: &Table, key: &str) -> bool {
    library.get(key).and_then(Item::as_bool).unwrap_or(false)
}

fn date() -> std::process::Command {
    let mut command = std::process::Command::new("date");
    command.args(["-u", "+%Y-%m-%d"]);
    command
}
