//! Arrow's record batches through shared memory, there and back, with workers of both profiles.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array as _, ArrayRef, Int64Array, NullArray, RecordBatch, StringArray};
use serde::{Deserialize, Serialize};
use snakepit::config::SharedMemoryMode;
use snakepit::{ErrorKind, RecordBatches, Snakepit, ToolContext, Value};

use super::arrays::{POOLS, both_with, call, memory};
use crate::support::{builder, start, stop, until, wait};

fn both_running() -> Snakepit {
    wait(both_with("record_batches.py").start()).unwrap_or_else(|error| panic!("{error:?}"))
}

/// A number, a text with nulls, a dictionary and nulls alone.
fn batch(rows: usize) -> RecordBatch {
    let mut cities = StringDictionaryBuilder::<Int32Type>::new();
    for row in 0..rows {
        cities.append_value(["Rome", "Oslo", "Lima"][row % 3]);
    }
    let text = (0..rows).map(|row| (row % 4 > 0).then(|| format!("the text of row {row}")));
    let numbers = (0..rows).map(|row| Some(row as i64));
    let columns: [(&str, ArrayRef); 4] = [
        ("number", Arc::new(Int64Array::from_iter(numbers))),
        ("text", Arc::new(StringArray::from_iter(text))),
        ("city", Arc::new(cities.finish())),
        ("nothing", Arc::new(NullArray::new(rows))),
    ];
    let columns = columns.map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Two batches, of which one is a slice with a dictionary of its own: 2 MB of 40,000 rows.
fn batches() -> RecordBatches {
    let whole = batch(20_000);
    let slice = batch(50_000).slice(10_000, 20_000);
    RecordBatches::new(whole.schema(), vec![whole, slice]).unwrap()
}

fn numbers(batches: &RecordBatches) -> Vec<i64> {
    let columns = batches.into_iter().map(|batch| batch.column_by_name("number").unwrap());
    columns.flat_map(|column| column.as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// Whether all buffers of all columns lie in the stream that came.
fn lies_in_its_stream(batches: &RecordBatches) -> bool {
    let stream = batches.to_stream().unwrap().as_ptr_range();
    let columns = batches.batches().iter().flat_map(RecordBatch::columns);
    columns.map(|column| column.to_data()).all(|data| {
        let nulls = data.nulls().map(|nulls| nulls.buffer());
        let inner = data.child_data().iter().flat_map(|data| data.buffers());
        let mut buffers = data.buffers().iter().chain(nulls).chain(inner);
        buffers.all(|buffer| buffer.is_empty() || stream.contains(&buffer.as_ptr()))
    })
}

#[test]
fn batches_arrive_as_a_table_over_the_memory_and_come_back_over_it() {
    let snakepit = both_running();
    for pool in POOLS {
        let batches = batches();
        let seen: Value = call(&snakepit, pool, "describe", (&batches,)).unwrap();
        assert_eq!(seen.get("type").unwrap().as_str(), Some("Table"), "{pool}");
        assert_eq!(seen.get("shared"), Some(&Value::Bool(true)), "{pool}: {seen:?}");
        let dictionary = "dictionary<values=string, indices=int32, ordered=0>";
        let types = ["int64", "string", dictionary, "null"].map(Value::from).to_vec();
        assert_eq!(seen.get("types"), Some(&Value::Array(types)));
        assert_eq!(seen.get("rows"), Some(&Value::Int(40_000)));
        assert_eq!(seen.get("nulls"), Some(&Value::Int(10_000 + 40_000)));
        let last = seen.get("last").unwrap();
        assert_eq!(last.get("text").unwrap().as_str(), Some("the text of row 29999"));
        assert_eq!(last.get("city").unwrap().as_str(), Some("Lima"));
        let back: RecordBatches = call(&snakepit, pool, "echo", (&batches,)).unwrap();
        assert!(back.is_shared() && lies_in_its_stream(&back), "{pool}");
        assert_eq!(back, batches);
        let counts = memory(&snakepit, pool);
        assert_eq!((counts.placed, counts.lent, counts.received), (2, 2, 1), "{counts:?}");
        assert_eq!(counts.fallbacks, 0);
        // A column alone keeps the memory from being used again.
        let text = back.batches()[1].column_by_name("text").unwrap().slice(19_990, 10);
        drop(back);
        let again = || call::<RecordBatches>(&snakepit, pool, "echo", (&batches,)).unwrap();
        let others: Vec<_> = (0..3).map(|_| again()).collect();
        assert_eq!(text.as_string::<i32>().value(9), "the text of row 29999");
        drop((text, others));
        let misses = memory(&snakepit, pool).misses;
        (0..20).for_each(|_| drop(again()));
        assert!(memory(&snakepit, pool).misses <= misses + 4, "{pool}: it is used again");
    }
    stop(snakepit);
}

#[test]
fn a_hint_says_what_they_arrive_as() {
    let snakepit = both_running();
    for pool in POOLS {
        let (one, two) = (RecordBatches::from(batch(20_000)), batches());
        let seen: (Vec<bool>, Vec<usize>, Vec<bool>) =
            call(&snakepit, pool, "by_hint", (&two, &one, &two, &one)).unwrap();
        assert_eq!(seen.0, [true; 4], "{pool}");
        assert_eq!(seen.1, [40_000, 20_000, 40_000, 20_000]);
        assert_eq!(seen.2, [true; 4], "{pool}: each lies where it came");
        // Small ones are the same, in the worker's own memory; several are made one.
        let (one, empty) = (RecordBatches::from(batch(3)), RecordBatches::from(batch(0)));
        let three = RecordBatches::new(batch(1).schema(), vec![batch(1), batch(2)]).unwrap();
        let seen: (Vec<bool>, Vec<usize>, Vec<bool>) =
            call(&snakepit, pool, "by_hint", (&empty, &three, &three, &one)).unwrap();
        assert_eq!(seen.0, [true; 4], "{pool}");
        assert_eq!(seen.1, [0, 3, 3, 3]);
    }
    stop(snakepit);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    name: String,
    tables: Vec<RecordBatches>,
}

#[test]
fn they_are_found_in_structs_and_dataclasses() {
    let snakepit = both_running();
    for pool in POOLS {
        // Beside each other: above and below the threshold.
        for rows in [20_000, 5] {
            let order = Order {
                name: "a name".to_owned(),
                tables: vec![batch(rows).into(), batch(1).into()],
            };
            let back: Order = call(&snakepit, pool, "upper", (&order,)).unwrap();
            assert_eq!((back.name, back.tables.len()), (order.name, 2), "{pool}");
            assert_eq!(back.tables[1], order.tables[1]);
            assert_eq!(back.tables[0].is_shared(), rows > 5);
            let text = back.tables[0].batches()[0].column_by_name("text").unwrap().clone();
            assert_eq!(text.as_string::<i32>().value(1), "THE TEXT OF ROW 1");
            assert!(text.is_null(0));
        }
    }
    stop(snakepit);
}

#[test]
fn whatever_exports_rows_comes_as_batches() {
    let snakepit = both_running();
    for pool in POOLS {
        for rows in [30_000, 8] {
            let all: Vec<i64> = (0..rows).collect();
            for kind in ["table", "batch", "reader", "foreign", "bytes"] {
                let made: RecordBatches = call(&snakepit, pool, "make", (rows, kind)).unwrap();
                assert_eq!(numbers(&made), all, "{pool}: {kind}");
                assert_eq!(made.is_shared(), rows > 8 && kind != "bytes", "{kind}");
                assert_eq!(made.batches().len(), if kind == "reader" { 4 } else { 1 });
            }
            let slice: RecordBatches = call(&snakepit, pool, "make", (rows, "sliced")).unwrap();
            assert_eq!(
                numbers(&slice),
                all[all.len() / 2..].iter().copied().take(10).collect::<Vec<_>>()
            );
            assert!(!slice.is_shared(), "ten rows are few, whatever they are a part of");
            let made: RecordBatches = call(&snakepit, pool, "make", (rows, "dictionary")).unwrap();
            let column = made.batches()[0].column(0).as_dictionary::<Int32Type>();
            assert_eq!(column.values().as_string::<i32>().value(7), "7", "{pool}");
            // A program that does not know Arrow gets the stream.
            let value: Value = call(&snakepit, pool, "make", (rows, "table")).unwrap();
            let stream = value.as_arrow().unwrap();
            assert_eq!(stream.is_shared(), rows > 8);
            assert_eq!(numbers(&RecordBatches::from_stream(stream.clone()).unwrap()), all);
            let bytes: Vec<u8> = call(&snakepit, pool, "make", (rows, "table")).unwrap();
            assert_eq!(bytes, stream.to_vec());
        }
        // A column alone is no rows.
        let column: Value = call(&snakepit, pool, "make", (8, "column")).unwrap();
        assert!(matches!(column, Value::Marker { .. }), "{column:?}");
    }
    stop(snakepit);
}

#[test]
fn chunks_of_a_stream_are_batches_too() {
    let snakepit = both_running();
    for pool in POOLS {
        for rows in [20_000, 2] {
            let call = snakepit.call("chunks").pool(pool).args((5, rows));
            let mut stream = wait(call.stream::<RecordBatches>()).unwrap();
            let mut chunks = Vec::new();
            while let Some(chunk) = wait(stream.next()) {
                chunks.push(chunk.unwrap());
            }
            assert_eq!(chunks.len(), 5, "{pool}");
            for (number, chunk) in (0..).zip(&chunks) {
                assert_eq!(chunk.is_shared(), rows > 2);
                assert_eq!(numbers(chunk), vec![number; rows]);
            }
        }
    }
    stop(snakepit);
}

#[test]
fn what_is_there_already_is_written_by_nobody() {
    let snakepit = both_running();
    let shared = snakepit.share_batches("processes", &batches()).unwrap();
    assert!(shared.is_shared() && lies_in_its_stream(&shared) && shared == batches());
    assert_eq!(snakepit.share_batches("threads", &shared).unwrap(), shared);
    for pool in POOLS {
        for _ in 0..3 {
            let seen: Value = call(&snakepit, pool, "describe", (&shared,)).unwrap();
            assert_eq!(seen.get("rows"), Some(&Value::Int(40_000)));
        }
    }
    // What one worker has made goes to another, and back to the one that made it.
    let made: RecordBatches = call(&snakepit, "processes", "make", (30_000,)).unwrap();
    for pool in POOLS {
        let back: RecordBatches = call(&snakepit, pool, "echo", (&made,)).unwrap();
        assert_eq!(back, made, "{pool}");
    }
    let placed = POOLS.map(|pool| memory(&snakepit, pool).placed);
    assert_eq!(placed, [1, 0]);
    let error = snakepit.share_batches("nowhere", &batches()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PoolNotFound);
    drop((shared, made));
    stop(snakepit);
}

#[test]
fn a_column_that_a_tool_keeps_stays_what_it_was() {
    let snakepit = both_running();
    for pool in POOLS {
        for times in 1..4 {
            let numbers: ArrayRef = Arc::new(Int64Array::from(vec![times; 50_000]));
            let one = RecordBatch::try_from_iter([("number", numbers)]).unwrap();
            call::<()>(&snakepit, pool, "keep", (RecordBatches::from(one),)).unwrap();
        }
        // Others come and go through the same memory.
        for _ in 0..10 {
            call::<RecordBatches>(&snakepit, pool, "echo", (&batches(),)).unwrap();
        }
        let sums: Vec<i64> = call(&snakepit, pool, "kept_sums", ()).unwrap();
        assert_eq!(sums, [50_000, 100_000, 150_000], "{pool}");
        let held = memory(&snakepit, pool).in_use_bytes;
        until("what was let go stays in use", || {
            // Each collection takes what the one before has left without owner.
            call::<()>(&snakepit, pool, "let_go", ()).unwrap();
            memory(&snakepit, pool).in_use_bytes + 3 * 512 * 1024 <= held
        });
    }
    stop(snakepit);
}

#[derive(Deserialize)]
struct Work {
    table: RecordBatches,
}

#[test]
fn tools_in_rust_are_given_batches_and_give_them() {
    let snakepit = wait(
        both_with("record_batches.py")
            .tool("second_half", |_: ToolContext, Work { table }| async move {
                assert!(table.is_shared() && lies_in_its_stream(&table));
                RecordBatches::new(table.schema().clone(), table.batches()[1..].to_vec())
            })
            .start(),
    )
    .unwrap();
    for pool in POOLS {
        let back: RecordBatches =
            call(&snakepit, pool, "ask", ("second_half", &batches())).unwrap();
        assert!(back.is_shared(), "{pool}");
        assert_eq!(numbers(&back), (10_000..30_000).collect::<Vec<_>>());
    }
    stop(snakepit);
}

#[test]
fn a_stream_that_is_malformed_is_an_error_of_its_call_and_nothing_else() {
    let snakepit = both_running();
    for pool in POOLS {
        let error = call::<RecordBatches>(&snakepit, pool, "malformed", (30_000,)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DecodeFailed, "{pool}: {error:?}");
        assert!(error.message().contains("not a stream of Arrow record batches"), "{error}");
        // Who wants no batches gets what there is.
        let value: Value = call(&snakepit, pool, "make", (30_000,)).unwrap();
        assert_eq!(value.as_arrow().unwrap()[0], 7);
        call::<()>(&snakepit, pool, "well_formed", ()).unwrap();
        let made: RecordBatches = call(&snakepit, pool, "make", (30_000,)).unwrap();
        assert_eq!(made.num_rows(), 30_000, "by the same worker");
        let error = call::<RecordBatches>(&snakepit, pool, "echo", ("text",)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DecodeFailed, "{error:?}");
    }
    stop(snakepit);
}

#[test]
fn without_shared_memory_the_same_calls_work_inline() {
    for (mode, quota) in [(SharedMemoryMode::Off, 1 << 30), (SharedMemoryMode::Auto, 128 << 10)] {
        let pool = builder("record_batches.py")
            .default_pool(move |pool| pool.shared_memory(mode).shared_memory_quota(quota));
        let snakepit = wait(pool.start()).unwrap();
        let seen: Value = call(&snakepit, "default", "describe", (&batches(),)).unwrap();
        assert_eq!(seen.get("shared"), Some(&Value::Bool(false)), "{mode:?}");
        let back: RecordBatches = call(&snakepit, "default", "echo", (&batches(),)).unwrap();
        assert!(!back.is_shared() && back == batches(), "{mode:?}");
        stop(snakepit);
    }
    let strict = builder("record_batches.py").default_pool(|pool| {
        pool.shared_memory(SharedMemoryMode::Strict).shared_memory_quota(128 << 10)
    });
    let snakepit = wait(strict.start()).unwrap();
    let error = call::<Value>(&snakepit, "default", "echo", (&batches(),)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShmUnavailable, "{error:?}");
    let error = call::<Value>(&snakepit, "default", "make", (30_000,)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShmUnavailable, "{error:?}");
    let small: RecordBatches = call(&snakepit, "default", "make", (3,)).unwrap();
    assert_eq!(numbers(&small), [0, 1, 2]);
    stop(snakepit);
}

#[test]
fn a_result_that_is_larger_than_a_payload_may_be_is_refused() {
    let low = builder("record_batches.py").default_pool(|pool| pool.max_payload(1 << 20));
    let snakepit = wait(low.start()).unwrap();
    let error = call::<Value>(&snakepit, "default", "make", (200_000,)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PayloadTooLarge, "{error:?}");
    let fits: RecordBatches = call(&snakepit, "default", "make", (10_000,)).unwrap();
    assert!(fits.is_shared());
    stop(snakepit);
}

#[test]
fn a_worker_without_pyarrow_is_given_the_stream() {
    // This one imports none.
    let snakepit = start("arrays.py");
    for batches in [batches(), RecordBatches::from(batch(3))] {
        let seen: Value = call(&snakepit, "default", "describe", (&batches,)).unwrap();
        assert_eq!(seen.get("type").unwrap().as_str(), Some("Buffer"));
        let back: RecordBatches = call(&snakepit, "default", "echo", (&batches,)).unwrap();
        assert_eq!(back, batches);
    }
    stop(snakepit);
}

#[test]
fn a_result_outlives_its_worker_its_pool_and_the_host() {
    let snakepit = start("record_batches.py");
    let made: RecordBatches = call(&snakepit, "default", "make", (30_000,)).unwrap();
    wait(snakepit.shutdown(Duration::from_secs(30))).unwrap();
    drop(snakepit);
    assert!(made.is_shared());
    assert_eq!(numbers(&made), (0..30_000).collect::<Vec<_>>());
}
