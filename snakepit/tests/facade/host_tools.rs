//! Tools in Rust, called by Python in workers of both profiles.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use snakepit::{Builder, Error, ErrorKind, HostTool, PoolConfig, Snakepit, ToolContext};
use tokio::sync::watch;

use crate::support::{PATIENCE, adapter, free_threaded, python, stop, until, wait};

#[derive(Deserialize)]
struct N {
    n: u64,
}

/// A pool of one process, and one of a worker with three threads.
fn both() -> Builder {
    let processes = PoolConfig::builder("processes").python(python()).workers(1);
    let threads = PoolConfig::builder("threads").python(free_threaded()).profile("thread");
    let pools = [processes, threads.workers(1).threads(3)];
    pools.into_iter().fold(Snakepit::builder(), |builder, pool| {
        builder.pool(pool.adapter(adapter("calls_host.py")).build().unwrap())
    })
}

const POOLS: [&str; 2] = ["processes", "threads"];

fn doubling() -> HostTool {
    HostTool::new("double", |_: ToolContext, N { n }| async move { Ok(2 * n) })
        .description("Doubles a number.")
        .parameters(json!({
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
        }))
        .returns(json!({"type": "integer"}))
}

/// How often a tool has begun, and how often it was given up.
#[derive(Default)]
struct Counts {
    begun: watch::Sender<usize>,
    dropped: watch::Sender<usize>,
}

impl Counts {
    async fn begun(&self, times: usize) {
        self.begun.subscribe().wait_for(|count| *count == times).await.unwrap();
    }

    /// Waits until the tool was given up as often as it has begun, and that was so many times.
    async fn dropped(&self, times: usize) {
        self.begun(times).await;
        self.dropped.subscribe().wait_for(|count| *count == times).await.unwrap();
    }
}

struct Running(Arc<Counts>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dropped.send_modify(|count| *count += 1);
    }
}

/// A tool that never ends.
fn endless(name: &str) -> (HostTool, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let counted = Arc::clone(&counts);
    let tool = HostTool::new(name, move |_: ToolContext, (): ()| {
        let running = Running(Arc::clone(&counted));
        async move {
            running.0.begun.send_modify(|count| *count += 1);
            std::future::pending::<()>().await;
            drop(running);
            Ok(())
        }
    });
    (tool, counts)
}

#[test]
fn python_calls_closures_from_threads_coroutines_and_generators() {
    let snakepit = wait(both().host_tool(doubling()).start()).unwrap();
    for pool in POOLS {
        let call = |command: &'static str| snakepit.call(command).pool(pool);
        let one = json!({"name": "double", "arguments": {"n": 21}});
        for command in ["call", "call_async"] {
            assert_eq!(wait(call(command).args(&one).execute::<u64>()).unwrap(), 42, "{command}");
        }
        let many = json!({"name": "double", "count": 20});
        let doubled: Vec<u64> = (0..20).map(|n| 2 * n).collect();
        assert_eq!(wait(call("gather").args(&many).execute::<Vec<u64>>()).unwrap(), doubled);
        let mut stream = wait(call("stream").args(&many).stream::<u64>()).unwrap();
        let mut streamed = Vec::new();
        while let Some(item) = wait(stream.next()) {
            streamed.push(item.unwrap());
        }
        assert_eq!(streamed, doubled);
        let helper = call("from_helper_thread").args(json!({"name": "double"}));
        assert_eq!(wait(helper.execute::<u64>()).unwrap(), 2);
    }
    let report = &snakepit.host_tools()[0];
    assert_eq!((report.tool.name.as_str(), report.calls, report.failed), ("double", 86, 0));
    let counters = snakepit.stats().total.counters;
    assert_eq!((counters.tool_calls, counters.tool_errors), (86, 0));
    stop(snakepit);
}

