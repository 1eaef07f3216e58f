//! The hard stop, with a folder in the place of what spawnd says.

use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::home::Home;
use crate::path::ContentsPath;
use crate::{checkpoints, save, transfer};

const MIB: u64 = 1 << 20;

struct World {
    desk: crate::desk::Desk,
    home: tempfile::TempDir,
    told: tempfile::TempDir,
}

fn path(text: &str) -> ContentsPath {
    ContentsPath::parse(text).unwrap()
}

impl World {
    fn new(told: Value) -> World {
        let (home, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("home.json"), told.to_string()).unwrap();
        let opened = Home::open(home.path(), Some(folder.path().to_owned())).unwrap();
        World { desk: crate::desk::Desk::new(opened, 256 << 20), home, told: folder }
    }

    /// A home of 1 MiB and 10 files, counted just now.
    fn bounded(bytes: u64, files: u64) -> World {
        let world = World::new(json!({"held": "counted", "bytes": MIB, "files": 10}));
        world.counted(bytes, files);
        world
    }

    fn counted(&self, bytes: u64, files: u64) {
        let used = json!({"bytes": bytes, "files": files, "begun_ns": now_ns()});
        self.tell(json!({"held": "counted", "bytes": MIB, "files": 10, "used": used}));
    }

    fn tell(&self, told: Value) {
        let new = self.told.path().join("new");
        fs::write(&new, told.to_string()).unwrap();
        fs::rename(new, self.told.path().join("home.json")).unwrap();
    }

    fn put(&self, name: &str, bytes: usize) -> Result<save::Saved, Error> {
        let body = json!({"type": "file", "format": "text", "content": "x".repeat(bytes)});
        save::put(&self.desk, &path(name), body.to_string().as_bytes())
    }

    fn chunk(&self, name: &str, number: i64, bytes: usize) -> Result<save::Saved, Error> {
        let content = "x".repeat(bytes);
        let body = json!({"type": "file", "format": "text", "chunk": number, "content": content});
        save::put(&self.desk, &path(name), body.to_string().as_bytes())
    }

    /// What lies there, unfinished files included.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.home.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[track_caller]
fn full<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.status(), 507, "{error}");
    error.to_string()
}

#[test]
fn a_write_that_would_pass_the_bound_is_refused_whole() {
    let w = World::bounded(0, 0);
    w.put("a.txt", 600 << 10).unwrap();
    // The count still says 0: what was written through us is added to it.
    let said = full(w.put("b.txt", 600 << 10));
    for word in ["0.6 MiB of 1.0 MiB", "files of 10", "'b.txt' was not saved", "a.txt (0.6 MiB)", "Delete"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(w.names(), ["a.txt"], "nothing half-written");
    w.put("c.txt", 300 << 10).unwrap();
}

#[test]
fn an_old_file_is_intact_after_a_refusal_and_its_space_counts_for_its_successor() {
    let w = World::bounded(0, 0);
    w.put("a.txt", 700 << 10).unwrap();
    let before = fs::read(w.home.path().join("a.txt")).unwrap();
    full(w.put("a.txt", 1200 << 10));
    assert_eq!(fs::read(w.home.path().join("a.txt")).unwrap(), before);
    // The same file again, a little larger: it takes the place of what is there.
    w.put("a.txt", 900 << 10).unwrap();
    // Beyond the bound (somebody else wrote), what takes no more than it gives back is let through.
    w.counted(3 * MIB, 5);
    w.put("a.txt", 100 << 10).unwrap();
    full(w.put("new.txt", 1));
}

#[test]
fn chunks_copies_checkpoints_folders_and_file_counts_are_held_too() {
    let w = World::bounded(0, 0);
    w.chunk("up.bin", 1, 500 << 10).unwrap();
    w.chunk("up.bin", 2, 400 << 10).unwrap();
    full(w.chunk("up.bin", 3, 300 << 10));
    assert!(w.names().is_empty(), "the refused upload leaves nothing: {:?}", w.names());
    // A fresh count sees that.
    w.counted(0, 0);
    w.put("a.txt", 600 << 10).unwrap();
    full(transfer::copy(&w.desk.home, &path("a.txt"), &path("")));
    full(checkpoints::create(&w.desk.home, &path("a.txt")));
    fs::create_dir(w.home.path().join("d")).unwrap();
    fs::write(w.home.path().join("d/x"), vec![1; 900 << 10]).unwrap();
    full(transfer::copy(&w.desk.home, &path("d"), &path("")));
    assert!(w.names().iter().all(|name| !name.starts_with(".~")), "{:?}", w.names());
    w.counted(0, 10);
    full(w.put("one-more.txt", 1));
    full(save::post_untitled(&w.desk, &path(""), Some(crate::model::Type::Directory), ""));
    assert_eq!(fs::read_dir(w.home.path().join(".ipynb_checkpoints")).map_or(0, Iterator::count), 0);
}

#[test]
fn what_was_deleted_meanwhile_is_seen_by_a_fresh_count() {
    let w = World::bounded(MIB, 3);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| w.put("a.txt", 100 << 10));
        std::thread::sleep(Duration::from_millis(100));
        w.counted(0, 2);
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn without_a_first_count_a_write_waits_and_without_a_bound_it_does_not() {
    let w = World::new(json!({"held": "counted", "bytes": MIB}));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| w.put("a.txt", 100));
        std::thread::sleep(Duration::from_millis(100));
        assert!(!waiting.is_finished());
        w.counted(0, 0);
        waiting.join().unwrap().unwrap();
    });
    for held in ["nothing", "quota"] {
        World::new(json!({"held": held, "bytes": 1})).put("a.txt", 100 << 10).unwrap();
    }
}

#[test]
fn many_small_writes_are_all_remembered_in_bounded_space() {
    let mut written = VecDeque::new();
    for at_ns in 0..5000 {
        remember(&mut written, Written { at_ns, size: Size { bytes: 1, files: 1 } });
    }
    assert_eq!(written.len(), MAX_WRITES);
    let since = |begun_ns| Counted { bytes: 10, files: 0, begun_ns };
    assert_eq!(used(&since(0), &mut written), Size { bytes: 5010, files: 5000 });
    // What was added up is forgotten late, never early.
    assert_eq!(used(&since(4990), &mut written), Size { bytes: 20, files: 10 });
}

#[test]
fn a_quota_s_refusal_says_what_the_bound_is() {
    let w = World::new(json!({"held": "quota", "bytes": MIB, "files": 10}));
    let place = w.desk.home.place(&path("a.txt")).unwrap();
    let error = place.account.explain(Errno::DQUOT, "a.txt").unwrap();
    assert_eq!(error.status(), 507);
    assert!(error.to_string().contains("of 1.0 MiB"), "{error}");
    assert!(place.account.explain(Errno::ACCESS, "a.txt").is_none());
    let none = World::new(json!({"held": "nothing"}));
    let place = none.desk.home.place(&path("a.txt")).unwrap();
    assert!(place.account.explain(Errno::NOSPC, "a.txt").is_none(), "the disk is full, not the home");
}

proptest::proptest! {
    #[test]
    fn whatever_is_told_is_read_or_refused(text in ".{0,200}") {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("home.json"), text).unwrap();
        let _ = read(folder.path());
    }
}
