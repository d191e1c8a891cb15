//! `snakepit tools`: what an adapter offers.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::{Value, json};
use snakepit::Tool;

use super::diagnostic::{Failure, Reporter};
use super::pool::{PoolArgs, Running};
use super::{Outcome, map};

/// Without --json: each tool with its parameters and the first line of its description. With
/// --json: one array with the full JSON Schemas, on standard output.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pool: PoolArgs,
}

pub(super) async fn run(args: Args, reporter: Reporter) -> Result<Outcome, Failure> {
    let settings = args.pool.settings(Some(1), None)?;
    let running = Running::start(settings).await?;
    let tools = running.snakepit.tools(&running.pool);
    running.stop().await;
    let tools = tools.map_err(Failure::call)?;
    let text = if reporter.json { format!("{}\n", json!(tools)) } else { table(&tools) };
    let mut out = std::io::stdout();
    map::written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

fn table(tools: &[Tool]) -> String {
    let rows: Vec<(String, &str)> =
        tools.iter().map(|tool| (signature(tool), summary(tool))).collect();
    let width = rows.iter().map(|(signature, _)| signature.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (signature, summary) in rows {
        let row = format!("{signature:width$}  {summary}");
        // Writing into a String cannot fail.
        let _ = writeln!(out, "{}", row.trim_end());
    }
    out
}

/// `name(a: integer, b: number = 1) -> string`, with `-> stream of …` for streams.
fn signature(tool: &Tool) -> String {
    let empty = serde_json::Map::new();
    let properties = tool.parameters.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let required: Vec<&str> = tool
        .parameters
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    // Required ones come in their own order, which is the function's; the schema's map may not.
    let optional = properties.keys().map(String::as_str).filter(|name| !required.contains(name));
    let names = required.iter().copied().chain(optional);
    let parameters: Vec<String> = names
        .map(|name| {
            let schema = properties.get(name).unwrap_or(&Value::Null);
            let mut parameter = name.to_owned();
            if let Some(kind) = type_name(schema) {
                let _ = write!(parameter, ": {kind}");
            }
            if let Some(default) = schema.get("default") {
                let _ = write!(parameter, " = {default}");
            } else if !required.contains(&name) {
                parameter.push('?');
            }
            parameter
        })
        .collect();
    let mut out = format!("{}({})", tool.name, parameters.join(", "));
    match (tool.streaming, type_name(&tool.returns)) {
        (true, Some(kind)) => {
            let _ = write!(out, " -> stream of {kind}");
        }
        (true, None) => out.push_str(" -> stream"),
        (false, Some(kind)) => {
            let _ = write!(out, " -> {kind}");
        }
        (false, None) => {}
    }
    out
}

fn type_name(schema: &Value) -> Option<String> {
    let join = |names: Vec<String>| (!names.is_empty()).then(|| names.join(" | "));
    match schema.get("type") {
        Some(Value::String(name)) if name == "array" => {
            let items = schema.get("items").and_then(type_name);
            Some(items.map_or_else(|| name.clone(), |items| format!("array of {items}")))
        }
        Some(Value::String(name)) => Some(name.clone()),
        Some(Value::Array(names)) => {
            join(names.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        }
        _ => {
            let any = schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array()?;
            join(any.iter().filter_map(type_name).collect())
        }
    }
}

fn summary(tool: &Tool) -> &str {
    tool.description.lines().next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_read_like_functions() {
        let mut tool = Tool::new("predict");
        tool.parameters = json!({
            "type": "object",
            "properties": {
                "text": {"type": "string"},
                "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": null},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["text"],
        });
        tool.returns = json!({"type": "number"});
        assert_eq!(
            signature(&tool),
            "predict(text: string, limit: integer | null = null, tags: array of string?) -> number"
        );
        tool.streaming = true;
        assert!(signature(&tool).ends_with("-> stream of number"));
        assert_eq!(signature(&Tool::new("ping")), "ping()");
    }
}
