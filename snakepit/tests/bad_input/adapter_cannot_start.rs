//! An adapter that fails while it is imported or set up.

use snakepit::ErrorKind;

use crate::support::{adapter, builder, start_error};

#[test]
fn import_error_comes_with_its_traceback() {
    let error = start_error(builder("import_error.py"));
    assert_eq!(error.kind(), ErrorKind::AdapterFailed);
    let exception = error.python().expect("the exception");
    assert_eq!(exception.type_name, "RuntimeError");
    let traceback = exception.traceback();
    for expected in ["import_error.py", "in explode", "no weights on this machine"] {
        assert!(traceback.contains(expected), "{traceback}");
    }
}

#[test]
fn setup_error_names_the_step() {
    let error = start_error(builder("x").adapter(format!("{}:Broken", adapter("setup_error.py"))));
    assert_eq!(error.kind(), ErrorKind::AdapterFailed);
    assert!(error.message().contains("setup"), "{error}");
    assert_eq!(error.python().expect("the exception").type_name, "ConnectionError");
}
