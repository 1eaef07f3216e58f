//! Tests of the contents API on a real folder, without sockets.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::atomic::{Draft, Taken};
use crate::checkpoints;
use crate::desk::Desk;
use crate::error::Error;
use crate::home::Home;
use crate::model::{Content, Format, Model, Type};
use crate::path::ContentsPath;
use crate::read::{self, Ask, Got};
use crate::remove;
use crate::save;
use crate::transfer;

struct World {
    _folder: tempfile::TempDir,
    root: PathBuf,
    desk: Desk,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("home");
    fs::create_dir(&root).unwrap();
    let desk = Desk::new(Home::open(&root, None).unwrap(), 1 << 20);
    World { _folder: folder, root, desk }
}

fn path(text: &str) -> ContentsPath {
    ContentsPath::parse(text).unwrap()
}

impl World {
    fn put(&self, at: &str, body: Value) -> Result<save::Saved, Error> {
        save::put(&self.desk, &path(at), body.to_string().as_bytes())
    }

    fn text(&self, at: &str, text: &str) {
        self.put(at, json!({"type": "file", "format": "text", "content": text})).unwrap();
    }

    fn get(&self, at: &str, ask: Ask) -> Result<Got, Error> {
        read::get(&self.desk.home, &self.desk.trust, &path(at), ask, SystemTime::now(), self.desk.max_body)
    }

    fn model(&self, at: &str) -> Model {
        match self.get(at, FULL).unwrap() {
            Got::Whole(model) => model,
            Got::Streamed { .. } => panic!("{at} is streamed"),
        }
    }

    fn names(&self, at: &str) -> Vec<String> {
        match self.model(at).content {
            Some(Content::Listing(models)) => models.into_iter().map(|m| m.name).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Every name there is, hidden ones too.
    fn really(&self, at: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.root.join(at))
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn on_disk(&self, at: &str) -> String {
        fs::read_to_string(self.root.join(at)).unwrap()
    }
}

const FULL: Ask = Ask { content: true, ..Ask::BARE };

fn notebook(source: &str) -> Value {
    json!({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
        {"id": "a", "cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": null}]})
}

#[test]
fn files_come_back_as_they_were_saved() {
    let w = world();
    let saved = w.put("a.txt", json!({"type": "file", "format": "text", "content": "hé\n"})).unwrap();
    assert!(saved.created && saved.model.content.is_none() && saved.model.format.is_none());
    assert_eq!((saved.model.size, saved.model.mimetype.as_deref()), (Some(4), Some("text/plain")));
    assert!(matches!(w.model("a.txt").content, Some(Content::Text(text)) if text == "hé\n"));
    assert!(
        !w.put("a.txt", json!({"type": "file", "format": "base64", "content": "/v8=\n"})).unwrap().created
    );
    let model = w.model("a.txt");
    assert_eq!(model.format, Some(Format::Base64));
    assert!(matches!(model.content, Some(Content::Text(text)) if text == "/v8="));
    let error = w.get("a.txt", Ask { format: Some(Format::Text), ..FULL }).unwrap_err();
    assert_eq!((error.status().as_u16(), error.reason()), (400, Some("bad format")));
    assert_eq!(w.really(""), ["a.txt"]);
}

#[test]
fn bad_bodies_are_refused_and_change_nothing() {
    let w = world();
    w.text("a.txt", "old");
    let bad = [
        json!({"content": "x"}),
        json!({"type": "file", "content": "x"}),
        json!({"type": "file", "format": "weird", "content": "x"}),
        json!({"type": "file", "format": "text"}),
        json!({"type": "file", "format": "text", "content": null}),
        json!({"type": "file", "format": "text", "content": {}}),
        json!({"type": "file", "format": "base64", "content": "!!!"}),
        json!({"type": "directory"}),
        json!({"copy_from": "b"}),
        json!([1]),
    ];
    for body in bad {
        assert_eq!(w.put("a.txt", body.clone()).unwrap_err().status(), 400, "{body}");
    }
    assert_eq!(w.on_disk("a.txt"), "old");
}

#[test]
fn an_invalid_notebook_touches_nothing() {
    let w = world();
    w.put("n.ipynb", json!({"type": "notebook", "content": notebook("x")})).unwrap();
    let before = w.on_disk("n.ipynb");
    for content in [
        json!({"cells": []}),
        json!(null),
        json!("text"),
        json!({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"bogus": 1}]}),
    ] {
        for at in ["n.ipynb", "new.ipynb"] {
            let error = w.put(at, json!({"type": "notebook", "content": content})).unwrap_err();
            assert_eq!(error.status(), 400);
        }
    }
    assert_eq!(w.on_disk("n.ipynb"), before);
    assert_eq!(w.really(""), [".ipynb_checkpoints", ".local", "n.ipynb"]);
}