#[test]
fn python_sees_what_there_is_also_when_that_changes() {
    let only = HostTool::new("only", |_: ToolContext, (): ()| async { Ok(()) }).for_pool("threads");
    let snakepit = wait(both().host_tool(doubling()).host_tool(only).start()).unwrap();
    let listed =
        |pool: &'static str| wait(snakepit.call("listed").pool(pool).execute::<Value>()).unwrap();
    let double = json!([
        "Doubles a number.",
        {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        {"type": "integer"},
    ]);
    assert_eq!(listed("processes"), json!({"double": double}));
    assert_eq!(listed("threads")["only"], json!(["", {"type": "object"}, null]));

    let again = snakepit.register(doubling()).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::ToolExists);
    let late = HostTool::new("late", |_: ToolContext, (): ()| async { Ok("here") });
    snakepit.register(late).unwrap();
    for pool in POOLS {
        let call = snakepit.call("call").pool(pool).args(json!({"name": "late"}));
        assert_eq!(wait(call.execute::<String>()).unwrap(), "here");
        assert!(listed(pool)["late"].is_array());
    }
    assert!(snakepit.unregister("late"));
    assert!(listed("processes").get("late").is_none());
    let gone = snakepit.call("caught").pool("processes").args(json!({"name": "late"}));
    assert_eq!(wait(gone.execute::<Value>()).unwrap()[0], "tool_not_found");
    stop(snakepit);
}

#[test]
fn two_tools_of_one_name_are_refused_before_anything_starts() {
    let error = wait(both().host_tool(doubling()).host_tool(doubling()).start()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ToolExists);
    assert_eq!(error.details()["tool"], "double");
}

#[test]
fn arguments_that_do_not_fit_are_refused_by_name() {
    let snakepit = wait(both().host_tool(doubling()).start()).unwrap();
    let refused = |arguments: Value| {
        let call = snakepit.call("caught").pool("processes");
        let call = call.args(json!({"name": "double", "arguments": arguments}));
        let [kind, message, details, help, _]: [Value; 5] = wait(call.execute()).unwrap();
        assert_eq!(kind, "invalid_arguments", "{message}");
        (details["parameter"].clone(), help)
    };
    assert_eq!(refused(json!({})).0, "n");
    assert_eq!(refused(json!({"n": "one"})).0, "n");
    let (parameter, help) = refused(json!({"n": 1, "m": 2}));
    assert_eq!((parameter, help), (json!("m"), json!("did you mean `n`?")));
    stop(snakepit);
}

#[test]
fn a_tools_error_is_an_exception_in_python_and_the_cause_of_the_calls_error() {
    let failing = HostTool::new("failing", |_: ToolContext, (): ()| async {
        let disk = Error::new(ErrorKind::System, "the disk is gone");
        let error = Error::tool("not_found", "no such key").with_detail("key", "k");
        Err::<(), _>(error.with_help("look elsewhere").with_cause(disk))
    });
    let snakepit = wait(both().host_tool(failing).start()).unwrap();
    for pool in POOLS {
        let call = |command: &'static str| {
            snakepit.call(command).pool(pool).args(json!({"name": "failing"}))
        };
        let caught: Value = wait(call("caught").execute()).unwrap();
        let expected = json!(["not_found", "no such key", {"key": "k"}, "look elsewhere", []]);
        assert_eq!(caught, expected);
        for command in ["call", "call_async", "wrapped", "grouped"] {
            let error = wait(call(command).execute::<Value>()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Python, "{command}");
            let cause = error.cause().unwrap_or_else(|| panic!("{command}: {error:?}"));
            assert_eq!((cause.kind(), cause.message()), (ErrorKind::ToolFailed, "no such key"));
            assert_eq!(cause.cause().unwrap().kind(), ErrorKind::System, "{command}");
        }
    }
    stop(snakepit);
}

#[test]
fn a_panic_is_a_typed_error_and_the_host_goes_on() {
    let panics = HostTool::new("panics", |_: ToolContext, (): ()| async {
        panic!("no luck");
        #[expect(unreachable_code, reason = "gives the future its type")]
        Ok(())
    });
    let blocking = HostTool::blocking("blocking", |_: ToolContext, (): ()| -> Result<(), Error> {
        panic!("no luck either")
    });
    let snakepit = wait(both().host_tool(panics).host_tool(blocking).host_tool(doubling()).start());
    let snakepit = snakepit.unwrap();
    for (name, said) in [("panics", "no luck"), ("blocking", "no luck either")] {
        let call = snakepit.call("caught").pool("processes").args(json!({"name": name}));
        let caught: Value = wait(call.execute()).unwrap();
        assert_eq!(caught[0], "tool_panicked");
        assert!(caught[1].as_str().unwrap().ends_with(said), "{caught}");
    }
    let arguments = json!({"name": "double", "arguments": {"n": 1}});
    let call = snakepit.call("call").pool("processes").args(arguments);
    assert_eq!(wait(call.execute::<u64>()).unwrap(), 2);
    let panicked: u64 = snakepit.host_tools().iter().map(|report| report.panicked).sum();
    assert_eq!(panicked, 2);
    stop(snakepit);
}

