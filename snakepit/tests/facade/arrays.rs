//! Arrays and bytes through shared memory, there and back, with workers of both profiles.

use std::io::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use snakepit::config::SharedMemoryMode;
use snakepit::{
    Array, Blob, Builder, Dtype, Error, ErrorKind, MappedFile, PoolConfig, PoolMemory, Snakepit,
    ToolContext, Value,
};

use crate::support::{PATIENCE, adapter, builder, free_threaded, python, start, stop, until, wait};

pub(super) const POOLS: [&str; 2] = ["processes", "threads"];

/// A pool of one process, and one of a worker with three threads.
fn both() -> Builder {
    both_with("arrays.py")
}

/// The same with another adapter.
pub(super) fn both_with(name: &str) -> Builder {
    let processes = PoolConfig::builder("processes").python(python()).workers(1);
    let threads = PoolConfig::builder("threads").python(free_threaded()).profile("thread");
    let pools = [processes, threads.workers(1).threads(3)];
    pools.into_iter().fold(Snakepit::builder(), |builder, pool| {
        builder.pool(pool.adapter(adapter(name)).build().unwrap())
    })
}

fn both_running() -> Snakepit {
    wait(both().start()).unwrap_or_else(|error| panic!("{error:?}"))
}

/// 256 rows of a thousand floats and some: two megabytes.
fn matrix() -> Array {
    let items = (0..256 * 1024).map(|i| f64::from(i) / 8.0).collect();
    Array::from_vec::<f64>(items, [256, 1024]).unwrap()
}

pub(super) fn memory(snakepit: &Snakepit, pool: &str) -> PoolMemory {
    snakepit.shared_memory().pool(pool).unwrap().clone()
}

/// Waits until nothing of a pool's shared memory is used but what workers keep to fill.
fn until_free(snakepit: &Snakepit, pool: &str, at_most: u64) {
    until("shared memory stays in use", || memory(snakepit, pool).in_use_bytes <= at_most);
}

pub(super) fn call<T: serde::de::DeserializeOwned>(
    snakepit: &Snakepit,
    pool: &str,
    tool: &str,
    arguments: impl Serialize,
) -> Result<T, Error> {
    wait(snakepit.call(tool).pool(pool).args(arguments).execute())
}

#[test]
fn an_array_arrives_as_a_view_and_comes_back_as_one() {
    let snakepit = both_running();
    for pool in POOLS {
        let matrix = matrix();
        let seen: Value = call(&snakepit, pool, "describe", (&matrix,)).unwrap();
        assert_eq!(seen.get("type").unwrap().as_str(), Some("ndarray"), "{pool}");
        assert_eq!(seen.get("dtype").unwrap().as_str(), Some("<f8"));
        assert_eq!(seen.get("writeable").unwrap().as_bool(), Some(false));
        let sum: f64 = matrix.as_slice::<f64>().unwrap().iter().sum();
        assert_eq!(seen.get("sum").unwrap().as_f64(), Some(sum));
        let back: Array = call(&snakepit, pool, "echo", (&matrix,)).unwrap();
        assert!(back.is_shared(), "{pool}");
        assert_eq!(back, matrix);
        let numbers = memory(&snakepit, pool);
        assert_eq!((numbers.placed, numbers.lent, numbers.received), (2, 2, 1), "{numbers:?}");
        assert_eq!(numbers.fallbacks, 0);
    }
    stop(snakepit);
}

#[test]
fn every_dtype_crosses_as_what_it_is_and_in_its_order() {
    let snakepit = both_running();
    for pool in POOLS {
        for dtype in Dtype::ALL {
            let shape = vec![3, 5, 16 * 1024];
            let bytes = Array::size_bytes(dtype, &shape).unwrap();
            let data: Vec<u8> = (0..bytes).map(|i| (i % 2) as u8).collect();
            let array = Array::from_blob(dtype, shape, data).unwrap();
            let seen: Value = call(&snakepit, pool, "describe", (&array,)).unwrap();
            assert_eq!(seen.get("dtype").unwrap().as_str(), Some(dtype.name()));
            assert_eq!(call::<Array>(&snakepit, pool, "echo", (&array,)).unwrap(), array);
        }
        let rows: Vec<Vec<f64>> = call(&snakepit, pool, "strided", ()).unwrap();
        assert_eq!((rows.len(), rows[0][0], rows[1][0]), (100, 1999.0, 5999.0), "{pool}");
        let array: Array = call(&snakepit, pool, "strided", ()).unwrap();
        assert_eq!(array.shape(), [100, 2000]);
        assert_eq!(array.as_slice::<f64>().unwrap()[2000], 5999.0);
    }
    stop(snakepit);
}

