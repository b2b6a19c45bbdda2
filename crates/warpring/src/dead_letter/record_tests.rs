//! What is written is read again; whatever else is there is stepped over.

use proptest::prelude::*;

use super::*;

fn actor() -> impl Strategy<Value = ActorId> {
    any::<(u32, u16, u16)>().prop_map(|(slot, generation, worker)| ActorId { slot, generation, worker })
}

fn letter() -> impl Strategy<Value = Record> {
    let parts = (any::<(u64, u64)>(), any::<u64>(), actor(), proptest::option::of(actor()), any::<u16>());
    let rest = (1..9u16, any::<u32>(), any::<bool>(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..424)));
    (parts, rest).prop_map(|((id, time, to, from, tag), (code, detail, high, payload))| {
        Record::Letter(Stored { id, time, to, from, tag, reason: KernelError::from_parts(code, detail), high, payload })
    })
}

fn run() -> impl Strategy<Value = Record> {
    let handler = (".{0,20}", ".{0,20}", any::<u16>(), any::<(u64, u32)>()).prop_map(|(kernel, name, tag, message)| {
        let (fingerprint, bytes) = message;
        Handler { kernel, name, tag, message: MessageTable { fingerprint, bytes } }
    });
    (any::<(u64, u64)>(), ".{0,20}", proptest::collection::vec(handler, 0..9))
        .prop_map(|((run, fingerprint), module, handlers)| Record::Run(Run { run, module, fingerprint, handlers }))
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        letter(),
        run(),
        any::<(u64, u64)>().prop_map(Record::Resent),
        any::<(u64, u64)>().prop_map(|(run, count)| Record::Missed { run, count }),
        (any::<(u64, u64)>(), proptest::option::of(actor())).prop_map(|(id, to)| Record::Wanted { id, to }),
    ]
}

fn written(all: &[Record]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    all.iter().for_each(|record| append(&mut file, record));
    file
}

proptest! {
    #[test]
    fn records_are_read_as_they_were_written(all in proptest::collection::vec(record(), 0..20)) {
        let file = written(&all);
        let mut read = records(&file).expect("a log");
        prop_assert_eq!(read.by_ref().collect::<Vec<_>>(), all);
        prop_assert_eq!(read.damaged, 0);
    }

    #[test]
    fn a_torn_last_record_is_stepped_over(all in proptest::collection::vec(record(), 1..8), keep in any::<prop::sample::Index>()) {
        let whole = written(&all[..all.len() - 1]);
        let file = written(&all);
        // At least one byte of it is there, and one is not.
        let torn = 1 + keep.index(file.len() - whole.len() - 1);
        let mut read = records(&file[..whole.len() + torn]).expect("a log");
        prop_assert_eq!(read.by_ref().collect::<Vec<_>>(), &all[..all.len() - 1]);
        prop_assert_eq!(read.damaged, torn as u64);
    }

    #[test]
    fn what_follows_a_damaged_record_is_read(all in proptest::collection::vec(record(), 3..8), at in any::<prop::sample::Index>()) {
        let (before, end) = (written(&all[..1]).len(), written(&all[..2]).len());
        let mut file = written(&all);
        file[before + at.index(end - before)] ^= 0x10;
        let mut read = records(&file).expect("a log");
        let rest: Vec<_> = read.by_ref().collect();
        prop_assert_eq!(&rest, &[&all[..1], &all[2..]].concat());
        prop_assert_eq!(read.damaged, (end - before) as u64);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), marks in any::<bool>()) {
        let mut file = MAGIC.to_vec();
        for chunk in bytes.chunks(40) {
            if marks {
                // A whole record around any body.
                let mut body = MARK.to_vec();
                body.extend_from_slice(&(chunk.len() as u32).to_le_bytes());
                body.extend_from_slice(&layout::mix_bytes(layout::EMPTY, chunk).to_le_bytes());
                file.extend_from_slice(&body);
            }
            file.extend_from_slice(chunk);
        }
        let mut content = super::super::read::Content::default();
        content.take(&file).expect("it begins like a log");
        // Not a log, mostly.
        let _ = content.take(&bytes);
        let _ = content.into_log(std::path::Path::new("any"));
    }
}

#[test]
fn a_file_that_begins_with_something_else_is_no_log() {
    assert!(records(b"warpring dead letters 2\n").is_none());
    assert_eq!(records(b"").map(|read| read.damaged), Some(0));
    assert_eq!(records(&MAGIC[..7]).map(|read| read.damaged), Some(7));
}
