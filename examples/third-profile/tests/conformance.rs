//! A profile from outside keeps what every profile must keep, with one thread and with several.

mod support;

mod one_thread {
    use super::support::Closed;
    snakepit_core::conformance!(Closed::new(1));
}

mod four_threads {
    use super::support::Closed;
    snakepit_core::conformance!(Closed::new(4));
}