#[test]
fn what_is_there_already_is_copied_for_nobody() {
    let snakepit = both_running();
    let image = snakepit
        .shared_array("processes", [512, 1024], |pixels: &mut [f32]| pixels.fill(0.5))
        .unwrap();
    for pool in POOLS {
        for _ in 0..3 {
            let seen: Value = call(&snakepit, pool, "describe", (&image,)).unwrap();
            assert_eq!(seen.get("sum").unwrap().as_f64(), Some(262_144.0));
        }
    }
    assert_eq!(
        (memory(&snakepit, "processes").placed, memory(&snakepit, "threads").placed),
        (1, 0)
    );
    // What one worker has made goes to another, and back to the one that made it.
    let made: Array = call(&snakepit, "processes", "zeros", ([256, 1024], "<f8")).unwrap();
    assert!(made.is_shared());
    for pool in POOLS {
        let back: Array = call(&snakepit, pool, "echo", (&made,)).unwrap();
        assert_eq!(back, made, "{pool}");
    }
    assert_eq!(
        (memory(&snakepit, "processes").placed, memory(&snakepit, "threads").placed),
        (1, 0)
    );
    drop((image, made));
    stop(snakepit);
}

/// Where an array's elements are.
fn place(array: &Array) -> *const u8 {
    array.data().as_ptr()
}

#[test]
fn what_a_tool_gives_back_is_the_same_memory() {
    let snakepit = both_running();
    let fill = |pixels: &mut [f32]| pixels.fill(0.5);
    let image = snakepit.shared_array("processes", [512, 1024], fill).unwrap();
    for pool in POOLS {
        let back: Array = call(&snakepit, pool, "echo", (&image,)).unwrap();
        assert_eq!((place(&back), back.shape()), (place(&image), image.shape()), "{pool}");
        let rows: Array = call(&snakepit, pool, "below", (&image, 256)).unwrap();
        assert_eq!(
            (rows.shape(), place(&rows)),
            (&[256, 1024][..], place(&image).wrapping_add(1 << 20))
        );
        // By way of the other pool's worker, which is shown what this one has given back.
        let again: Array = call(&snakepit, POOLS[0], "echo", (&rows,)).unwrap();
        assert_eq!(place(&again), place(&rows));
        let made: Array = call(&snakepit, pool, "zeros", ([256, 1024], "<f8")).unwrap();
        let same: Array = call(&snakepit, pool, "echo", (&made,)).unwrap();
        assert_eq!(place(&same), place(&made), "what a worker made comes back to it and from it");
    }
    assert_eq!(memory(&snakepit, "threads").placed, 0);
    stop(snakepit);
}

