//! Segment files: what a crash leaves, growing over several, removal, readers beside it.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use klatch_core::step::Lack;

use super::*;
use crate::store::bodies::Span;
use crate::store::{StoreError, segments};

/// Larger than what stays in the encrypted file.
const LARGE: usize = 20_000;
/// Bytes before the first body of a segment.
const HEADER: u64 = 48;

fn segment(world: &World, number: u32) -> PathBuf {
    world.path().join(segments::name(number))
}

fn size(world: &World, number: u32) -> u64 {
    fs::metadata(segment(world, number)).unwrap().len()
}

/// The segments there are.
fn numbers(world: &World) -> Vec<u32> {
    segments::list(world.path()).unwrap().into_keys().collect()
}

/// A world whose segments take two large bodies each.
fn small_segments() -> World {
    let mut world = World::new();
    world.store.segments.bytes_max = HEADER + 2 * LARGE as u64;
    world
}

fn large(fill: char) -> String {
    String::from(fill).repeat(LARGE)
}

fn drop_body(world: &mut World, row: &EntryRow) {
    world.store.commit(&[Write::DropBody { room: ROOM, entry: row.hash.id() }]).unwrap();
}

fn body(world: &World, row: &EntryRow) -> Option<Arc<[u8]>> {
    world.reader().by_id(ROOM, row.hash.id()).unwrap().unwrap().entry.body
}

/// The segments of a world that this process has open, as the system names them; none where it does
/// not say.
fn open_segments(world: &World) -> Vec<String> {
    let files = fs::read_dir("/proc/self/fd").into_iter().flatten();
    let paths = files.filter_map(|file| {
        Some(fs::read_link(file.ok()?.path()).ok()?.to_string_lossy().into_owned())
    });
    let folder = world.path().to_string_lossy();
    paths.filter(|path| path.starts_with(&*folder) && path.contains(".seg")).collect()
}

/// Every entry that should have a body has the right one, and the counters say what the files hold.
fn check(world: &World, rows: &[(EntryRow, bool)]) {
    for (row, kept) in rows {
        assert_eq!(
            body(world, row),
            row.entry.body.clone().filter(|_| *kept),
            "entry {}",
            row.journal
        );
    }
    let main = &world.store.main;
    let wrong: i64 = main
        .query_row(
            "SELECT count(*) FROM segment g WHERE bodies <> (SELECT count(*) FROM sealed s JOIN entry e USING (journal)
             WHERE s.segment = g.number AND e.body_at = 2)",
            [],
            |r| r.get(0),
        )
        .unwrap();
    assert_eq!(wrong, 0);
    let noted: Vec<u32> = main
        .prepare("SELECT number FROM segment ORDER BY number")
        .unwrap()
        .query_map([], |r| r.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(noted, numbers(world));
}

#[test]
fn bodies_of_a_batch_that_was_never_committed_are_cut_off() {
    let mut world = World::new();
    let kept = world.say(1, &large('a'));
    let before = size(&world, 1);
    assert_eq!(before, HEADER + LARGE as u64);
    // What the disk looks like when the power goes between the two files.
    world.store.segments.append(&[&[1; LARGE], &[2; LARGE]]).unwrap();
    assert_eq!(size(&world, 1), before + 2 * LARGE as u64);
    let mut world = world.reopen();
    assert_eq!(size(&world, 1), before);
    let next = world.say(1, &large('b'));
    check(&world.reopen(), &[(kept, true), (next, true)]);
}

#[test]
fn zeros_and_garbage_behind_the_last_body_are_cut_off() {
    let mut world = World::new();
    let kept = world.say(1, &large('a'));
    let before = size(&world, 1);
    for tail in [vec![0; 100_000], vec![0xa5; 3]] {
        fs::OpenOptions::new()
            .append(true)
            .open(segment(&world, 1))
            .and_then(|f| f.write_all_at(&tail, before))
            .unwrap();
        world = world.reopen();
        assert_eq!(size(&world, 1), before);
        assert_eq!(body(&world, &kept), kept.entry.body);
    }
}

