//! Python adapters written for the original run unmodified.

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures_util::future::join_all;
use serde_json::{Value as Json, json};
use snakepit::{Error, ErrorKind, HostTool, Phase, PoolConfig, Snakepit, ToolContext};

use crate::events::Events;
use crate::support::{PATIENCE, adapter, free_threaded, python, stop, until, wait};

fn spec(name: &str) -> String {
    adapter(&format!("original/{name}"))
}

fn start(name: &str, python: PathBuf) -> Snakepit {
    let builder = Snakepit::builder().adapter(spec(name)).python(python).workers(1);
    wait(builder.start()).unwrap_or_else(|error| panic!("{name}: {error:?}"))
}

fn start_threads(name: &str, python: PathBuf, threads: usize) -> Result<Snakepit, Error> {
    let pool = PoolConfig::builder("default")
        .adapter(spec(name))
        .python(python)
        .profile("thread")
        .threads(threads)
        .build()
        .unwrap();
    wait(Snakepit::builder().pool(pool).start())
}

/// Both interpreters, each in processes.
fn interpreters() -> [PathBuf; 2] {
    [python(), free_threaded()]
}

fn items(snakepit: &Snakepit, command: &str, arguments: Json) -> Vec<Result<Json, Error>> {
    let mut stream = wait(snakepit.execute_stream::<Json>(command, arguments)).unwrap();
    let mut items = Vec::new();
    while let Some(item) = wait(stream.next()) {
        items.push(item);
    }
    items
}

fn call(snakepit: &Snakepit, command: &str, arguments: Json) -> Json {
    wait(snakepit.execute(command, arguments)).unwrap_or_else(|e| panic!("{command}: {e:?}"))
}

#[test]
fn marked_methods_run_with_the_hooks_around_each_call() {
    for python in interpreters() {
        let snakepit = start("calculator.py", python);
        assert_eq!(call(&snakepit, "add", json!({"a": 5, "b": 3})), json!(8));
        assert_eq!(call(&snakepit, "scale", json!({"values": null})), json!([2.0, 4.0]));
        let said: Json = wait(
            snakepit.call("whoami").session("s-1").metadata("trace", "7").args(json!({})).execute(),
        )
        .unwrap();
        assert_eq!(said, json!({"session_id": "s-1", "metadata": {"trace": "7"}}));
        let raised = wait(snakepit.execute::<Json>("fail", json!({}))).unwrap_err();
        assert_eq!(raised.kind(), ErrorKind::Python);
        assert_eq!(raised.python().unwrap().type_name, "ValueError");
        let unknown = wait(snakepit.execute::<Json>("ad", json!({}))).unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::UnknownCommand, "{unknown:?}");
        let wrong = wait(snakepit.execute::<Json>("add", json!({"a": 1}))).unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::InvalidArguments, "{wrong:?}");

        let journal = call(&snakepit, "journal", json!({}));
        let journal = journal.as_array().unwrap();
        let hooks = json!(["made", "session default", "initialized", "cleaned up"]);
        let hooks = hooks.as_array().unwrap();
        // Four calls that entered the adapter, and the one that asks.
        assert_eq!(journal.len(), 4 * 4 + 3, "{journal:?}");
        assert_eq!(&journal[..4], hooks);
        assert_eq!(&journal[12..16], hooks, "after a failure too");
        stop(snakepit);
    }
}

#[test]
fn execute_tool_alone_is_asked_for_every_name() {
    for python in interpreters() {
        let snakepit = start("by_name.py", python);
        assert_eq!(call(&snakepit, "add", json!({"a": 5, "b": 3})), json!(8));
        let unknown = wait(snakepit.execute::<Json>("nothing", json!({}))).unwrap_err();
        assert_eq!(unknown.python().unwrap().message, "Unknown tool: nothing");
        let counted = items(&snakepit, "count", json!({"to": 300}));
        let counted: Vec<_> = counted.into_iter().map(Result::unwrap).collect();
        assert_eq!(counted, (0..300).map(|n| json!(n)).collect::<Vec<_>>());
        let mismatch = wait(snakepit.execute::<Json>("count", json!({}))).unwrap_err();
        assert_eq!(mismatch.kind(), ErrorKind::StreamingRequired, "{mismatch:?}");
        let tools = snakepit.tools("default").unwrap();
        assert_eq!(tools.iter().map(|tool| &*tool.name).collect::<Vec<_>>(), ["*"]);
        stop(snakepit);
    }
}

