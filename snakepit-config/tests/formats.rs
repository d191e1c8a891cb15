//! The three formats say the same, with the same places for problems.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use snakepit_config::{Code, Config, Format};

fn problem(text: &str, format: Format) -> (Code, String, Option<(usize, usize)>) {
    let error = Config::from_text(text, format).unwrap_err();
    let first = &error.problems()[0];
    (first.code, error.to_string(), first.position.map(|at| (at.line, at.column)))
}

#[test]
fn every_format_gives_the_same_settings() {
    let toml = "[pool.b]\nadapter = 'a.py'\nworkers = 2\nenv = { A = 'ä\\n' }\n\
                lifecycle = { jitter = 0.25 }\n[pool.a]\nadapter = 'm:C'\n\
                adapter_args = { n = 1, x = 1.5, flag = true, list = [1, 'two'] }";
    let json = r#"{"pool": {"b": {"adapter": "a.py", "workers": 2, "env": {"A": "\u00e4\\n"},
        "lifecycle": {"jitter": 0.25}}, "a": {"adapter": "m:C",
        "adapter_args": {"n": 1, "x": 1.5, "flag": true, "list": [1, "two"]}}}}"#;
    let yaml = "
pool:
  b: &one
    adapter: a.py
    workers: 2
    env: {A: 'ä\\n'}   # a comment
    lifecycle:
      jitter: 0.25
  a:
    adapter: 'm:C'
    adapter_args: {n: 1, x: 1.5, flag: true, list: [1, two]}
";
    let expected = Config::from_toml(toml).unwrap();
    assert_eq!(Config::from_text(json, Format::Json).unwrap(), expected);
    assert_eq!(Config::from_text(yaml, Format::Yaml).unwrap(), expected);
    assert_eq!(expected.pools()[0].name(), "b", "in the order of the document");
    for format in Format::ALL {
        let text = expected.to_text(format);
        assert_eq!(Config::from_text(&text, format).unwrap(), expected, "{text}");
    }
}

#[test]
fn problems_have_their_place_in_every_format() {
    let json =
        "{\"pool\": {\"p\": {\n  \"adapter\": \"a.py\",\n  \"ä\": \"ü\", \"workers\": 0\n}}}";
    let yaml = "pool:\n  p:\n    adapter: a.py\n    workers: 0\n";
    assert_eq!(problem(json, Format::Json).2, Some((3, 3)), "the unknown key comes first");
    let error = Config::from_text(json, Format::Json).unwrap_err();
    let at = error.problems()[1].position.unwrap();
    assert_eq!((at.line, at.column), (3, 24));
    assert_eq!(problem(yaml, Format::Yaml).2, Some((4, 14)));
}

#[test]
fn broken_text_is_one_problem_of_syntax_with_its_place() {
    for (text, format, at) in [
        ("[pool.default]\nadapter = \n", Format::Toml, (2, 11)),
        ("{\n  \"pool\": {,}\n}", Format::Json, (2, 12)),
        ("{\"pool\": {}} x", Format::Json, (1, 14)),
        ("{\"a\": \"\\ud800\"}", Format::Json, (1, 7)),
        ("{\"a\": 1,\n \"a\": 2}", Format::Json, (2, 2)),
        ("pool:\n  a: [1\nb: 2", Format::Yaml, (3, 2)),
        ("a: 1\na: 2", Format::Yaml, (2, 1)),
        ("a: !!str 1", Format::Yaml, (1, 4)),
        ("a: 1\n---\nb: 2", Format::Yaml, (2, 1)),
        ("a: *b", Format::Yaml, (1, 4)),
    ] {
        let (code, message, place) = problem(text, format);
        assert_eq!((code, place), (Code::Syntax, Some(at)), "{text}: {message}");
    }
    let (code, ..) = problem("{\"pool\": {\"a\": {}, \"a\": {}}}", Format::Json);
    assert_eq!(code, Code::DuplicatePoolNames);
}

#[test]
fn words_of_yaml_mean_what_its_core_schema_says() {
    let yaml = "pool: {p: {adapter: a.py, adapter_args: {a: yes, b: 0x10, c: -1, d: 1e3, e: 'true', \
                f: 12:30, g: 1.5.2, h: 0o17}}}";
    let config = Config::from_text(yaml, Format::Yaml).unwrap();
    let arguments = serde_json::Value::Object(config.pools()[0].adapter_args().clone());
    let expected = serde_json::json!({ "a": "yes", "b": 16, "c": -1, "d": 1000.0, "e": "true",
        "f": "12:30", "g": "1.5.2", "h": 15 });
    assert_eq!(arguments, expected);
}

#[test]
fn no_text_costs_more_than_its_length() {
    let deep = |open: &str, close: &str| {
        let n = 100_000;
        format!("{{\"a\": {}{}}}", open.repeat(n), close.repeat(n))
    };
    let dots = format!("{}a = 1", "a.".repeat(500_000));
    let header = format!("[{}a]", "a.".repeat(500_000));
    let inline = format!("a = {}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let laughs: String = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        let before = n - 1;
        text + &format!("a{n}: &a{n} [*a{before}, *a{before}]\n")
    });
    for (text, format) in [
        (deep("[", "]"), Format::Json),
        (deep("{\"a\": ", "}"), Format::Json),
        (deep("[", "]"), Format::Yaml),
        (laughs, Format::Yaml),
        (dots, Format::Toml),
        (header, Format::Toml),
        (inline, Format::Toml),
        (" ".repeat(9 << 20), Format::Toml),
    ] {
        let (code, message, _) = problem(&text, format);
        let refused = matches!(code, Code::TooLarge | Code::Syntax);
        assert!(refused, "{format:?} {}: {message}", &text[..20]);
    }
    let art = format!("[pool.p]\nadapter = 'a.py'\nenv.A = '''\n{}\n'''", ".".repeat(200));
    assert!(Config::from_toml(&art).is_ok(), "dots in a text are no key");
}
