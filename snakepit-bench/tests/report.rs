//! The form of reports and what is made of it.

use std::path::{Path, PathBuf};

use serde_json::Value;
use snakepit_bench::report::{
    Better, Bound, Claim, Gate, Part, Report, Run, Section, Table, compare, html, markdown, wording,
};

const SCHEMA: &str = "report.schema.json";

/// A report of two sections, one of which failed.
fn report() -> Report {
    let mut rates = Table::new("call/small/inflight=64", "calls/s", Better::More).over("snakepit");
    let mut growth = Table::new("call/small", "calls/s", Better::More).along("in flight");
    for round in 0..5 {
        rates.add("snakepit", 40_000.0 + 100.0 * f64::from(round));
        rates.add("a <peer> & more", 10_000.0 - 50.0 * f64::from(round));
        for at in [1.0, 4.0, 16.0, 64.0, 256.0] {
            growth.add_at("snakepit", at, f64::min(at, 16.0) * 1_000.0 + f64::from(round));
        }
    }
    rates.conclude();
    growth.conclude();
    let ratio = rates.ratio("snakepit", "a <peer> & more");
    let claim = Claim {
        about: "memory".to_owned(),
        original: None,
        measured: "12 MiB".to_owned(),
        meaning: "less | more".to_owned(),
    };
    let part = Part {
        title: "Small calls".to_owned(),
        notes: vec!["A note.".to_owned()],
        tables: vec![rates, growth],
        gates: vec![
            Gate::new("over the peer", ratio, Bound::AtLeast(4.0)),
            Gate::new("far over the peer", ratio, Bound::AtLeast(40.0)),
        ],
        claims: vec![claim],
    };
    let mut report = Report::new(Run::begin("snakepit-load --quick".to_owned(), &[]));
    let measured = Section {
        id: "throughput".to_owned(),
        command: "snakepit-load throughput".to_owned(),
        seconds: 3.0,
        parts: vec![part],
        failures: Vec::new(),
    };
    let failures = vec!["the pool did not start".to_owned()];
    let failed = Section { id: "latency".to_owned(), failures, ..Section::default() };
    report.sections = vec![measured, failed];
    report
}

fn schema_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(SCHEMA)
}

#[test]
fn schema_is_that_of_the_types() {
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(Report)).unwrap() + "\n";
    if std::env::var_os("SNAKEPIT_BLESS").is_some() {
        std::fs::write(schema_file(), &schema).unwrap();
    }
    let kept = std::fs::read_to_string(schema_file()).unwrap_or_default();
    assert!(
        kept == schema,
        "write it anew: SNAKEPIT_BLESS=1 cargo test -p snakepit-bench --test report"
    );
}

#[test]
fn report_is_valid_and_comes_back_as_it_was() {
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(schema_file()).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let report = report();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    report.write(&file).unwrap();
    let value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(Report::read(&file).unwrap(), report);
}

#[test]
fn report_of_another_format_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    Report { format: 99, ..report() }.write(&file).unwrap();
    let error = Report::read(&file).unwrap_err().to_string();
    assert!(error.contains("format 99"), "{error}");
}

#[test]
fn markdown_shows_what_failed_and_what_was_missed_first() {
    let text = markdown::render(&report());
    let head = text.split("## throughput").next().unwrap();
    assert!(head.contains("1 of 2 gates are kept"), "{head}");
    assert!(head.contains("**MISSED** in `throughput`: far over the peer"), "{head}");
    assert!(head.contains("**FAILED** in `latency`: the pool did not start"), "{head}");
    assert!(text.contains("| memory | not known | 12 MiB | less \\| more |"), "{text}");
    assert!(text.contains("up to a knee at in flight = 16"), "{text}");
}