#[test]
fn a_result_in_its_arguments_memory_is_a_reader_of_its_own() {
    let snakepit = start("arrays.py");
    let fill = |pixels: &mut [f64]| pixels.fill(0.5);
    let image = snakepit.shared_array("default", [256, 1024], fill).unwrap();
    let back: Array = call(&snakepit, "default", "echo", (&image,)).unwrap();
    drop(image);
    // Others come and go through the memory that is free.
    for _ in 0..10 {
        call::<Array>(&snakepit, "default", "echo", (&matrix(),)).unwrap();
    }
    assert!(back.as_slice::<f64>().unwrap().iter().all(|x| *x == 0.5), "it was used again");
    let error = call::<()>(&snakepit, "default", "die", (&back,)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WorkerLost { .. }), "{error:?}");
    assert!(back.as_slice::<f64>().unwrap().iter().all(|x| *x == 0.5), "it went with its worker");
    drop(back);
    until_free(&snakepit, "default", 0);
    stop(snakepit);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Scene {
    name: String,
    left: Array,
    more: More,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct More {
    right: Array,
    count: u32,
}

#[test]
fn arrays_are_found_at_any_depth_of_structs() {
    let snakepit = both_running();
    for pool in POOLS {
        let scene = Scene {
            name: "a name".to_owned(),
            left: matrix(),
            more: More {
                right: Array::from_vec(vec![1_i32; 40_000], [200, 200]).unwrap(),
                count: 7,
            },
        };
        let doubled: Scene = call(&snakepit, pool, "nested", json_of(&scene)).unwrap();
        assert_eq!(doubled.left.as_slice::<f64>().unwrap()[9], 2.25, "{pool}");
        assert_eq!(doubled.more.right.as_slice::<i32>().unwrap()[39_999], 2);
        assert_eq!((doubled.name, doubled.more.count), (scene.name, 7));
        let value: Value = call(&snakepit, pool, "nested", (&doubled.more,)).unwrap();
        assert_eq!(value.get("right").unwrap().as_ndarray().unwrap().shape(), [200, 200]);
    }
    stop(snakepit);
}

/// One positional argument.
fn json_of<T: Serialize>(argument: T) -> (T,) {
    (argument,)
}

#[test]
fn bytes_stay_bytes_and_are_a_view_where_the_hint_says_so() {
    let snakepit = both_running();
    for pool in POOLS {
        let bytes = Blob::from((0..300_000_u32).map(|i| i as u8).collect::<Vec<_>>());
        let seen: Value = call(&snakepit, pool, "describe", (&bytes,)).unwrap();
        assert_eq!(seen.get("type").unwrap().as_str(), Some("bytes"), "{pool}");
        let viewed: (String, bool, usize) = call(&snakepit, pool, "viewed", (&bytes,)).unwrap();
        assert_eq!(viewed, ("memoryview".to_owned(), true, 300_000));
        // Plain vectors go the same way, and any target takes what comes back.
        let back: Blob = call(&snakepit, pool, "echo", (bytes.to_vec(),)).unwrap();
        assert!(back.is_shared() && back == bytes);
        let made: Vec<u8> = call(&snakepit, pool, "blob", (200_000,)).unwrap();
        assert_eq!((made.len(), made[250], made[251]), (200_000, 250, 0));
        let small: Vec<u8> = call(&snakepit, pool, "blob", (1000,)).unwrap();
        assert_eq!(small.len(), 1000);
    }
    stop(snakepit);
}

#[test]
fn an_array_that_is_made_in_place_is_not_copied_and_not_changed_any_more() {
    let snakepit = both_running();
    for pool in POOLS {
        let before = memory(&snakepit, pool);
        let result: Value = call(&snakepit, pool, "filled", ([128, 1024], 2.5)).unwrap();
        let array = result.get("array").unwrap().as_ndarray().unwrap().clone();
        assert!(array.is_shared() && array.shape() == [128, 1024], "{pool}");
        assert!(array.as_slice::<f64>().unwrap().iter().all(|x| *x == 2.5));
        drop(result);
        // While it is held here, others are made elsewhere.
        let other: Value = call(&snakepit, pool, "filled", ([128, 1024], 7.5)).unwrap();
        assert!(array.as_slice::<f64>().unwrap().iter().all(|x| *x == 2.5), "{pool}");
        assert_eq!(memory(&snakepit, pool).received, before.received + 2);
        drop((array, other));
        // Its memory is used again: no more of it is made.
        for _ in 0..20 {
            call::<Value>(&snakepit, pool, "filled", ([128, 1024], 1.0)).unwrap();
        }
        assert!(memory(&snakepit, pool).misses <= before.misses + 4, "{pool}");
    }
    stop(snakepit);
}

#[test]
fn chunks_of_a_stream_are_views_too() {
    let snakepit = both_running();
    for pool in POOLS {
        let call = snakepit.call("frames").pool(pool).args((6, 100));
        let mut stream = wait(call.stream::<Array>()).unwrap();
        let mut frames = Vec::new();
        while let Some(frame) = wait(stream.next()) {
            frames.push(frame.unwrap());
        }
        assert_eq!(frames.len(), 6, "{pool}");
        for (number, frame) in frames.iter().enumerate() {
            assert!(frame.is_shared());
            assert!(frame.as_slice::<f32>().unwrap().iter().all(|x| *x == number as f32));
        }
    }
    stop(snakepit);
}

#[test]
fn what_a_tool_keeps_after_its_call_stays_what_it_was() {
    let snakepit = both_running();
    for pool in POOLS {
        let session = "the same worker";
        let keep = |array: &Array| -> usize {
            let call = snakepit.call("keep").pool(pool).session(session);
            wait(call.args((array,)).execute()).unwrap()
        };
        for value in [1.0, 2.0, 3.0] {
            keep(&Array::from_vec(vec![value; 64 * 1024], [64, 1024]).unwrap());
        }
        // Others come and go through the same memory.
        for _ in 0..10 {
            call::<Array>(&snakepit, pool, "echo", (&matrix(),)).unwrap();
        }
        let sums: Vec<f64> = call(&snakepit, pool, "kept_sums", ()).unwrap();
        assert_eq!(sums, [65_536.0, 131_072.0, 196_608.0], "{pool}");
        let held = memory(&snakepit, pool).in_use_bytes;
        call::<()>(&snakepit, pool, "let_go", ()).unwrap();
        until("what was let go stays in use", || {
            memory(&snakepit, pool).in_use_bytes + 3 * 512 * 1024 <= held
        });
    }
    stop(snakepit);
}

#[derive(Deserialize)]
struct Work {
    array: Array,
}

#[test]
fn tools_in_rust_are_given_arrays_and_give_them() {
    let snakepit = wait(
        both()
            .tool("negate", |_: ToolContext, Work { array }| async move {
                assert!(array.is_shared());
                let items = array.as_slice::<f64>()?.iter().map(|x| -x).collect();
                Array::from_vec::<f64>(items, array.shape())
            })
            .start(),
    )
    .unwrap();
    for pool in POOLS {
        let back: Array = call(&snakepit, pool, "ask", ("negate", &matrix())).unwrap();
        assert!(back.is_shared(), "{pool}");
        assert_eq!(back.as_slice::<f64>().unwrap()[8], -1.0);
    }
    stop(snakepit);
}

#[test]
fn without_shared_memory_the_same_calls_work_inline() {
    let pool = |mode, quota| {
        let pool = builder("arrays.py");
        pool.default_pool(move |pool| pool.shared_memory(mode).shared_memory_quota(quota))
    };
    for (mode, quota) in [(SharedMemoryMode::Off, 1 << 30), (SharedMemoryMode::Auto, 128 << 10)] {
        let snakepit = wait(pool(mode, quota).start()).unwrap();
        let matrix = matrix();
        let back: Array = call(&snakepit, "default", "echo", (&matrix,)).unwrap();
        assert!(!back.is_shared() && back == matrix, "{mode:?}");
        let made: Value = call(&snakepit, "default", "filled", ([256, 1024], 2.0)).unwrap();
        assert_eq!(made.get("array").unwrap().as_ndarray().unwrap().shape(), [256, 1024]);
        let bytes: Vec<u8> = call(&snakepit, "default", "blob", (2_000_000,)).unwrap();
        assert_eq!(bytes.len(), 2_000_000);
        match snakepit.shared_memory().pool("default") {
            Some(memory) => assert!(memory.fallbacks >= 2 && memory.received == 0, "{memory:?}"),
            None => assert_eq!(mode, SharedMemoryMode::Off),
        }
        stop(snakepit);
    }
}

#[test]
fn all_pools_together_have_what_the_host_is_given() {
    let document = format!(
        "[host]\nshm_total = '1MiB'\n[pool.default]\nworkers = 1\nadapter = '{}'\npython = '{}'",
        adapter("arrays.py"),
        python().display(),
    );
    let config = snakepit::Config::from_toml(&document).unwrap();
    let snakepit = wait(Snakepit::builder().config(config).start()).unwrap();
    assert_eq!(snakepit.shared_memory().total_bytes, 1 << 20);
    let back: Array = call(&snakepit, "default", "echo", (&matrix(),)).unwrap();
    assert!(!back.is_shared() && back == matrix());
    assert!(memory(&snakepit, "default").fallbacks > 0);
    stop(snakepit);
}

#[test]
fn a_strict_pool_refuses_what_has_to_go_inline() {
    let strict = builder("arrays.py").default_pool(|pool| {
        pool.shared_memory(SharedMemoryMode::Strict).shared_memory_quota(128 << 10)
    });
    let snakepit = wait(strict.start()).unwrap();
    let error = call::<Array>(&snakepit, "default", "echo", (&matrix(),)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShmUnavailable, "{error:?}");
    assert!(error.help().unwrap().contains("quota"), "{error:?}");
    let error = call::<Array>(&snakepit, "default", "zeros", ([256, 1024], "<f8")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ShmUnavailable, "{error:?}");
    let small: Vec<f64> = call(&snakepit, "default", "zeros", ([10], "<f8")).unwrap();
    assert_eq!(small.len(), 10);
    stop(snakepit);
}

#[test]
fn values_below_the_threshold_go_as_they_always_did() {
    let high = builder("arrays.py").default_pool(|pool| pool.shared_memory_threshold(16 << 20));
    let snakepit = wait(high.start()).unwrap();
    let back: Array = call(&snakepit, "default", "echo", (&matrix(),)).unwrap();
    assert!(!back.is_shared() && back.shape() == [256, 1024]);
    assert_eq!(memory(&snakepit, "default").placed, 0);
    stop(snakepit);
}

#[test]
fn a_worker_that_is_killed_gives_all_of_it_back() {
    let snakepit = start("arrays.py");
    let matrix = snakepit.share("default", &matrix()).unwrap();
    let baseline = memory(&snakepit, "default").in_use_bytes;
    // Each after a longer pause: workers that die again and again are replaced later and later.
    for round in 0..8 {
        let call = snakepit.call("die").args((&matrix,)).queue_timeout(PATIENCE);
        let error = wait(call.execute::<()>()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WorkerLost { .. }), "{round}: {error:?}");
    }
    until_free(&snakepit, "default", baseline);
    let call = snakepit.call("echo").args((&matrix,)).queue_timeout(PATIENCE);
    assert_eq!(wait(call.execute::<Array>()).unwrap(), matrix);
    drop(matrix);
    stop(snakepit);
}

