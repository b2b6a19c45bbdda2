//! The files of a log: who may write them, and what goes when they are full.

use warpring_core::{ActorId, KernelError};

use super::super::DeadLetterLog;
use super::*;

#[path = "../../tests/support/folder.rs"]
mod folder;
use folder::Folder;

fn opening(run: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(&mut bytes, &Record::Run(Run { run, module: "test".into(), fingerprint: 7, handlers: Vec::new() }));
    bytes
}

fn letter(run: u64, sequence: u64) -> Vec<u8> {
    let to = ActorId { slot: 1, generation: 1, worker: 0 };
    let reason = KernelError::Stopped;
    let stored = Stored { id: (run, sequence), time: 0, to, from: None, tag: 0, reason, high: false, payload: Some(vec![1; 40]) };
    let mut bytes = Vec::new();
    append(&mut bytes, &Record::Letter(stored));
    bytes
}

fn sequences(path: &Path) -> Vec<u64> {
    DeadLetterLog::read(path).expect("a log").letters.iter().map(|letter| letter.sequence).collect()
}

#[test]
fn a_full_log_loses_its_older_half_and_stays_within_its_limit() {
    let folder = Folder::new();
    let most = 4096;
    let mut log = LogFile::create(folder.file("letters"), most, opening(1)).expect("opened");
    for sequence in 1..=400 {
        log.append(&letter(1, sequence)).expect("written");
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |data| data.len());
        assert!(bytes(&folder.file("letters")) <= most && bytes(&older(&folder.file("letters"))) <= most);
    }
    let kept = sequences(&folder.file("letters"));
    // The last ones, without a gap, and at least what half of the limit holds.
    let first = 401 - kept.len() as u64;
    assert_eq!(kept, (first..=400).collect::<Vec<_>>());
    let each = letter(1, 1).len() as u64;
    assert!(kept.len() as u64 > most / each - 5, "{} letters are left", kept.len());
}

#[test]
fn a_log_is_gone_on_with_behind_a_torn_end() {
    let folder = Folder::new();
    let mut log = LogFile::create(folder.file("letters"), u64::MAX, opening(1)).expect("opened");
    log.append(&letter(1, 1)).expect("written");
    let torn = &letter(1, 2)[..20];
    log.append(torn).expect("written");
    drop(log);
    let mut log = LogFile::create(folder.file("letters"), u64::MAX, opening(2)).expect("opened");
    log.append(&letter(2, 1)).expect("written");
    log.mark((1, 1)).expect("written");
    let read = DeadLetterLog::read(folder.file("letters")).expect("a log");
    let letters: Vec<_> = read.letters.iter().map(|letter| (letter.id(), letter.is_resent())).collect();
    assert_eq!(letters, [((1, 1), true), ((2, 1), false)]);
    assert_eq!((read.damaged_bytes, read.modules), (20, vec![("test".to_owned(), 7)]));
}

#[test]
fn one_at_a_time_writes_a_log_and_another_file_is_not_overwritten() {
    let folder = Folder::new();
    let log = LogFile::create(folder.file("letters"), u64::MAX, opening(1)).expect("opened");
    assert_eq!(is_written(&folder.file("letters")), Ok(true));
    let in_use = DeadLetterLogError::InUse { path: folder.file("letters") };
    assert_eq!(LogFile::create(folder.file("letters"), u64::MAX, opening(2)).err(), Some(in_use.clone()));
    assert_eq!(LogFile::open(&folder.file("letters")).err(), Some(in_use));
    drop(log);
    assert_eq!(is_written(&folder.file("letters")), Ok(false));
    let other = folder.file("poem");
    std::fs::write(&other, "warpring dead poets").expect("written");
    let no_log = DeadLetterLogError::NotALog { path: other.clone() };
    assert_eq!(LogFile::create(other.clone(), u64::MAX, opening(1)).err(), Some(no_log.clone()));
    assert_eq!(DeadLetterLog::read(&other).err(), Some(no_log));
    assert_eq!(std::fs::read(&other).expect("it is there"), b"warpring dead poets");
}

#[test]
fn a_log_without_room_for_its_next_file_keeps_what_it_has() {
    let folder = Folder::new();
    let path = folder.file("letters");
    let mut log = LogFile::create(path.clone(), 4096, opening(1)).expect("opened");
    let mut sequence = 0;
    // Until there is an older file, and the younger one is full.
    while !older(&path).exists() || std::fs::metadata(&path).expect("there").len() + 2 * letter(1, 1).len() as u64 <= 4096 {
        sequence += 1;
        log.append(&letter(1, sequence)).expect("written");
    }
    let kept = sequences(&path);
    // Where the next file would be is a folder.
    std::fs::create_dir(beside(&path, ".new")).expect("made");
    for lost in 1..=3 {
        let _ = log.append(&letter(1, sequence + lost));
    }
    assert!(log.append(&letter(1, 1000)).is_err());
    let now = sequences(&path);
    assert!(now.starts_with(&kept), "{now:?}");
    std::fs::remove_dir(beside(&path, ".new")).expect("removed");
    log.append(&letter(1, 1001)).expect("there is room again");
    assert_eq!(sequences(&path).last(), Some(&1001));
}

#[test]
fn a_log_whose_younger_file_is_gone_is_read() {
    let folder = Folder::new();
    let path = folder.file("letters");
    let mut log = LogFile::create(path.clone(), u64::MAX, opening(1)).expect("opened");
    log.append(&letter(1, 1)).expect("written");
    std::fs::rename(&path, older(&path)).expect("renamed");
    assert_eq!(sequences(&path), [1]);
    std::fs::remove_file(older(&path)).expect("removed");
    assert!(matches!(DeadLetterLog::read(&path), Err(DeadLetterLogError::Io { .. })));
}