#[test]
fn contenders_are_set_against_one_of_them_with_an_interval() {
    let text = markdown::render(&report());
    let of = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap();
    assert!(of("| contender |").ends_with("| over snakepit |"), "{text}");
    assert!(of("| a <peer>").contains("| 0.25 (0.2"), "{text}");
    assert!(html::render(&report()).contains("0.25 (0.2"));
    // Where there is an axis, at each place of it.
    let mut table = Table::new("call/nap", "calls/s", Better::More).along("workers").over("v1");
    for (at, gain) in [(1.0, 1.0), (4.0, 3.5)] {
        table.add_at("v1", at, 200.0);
        table.add_at("v2", at, 200.0 * gain);
    }
    let mut text = String::new();
    markdown::table(&mut text, &table);
    assert!(text.contains("| workers | v1 | v2 | v2 over v1 |"), "{text}");
    assert!(text.contains("| 4 | 200 | 700 | 3.50 |"), "{text}");
}

#[test]
fn what_the_cores_give_is_said_as_it_was_measured() {
    let mut table = Table::new("call/burn", "calls/s", Better::More);
    [90.0, 100.0, 110.0].iter().for_each(|rate| table.add(wording::ONE_THREAD, *rate));
    [180.0, 190.0, 200.0].iter().for_each(|rate| table.add(wording::ALL_CORES, *rate));
    let mut report = report();
    assert!(!markdown::render(&report).contains("times the work of one"));
    report.sections[0].parts[0].tables.push(table);
    assert!(markdown::render(&report).contains("did 1.90 ("), "{}", markdown::render(&report));
}

#[test]
fn page_needs_nothing_else_and_follows_light_and_dark() {
    let page = html::render(&report());
    for foreign in ["<script", "http://", "https://", "url(", "@import", "<link", "<img"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(page.contains("a &lt;peer&gt; &amp; more") && !page.contains("<peer>"));
    // A chart for each table, with the command of its section.
    assert_eq!(page.matches("<svg").count(), 2);
    assert_eq!(page.matches("measured by <code>snakepit-load throughput</code>").count(), 2);
    for tag in ["svg", "table", "figure", "section", "details", "text", "ul"] {
        let (opened, closed) = (format!("<{tag}"), format!("</{tag}>"));
        let opened = page.matches(&format!("{opened}>")).count()
            + page.matches(&format!("{opened} ")).count();
        assert_eq!(opened, page.matches(&closed).count(), "{tag}");
    }
}

#[test]
fn chart_draws_each_contender_with_its_interval() {
    let page = html::render(&report());
    let bars = page.split("<svg").nth(1).unwrap().split("</svg>").next().unwrap();
    assert_eq!(bars.matches("<rect").count(), 2);
    assert_eq!(bars.matches("whisker").count(), 2);
    assert!(!page.contains("NaN"), "a coordinate is no number");
}

#[test]
fn chart_has_room_for_the_longest_name() {
    let name = "inflight=4, profile=thread, rounds=150000, threads=2, workers=1";
    let mut report = report();
    report.sections[0].parts[0].tables[0].series[0].contender = name.to_owned();
    let page = html::render(&report);
    let label = page.split("<text ").find(|text| text.contains(&format!(">{name}<"))).unwrap();
    assert!(label.contains("text-anchor=\"end\""), "{label}");
    let end: f64 = label.split('"').nth(1).unwrap().parse().unwrap();
    // Letters of 13 pixels are 6.5 wide on average.
    assert!(end > 6.5 * name.len() as f64, "it begins left of the chart: {label}");
}

#[test]
fn comparison_tells_a_change_from_noise_and_names_what_has_no_partner() {
    let (earlier, mut later) = (report(), report());
    let table = &mut later.sections[0].parts[0].tables[0];
    table.series[0].samples.iter_mut().for_each(|sample| *sample *= 0.5);
    table.series[1].contender = "another".to_owned();
    let found = compare::compare(&earlier, &later);
    let of = |key: &str| found.changes.iter().find(|change| change.key.ends_with(key)).unwrap();
    assert_eq!(of("inflight=64 · calls/s · snakepit").direction, compare::Direction::Worse);
    assert_eq!(of("in flight=16").direction, compare::Direction::Open);
    assert!(found.gone[0].ends_with("a <peer> & more") && found.new[0].ends_with("another"));
    let text = markdown::comparison(&found);
    assert!(text.contains("WORSE") && text.contains("- only later:"), "{text}");
}
