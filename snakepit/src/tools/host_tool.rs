//! One tool in Rust: a name, a closure, and what is said about it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use snakepit_core::{BoxFuture, Error, ErrorKind, Payload, Tool};
use tokio::runtime::Handle;

use super::context::ToolContext;
use super::fit::Fit;

type Run = dyn Fn(ToolContext, Payload) -> BoxFuture<'static, Result<Payload, Error>> + Send + Sync;

/// A tool in Rust that Python calls during a call, with `context.call_tool(name, …)`.
///
/// Its arguments come by name, so `A` is a struct, a map, or `()` for none. What it returns becomes a
/// plain Python value; an error becomes a `snakepit.ToolError`, and when that is not caught, the
/// [`cause`](Error::cause) of the error that the call's own caller gets.
///
/// # Examples
/// ```
/// use snakepit::{Error, HostTool, ToolContext};
///
/// #[derive(serde::Deserialize)]
/// struct Lookup {
///     key: String,
/// }
///
/// let lookup = HostTool::new("lookup", |_: ToolContext, Lookup { key }| async move {
///     match key.as_str() {
///         "answer" => Ok(42),
///         _ => Err(Error::tool("not_found", format!("there is no `{key}`"))),
///     }
/// })
/// .description("Looks a key up.")
/// .parameters(serde_json::json!({
///     "type": "object",
///     "properties": {"key": {"type": "string"}},
///     "required": ["key"],
/// }));
/// ```
#[derive(Clone)]
#[must_use = "nobody can call it until it is registered"]
pub struct HostTool {
    pub(super) tool: Tool,
    pub(super) pool: Option<Arc<str>>,
    pub(super) runtime: Option<Handle>,
    pub(super) fit: Arc<Fit>,
    pub(super) run: Arc<Run>,
}

impl HostTool {
    /// A tool of this name. The closure is polled on the runtime that is given with
    /// [`on`](Self::on), else on the one from which the pools were started, else on a thread of
    /// Snakepit's own; it must not block.
    ///
    /// When nobody waits for it any more, because its caller was cancelled or ran out of time, its
    /// future is dropped.
    pub fn new<A, T, F, R>(name: impl Into<String>, run: F) -> Self
    where
        A: DeserializeOwned + Send,
        T: Serialize,
        F: Fn(ToolContext, A) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let run = Arc::new(run);
        Self::of(name.into(), move |fit, context, payload| {
            let run = Arc::clone(&run);
            Box::pin(async move {
                let arguments = fit.read(context.tool(), &payload)?;
                let answering = context.clone();
                answering.encode(&run(context, arguments).await?)
            })
        })
    }

    /// A tool that blocks: the closure runs on a thread of the runtime's pool for such work, and once
    /// begun it runs to its end, whether or not somebody waits.
    pub fn blocking<A, T, F>(name: impl Into<String>, run: F) -> Self
    where
        A: DeserializeOwned + Send,
        T: Serialize,
        F: Fn(ToolContext, A) -> Result<T, Error> + Send + Sync + 'static,
    {
        let run = Arc::new(run);
        Self::of(name.into(), move |fit, context, payload| {
            let run = Arc::clone(&run);
            Box::pin(async move {
                let work = move || {
                    let arguments = fit.read(context.tool(), &payload)?;
                    let answering = context.clone();
                    answering.encode(&run(context, arguments)?)
                };
                match tokio::task::spawn_blocking(work).await {
                    Ok(result) => result,
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(_) => Err(Error::new(ErrorKind::Internal, "the runtime has ended")),
                    },
                }
            })
        })
    }

    /// As [`new`](Self::new), with the schemas of arguments and result made from their types.
    #[cfg(feature = "schemars")]
    pub fn described<A, T, F, R>(name: impl Into<String>, run: F) -> Self
    where
        A: DeserializeOwned + schemars::JsonSchema + Send,
        T: Serialize + schemars::JsonSchema,
        F: Fn(ToolContext, A) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, Error>> + Send + 'static,
    {
        Self::new(name, run)
            .parameters(schemars::schema_for!(A).to_value())
            .returns(schemars::schema_for!(T).to_value())
    }

    fn of(
        name: String,
        run: impl Fn(Arc<Fit>, ToolContext, Payload) -> BoxFuture<'static, Result<Payload, Error>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let tool = Tool::new(name);
        let fit = Arc::new(Fit::of(&tool.parameters));
        let run = move |context: ToolContext, payload| run(context.fit(), context, payload);
        Self { tool, pool: None, runtime: None, fit, run: Arc::new(run) }
    }

    /// What it does, in a paragraph; Python sees it.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.tool.description = text.into();
        self
    }

    /// JSON Schema of the arguments: an object with a property for each. Arguments that are
    /// `required` and missing are refused by name, and so are those that are no property, unless
    /// `additionalProperties` allows them.
    pub fn parameters(mut self, schema: Value) -> Self {
        self.fit = Arc::new(Fit::of(&schema));
        self.tool.parameters = schema;
        self
    }

    /// JSON Schema of the result.
    pub fn returns(mut self, schema: Value) -> Self {
        self.tool.returns = schema;
        self
    }

    /// Lets only the calls of this pool call it.
    pub fn for_pool(mut self, pool: impl Into<Arc<str>>) -> Self {
        self.pool = Some(pool.into());
        self
    }

    /// The runtime it runs on.
    pub fn on(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// What Python is told of it.
    pub fn tool(&self) -> &Tool {
        &self.tool
    }

    /// The name Python calls it by.
    pub fn name(&self) -> &str {
        &self.tool.name
    }
}

impl fmt::Debug for HostTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostTool")
            .field("name", &self.tool.name)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "schemars"))]
mod tests {
    use super::*;

    /// What to look for.
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Lookup {
        key: String,
        limit: Option<u32>,
    }

    #[test]
    fn schemas_come_from_types_and_are_kept_to() {
        let lookup = |_: ToolContext, Lookup { key, limit }: Lookup| async move {
            Ok(vec![key; limit.unwrap_or(1) as usize])
        };
        let tool = HostTool::described("lookup", lookup);
        let parameters = &tool.tool().parameters;
        assert_eq!(parameters["properties"]["key"]["type"], "string");
        assert_eq!(parameters["required"], serde_json::json!(["key"]));
        assert_eq!(tool.tool().returns["type"], "array");
        let given = |arguments: Value| {
            let payload = Payload::encode(snakepit_core::Codec::MsgPack, &arguments)?;
            tool.fit.read::<Lookup>("lookup", &payload).map(|read| read.key)
        };
        assert_eq!(given(serde_json::json!({"key": "a"})).unwrap(), "a");
        let error = given(serde_json::json!({"kye": "a"})).unwrap_err();
        assert_eq!(error.details()["parameter"], "kye");
    }
}
