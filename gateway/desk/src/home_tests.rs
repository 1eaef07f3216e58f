//! Tests of `home`: links, races, things that are not files.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

struct World {
    _folder: tempfile::TempDir,
    inside: PathBuf,
    outside: PathBuf,
    home: Home,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (folder.path().join("home"), folder.path().join("outside"));
    fs::create_dir_all(inside.join("d/e")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(inside.join("d/e/own"), "own").unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    let home = Home::open(&inside, None).unwrap();
    World { _folder: folder, inside, outside, home }
}

fn path(text: &str) -> ContentsPath {
    ContentsPath::parse(text).unwrap()
}

fn text(home: &Home, at: &str) -> Result<String, Error> {
    let mut text = String::new();
    home.open_read(&path(at))?.0.read_to_string(&mut text).map_err(|e| Error::io("read", at, e))?;
    Ok(text)
}

#[test]
fn links_inside_the_home_work() {
    let w = world();
    symlink("d/e/own", w.inside.join("file")).unwrap();
    symlink("e/../e", w.inside.join("d/round")).unwrap();
    symlink(w.inside.join("d"), w.inside.join("absolute")).unwrap();
    symlink(w.inside.join("d/e/../e/own"), w.inside.join("far")).unwrap();
    symlink(&w.inside, w.inside.join("self")).unwrap();
    for at in [
        "file",
        "d/round/own",
        "absolute/e/own",
        "absolute/round/own",
        "far",
        "self/d/e/own",
        "self/self/far",
    ] {
        assert_eq!(text(&w.home, at).unwrap(), "own", "{at}");
    }
}

#[test]
fn links_that_leave_are_refused() {
    let w = world();
    symlink(w.outside.join("secret"), w.inside.join("l1")).unwrap();
    symlink("../outside", w.inside.join("l2")).unwrap();
    symlink("/proc/self/root", w.inside.join("l3")).unwrap();
    symlink("loop", w.inside.join("loop")).unwrap();
    symlink(w.inside.join("../outside/secret"), w.inside.join("l4")).unwrap();
    for at in ["l1", "l2/secret", "l2", "l3/etc/passwd", "loop", "l4"] {
        let error = w.home.open_read(&path(at)).unwrap_err();
        assert_eq!(error.status(), 404, "{at}: {error}");
    }
    for at in ["l1", "l4", "l2/new"] {
        assert_eq!(w.home.place_to_write(&path(at)).unwrap_err().status(), 404, "{at}");
    }
}

#[test]
fn a_save_through_a_link_goes_where_it_leads() {
    let w = world();
    symlink("d/e/own", w.inside.join("link")).unwrap();
    symlink("d/new", w.inside.join("dangling")).unwrap();
    for (at, name) in [("link", "own"), ("dangling", "new")] {
        let place = w.home.place_to_write(&path(at)).unwrap();
        assert_eq!(place.name, name);
        crate::atomic::write(place, crate::atomic::Taken::Replace, b"saved").unwrap();
    }
    assert_eq!(fs::read_to_string(w.inside.join("d/e/own")).unwrap(), "saved");
    assert_eq!(fs::read_to_string(w.inside.join("d/new")).unwrap(), "saved");
    assert!(fs::symlink_metadata(w.inside.join("link")).unwrap().is_symlink());
}

#[test]
fn pipes_and_sockets_are_refused_without_waiting() {
    let w = world();
    rustix::fs::mknodat(&w.home.root, "pipe", FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(w.inside.join("socket")).unwrap();
    for at in ["pipe", "socket"] {
        assert_eq!(w.home.open_read(&path(at)).unwrap_err().status(), 400, "{at}");
        let place = w.home.place_to_write(&path(at)).unwrap();
        assert!(crate::atomic::write(place, crate::atomic::Taken::Replace, b"x").is_err());
    }
}

#[test]
fn a_link_swapped_in_while_we_look_leads_nowhere() {
    let w = world();
    let (a, b) = (w.inside.join("a"), w.inside.join("b"));
    fs::create_dir(w.inside.join("real")).unwrap();
    fs::write(w.inside.join("real/secret"), "own").unwrap();
    symlink("real", &a).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for target in [w.outside.as_path(), Path::new("real")] {
                    symlink(target, &b).unwrap();
                    fs::rename(&b, &a).unwrap();
                }
            }
        });
        let mut own = 0;
        for _ in 0..3000 {
            match text(&w.home, "a/secret") {
                Ok(text) => {
                    assert_eq!(text, "own");
                    own += 1;
                }
                Err(e) => assert!(matches!(e, Error::Outside(_) | Error::NotFound(_)), "{e}"),
            }
            if let Ok(place) = w.home.place_to_write(&path("a/secret")) {
                let _ = crate::atomic::write(place, crate::atomic::Taken::Replace, b"own");
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(own > 0);
    });
    assert_eq!(fs::read_to_string(w.outside.join("secret")).unwrap(), "secret");
}

#[test]
fn paths_that_code_prints() {
    let w = world();
    let absolute = w.inside.join("d/e/own");
    assert_eq!(w.home.relative(absolute.to_str().unwrap()).unwrap().as_str(), "d/e/own");
    assert_eq!(w.home.relative("~/d").unwrap().as_str(), "d");
    assert_eq!(w.home.relative("./d/e").unwrap().as_str(), "d/e");
    assert_eq!(w.home.relative("/etc/passwd"), None);
    assert_eq!(w.home.relative("../x"), None);
}