#[test]
fn a_file_is_mapped_where_it_lies_and_read_where_there_is_no_shared_memory() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let items: Vec<u8> = (0..50_000_u32).flat_map(|i| (f64::from(i)).to_le_bytes()).collect();
    file.write_all(&items).unwrap();
    let whole = MappedFile::open(file.path()).unwrap();
    let rows = whole.slice(8000..200_000).unwrap().array(Dtype::F64, [24, 1000]).unwrap();
    assert!(whole.clone().array(Dtype::F64, [7]).is_err());
    let plain = builder("arrays.py");
    let inline = plain.default_pool(|pool| pool.shared_memory(SharedMemoryMode::Off));
    for (builder, shared) in [(both(), true), (inline, false)] {
        let snakepit = wait(builder.start()).unwrap();
        for pool in snakepit.pools() {
            let seen: Value = call(&snakepit, &pool, "describe", (&rows,)).unwrap();
            let sum: f64 = (1000..25_000).map(f64::from).sum();
            assert_eq!(seen.get("sum").unwrap().as_f64(), Some(sum), "{pool}");
            let viewed: (String, bool, usize) =
                call(&snakepit, &pool, "viewed", (&whole,)).unwrap();
            assert_eq!(viewed, ("memoryview".to_owned(), true, 400_000));
            if shared {
                assert_eq!(memory(&snakepit, &pool).placed, 0, "nothing of it is copied");
            }
        }
        stop(snakepit);
    }
}

#[test]
fn a_result_outlives_its_worker_its_pool_and_the_host() {
    let snakepit = start("arrays.py");
    let made: Array = call(&snakepit, "default", "zeros", ([64, 1024], "<i4")).unwrap();
    wait(snakepit.shutdown(Duration::from_secs(30))).unwrap();
    drop(snakepit);
    assert!(made.as_slice::<i32>().unwrap().iter().enumerate().all(|(i, x)| *x == i as i32));
}