#[test]
fn nested_calls_have_session_trace_metadata_and_deadline_of_their_caller() {
    let nest = HostTool::new("nest", |context: ToolContext, (): ()| async move {
        let nested: Value = context.call("who").pool("threads").execute().await?;
        let own = json!({
            "pool": context.pool().as_str(),
            "command": context.command(),
            "session": context.session().map(|id| id.as_str().to_owned()),
            "depth": context.depth(),
        });
        Ok(json!([own, nested]))
    });
    let snakepit = wait(both().host_tool(nest).start()).unwrap();
    for command in ["call", "call_async"] {
        let call = snakepit.call(command).pool("processes").args(json!({"name": "nest"}));
        let call = call.session("s1").traceparent("00-aa-bb-01").metadata("user", "ada");
        let [own, nested]: [Value; 2] = wait(call.timeout(PATIENCE).execute()).unwrap();
        let expected =
            json!({"pool": "processes", "command": command, "session": "s1", "depth": 0});
        assert_eq!(own, expected);
        assert_eq!(nested["session"], "s1");
        assert_eq!(nested["trace"], "00-aa-bb-01");
        assert_eq!(nested["metadata"], json!({"user": "ada"}));
        assert_eq!(nested["depth"], 1);
        assert!(nested["remaining"].as_f64().unwrap() < PATIENCE.as_secs_f64());
    }
    stop(snakepit);
}

#[test]
fn an_exception_goes_through_python_rust_and_python_again_with_its_chain() {
    let nest = HostTool::new("nest", |context: ToolContext, (): ()| async move {
        context.call("call").pool("threads").args(json!({"name": "nope"})).execute::<Value>().await
    });
    let snakepit = wait(both().host_tool(nest).start()).unwrap();
    let call = |command| snakepit.call(command).pool("processes").args(json!({"name": "nest"}));
    let error = wait(call("call").execute::<Value>()).unwrap_err();
    // Python in a process, the tool, Python in a thread, and what that asked of the host.
    let kinds = std::iter::successors(Some(&error), |error| error.cause()).map(Error::kind);
    let expected = [ErrorKind::Python, ErrorKind::Python, ErrorKind::ToolNotFound];
    assert_eq!(kinds.collect::<Vec<_>>(), expected);
    let caught: Value = wait(call("caught").execute()).unwrap();
    let note = caught[4][0].as_str().unwrap();
    assert!(note.contains("calls_host.py") && note.contains("ToolError"), "{note}");
    stop(snakepit);
}

#[test]
fn tools_that_call_each_other_end_at_the_depth_limit() {
    let deepest = Arc::new(AtomicUsize::new(0));
    let noted = Arc::clone(&deepest);
    let again = HostTool::new("again", move |context: ToolContext, (): ()| {
        noted.fetch_max(context.depth() as usize, Ordering::SeqCst);
        async move { context.execute::<Value>("call", json!({"name": "again"})).await }
    });
    let pool = PoolConfig::builder("default").python(python()).workers(4).max_tool_depth(3);
    let pool = pool.adapter(adapter("calls_host.py")).build().unwrap();
    let snakepit = wait(Snakepit::builder().pool(pool).host_tool(again).start()).unwrap();
    let call = snakepit.call("call").args(json!({"name": "again"}));
    let error = wait(call.execute::<Value>()).unwrap_err();
    let root = std::iter::successors(Some(&error), |error| error.cause()).last().unwrap();
    assert_eq!(root.kind(), ErrorKind::NestingTooDeep);
    assert_eq!((&*root.details()["depth"], &*root.details()["limit"]), ("4", "3"));
    assert_eq!(deepest.load(Ordering::SeqCst), 3);
    stop(snakepit);
}