#[test]
fn crash_while_a_new_segment_is_begun_leaves_nothing_in_the_way() {
    let mut world = small_segments();
    let mut rows = vec![(world.say(1, &large('a')), true), (world.say(1, &large('b')), true)];
    // The second segment is there and has bodies, but no entry knows of it.
    world.store.segments.append(&[&[1; LARGE]]).unwrap();
    assert_eq!(numbers(&world), [1, 2]);
    let unfinished = world.path().join("bodies.seg.new");
    fs::write(&unfinished, b"KLATCH").unwrap();
    let mut world = world.reopen();
    assert!(!unfinished.exists());
    assert_eq!((numbers(&world), size(&world, 2)), (vec![1, 2], HEADER));
    rows.push((world.say(1, &large('c')), true));
    assert_eq!(size(&world, 2), HEADER + LARGE as u64);
    check(&world.reopen(), &rows);
}

#[test]
fn failed_batch_is_overwritten_by_the_next_one() {
    let mut world = World::new();
    let first = world.say(1, "first");
    let fresh = world.entry(ROOM, 2, Kind::Text, &large('f'));
    let mut twice = world.entry(ROOM, 1, Kind::Text, "second entry in one place");
    twice.seq = first.seq;
    let failed = world.store.commit(&[Write::Append(fresh), Write::Append(twice)]);
    assert!(matches!(failed, Err(StoreError::Conflict { .. })), "{failed:?}");
    let next = world.say(3, &large('n'));
    assert_eq!(size(&world, 1), HEADER + LARGE as u64);
    check(&world.reopen(), &[(next, true)]);
}

#[test]
fn segments_follow_each_other_and_readers_see_new_ones() {
    let mut world = small_segments();
    let reader = world.reader();
    let mut rows = Vec::new();
    for n in 0..5_u8 {
        let row = world.say(1, &large(char::from(b'a' + n)));
        let read = reader.by_id(ROOM, row.hash.id()).unwrap().unwrap();
        assert_eq!(read.entry, row.entry, "seen by a reader that is older");
        rows.push((row, true));
    }
    assert_eq!(numbers(&world), [1, 2, 3]);
    // One batch over several segments, and a body larger than a segment.
    let batch: Vec<EntryRow> = [LARGE, LARGE, 3 * LARGE, LARGE, 10, LARGE, LARGE]
        .iter()
        .map(|bytes| world.entry(ROOM, 1, Kind::Text, &"z".repeat(*bytes)))
        .collect();
    world.store.commit(&batch.iter().cloned().map(Write::Append).collect::<Vec<_>>()).unwrap();
    rows.extend(batch.into_iter().map(|row| (row, true)));
    assert_eq!(numbers(&world), [1, 2, 3, 4, 5, 6, 7]);
    check(&world, &rows);
    let world = world.reopen();
    check(&world, &rows);
    let (page, more) = world.reader().page(ROOM, &Vec::new(), 1 << 30, 1_000).unwrap();
    assert!(!more && page.iter().zip(&rows).all(|(p, (r, _))| *p == r.entry));
}

#[test]
fn many_segments_need_few_open_files() {
    let mut world = small_segments();
    let rows: Vec<_> = (0..40).map(|n| world.say(1, &large(char::from(b'0' + n)))).collect();
    assert_eq!(numbers(&world).len(), 20);
    let reader = world.reader();
    for row in rows.iter().chain(rows.iter().rev()) {
        assert_eq!(reader.by_id(ROOM, row.hash.id()).unwrap().unwrap().entry, row.entry);
    }
    // The reader's, and the one that is written to.
    let open = open_segments(&world);
    assert!(open.len() <= 9, "{open:?}");
}