#[test]
fn hidden_paths_do_not_exist_and_cannot_be_made() {
    let w = world();
    fs::create_dir(w.root.join(".h")).unwrap();
    fs::write(w.root.join(".h/x"), "x").unwrap();
    w.text("a.txt", "a");
    for at in [".h", ".h/x"] {
        assert_eq!(w.get(at, FULL).unwrap_err().status(), 404);
        assert!(crate::files::open(&w.desk.home, &path(at)).is_err_and(|e| e.status() == 404));
        let body = json!({"type": "file", "format": "text", "content": "x"});
        assert_eq!(w.put(at, body).unwrap_err().status(), 400);
        assert_eq!(remove::delete(&w.desk.home, &path(at)).unwrap_err().status(), 400);
        assert_eq!(transfer::rename(&w.desk.home, &path(at), &path("b")).unwrap_err().status(), 400);
        assert_eq!(transfer::rename(&w.desk.home, &path("a.txt"), &path(at)).unwrap_err().status(), 400);
        assert_eq!(transfer::copy(&w.desk.home, &path(at), &path("")).unwrap_err().status(), 400);
    }
    assert_eq!(w.names(""), ["a.txt"]);
}

#[test]
fn listings_show_what_can_be_opened() {
    let w = world();
    for name in ["b.txt", "__pycache__x", "a~", "m.pyc", "q\"q", "a\nb", "-rf", "%2e%2e", "\u{202e}"] {
        fs::write(w.root.join(name), "").unwrap();
    }
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"bad\xff");
    fs::write(w.root.join(odd), "").unwrap();
    fs::create_dir(w.root.join("__pycache__")).unwrap();
    fs::create_dir(w.root.join("d")).unwrap();
    symlink("d", w.root.join("link")).unwrap();
    symlink("gone", w.root.join("dangling")).unwrap();
    symlink("/etc/passwd", w.root.join("out")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(w.root.join("socket")).unwrap();
    let names = w.names("");
    assert_eq!(
        names,
        ["%2e%2e", "-rf", "__pycache__x", "a\nb", "b.txt", "bad\u{fffd}", "d", "link", "q\"q", "\u{202e}"]
    );
    serde_json::to_string(&w.model("")).unwrap();
}