#[test]
fn a_nested_call_that_would_wait_for_its_own_caller_is_refused_with_advice() {
    let nest = HostTool::new("nest", |context: ToolContext, (): ()| async move {
        context.execute::<Value>("who", ()).await
    });
    let snakepit = wait(both().host_tool(nest).start()).unwrap();
    let call = |pool: &'static str| {
        snakepit.call("call").pool(pool).args(json!({"name": "nest"})).timeout(PATIENCE)
    };
    let error = wait(call("processes").execute::<Value>()).unwrap_err();
    let cause = error.cause().unwrap();
    assert_eq!(cause.kind(), ErrorKind::NestedDeadlock);
    assert!(cause.help().unwrap().contains("more workers"), "{cause:?}");
    // With threads there is room; three at a time fill it, and not all of them can have their way.
    assert_eq!(wait(call("threads").execute::<Value>()).unwrap()["depth"], 1);
    let batch = (0..9).map(|_| call("threads"));
    let results = wait(snakepit.execute_batch::<Value>(batch));
    let refused = |error: &Error| error.cause().map(Error::kind) == Some(ErrorKind::NestedDeadlock);
    assert!(results.iter().all(|result| result.as_ref().err().is_none_or(refused)), "{results:?}");
    assert!(results.iter().any(Result::is_ok));
    assert!(snakepit.stats().total.counters.deadlocks >= 1);
    stop(snakepit);
}

#[test]
fn a_tool_is_dropped_with_its_call() {
    let (tool, counts) = endless("endless");
    // Of this one nobody knows whether it has begun before it is given up.
    let (other, _) = endless("other");
    let tools = [tool, other, doubling()];
    let builder = tools.into_iter().fold(both(), Builder::host_tool);
    let snakepit = wait(builder.start()).unwrap();
    let mut times = 0;
    for pool in POOLS {
        for command in ["call", "call_async"] {
            let call = || snakepit.call(command).pool(pool).args(json!({"name": "endless"}));
            // Its caller goes away.
            times += 1;
            let mut running = Box::pin(call().execute::<Value>());
            wait(async {
                tokio::select! {
                    ended = &mut running => panic!("{ended:?}"),
                    () = counts.begun(times) => {}
                }
            });
            drop(running);
            wait(counts.dropped(times));
            // Its time is up.
            let late = wait(call().timeout(Duration::from_millis(500)).execute::<Value>());
            assert_eq!(late.unwrap_err().kind().code(), "call_timeout");
            times += 1;
            wait(counts.dropped(times));
        }
        // A coroutine gives up by itself; the call goes on.
        let give_up = snakepit.call("give_up").pool(pool).args(json!({"name": "other"}));
        assert_eq!(wait(give_up.execute::<String>()).unwrap(), "gave up");
        // What a call has left behind gets no answer, whether it asks before the end or after it.
        let leave = snakepit.call("leave_behind").pool(pool).args(json!({"name": "other"}));
        wait(leave.execute::<()>()).unwrap();
        let left = wait(snakepit.call("what_was_left").pool(pool).execute::<String>()).unwrap();
        assert!(matches!(&*left, "Cancelled" | "RuntimeError" | "ToolError"), "{left}");
        let arguments = json!({"name": "double", "arguments": {"n": 1}});
        let call = snakepit.call("call").pool(pool).args(arguments).queue_timeout(PATIENCE);
        assert_eq!(wait(call.execute::<u64>()).unwrap(), 2);
    }
    until("no tool call is left", || {
        snakepit.stats().pools.iter().all(|pool| match pool {
            snakepit::PoolReport::Running { stats, .. } => stats.in_tools == 0,
            _ => false,
        })
    });
    stop(snakepit);
}

#[test]
fn a_worker_that_dies_inside_a_tool_call_takes_the_tool_with_it() {
    let (tool, counts) = endless("endless");
    let snakepit = wait(both().host_tool(tool).start()).unwrap();
    let call = snakepit.call("call").pool("processes").args(json!({"name": "endless"}));
    let running = std::thread::spawn(move || wait(call.execute::<Value>()));
    wait(counts.begun(1));
    let pid = snakepit.stats().pools.iter().find_map(|pool| match pool {
        snakepit::PoolReport::Running { stats, workers, .. } if stats.pool == "processes" => {
            workers[0].info.pid
        }
        _ => None,
    });
    let kill = std::process::Command::new("kill").args(["-9", &pid.unwrap().to_string()]).status();
    assert!(kill.unwrap().success());
    wait(counts.dropped(1));
    let error = running.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerLost { maybe_executed: true });
    stop(snakepit);
}

