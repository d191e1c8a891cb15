//! An adapter that is not there.

use snakepit::ErrorKind;

use crate::support::{adapter, builder, start_error};

#[test]
fn missing_file_is_told_before_any_worker_starts_and_the_nearest_one_named() {
    // The interpreter does not exist either: the file is looked at first.
    let error = start_error(builder("plian.py").python("/nonexistent/python3"));
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("plian.py"), "{error}");
    assert!(error.help().is_some_and(|help| help.contains("`plain.py`")), "{error:?}");
}

#[test]
fn missing_module_and_missing_class_are_adapter_failures() {
    let error = start_error(builder("plain.py").adapter("no_such_module_anywhere"));
    assert_eq!(error.kind(), ErrorKind::AdapterFailed);
    assert!(error.message().contains("no_such_module_anywhere"), "{error}");

    let error =
        start_error(builder("plain.py").adapter(format!("{}:Confgured", adapter("plain.py"))));
    assert_eq!(error.kind(), ErrorKind::AdapterFailed);
    assert!(error.help().is_some_and(|help| help.contains("Configured")), "{error:?}");
}