#[test]
fn coroutine_hooks_and_streams_run_and_a_cancelled_call_is_cleaned_up() {
    for python in interpreters() {
        let snakepit = start("waits.py", python);
        let state = wait(snakepit.call("state").session("s-1").args(json!({})).execute::<Json>());
        assert_eq!(state.unwrap(), json!([true, "initialized", "s-1"]));
        let ticks = items(&snakepit, "ticks", json!({"count": 2}));
        let ticks: Vec<_> = ticks.into_iter().map(Result::unwrap).collect();
        assert_eq!(ticks, [json!({"tick": 0}), json!({"tick": 1})]);
        let broken = items(&snakepit, "ticks", json!({"fail_at": 1}));
        assert_eq!(broken.last().unwrap().as_ref().unwrap_err().kind(), ErrorKind::Python);
        assert_eq!(call(&snakepit, "journal", json!({})).as_array().unwrap().len(), 3);

        let late = snakepit.call("stuck").args(json!({}));
        let late = wait(late.timeout(std::time::Duration::from_millis(50)).execute::<Json>());
        assert_eq!(late.unwrap_err().kind(), ErrorKind::Timeout(Phase::Call));
        // Its own journal call's, and that of the cancelled one, in the same worker.
        assert_eq!(call(&snakepit, "journal", json!({})), json!(["cleaned up", "cleaned up"]));
        stop(snakepit);
    }
}

#[test]
fn a_stream_that_is_dropped_is_closed_and_cleaned_up() {
    for python in interpreters() {
        let snakepit = start("streams.py", python);
        let mut stream =
            wait(snakepit.execute_stream::<Json>("stream_data", json!({"count": 1_000_000})))
                .unwrap();
        let first = wait(stream.next()).unwrap().unwrap();
        assert_eq!(first, json!({"index": 1, "total": 1_000_000}));
        drop(stream);
        assert_eq!(call(&snakepit, "journal", json!({})), json!(["closed", "cleaned up"]));
        assert_eq!(call(&snakepit, "search", json!({"query": "q"}))["query"], "q");
        let tools = snakepit.tools("default").unwrap();
        let streaming: Vec<_> = tools.iter().filter(|tool| tool.streaming).collect();
        assert_eq!(streaming.len(), 5, "{tools:?}");
        stop(snakepit);
    }
}

#[test]
fn a_store_of_programs_in_the_module_serves_later_calls() {
    for python in interpreters() {
        let snakepit = start("programs.py", python);
        let in_session = |command: &str, arguments: Json| {
            let call = snakepit.call(command).session("mine").args(arguments);
            wait(call.execute::<Json>()).unwrap()
        };
        let program = json!({"name": "p", "program_type": "chain_of_thought", "temperature": 0.5});
        assert_eq!(in_session("create_program", program)["success"], true);
        let ran =
            in_session("execute_program", json!({"name": "p", "inputs": {"question": "why"}}));
        let expected = json!({"question": "why", "by": "chain_of_thought", "temperature": 0.5});
        assert_eq!(ran["result"], expected);
        // As JSON text, against the hint, as DSPex's callers may.
        let ran = in_session("execute_program", json!({"name": "p", "inputs": "{\"x\": 1}"}));
        assert_eq!(ran["result"]["x"], 1);
        stop(snakepit);
    }
}

#[test]
fn a_thread_safe_adapter_serves_several_calls_with_one_object() {
    let snakepit = start_threads("threaded.py:ThreadedAdapter", free_threaded(), 4).unwrap();
    let calls = (0..200).map(|_| snakepit.execute::<u64>("count", json!({})));
    let totals: Result<BTreeSet<_>, _> = wait(join_all(calls)).into_iter().collect();
    assert_eq!(totals.unwrap(), (1..=200).collect());
    let said = call(&snakepit, "statistics", json!({}));
    assert_eq!((&said["total"], &said["log"]), (&json!(200), &json!(200)));
    assert_eq!(said["tracker"]["total_requests"], 200);
    stop(snakepit);

    // With the GIL too: the profile is the same.
    let snakepit = start_threads("threaded.py:ThreadedAdapter", python(), 2).unwrap();
    assert_eq!(call(&snakepit, "count", json!({"amount": 3})), json!(3));
    stop(snakepit);
}

#[test]
fn calls_at_the_same_time_see_their_own_sessions() {
    let snakepit = start_threads("sessions.py", free_threaded(), 2).unwrap();
    let whose = |session: &str| {
        snakepit.call("whose").session(session.to_owned()).args(json!({})).execute::<String>()
    };
    let (first, second) = wait(futures_util::future::try_join(whose("s-0"), whose("s-1"))).unwrap();
    assert_eq!((&*first, &*second), ("s-0", "s-1"));
    stop(snakepit);
}

#[test]
fn an_adapter_that_is_not_declared_thread_safe_is_refused_with_advice() {
    let Err(error) = start_threads("threaded.py:Undeclared", free_threaded(), 2) else {
        panic!("the pool started");
    };
    let said = format!("{error:?}");
    assert!(said.contains("does not say that it is thread-safe"), "{said}");
    assert!(said.contains("use the process profile"), "{said}");
    // A plain class that says so is served, with an object for each call.
    let snakepit = start_threads("by_name.py", free_threaded(), 2).unwrap();
    let calls = (0..50).map(|n| {
        let call = snakepit.call("where").session(format!("s-{n}")).args(json!({}));
        call.execute::<Json>()
    });
    for (n, said) in wait(join_all(calls)).into_iter().enumerate() {
        let session = format!("s-{n}");
        assert_eq!(said.unwrap(), json!([session, session, {}]));
    }
    stop(snakepit);
}