#[test]
fn large_values_cross_both_ways() {
    let reverse = HostTool::new("reverse", |_: ToolContext, Bytes { data }: Bytes| async move {
        let mut bytes = data.into_vec();
        bytes.reverse();
        Ok(serde_bytes::ByteBuf::from(bytes))
    });
    #[derive(Deserialize)]
    struct Bytes {
        data: serde_bytes::ByteBuf,
    }
    let snakepit = wait(both().host_tool(reverse).start()).unwrap();
    let data: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let reversed: Vec<u8> = data.iter().rev().copied().collect();
    #[derive(serde::Serialize)]
    struct Arguments {
        name: &'static str,
        arguments: std::collections::BTreeMap<&'static str, serde_bytes::ByteBuf>,
    }
    for pool in POOLS {
        for command in ["call", "call_async"] {
            let arguments = [("data", serde_bytes::ByteBuf::from(data.clone()))].into();
            let call = snakepit.call(command).pool(pool);
            let call = call.args(Arguments { name: "reverse", arguments });
            let back: serde_bytes::ByteBuf = wait(call.execute()).unwrap();
            assert!(back.as_ref() == reversed, "{pool} {command}");
        }
    }
    stop(snakepit);
}

#[test]
fn tool_calls_of_one_worker_are_bounded() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (inside, waits) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&gate));
    let counted = Arc::clone(&inside);
    let gated = HostTool::new("gated", move |_: ToolContext, N { n }| {
        let (waits, counted) = (Arc::clone(&waits), Arc::clone(&counted));
        async move {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = waits.acquire().await;
            Ok(n)
        }
    });
    let pool = PoolConfig::builder("default").python(python()).workers(1).max_tool_calls(2);
    let pool = pool.adapter(adapter("calls_host.py")).build().unwrap();
    let snakepit = wait(Snakepit::builder().pool(pool).host_tool(gated).start()).unwrap();
    let call = snakepit.call("gather").args(json!({"name": "gated", "count": 3}));
    let error = wait(call.execute::<Value>()).unwrap_err();
    assert_eq!(error.cause().unwrap().kind(), ErrorKind::ToolLimit);
    assert!(inside.load(Ordering::SeqCst) <= 2);
    gate.close();
    stop(snakepit);
}

#[test]
fn the_loop_that_calls_share_is_not_held_up_by_one_that_blocks() {
    let snakepit = wait(both().host_tool(doubling()).start()).unwrap();
    let call = |pool| snakepit.call("block_the_loop").pool(pool).args(json!({"name": "double"}));
    let error = wait(call("threads").execute::<Value>()).unwrap_err();
    assert!(error.message().contains("await `call_tool_async`"), "{error:?}");
    // Where a call has the loop to itself it may do with it what it likes.
    let error = wait(call("processes").execute::<Value>()).unwrap_err();
    assert_eq!(error.cause().unwrap().kind(), ErrorKind::InvalidArguments);
    stop(snakepit);
}

#[test]
fn tools_run_where_they_are_told_to_and_never_on_the_thread_of_the_links() {
    let threads = Arc::new(Mutex::new(Vec::new()));
    let name = |threads: &Arc<Mutex<Vec<String>>>| {
        let threads = Arc::clone(threads);
        move |_: ToolContext, (): ()| {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            threads.lock().unwrap().push(thread);
            async { Ok(()) }
        }
    };
    let given = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("given")
        .build()
        .unwrap();
    let here = HostTool::new("here", name(&threads));
    let there = HostTool::new("there", name(&threads)).on(given.handle().clone());
    let gone = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let nowhere = HostTool::new("nowhere", name(&threads)).on(gone.handle().clone());
    drop(gone);
    let builder = both().host_tool(here).host_tool(there).host_tool(nowhere);
    let snakepit = wait(builder.start()).unwrap();
    let call = |tool: &str| {
        let call = snakepit.call("call").pool("processes").args(json!({"name": tool}));
        wait(call.execute::<Value>())
    };
    call("here").unwrap();
    call("there").unwrap();
    assert_eq!(*threads.lock().unwrap(), ["snakepit-tools", "given"]);
    let error = call("nowhere").unwrap_err();
    assert!(error.cause().unwrap().message().contains("shut down"), "{error:?}");
    stop(snakepit);
}
