//! What an error says of itself: its table, its JSON form, its traceback.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use serde_json::{Value, json};
use snakepit_core::{
    Category, Error, ErrorKind, PythonException, PythonKind, RetryAdvice, Severity,
};

const DOCUMENT: &str = include_str!("../../docs/errors.md");
const SCHEMA: &str = include_str!("../../docs/error.schema.json");

fn exception(type_name: &str, module: &str, bases: &[&str], message: &str) -> PythonException {
    let mut exception = PythonException::default();
    exception.type_name = type_name.to_owned();
    exception.module = module.to_owned();
    exception.bases = bases.iter().map(|base| (*base).to_owned()).collect();
    exception.message = message.to_owned();
    exception
}

/// The error in the document.
fn example() -> (Value, Error) {
    let text = DOCUMENT.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    (serde_json::from_str(text).unwrap(), serde_json::from_str(text).unwrap())
}

#[test]
fn the_documents_table_of_kinds_is_what_the_code_says() {
    let rows: Vec<String> = ErrorKind::all()
        .map(|kind| {
            let error = Error::new(kind, "it failed");
            let (category, severity) = (error.category(), error.severity());
            format!("| `{}` | `{category}` | `{severity}` | `{}` | ", kind.code(), error.advice())
        })
        .collect();
    let after = DOCUMENT.split("## Kinds\n").nth(1).unwrap().trim_start();
    let table = after.split("\n\n").next().unwrap();
    let lines: Vec<&str> = table.lines().skip(2).collect();
    assert_eq!(lines.len(), rows.len());
    for (line, row) in lines.iter().zip(&rows) {
        assert!(line.starts_with(row), "{line}\nis to start with\n{row}");
    }
}

#[test]
fn every_error_fits_the_schema_and_is_read_back_as_it_was() {
    let schema = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut inner = exception("HostError", "snakepit", &["Exception"], "full");
    inner.host_error = Some(Box::new(
        Error::new(ErrorKind::PoolSaturated, "full").with_severity(Severity::Warning),
    ));
    let mut group = exception("ExceptionGroup", "builtins", &["Exception"], "two");
    group.members = vec![inner, exception("KeyError", "builtins", &[], "'a'")];
    let bare = ErrorKind::all().map(|kind| Error::new(kind, "it failed"));
    let full = ErrorKind::all().map(|kind| {
        Error::new(kind, "it failed")
            .with_help("do this")
            .with_detail("name", "value")
            .with_python(group.clone())
    });
    let lost = Error::new(ErrorKind::WorkerLost { maybe_executed: false }, "gone");
    for error in bare.chain(full).chain([lost, example().1]) {
        let form = serde_json::to_value(&error).unwrap();
        let problems: Vec<_> = validator.iter_errors(&form).map(|e| e.to_string()).collect();
        assert!(problems.is_empty(), "{form:#}: {problems:?}");
        assert_eq!(serde_json::from_value::<Error>(form).unwrap(), error);
    }
}

#[test]
fn the_schema_lists_every_name_there_is() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let listed = |path: &str| schema.pointer(path).unwrap().clone();
    let kinds: Vec<_> = ErrorKind::all().map(ErrorKind::code).collect();
    assert_eq!(listed("/$defs/error/properties/kind/enum"), json!(kinds));
    let names: Vec<_> = Category::ALL.iter().map(|category| category.name()).collect();
    assert_eq!(listed("/$defs/error/properties/category/enum"), json!(names));
    let names: Vec<_> = Severity::ALL.iter().map(|severity| severity.name()).collect();
    assert_eq!(listed("/$defs/error/properties/severity/enum"), json!(names));
    let names: Vec<_> = RetryAdvice::ALL.iter().map(|advice| advice.name()).collect();
    assert_eq!(listed("/$defs/error/properties/retry/enum"), json!(names));
    let names: Vec<_> = PythonKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(listed("/$defs/exception/properties/kind/enum"), json!(names));
    for name in names {
        assert!(DOCUMENT.contains(&format!("`{name}`")), "{name} is not in the document");
    }
}

/// The form is a promise: this is what it looked like when it was made.
#[test]
fn the_example_in_the_document_is_the_form_to_the_letter() {
    let (form, error) = example();
    assert_eq!(serde_json::to_value(&error).unwrap(), form);
    assert_eq!(error.python_kind(), Some(PythonKind::ValueError));
}