#[test]
fn segment_goes_when_its_last_body_goes() {
    let mut world = small_segments();
    let mut rows: Vec<_> =
        (0..5_u8).map(|n| (world.say(1, &large(char::from(b'a' + n))), true)).collect();
    let reader = world.reader();
    assert!(reader.by_id(ROOM, rows[2].0.hash.id()).unwrap().unwrap().entry.body.is_some());
    for (dropped, left) in
        [(2, vec![1, 2, 3]), (3, vec![1, 3]), (0, vec![1, 3]), (4, vec![1, 3]), (1, vec![3])]
    {
        let row = rows[dropped].0.clone();
        drop_body(&mut world, &row);
        rows[dropped].1 = false;
        assert_eq!(numbers(&world), left, "the newest one stays");
        check(&world, &rows);
        assert_eq!(reader.by_id(ROOM, row.hash.id()).unwrap().unwrap().entry.body, None);
    }
    // It has room for one body more, then the next segment begins and nothing holds it any longer.
    rows.push((world.say(1, &large('y')), true));
    assert_eq!(numbers(&world), [3]);
    let last = rows[5].0.clone();
    drop_body(&mut world, &last);
    rows[5].1 = false;
    rows.push((world.say(1, &large('z')), true));
    assert_eq!(numbers(&world), [4]);
    // A file that somebody has open takes space after its removal.
    assert!(reader.by_id(ROOM, rows[6].0.hash.id()).unwrap().unwrap().entry.body.is_some());
    let open = open_segments(&world);
    assert!(open.iter().all(|path| path.ends_with(&segments::name(4))), "{open:?}");
    check(&world.reopen(), &rows);
}

#[test]
fn segment_that_should_be_gone_goes_at_the_next_start() {
    let mut world = small_segments();
    let rows: Vec<_> =
        (0..3_u8).map(|n| (world.say(1, &large(char::from(b'a' + n))), n == 2)).collect();
    let kept = fs::read(segment(&world, 1)).unwrap();
    let drops = [0, 1].map(|n: usize| Write::DropBody { room: ROOM, entry: rows[n].0.hash.id() });
    world.store.commit(&drops).unwrap();
    assert_eq!(numbers(&world), [2]);
    fs::write(segment(&world, 1), kept).unwrap();
    let world = world.reopen();
    assert_eq!(numbers(&world), [2]);
    check(&world, &rows);
}

#[test]
fn overwriting_needs_no_holes() {
    let world = {
        let mut world = World::new();
        for n in 0..3 {
            world.say(1, &format!("needle-{n} ").repeat(7_000));
        }
        world
    };
    let file = OpenOptions::new().write(true).open(segment(&world, 1)).unwrap();
    let before = fs::read(segment(&world, 1)).unwrap();
    let size = (before.len() - 48) / 3;
    let span = Span { segment: 1, start: HEADER + size as u64, size: u32::try_from(size).unwrap() };
    world.store.segments.overwrite(&file, &[span]).unwrap();
    let after = fs::read(segment(&world, 1)).unwrap();
    assert_eq!(after[..48 + size], before[..48 + size]);
    assert!(after[48 + size..48 + 2 * size].iter().all(|b| *b == 0));
    assert_eq!(after[48 + 2 * size..], before[48 + 2 * size..]);
}

#[test]
fn removed_bodies_are_overwritten_and_their_space_is_given_back() {
    let mut world = World::new();
    let rows: Vec<_> =
        (0..8).map(|n| world.say(1, &format!("needle-{n} ").repeat(7_000))).collect();
    let before = fs::metadata(segment(&world, 1)).unwrap();
    let drops: Vec<_> =
        rows[..7].iter().map(|r| Write::DropBody { room: ROOM, entry: r.hash.id() }).collect();
    world.store.commit(&drops).unwrap();
    for (n, row) in rows.iter().enumerate() {
        assert_eq!(secrecy::on_disk(world.path(), &mask(&format!("needle-{n} "))), n == 7);
        assert_eq!(body(&world, row).is_some(), n == 7);
    }
    let after = fs::metadata(segment(&world, 1)).unwrap();
    assert_eq!(after.len(), before.len(), "places stay");
    // Where the file system has holes at all: the folder may be on one without.
    let probe =
        OpenOptions::new().write(true).create_new(true).open(world.path().join("probe")).unwrap();
    let holes = cfg!(target_os = "linux") && {
        use rustix::fs::{FallocateFlags, fallocate};
        probe.write_all_at(&[1; 9_000], 0).unwrap();
        fallocate(&probe, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, 9_000).is_ok()
    };
    assert!(
        !holes || after.blocks() < before.blocks() / 4,
        "{} of {} blocks",
        after.blocks(),
        before.blocks()
    );
}

