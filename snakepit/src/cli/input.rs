//! Arguments of a call as they stand on the command line: JSON, `-` for standard input, `@file`.

use std::io::Read;

use snakepit::Value;

use super::diagnostic::Failure;

/// Reads the arguments of a call; none at all is nil.
pub(super) fn arguments(given: Option<&str>) -> Result<Value, Failure> {
    let (text, place) = match given {
        None => return Ok(Value::Nil),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
            (text, "on standard input".to_owned())
        }
        Some(given) => match given.strip_prefix('@') {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Failure::usage(format!("cannot read {path}: {error}")))?;
                (text, format!("in {path}"))
            }
            None => (given.to_owned(), "on the command line".to_owned()),
        },
    };
    Value::from_json_text(&text).map_err(|error| {
        let error = snakepit::Error::new(
            snakepit::ErrorKind::InvalidArguments,
            format!("the arguments {place} are not JSON: {error}"),
        );
        Failure::invalid(error.with_help("write an object, as '{\"a\": 5, \"b\": 3}'"))
    })
}