#[test]
fn what_a_later_release_says_is_still_an_error() {
    let text = json!({
        "kind": "gravity_lost", "category": "physics", "severity": "minor", "retry": "later",
        "message": "it floats", "altitude": 3,
    });
    let error: Error = serde_json::from_value(text).unwrap();
    assert_eq!((error.kind(), error.category()), (ErrorKind::System, Category::System));
    assert_eq!((error.severity(), error.advice()), (Severity::Minor, RetryAdvice::Abandon));
    assert_eq!(error.details()["unknown_kind"], "gravity_lost");
    let lost = json!({"kind": "worker_lost", "message": "gone"});
    let lost: Error = serde_json::from_value(lost).unwrap();
    assert_eq!(lost.kind(), ErrorKind::WorkerLost { maybe_executed: true });
}

#[test]
fn exceptions_are_told_apart_by_their_nearest_known_type_and_by_what_libraries_say() {
    use PythonKind as Kind;
    let table: [(&str, &str, &[&str], &str, Kind); 26] = [
        ("ValueError", "builtins", &["Exception"], "no", Kind::ValueError),
        ("KeyError", "builtins", &["LookupError"], "'a'", Kind::KeyError),
        ("IndexError", "builtins", &["LookupError"], "", Kind::IndexError),
        ("TypeError", "builtins", &[], "", Kind::TypeError),
        ("AttributeError", "builtins", &[], "", Kind::AttributeError),
        ("ModuleNotFoundError", "builtins", &["ImportError"], "", Kind::ImportError),
        ("RuntimeError", "builtins", &[], "", Kind::RuntimeError),
        ("NotImplementedError", "builtins", &["RuntimeError"], "", Kind::NotImplementedError),
        ("RecursionError", "builtins", &["RuntimeError"], "", Kind::RuntimeError),
        ("FileNotFoundError", "builtins", &["OSError"], "", Kind::FileNotFoundError),
        ("PermissionError", "builtins", &["OSError"], "", Kind::PermissionError),
        ("ZeroDivisionError", "builtins", &["ArithmeticError"], "", Kind::ZeroDivisionError),
        ("MemoryError", "builtins", &[], "", Kind::MemoryError),
        ("_ArrayMemoryError", "numpy._core", &["MemoryError"], "", Kind::MemoryError),
        ("OSError", "builtins", &[], "", Kind::Other),
        ("MyError", "mine", &["ValueError"], "CUDA is fine", Kind::ValueError),
        ("OutOfMemoryError", "torch", &["RuntimeError"], "", Kind::AcceleratorOutOfMemory),
        (
            "OutOfMemoryError",
            "cupy.cuda.memory",
            &["MemoryError"],
            "Out of memory allocating 1 bytes",
            Kind::AcceleratorOutOfMemory,
        ),
        ("OutOfMemoryError", "mine", &["Exception"], "", Kind::Other),
        (
            "XlaRuntimeError",
            "jaxlib.xla_extension",
            &["RuntimeError"],
            "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes",
            Kind::AcceleratorOutOfMemory,
        ),
        (
            "ValueError",
            "builtins",
            &[],
            "operands could not be broadcast together with shapes (2,3) (4,)",
            Kind::ShapeMismatch,
        ),
        (
            "RuntimeError",
            "builtins",
            &[],
            "mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)",
            Kind::ShapeMismatch,
        ),
        ("KeyError", "builtins", &[], "shape mismatch", Kind::KeyError),
        (
            "RuntimeError",
            "builtins",
            &[],
            "expected scalar type Float but found Double",
            Kind::DtypeMismatch,
        ),
        ("_UFuncNoLoopError", "numpy", &["UFuncTypeError", "TypeError"], "", Kind::DtypeMismatch),
        (
            "TypeError",
            "builtins",
            &[],
            "Cannot cast array data from dtype('float64') to dtype('int64')",
            Kind::DtypeMismatch,
        ),
    ];
    for (type_name, module, bases, message, kind) in table {
        let exception = exception(type_name, module, bases, message);
        assert_eq!(exception.kind(), kind, "{module}.{type_name}: {message}");
    }
}

#[test]
fn used_up_memory_is_critical_and_given_up_after_two_attempts() {
    let error = |type_name| {
        let exception = exception(type_name, "builtins", &[], "");
        Error::new(ErrorKind::Python, type_name).with_python(exception)
    };
    assert_eq!(error("ValueError").severity(), Severity::Major);
    assert_eq!(error("ValueError").advice_at(9), RetryAdvice::Failover);
    let used_up = error("MemoryError");
    assert_eq!(used_up.severity(), Severity::Critical);
    assert_eq!(used_up.advice_at(2), RetryAdvice::Failover);
    assert_eq!(used_up.advice_at(3), RetryAdvice::Abandon);
    let less = used_up.with_severity(Severity::Minor);
    assert_eq!(less.advice_at(3), RetryAdvice::Failover);
}

#[test]
fn display_is_one_short_sentence() {
    let error = example().1.with_help("list them").with_detail("name", "small");
    assert_eq!(error.to_string(), "ValueError: no such model");
}