#[test]
fn removal_that_a_crash_interrupted_is_finished_at_the_next_start() {
    let mut world = small_segments();
    let rows: Vec<_> =
        (0..3_u8).map(|n| (world.say(1, &large(char::from(b'a' + n))), n == 2)).collect();
    // What the disk looks like after the first transaction of a removal.
    for (row, _) in &rows[..2] {
        let journal = i64::try_from(row.journal).unwrap();
        world
            .store
            .main
            .execute("UPDATE entry SET body_at = 0 WHERE journal = ?1", [journal])
            .unwrap();
        let tx = world.store.main.transaction().unwrap();
        crate::store::forget::doom(&tx, journal).unwrap();
        tx.commit().unwrap();
    }
    assert!(secrecy::on_disk(world.path(), &mask("aaaaaaaaaaaaaaaa")));
    let world = world.reopen();
    assert!(!secrecy::on_disk(world.path(), &mask("aaaaaaaaaaaaaaaa")));
    assert_eq!(numbers(&world), [2]);
    check(&world, &rows);
}

#[test]
fn reader_with_an_older_view_finds_no_body_where_one_was_removed() {
    let mut world = small_segments();
    let rows: Vec<_> = (0..3_u8).map(|n| world.say(1, &large(char::from(b'a' + n)))).collect();
    let reader = world.reader();
    // From here on it sees the entries as they are now, whatever the writer does.
    reader.main.execute_batch("BEGIN").unwrap();
    let seen = |n: usize| {
        let row = reader.by_id(ROOM, rows[n].hash.id()).unwrap().unwrap();
        (row.entry.body, row.lack)
    };
    let (here, gone) = (|n: usize| (rows[n].entry.body.clone(), None), (None, Some(Lack::Damaged)));
    assert_eq!(seen(0), here(0));
    drop_body(&mut world, &rows[0]);
    assert_eq!(seen(0), gone, "overwritten");
    assert_eq!(seen(1), here(1));
    drop_body(&mut world, &rows[1]);
    assert_eq!(numbers(&world), [2]);
    assert_eq!((seen(0), seen(1)), (gone.clone(), gone), "the file is gone");
    assert_eq!(seen(2), here(2));
    // It cannot know why; the writer knows that nothing rotted.
    let doubts = BTreeSet::from_iter(reader.take_doubts());
    assert_eq!(doubts, rows[..2].iter().map(|row| (ROOM, row.hash.id())).collect());
    for row in &rows[..2] {
        assert!(!world.store.is_rotten(ROOM, row.hash.id()).unwrap());
        let now = world.reader().by_id(ROOM, row.hash.id()).unwrap().unwrap();
        assert_eq!((now.entry.body, now.lack), (None, Some(Lack::Deleted)));
    }
}

