//! Arrow's record batches there and back, with and without shared memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{
    Array as _, ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array,
    ListArray, NullArray, RecordBatch, StringArray, StringViewArray, StructArray,
};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use snakepit_core::{Blob, Codec, Error, ErrorKind, Payload, RecordBatches, Store, Value};

/// A store of ordinary memory that counts what is placed.
#[derive(Default)]
struct Heap(AtomicUsize);

impl Store for Heap {
    fn threshold(&self) -> usize {
        1024
    }

    fn place(&self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> Result<Option<Blob>, Error> {
        self.0.fetch_add(1, Ordering::Relaxed);
        // Aligned as shared memory is.
        let mut bytes = vec![0; len + 64];
        let start = bytes.as_ptr().align_offset(64);
        fill(&mut bytes[start..start + len]);
        let bytes = Bytes::from(bytes).slice(start..start + len);
        Ok(Some(Blob::leased(bytes, Arc::new(()))))
    }
}

/// Columns of many kinds, with nulls in them.
fn batch(rows: usize) -> RecordBatch {
    let text = |i: usize| (!i.is_multiple_of(3)).then(|| format!("the text of row {i}"));
    let mut cities = StringDictionaryBuilder::<Int32Type>::new();
    (0..rows).for_each(|i| match i % 5 {
        0 => cities.append_null(),
        i => drop(cities.append(["Rome", "Oslo", "Lima", "Bern"][i - 1]).unwrap()),
    });
    let numbers = (0..rows).map(|i| (i % 7 > 0).then_some(i as i64));
    let lists = (0..rows).map(|i| (i % 4 > 0).then(|| (0..i % 4).map(|j| Some(j as i32))));
    let point: ArrayRef = Arc::new(Float64Array::from_iter((0..rows).map(|i| Some(i as f64))));
    let columns: [(&str, ArrayRef); 9] = [
        ("number", Arc::new(Int64Array::from_iter(numbers))),
        ("text", Arc::new(StringArray::from_iter((0..rows).map(text)))),
        ("view", Arc::new(StringViewArray::from_iter((0..rows).map(text)))),
        ("city", Arc::new(cities.finish())),
        ("nothing", Arc::new(NullArray::new(rows))),
        ("flag", Arc::new(BooleanArray::from_iter((0..rows).map(|i| Some(i % 2 == 0))))),
        ("price", Arc::new(Decimal128Array::from_iter((0..rows).map(|i| Some(i as i128))))),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
        ("point", Arc::new(StructArray::from(vec![(field("x", point.data_type()), point)]))),
    ];
    let columns = columns.map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn field(name: &str, of: &DataType) -> Arc<Field> {
    Arc::new(Field::new(name, of.clone(), true))
}

/// Two batches, the second a slice whose dictionary is another one.
fn batches(rows: usize) -> RecordBatches {
    let whole = batch(rows);
    let slice = batch(rows * 2).slice(rows / 2, rows);
    RecordBatches::new(whole.schema(), vec![whole, slice]).unwrap()
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Report {
    name: String,
    tables: Vec<RecordBatches>,
    by_name: BTreeMap<String, Option<RecordBatches>>,
    // Has whatever holds it go through a value.
    wide: i128,
}

#[test]
fn what_goes_in_comes_out_whichever_way_it_takes() {
    for rows in [0, 1, 3, 2000] {
        let tables = vec![batches(rows), RecordBatches::from(batch(rows))];
        let empty = RecordBatches::new(batch(0).schema(), Vec::new()).unwrap();
        let by_name = [("none".to_owned(), None), ("empty".to_owned(), Some(empty))].into();
        let report = Report { name: "a name".to_owned(), tables, by_name, wide: 1 << 100 };
        let store: Arc<dyn Store> = Arc::new(Heap::default());
        for store in [None, Some(&store)] {
            let payload = Payload::encode_with(Codec::MsgPack, &report, store).unwrap();
            let back: Report = payload.decode().unwrap();
            assert_eq!(back, report);
            assert_eq!(back.tables[0].is_shared(), store.is_some());
            let inlined = payload.inlined().unwrap();
            assert!(inlined.parts().is_empty());
            assert_eq!(inlined.decode::<Report>().unwrap(), report);
            // Through a value and back.
            let again: Value = payload.decode().unwrap();
            assert!(again.get("tables").unwrap().as_array().unwrap()[0].as_arrow().is_some());
            let again = Payload::encode_with(Codec::MsgPack, &again, store).unwrap();
            assert_eq!(again.decode::<Report>().unwrap(), report);
        }
    }
}

#[test]
fn columns_lie_in_the_memory_that_they_came_in_and_keep_it() {
    let store: Arc<dyn Store> = Arc::new(Heap::default());
    let payload = Payload::encode_with(Codec::MsgPack, &batches(2000), Some(&store)).unwrap();
    assert_eq!(payload.parts().len(), 1);
    let part = payload.parts()[0].as_ptr_range();
    let back: RecordBatches = payload.decode().unwrap();
    let mut seen = 0;
    for column in back.batches().iter().flat_map(RecordBatch::columns) {
        let data = column.to_data();
        let nulls = data.nulls().map(|nulls| nulls.buffer());
        let inner = data.child_data().iter().flat_map(|data| data.buffers());
        for buffer in data.buffers().iter().chain(nulls).chain(inner) {
            assert!(buffer.is_empty() || part.contains(&buffer.as_ptr()), "{}", data.data_type());
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
    drop((payload, store));
    let kept = back.batches()[0].column_by_name("text").unwrap().slice(1900, 10);
    drop(back);
    let kept = kept.as_any().downcast_ref::<StringArray>().unwrap();
    assert_eq!(kept.value(0), "the text of row 1900");
}

#[test]
fn they_are_written_once_and_never_again() {
    let heap = Arc::new(Heap::default());
    let store: Arc<dyn Store> = heap.clone();
    let placed = || heap.0.load(Ordering::Relaxed);
    let first = Payload::encode_with(Codec::MsgPack, &batches(2000), Some(&store)).unwrap();
    assert_eq!(placed(), 1);
    let there: RecordBatches = first.decode().unwrap();
    let value: Value = first.decode().unwrap();
    let again =
        Payload::encode_with(Codec::MsgPack, &(&there, &value, &there), Some(&store)).unwrap();
    assert_eq!(placed(), 1);
    let start = first.parts()[0].as_ptr();
    assert!(again.parts().iter().all(|part| part.as_ptr() == start) && again.parts().len() == 3);
    let made = batches(2000).placed(|len, fill| Ok(store.place(len, fill)?.unwrap())).unwrap();
    assert!(made.is_shared() && made == there);
    let small = Payload::encode_with(
        Codec::MsgPack,
        &RecordBatches::from(batch(0).project(&[0]).unwrap()),
        Some(&store),
    );
    assert!(small.unwrap().parts().is_empty());
    assert_eq!(placed(), 2);
}

#[test]
fn targets_that_know_nothing_of_arrow_get_the_stream() {
    let batches = batches(10);
    let stream = batches.to_stream().unwrap();
    let store: Arc<dyn Store> = Arc::new(Heap::default());
    for store in [None, Some(&store)] {
        let payload = Payload::encode_with(Codec::MsgPack, &batches, store).unwrap();
        assert_eq!(payload.decode::<Vec<u8>>().unwrap(), stream.to_vec());
        assert_eq!(payload.decode::<serde_bytes::ByteBuf>().unwrap().as_ref(), &*stream);
        assert_eq!(payload.decode::<Blob>().unwrap(), stream);
        let value: Value = payload.decode().unwrap();
        assert_eq!(value, Value::Arrow(stream.clone()));
    }
    // And bytes that are such a stream are taken for it.
    let bytes = Payload::encode(Codec::MsgPack, &stream).unwrap();
    assert_eq!(bytes.decode::<RecordBatches>().unwrap(), batches);
    let text = Payload::encode_with(Codec::Json, &batches, Some(&store)).unwrap();
    assert_eq!(
        text.decode::<Value>().unwrap().as_str().unwrap().len(),
        stream.len().div_ceil(3) * 4
    );
    assert!(text.parts().is_empty());
}

#[test]
fn batches_of_other_columns_are_refused() {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, false)]));
    let fits: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let fits = RecordBatch::try_new(schema.clone(), vec![fits]).unwrap();
    let error = RecordBatches::new(schema, vec![fits, batch(1)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArguments);
    assert!(error.message().starts_with("batch 1 "), "{error}");
}

fn refused(stream: &[u8]) -> Error {
    let payload = Payload::encode(Codec::MsgPack, &Value::Arrow(stream.to_vec().into())).unwrap();
    let error = payload.decode::<RecordBatches>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DecodeFailed, "{error}");
    assert_eq!(RecordBatches::from_stream(stream.to_vec()).unwrap_err().kind(), error.kind());
    error
}

#[test]
fn what_is_no_stream_is_refused() {
    let stream = batches(100).to_stream().unwrap();
    for cut in [0, 3, 4, 8, 100, stream.len() - 9, stream.len() - 1] {
        refused(&stream[..cut]);
    }
    refused(b"no stream at all, but some text");
    refused(&[&stream[..], b"more"].concat());
    let error = Payload::encode(Codec::MsgPack, &7).unwrap().decode::<RecordBatches>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DecodeFailed);
    assert!(error.message().contains("record batches were expected"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// What is accepted can be looked at, all of it.
    #[test]
    fn a_stream_with_wrong_bytes_is_read_or_refused(
        wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut stream = batches(6).to_stream().unwrap().to_vec();
        for (place, byte) in wrong {
            let place = place.index(stream.len());
            stream[place] = byte;
        }
        if let Ok(read) = RecordBatches::from_stream(stream) && read.num_rows() < 1000 {
            let _ = format!("{read:?}");
        }
    }
}
