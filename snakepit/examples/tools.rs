//! Tools in both directions: Rust calls Python, which calls Rust, which calls Python again.
//! `cargo run -p snakepit --example tools -- PYTHON`, where PYTHON is an interpreter that
//! `snakepit setup` or `cargo xtask setup` has prepared.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use snakepit::{Error, ErrorKind, HostTool, Snakepit, ToolContext};

const ADAPTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/tools/adapter.py");

#[derive(Deserialize)]
struct Price {
    product: String,
}

#[derive(Deserialize)]
struct Customer {
    customer: String,
}

/// A tool with a schema: arguments that do not fit are refused by name before the closure runs.
fn price() -> HostTool {
    HostTool::new("price", |_: ToolContext, Price { product }| async move {
        match product.as_str() {
            "tea" => Ok(3.5),
            "pot" => Ok(24.0),
            // Python decides by the kind what to do about it.
            _ => Err(Error::tool("no_price", format!("nobody knows the price of {product}"))
                .with_detail("product", product)),
        }
    })
    .description("What one piece costs.")
    .parameters(json!({
        "type": "object",
        "properties": {"product": {"type": "string"}},
        "required": ["product"],
    }))
    .returns(json!({"type": "number"}))
}

/// A tool that calls Python itself: with the session, metadata and deadline of the call it serves.
async fn offer(context: ToolContext, Customer { customer }: Customer) -> Result<f64, Error> {
    let invoice: Value = context.execute("invoice", json!({"customer": customer})).await?;
    let total = invoice["total"].as_f64().unwrap_or_default();
    let discount: f64 = context.execute("discount", (total,)).await?;
    Ok(total - discount)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A call that waits for a nested one holds its slot: with one worker there would be none left.
    let mut builder = Snakepit::builder().adapter(ADAPTER).workers(2);
    if let Some(python) = std::env::args_os().nth(1) {
        builder = builder.python(python);
    }
    let snakepit = builder
        .tool("orders", |_, Customer { customer }| async move {
            let mut orders = vec![json!({"product": "tea", "count": 4})];
            if customer == "Ada" {
                orders.push(json!({"product": "pot", "count": 1}));
                orders.push(json!({"product": "lid", "count": 2}));
            }
            Ok(orders)
        })
        .tool("offer", offer)
        .host_tool(price())
        .start()
        .await?;

    let invoice: Value = snakepit.execute("invoice", json!({"customer": "Ada"})).await?;
    println!("invoice: {invoice}");
    assert_eq!(invoice, json!({"customer": "Ada", "total": 38.0, "unknown": ["lid"]}));

    let cheapest: String = snakepit.execute("compare", (["pot", "tea"],)).await?;
    println!("cheapest: {cheapest}");
    assert_eq!(cheapest, "tea");

    let made: Value = snakepit.execute("negotiate", json!({"customer": "Ada"})).await?;
    println!("negotiated: {made}");
    assert_eq!(made, json!({"offer": 34.2, "tools": ["offer", "orders", "price"]}));

    // What Python does not catch comes back with what Rust said in the first place.
    let failed = snakepit.execute::<String>("compare", (["tea", "cup"],)).await;
    let Err(error) = failed else { return Err("there is a price of a cup".into()) };
    let cause = error.cause().ok_or("the tool's error is the cause")?;
    println!("failed: {error}; because {cause}");
    assert_eq!((error.kind(), cause.kind()), (ErrorKind::Python, ErrorKind::ToolFailed));

    for report in snakepit.host_tools() {
        println!("{}: {} calls, {} failed", report.tool.name, report.calls, report.failed);
    }
    snakepit.shutdown(Duration::from_secs(10)).await?;
    Ok(())
}
