//! Arrays and bytes there and back, with and without shared memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use snakepit_core::{Array, Blob, Codec, Dtype, Error, ErrorKind, Payload, Store, Value};

/// A store of ordinary memory that counts what is placed.
#[derive(Default)]
struct Heap {
    placed: AtomicUsize,
    /// Places that many, then has the rest go inline.
    room: usize,
    strict: bool,
}

impl Heap {
    fn with_room(room: usize) -> Arc<dyn Store> {
        Arc::new(Self { room, ..Self::default() })
    }
}

impl Store for Heap {
    fn threshold(&self) -> usize {
        1024
    }

    fn place(&self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> Result<Option<Blob>, Error> {
        if self.placed.fetch_add(1, Ordering::Relaxed) >= self.room {
            let refused = Error::new(ErrorKind::ShmUnavailable, "there is none");
            return if self.strict { Err(refused) } else { Ok(None) };
        }
        // Aligned as shared memory is.
        let words = len.div_ceil(8);
        let mut bytes = vec![0; words * 8 + 64];
        let start = bytes.as_ptr().align_offset(64);
        fill(&mut bytes[start..start + len]);
        let bytes = Bytes::from(bytes).slice(start..start + len);
        Ok(Some(Blob::leased(bytes, Arc::new(()))))
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nested {
    name: String,
    matrix: Array,
    blobs: Vec<Blob>,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    plain: Vec<u8>,
    wide: Option<i128>,
}

fn nested(rows: usize, columns: usize, bytes: usize) -> Nested {
    let items = (0..rows * columns).map(|i| i as f32 / 3.0).collect();
    Nested {
        name: "a name".to_owned(),
        matrix: Array::from_vec::<f32>(items, [rows, columns]).unwrap(),
        blobs: vec![Blob::from(vec![7; bytes]), Blob::from(vec![])],
        bytes: vec![8; bytes],
        plain: (0..bytes).map(|i| i as u8).collect(),
        wide: None,
    }
}

proptest! {
    #[test]
    fn what_goes_in_comes_out_whichever_way_it_takes(
        rows in 0..40_usize,
        columns in 0..40_usize,
        bytes in 0..5000_usize,
        room in prop_oneof![Just(0), Just(1), Just(2), Just(usize::MAX)],
        wide in any::<Option<i128>>(),
    ) {
        let value = Nested { wide, ..nested(rows, columns, bytes) };
        let store = Heap::with_room(room);
        for store in [None, Some(&store)] {
            let payload = Payload::encode_with(Codec::MsgPack, &value, store).unwrap();
            prop_assert_eq!(&payload.decode::<Nested>().unwrap(), &value);
            let inlined = payload.inlined().unwrap();
            prop_assert!(inlined.parts().is_empty());
            prop_assert_eq!(&inlined.decode::<Nested>().unwrap(), &value);
            // Through a value and back.
            let again: Value = payload.decode().unwrap();
            let again = Payload::encode_with(Codec::MsgPack, &again, store).unwrap();
            prop_assert_eq!(&again.decode::<Nested>().unwrap(), &value);
        }
    }

    #[test]
    fn whatever_refers_to_parts_is_read_or_refused(bytes: Vec<u8>, part: Vec<u8>) {
        let payload = Payload::with_parts(Codec::MsgPack, bytes, vec![Blob::from(part)]);
        let _ = payload.decode::<Array>();
        let _ = payload.decode::<Blob>();
        let _ = payload.decode::<Value>();
        let _ = payload.decode::<Vec<Vec<f64>>>();
        let _ = payload.inlined();
    }
}

#[test]
fn large_things_are_placed_and_small_ones_are_not() {
    let store = Heap::with_room(usize::MAX);
    let small = Payload::encode_with(Codec::MsgPack, &nested(2, 2, 10), Some(&store)).unwrap();
    assert!(small.parts().is_empty());
    let large =
        Payload::encode_with(Codec::MsgPack, &nested(100, 100, 5000), Some(&store)).unwrap();
    let sizes: Vec<_> = large.parts().iter().map(|part| part.len()).collect();
    assert_eq!(sizes, [40_000, 5000, 5000, 5000], "matrix, blob, bytes, plain");
    assert!(large.bytes().len() < 300, "{}", large.bytes().len());
    assert!(large.len() > 55_000, "what a payload takes counts its parts");
}

#[test]
fn what_is_shared_already_is_not_placed_again() {
    let heap = Arc::new(Heap { room: usize::MAX, ..Heap::default() });
    let store: Arc<dyn Store> = heap.clone();
    let first = Payload::encode_with(Codec::MsgPack, &vec![1.5_f64; 1000], Some(&store)).unwrap();
    assert!(first.parts().is_empty(), "a list of floats is a list of floats");
    let array = Array::from_vec(vec![1.5_f64; 1000], [10, 100]).unwrap();
    let first = Payload::encode_with(Codec::MsgPack, &array, Some(&store)).unwrap();
    let there: Array = first.decode().unwrap();
    assert!(there.is_shared() && there == array);
    let again = Payload::encode_with(Codec::MsgPack, &(&there, &there), Some(&store)).unwrap();
    assert_eq!(heap.placed.load(Ordering::Relaxed), 1);
    assert_eq!(again.parts()[0].as_ptr(), again.parts()[1].as_ptr());
    assert_eq!(again.decode::<(Array, Value)>().unwrap().1, Value::NdArray(array));
}

#[test]
fn a_store_that_refuses_refuses_the_whole_value_with_its_own_error() {
    let store: Arc<dyn Store> = Arc::new(Heap { strict: true, ..Heap::default() });
    let refused = Payload::encode_with(Codec::MsgPack, &nested(100, 100, 1), Some(&store));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ShmUnavailable);
    assert!(Payload::encode_with(Codec::MsgPack, &nested(1, 1, 1), Some(&store)).is_ok());
}

#[test]
fn plain_targets_take_arrays_and_bytes() {
    let matrix = Array::from_vec(vec![1_i16, 2, 3, 4, 5, 6], [2, 3]).unwrap();
    let store = Heap::with_room(usize::MAX);
    let payload = Payload::encode(Codec::MsgPack, &matrix).unwrap();
    let rows = payload.decode::<Vec<Vec<f64>>>().unwrap();
    assert_eq!(rows, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let json = payload.decode::<serde_json::Value>().unwrap();
    assert_eq!(json, serde_json::json!([[1, 2, 3], [4, 5, 6]]));
    assert_eq!(payload.decode::<Value>().unwrap().to_json(), json);
    assert_eq!(serde_json::to_value(&matrix).unwrap(), json);
    assert!(payload.decode::<Vec<Vec<bool>>>().is_err());

    let blob = Blob::from((0..5000).map(|i| i as u8).collect::<Vec<_>>());
    let payload = Payload::encode_with(Codec::MsgPack, &blob, Some(&store)).unwrap();
    assert_eq!(payload.parts().len(), 1);
    assert_eq!(payload.decode::<Vec<u8>>().unwrap(), blob.to_vec());
    assert_eq!(payload.decode::<serde_bytes::ByteBuf>().unwrap().as_ref(), &*blob);
    assert_eq!(payload.decode::<Value>().unwrap().as_bytes(), Some(&*blob));
    assert!(payload.decode::<String>().is_err());
}

#[test]
fn nested_lists_are_arrays_where_one_is_wanted() {
    let read =
        |json: serde_json::Value| Payload::encode(Codec::MsgPack, &json).unwrap().decode::<Array>();
    let floats = read(serde_json::json!([[1.5, 2], [3, 4]])).unwrap();
    assert_eq!((floats.dtype(), floats.shape()), (Dtype::F64, &[2, 2][..]));
    assert_eq!(read(serde_json::json!([1, 2])).unwrap().as_slice::<i64>().unwrap(), [1, 2]);
    let flags = read(serde_json::json!([[true], [false]])).unwrap();
    assert_eq!(flags.as_slice::<bool>().unwrap(), [true, false]);
    assert_eq!(read(serde_json::json!([])).unwrap().shape(), [0]);
    for wrong in [serde_json::json!([[1], [2, 3]]), serde_json::json!(["a"]), serde_json::json!(7)]
    {
        assert_eq!(read(wrong).unwrap_err().kind(), ErrorKind::DecodeFailed);
    }
}

#[test]
fn views_are_of_the_type_there_is_and_vectors_of_any() {
    let array = Array::from_vec(vec![1_u8, 2, 255], [3]).unwrap();
    assert_eq!(array.as_slice::<u8>().unwrap(), [1, 2, 255]);
    let error = array.as_slice::<f32>().unwrap_err();
    assert!(error.to_string().contains("|u1") && error.help().is_some(), "{error}");
    assert_eq!(array.to_vec::<f32>().unwrap(), [1.0, 2.0, 255.0]);
    assert!(array.to_vec::<i8>().is_err(), "255 is no i8");
    assert!(Array::from_vec(vec![1.0; 5], [2, 3]).is_err());
    assert!(Array::from_blob(Dtype::F64, [usize::MAX, 3], vec![]).is_err());
    assert!(Array::from_blob(Dtype::U8, [1 << 40, 0], vec![]).is_err(), "too many empty lists");
}

#[test]
fn bytes_that_lie_askew_are_moved_to_where_numbers_may() {
    let bytes = Bytes::from((0..33_u8).collect::<Vec<_>>()).slice(1..33);
    let array = Array::from_blob(Dtype::F64, [4], bytes.clone()).unwrap();
    assert_eq!(array.as_slice::<f64>().unwrap().len(), 4);
    assert_eq!(&**array.data(), &bytes[..]);
}