#[test]
fn tools_of_the_host_are_called_as_the_originals_were() {
    for python in interpreters() {
        let double = HostTool::new("double", |_: ToolContext, arguments: Json| async move {
            Ok(arguments["n"].as_i64().unwrap() * 2)
        });
        let double = double.description("Doubles a number.").parameters(json!({
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
        }));
        let builder = Snakepit::builder().adapter(spec("elixir_tools.py")).python(python);
        let snakepit = wait(builder.workers(1).host_tool(double).start()).unwrap();
        assert_eq!(call(&snakepit, "offered", json!({})), json!({"double": "Doubles a number."}));
        assert_eq!(call(&snakepit, "doubled", json!({"n": 21})), json!([42, 42]));
        let missing = call(&snakepit, "missing", json!({}));
        assert!(missing.as_str().unwrap().starts_with("no tool `nothing`"), "{missing}");
        let error = wait(snakepit.execute::<Json>("wrong", json!({}))).unwrap_err();
        assert_eq!(error.python().unwrap().type_name, "RuntimeError");
        let cause = error.cause().expect("the host's own error");
        assert_eq!(cause.kind(), ErrorKind::InvalidArguments, "{cause:?}");
        assert_eq!(cause.details()["parameter"], "n");
        stop(snakepit);
    }
}

#[test]
fn stubs_of_the_original_are_refused_with_what_to_use_instead() {
    let builder = Snakepit::builder().adapter(spec("needs_stubs.py")).python(python()).workers(1);
    let Err(error) = wait(builder.start()) else { panic!("the pool started") };
    let said = format!("{error:?}");
    assert!(said.contains("there is no `snakepit_bridge_pb2` here"), "{said}");
    assert!(said.contains("call_elixir_tool"), "{said}");
}

#[test]
fn what_an_adapter_tells_of_becomes_an_event_of_this_program() {
    let events = Events::collected();
    let pool = PoolConfig::builder("telling").adapter(spec("telling.py")).python(python());
    let pool = pool.workers(1).build().unwrap();
    let snakepit = wait(Snakepit::builder().pool(pool).start()).unwrap();
    let call = |command: &str, arguments: Json| {
        let call = snakepit.call(command).pool("telling").args(arguments);
        wait(call.metadata("correlation_id", "c-1").execute::<Json>())
    };
    assert_eq!(call("predict", json!({"items": 7})).unwrap(), 7);
    assert_eq!(call("work", json!({})).unwrap(), "c-1");
    call("work", json!({"fail": true})).unwrap_err();

    let told = || events.of("telling");
    until("the events come", || told().len() >= 5);
    let told = told();
    let names: Vec<_> = told.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let expected = [
        "prediction.made",
        "work.done.start",
        "work.done.stop",
        "work.done.start",
        "work.done.exception",
    ];
    assert_eq!(names, expected);
    let parsed = |event: &Json, field: &str| -> Json {
        serde_json::from_str(event[field].as_str().unwrap()).unwrap()
    };
    assert_eq!(parsed(&told[0], "measurements"), json!({"items": 7, "score": 0.5}));
    let metadata = json!({"model": "small", "correlation_id": "c-1"});
    assert_eq!(parsed(&told[0], "metadata"), metadata);
    assert!(told.iter().all(|event| event["call"].as_u64() > Some(0)), "{told:?}");
    assert!(told.iter().all(|event| event["worker"].is_string()), "{told:?}");
    assert!(parsed(&told[2], "measurements")["duration"].as_u64() > Some(0));
    assert_eq!(parsed(&told[4], "metadata")["error_type"], "ValueError");
    stop(snakepit);
}

#[test]
fn more_events_than_can_leave_are_dropped_and_counted_and_hold_nobody_up() {
    let events = Events::collected();
    let pool = PoolConfig::builder("flooding").adapter(spec("telling.py")).python(python());
    let pool = pool.workers(1).build().unwrap();
    let snakepit = wait(Snakepit::builder().pool(pool).start()).unwrap();
    let flood = snakepit.call("flood").pool("flooding").args(json!({"count": 200_000}));
    assert_eq!(wait(flood.timeout(PATIENCE).execute::<u64>()).unwrap(), 200_000);
    // What is told after the flood brings the number of those that were dropped last.
    let last = snakepit.call("predict").pool("flooding").args(json!({}));
    wait(last.execute::<u64>()).unwrap();
    let is_last = |event: &Json| event["event"] == "prediction.made";
    until("the last event comes", || events.of("flooding").iter().any(is_last));
    let told = events.of("flooding");
    let came = told.iter().filter(|event| event["event"] == "flood.drop").count() as u64;
    let dropped: u64 = told.iter().filter_map(|event| event["dropped"].as_u64()).sum();
    assert_eq!(came + dropped, 200_000);
    stop(snakepit);
}