#[test]
fn a_thousand_files_are_listed_fast() {
    let w = world();
    for n in 0..1000 {
        fs::write(w.root.join(format!("f{n:04}.txt")), "x").unwrap();
    }
    let begun = Instant::now();
    assert_eq!(w.names("").len(), 1000);
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn unfinished_files_of_a_killed_run_are_swept() {
    let w = world();
    let (old, new) = (format!(".~carrel-{}", "0".repeat(32)), format!(".~carrel-{}", "1".repeat(32)));
    for name in [&old, &new, &".~carrel-mine".to_owned()] {
        fs::write(w.root.join(name), "").unwrap();
    }
    let long_ago = SystemTime::now() - Duration::from_secs(3 * 24 * 3600);
    for name in [old.as_str(), ".~carrel-mine"] {
        fs::File::options().write(true).open(w.root.join(name)).unwrap().set_modified(long_ago).unwrap();
    }
    assert!(w.names("").is_empty());
    assert_eq!(w.really(""), [new, ".~carrel-mine".to_owned()]);
}

#[test]
fn untitled_names_and_copies() {
    let w = world();
    let make = |kind, ext| save::post_untitled(&w.desk, &path(""), kind, ext).unwrap().name;
    assert_eq!(make(Some(Type::Notebook), ""), "Untitled.ipynb");
    assert_eq!(make(None, ".ipynb"), "Untitled1.ipynb");
    assert_eq!(make(None, ""), "untitled");
    assert_eq!(make(Some(Type::File), ".py"), "untitled.py");
    assert_eq!(make(Some(Type::Directory), ""), "Untitled Folder");
    assert_eq!(make(Some(Type::Directory), ""), "Untitled Folder 1");
    assert!(save::post_untitled(&w.desk, &path("gone"), None, "").is_err_and(|e| e.status() == 404));
    assert!(save::post_untitled(&w.desk, &path(""), None, "/../x").is_err_and(|e| e.status() == 400));
    w.text("a.txt", "a");
    let copy = |from: &str, to: &str| transfer::copy(&w.desk.home, &path(from), &path(to)).unwrap().path;
    assert_eq!(copy("a.txt", ""), "a-Copy1.txt");
    assert_eq!(copy("a-Copy1.txt", ""), "a-Copy2.txt");
    assert_eq!(copy("a.txt", "Untitled Folder"), "Untitled Folder/a.txt");
    assert_eq!(copy("a.txt", "b.txt"), "b.txt");
    symlink("/etc", w.root.join("Untitled Folder/out")).unwrap();
    assert_eq!(copy("Untitled Folder", ""), "Untitled Folder-Copy1");
    assert!(fs::symlink_metadata(w.root.join("Untitled Folder-Copy1/out")).unwrap().is_symlink());
    assert_eq!(w.on_disk("Untitled Folder-Copy1/a.txt"), "a");
    assert!(transfer::copy(&w.desk.home, &path("Untitled Folder"), &path("Untitled Folder")).is_err());
    assert!(transfer::copy(&w.desk.home, &path("gone"), &path("")).is_err_and(|e| e.status() == 404));
}

#[test]
fn a_rename_never_goes_over_something() {
    let w = world();
    w.text("a.txt", "a");
    w.text("b.txt", "b");
    w.put("d", json!({"type": "directory"})).unwrap();
    w.text("d/x", "x");
    let rename = |from: &str, to: &str| transfer::rename(&w.desk.home, &path(from), &path(to));
    let status = |from: &str, to: &str| rename(from, to).map(|_| ()).unwrap_err().status().as_u16();
    assert_eq!(status("a.txt", "b.txt"), 409);
    assert_eq!(status("a.txt", "d"), 409);
    assert_eq!(status("a.txt", "gone/a.txt"), 404);
    assert_eq!(status("gone", "c"), 404);
    assert_eq!(status("d", "d/e"), 400);
    assert_eq!(rename("d", "e").unwrap().path, "e");
    assert_eq!(w.on_disk("e/x"), "x");
    assert_eq!(rename("a.txt", "a.txt").unwrap().name, "a.txt");
    assert_eq!((w.on_disk("a.txt"), w.on_disk("b.txt")), ("a".into(), "b".into()));
}

#[test]
fn checkpoints_are_kept_put_back_and_follow() {
    let w = world();
    let home = &w.desk.home;
    w.put("n.ipynb", json!({"type": "notebook", "content": notebook("v1")})).unwrap();
    assert!(checkpoints::find(home, &path("n.ipynb")).unwrap().is_some(), "the first save makes one");
    assert!(w.root.join(".ipynb_checkpoints/n-checkpoint.ipynb").is_file());
    w.put("n.ipynb", json!({"type": "notebook", "content": notebook("v2")})).unwrap();
    checkpoints::restore(home, &path("n.ipynb"), "checkpoint").unwrap();
    assert!(w.on_disk("n.ipynb").contains("v1"));
    transfer::rename(home, &path("n.ipynb"), &path("m.ipynb")).unwrap();
    assert!(checkpoints::find(home, &path("m.ipynb")).unwrap().is_some());
    assert!(checkpoints::find(home, &path("n.ipynb")).unwrap().is_none());
    for id in ["other", "checkpoint"] {
        assert_eq!(checkpoints::restore(home, &path("n.ipynb"), id).unwrap_err().status(), 404);
    }
    remove::delete(home, &path("m.ipynb")).unwrap();
    assert!(w.really(".ipynb_checkpoints").is_empty());
    assert_eq!(checkpoints::create(home, &path("gone")).unwrap_err().status(), 404);
    assert!(checkpoints::find(home, &path("a/b/gone")).unwrap().is_none());
}

#[test]
fn deep_folders_are_deleted_links_are_not_followed() {
    let w = world();
    w.put("keep", json!({"type": "directory"})).unwrap();
    w.text("keep/file", "kept");
    let mut at = rustix::fs::open(&w.root, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    for n in 0..250 {
        let name = if n == 0 { "deep" } else { "1" };
        rustix::fs::mkdirat(&at, name, rustix::fs::Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, name, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    }
    fs::create_dir(w.root.join("deep/2")).unwrap();
    fs::write(w.root.join("deep/2/f"), "").unwrap();
    symlink("../keep", w.root.join("deep/link")).unwrap();
    fs::set_permissions(w.root.join("deep/2"), fs::Permissions::from_mode(0o500)).unwrap();
    remove::delete(&w.desk.home, &path("deep")).unwrap();
    assert_eq!(w.really(""), ["keep"]);
    assert_eq!(w.on_disk("keep/file"), "kept");
    for (at, status) in [("", 400), ("gone", 404), ("keep/file/x", 404)] {
        assert_eq!(remove::delete(&w.desk.home, &path(at)).unwrap_err().status(), status, "{at}");
    }
}

#[test]
fn uploads_in_chunks_appear_whole() {
    let w = world();
    w.text("a.bin", "old");
    let chunk = |n: i64, text: &str| {
        w.put("a.bin", json!({"type": "file", "format": "text", "content": text, "chunk": n}))
    };
    assert_eq!(chunk(2, "x").unwrap_err().status(), 400);
    chunk(1, "one ").unwrap();
    chunk(2, "two ").unwrap();
    assert_eq!(w.on_disk("a.bin"), "old", "until the last chunk the old file stays");
    assert_eq!(w.names(""), ["a.bin"]);
    let last =
        w.put("a.bin", json!({"type": "file", "format": "base64", "content": "ZW5k", "chunk": -1})).unwrap();
    assert_eq!((w.on_disk("a.bin").as_str(), last.model.size), ("one two end", Some(11)));
    chunk(1, "x").unwrap();
    assert_eq!(chunk(3, "x").unwrap_err().status(), 400);
    chunk(1, "x").unwrap();
    w.desk.uploads.sweep(Instant::now() + Duration::from_secs(3600));
    assert_eq!(chunk(-1, "x").unwrap_err().status(), 400);
    assert_eq!(w.really(""), ["a.bin"]);
    let body = json!({"type": "notebook", "content": notebook("x"), "chunk": 1});
    assert_eq!(w.put("n.ipynb", body).unwrap_err().status(), 400);
}

#[test]
fn a_save_keeps_the_mode_and_a_full_disk_keeps_the_file() {
    let w = world();
    w.text("a.sh", "old");
    fs::set_permissions(w.root.join("a.sh"), fs::Permissions::from_mode(0o750)).unwrap();
    w.text("a.sh", "new");
    assert_eq!(fs::metadata(w.root.join("a.sh")).unwrap().permissions().mode() & 0o7777, 0o750);
    let mut draft = Draft::begin(w.desk.home.place_to_write(&path("a.sh")).unwrap(), Taken::Replace).unwrap();
    draft.file = fs::File::options().write(true).open("/dev/full").unwrap();
    let error = draft.write(b"lost").unwrap_err();
    drop(draft);
    assert_eq!(error.status(), 507);
    assert!(error.to_string().contains("disk is full"), "{error}");
    assert_eq!(w.on_disk("a.sh"), "new");
    assert_eq!(w.really(""), ["a.sh"]);
}

#[tokio::test]
async fn long_files_are_streamed_huge_ones_refused() {
    let w = world();
    let text = "zeile \"ä\"\n".repeat(300_000);
    fs::write(w.root.join("long.txt"), &text).unwrap();
    for format in [None, Some(Format::Base64)] {
        let got = w.get("long.txt", Ask { format, hash: true, ..FULL }).unwrap();
        let Got::Streamed { model, mut file, encoding } = got else { panic!("not streamed") };
        assert_eq!(model.hash.as_ref().map(String::len), Some(64));
        let mut whole = String::new();
        file.try_clone().unwrap().read_to_string(&mut whole).unwrap();
        assert_eq!(whole, text, "the file stands at its beginning");
        std::io::Seek::rewind(&mut file).unwrap();
        let pieces = crate::stream::body(file, u64::MAX, encoding, b"\"".to_vec(), b"\"".to_vec());
        let bytes = crate::body::streamed(pieces).collect().await.unwrap().to_bytes();
        let content: String = serde_json::from_slice(&bytes).unwrap();
        match format {
            None => assert_eq!(content, text),
            Some(_) => assert_eq!(
                base64::Engine::decode(&base64::engine::general_purpose::STANDARD, content).unwrap(),
                text.as_bytes()
            ),
        }
    }
    fs::File::create(w.root.join("huge")).unwrap().set_len(600 << 20).unwrap();
    assert_eq!(w.get("huge", FULL).unwrap_err().status(), 413);
    assert!(w.get("huge", Ask::BARE).is_ok());
    fs::File::create(w.root.join("huge.ipynb")).unwrap().set_len(2 << 20).unwrap();
    assert_eq!(w.get("huge.ipynb", FULL).unwrap_err().status(), 413);
}