#[test]
fn readers_never_see_half_a_body_while_it_is_removed() {
    let mut world = World::new();
    let body: &[u8] = &[7; LARGE];
    let span = world.store.segments.append(&[body]).unwrap().remove(0);
    let file = OpenOptions::new().write(true).open(segment(&world, 1)).unwrap();
    let live = world.store.segments.live();
    // Ample for what must not happen.
    let moment = std::time::Duration::from_millis(100);
    std::thread::scope(|scope| {
        let (reader, segments) = (world.reader(), &world.store.segments);
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let overwriting = tell.clone();
        let reading = live.hold();
        scope.spawn(move || {
            overwriting.send(segments.overwrite(&file, &[span]).map(|()| None).unwrap())
        });
        assert!(told.recv_timeout(moment).is_err(), "somebody reads");
        assert_eq!(fs::read(segment(&world, 1)).unwrap()[48..], *body);
        drop(reading);
        assert_eq!(told.recv().unwrap(), None);

        let overwriting = live.alone();
        scope.spawn(move || tell.send(Some(reader.bodies.get(&span).unwrap())));
        assert!(told.recv_timeout(moment).is_err(), "somebody overwrites");
        drop(overwriting);
        // Zeros from end to end: no body of any header.
        let zeros = Some(Arc::from([0; LARGE]));
        assert_eq!(told.recv().unwrap(), Some(zeros));
    });
}

#[test]
fn disk_that_refuses_bodies_leaves_the_store_as_it_was() {
    let mut world = World::new();
    let first = world.say(1, &large('a'));
    let file = OpenOptions::new().write(true).open("/dev/full");
    let Ok(mut full) = file else {
        eprintln!("skipped: no /dev/full here");
        return;
    };
    std::mem::swap(&mut world.store.segments.file, &mut full);
    let row = world.entry(ROOM, 1, Kind::Text, &large('b'));
    let refused = world.store.commit(&[Write::Append(row.clone())]);
    assert!(matches!(&refused, Err(e @ StoreError::Full { .. }) if e.retryable()), "{refused:?}");
    assert_eq!(world.store.snapshot().unwrap().rooms[0].entries.len(), 1);
    assert_eq!(body(&world, &first), first.entry.body, "readers go on");
    // Some of it may have been written before space ran out.
    full.write_all_at(&[7; 5_000], world.store.segments.end).unwrap();

    std::mem::swap(&mut world.store.segments.file, &mut full);
    world.store.commit(&[Write::Append(row.clone())]).unwrap();
    check(&world.reopen(), &[(first, true), (row, true)]);
}

#[test]
fn database_that_is_full_after_the_bodies_were_written_keeps_neither() {
    let mut world = World::new();
    let first = world.say(1, &large('a'));
    let pages: i64 = world.store.main.query_row("PRAGMA page_count", [], |r| r.get(0)).unwrap();
    world.store.main.execute_batch(&format!("PRAGMA max_page_count = {}", pages + 1)).unwrap();
    let rows: Vec<_> = (0..100).map(|_| world.entry(ROOM, 1, Kind::Text, &large('b'))).collect();
    let writes: Vec<_> = rows.iter().cloned().map(Write::Append).collect();
    for _ in 0..2 {
        let full = world.store.commit(&writes);
        assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
    }
    assert_eq!(
        size(&world, 1),
        HEADER + 101 * LARGE as u64,
        "one failed batch takes the place of the other"
    );
    world = world.reopen();
    assert_eq!(size(&world, 1), HEADER + LARGE as u64);
    world.store.commit(&writes).unwrap();
    let all: Vec<_> = std::iter::once(first).chain(rows).map(|row| (row, true)).collect();
    check(&world, &all);
}

#[test]
fn segments_are_for_their_owner_only() {
    let mut world = small_segments();
    for _ in 0..5 {
        world.say(1, &large('a'));
    }
    for number in numbers(&world) {
        assert_eq!(fs::metadata(segment(&world, number)).unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn files_with_similar_names_are_left_alone() {
    let mut world = World::new();
    let row = world.say(1, &large('a'));
    let names = [
        "bodies-1.seg",
        "bodies-00000002.seg.bak",
        "bodies-x.seg",
        "bodies-99999999999.seg",
        "notes.txt",
    ];
    for name in names {
        fs::write(world.path().join(name), b"mine").unwrap();
    }
    let world = world.reopen();
    check(&world, &[(row, true)]);
    assert!(names.iter().all(|name| fs::read(world.path().join(name)).unwrap() == b"mine"));
}
