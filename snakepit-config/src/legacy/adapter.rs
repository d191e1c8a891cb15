//! Which Python adapter one of the original's Elixir adapters, with its arguments, stands for.

use super::{Given, Work};
use crate::error::Code;
use crate::node::{Node, Place, Value};
use crate::remark::RemarkKind;

/// The adapter that ships with the worker package.
const SHOWCASE: &str = "snakepit.showcase:Showcase";
/// Where the original keeps its own.
const ORIGINAL_SHOWCASE: &str = "snakepit_bridge.adapters.showcase";
/// The original's adapters that run Python.
const PYTHON: [&str; 5] =
    ["GRPCPython", "GRPCBridge", "GenericPython", "GenericPythonV2", "GenericPythonMsgpack"];

impl Work {
    /// The adapter: `--adapter` of the arguments, else the older bridge's script, else what the
    /// module stands for.
    pub(super) fn adapter(
        &mut self,
        module: Option<&Given<'_>>,
        arguments: Option<&Given<'_>>,
        script: Option<&Given<'_>>,
        target: &str,
    ) -> Node {
        let named = arguments.and_then(|given| self.argument(given));
        if let (Some(name), Some(given)) = (named, arguments) {
            let path = python_path(&name);
            self.became(given, &format!("{target} = {path}"));
            if let Some(module) = module {
                self.became(module, &format!("{target} = {path}, which --adapter names"));
            }
            return text(path, given);
        }
        if let Some(given) = script {
            self.became(given, target);
            if let Some(module) = module {
                self.nothing(module, "the script is the adapter");
            }
            return given.node.clone();
        }
        let Some(given) = module else {
            let place = Place::Default;
            return Node::new(Value::Text(SHOWCASE.to_owned()), place);
        };
        let Some(module) = given.node.as_text() else {
            // Whoever reads the new form says what is wrong with it.
            return given.node.clone();
        };
        let module = module.strip_prefix("Elixir.").unwrap_or(module);
        let own = module.strip_prefix("Snakepit.Adapters.");
        if own.is_some_and(|name| PYTHON.contains(&name)) {
            self.became(
                given,
                &format!("{target} = {SHOWCASE}, the adapter that ships with Snakepit"),
            );
            return text(SHOWCASE.to_owned(), given);
        }
        if is_elixir(module) {
            let message = format!("`{module}` is an Elixir module, which cannot run here");
            self.problem(Code::InvalidValue, given, message).help = Some(
                "name a Python adapter, as `module:Class`, or with `--adapter` in `adapter_args`"
                    .to_owned(),
            );
            // One mistake is one problem: the pool is not one without an adapter, too.
            return text(SHOWCASE.to_owned(), given);
        }
        self.became(given, target);
        text(module.to_owned(), given)
    }

    /// What follows `--adapter`; all other arguments have no meaning.
    fn argument(&mut self, given: &Given<'_>) -> Option<String> {
        let Value::List(items) = &given.node.value else {
            let message = format!("expected a list of texts, found {}", given.node.value.kind());
            self.problem(Code::InvalidValue, given, message);
            return None;
        };
        let mut adapter = None;
        let mut others = Vec::new();
        let mut items = items.iter().map(|item| item.as_text().unwrap_or_default());
        while let Some(item) = items.next() {
            match item.strip_prefix("--adapter") {
                Some("") => adapter = items.next().map(str::to_owned),
                Some(rest) if rest.starts_with('=') => adapter = Some(rest[1..].to_owned()),
                _ => others.push(item),
            }
        }
        if !others.is_empty() {
            let why = format!("nobody reads `{}`", others.join(" "));
            self.nothing(given, &why);
        }
        adapter
    }

    pub(super) fn became(&mut self, given: &Given<'_>, what: &str) {
        self.remark(RemarkKind::Became, &given.path, what, &given.node.place);
    }

    pub(super) fn nothing(&mut self, given: &Given<'_>, why: &str) {
        self.remark(RemarkKind::NoMeaning, &given.path, why, &given.node.place);
    }
}

fn text(text: String, given: &Given<'_>) -> Node {
    Node::new(Value::Text(text), given.node.place.clone())
}

/// `package.module.Class` as `package.module:Class`.
fn python_path(name: &str) -> String {
    let is_showcase = name
        .strip_prefix(ORIGINAL_SHOWCASE)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ':']));
    if is_showcase {
        return SHOWCASE.to_owned();
    }
    let file = name.contains([':', '/']) || name.ends_with(".py");
    match name.rsplit_once('.') {
        Some((module, class)) if !file && class.starts_with(char::is_uppercase) => {
            format!("{module}:{class}")
        }
        _ => name.to_owned(),
    }
}

/// Elixir's modules are capitalised from the first part on; Python's packages are not.
fn is_elixir(module: &str) -> bool {
    module.starts_with(char::is_uppercase)
        && !module.contains([':', '/'])
        && !module.ends_with(".py")
}
