//! Bounds that change while jails run, and homes that grow beyond theirs.

use std::fs;

use crate::common::{As, Spawnd, eventually, id, kernel, possible};
use gateway_spawnd::limits::{Change, Of, Rule, Together, Who};
use gateway_spawnd::{ErrorCode, LayerName, LayerState, LimitTables, Reason, Start};

fn who() -> As {
    if rustix::process::geteuid().is_root() { As::Root } else { As::Ordinary }
}

/// The tests' tables, with a change for a group.
fn tables(spawnd: &Spawnd, change: Change) -> LimitTables {
    let rule = Rule { who: Who::Group("ml".parse().unwrap()), of: Of::Kernel, change };
    LimitTables { rules: vec![rule], ..spawnd.settings.limits.clone() }
}

fn of_group(user: &str, id: &str) -> Start {
    Start { groups: vec!["ml".parse().unwrap()], ..kernel(user, id) }
}

#[test]
fn bounds_of_running_jails_change_by_group_and_the_next_spawnd_knows_them() {
    if !possible(As::Root) {
        return;
    }
    let spawnd = Spawnd::detached(As::Root, |_, _| {});
    spawnd.client.start(of_group("ada", "k-1")).unwrap();
    spawnd.kernel("bob", "k-2");
    let hoard = "x = [bytearray(8 << 20) for _ in range(50)]; print(len(x))";
    let limit = |id_: &str| spawnd.client.stats(id(id_)).unwrap().memory_limit_bytes;
    if limit("k-1").is_none() {
        eprintln!("not judged: this host's cgroups have no memory controller for us");
        return;
    }
    assert_eq!((limit("k-1"), limit("k-2")), (Some(256 << 20), Some(256 << 20)));
    let more = Change { memory_bytes: Some(1 << 30), pids: Some(32), ..Change::default() };
    let bounded = spawnd.client.limits(tables(&spawnd, more.clone())).unwrap();
    assert_eq!((bounded.changed, bounded.failed.as_slice()), (1, [].as_slice()), "{}", (spawnd.log)());
    assert_eq!((limit("k-1"), limit("k-2")), (Some(1 << 30), Some(256 << 20)));
    // 400 MiB, in the jail that ran before.
    assert_eq!(spawnd.python("k-1", hoard), "50");
    // The same again changes nothing.
    assert_eq!(spawnd.client.limits(tables(&spawnd, more)).unwrap().changed, 0);
    // Its successor was started with the first settings, but is told.
    let killed = std::process::Command::new("kill").args(["-9", &spawnd.hello.pid.to_string()]).status();
    assert!(killed.unwrap().success());
    let client = spawnd.connect_again();
    client.start(of_group("ada", "k-3")).unwrap();
    assert_eq!(client.stats(id("k-3")).unwrap().memory_limit_bytes, Some(1 << 30));
    spawnd.finish();
}

#[test]
fn a_first_bound_of_memory_is_watched_where_no_group_holds_it() {
    let spawnd = Spawnd::start(As::Ordinary, |_, settings| settings.limits.kernel.memory_bytes = None);
    let started = spawnd.kernel("ada", "k-1");
    if started.layers[&LayerName::Memory].is_on() {
        eprintln!("not judged: groups hold memory here");
        return;
    }
    // In a child, as kernels are below their shim; it holds 150 MiB until it is told to end, or ended.
    let hoard = "pid = os.fork()\nif pid == 0:\n  x = b'x' * (150 << 20)\n  import time; time.sleep(3); os._exit(7)\nprint(os.waitpid(pid, 0)[1])";
    assert_eq!(spawnd.python("k-1", hoard), (7 << 8).to_string(), "nothing is bounded");
    let bounds = |bytes| {
        let mut tables = spawnd.settings.limits.clone();
        tables.kernel.memory_bytes = bytes;
        spawnd.client.limits(tables).unwrap()
    };
    let limit = || spawnd.client.stats(id("k-1")).unwrap().memory_limit_bytes;
    let layer = || spawnd.client.list().unwrap()[0].layers[&LayerName::Memory].to_string();
    let bounded = bounds(Some(64 << 20));
    assert_eq!(bounded.changed, 1);
    assert!(!bounded.failed.iter().any(|why| why.contains("memory")), "{:?}", bounded.failed);
    assert_eq!(limit(), Some(64 << 20));
    assert!(layer().contains("watchdog"), "{}", layer());
    assert_eq!(spawnd.python("k-1", hoard), "9", "{}", (spawnd.log)());
    // Lifted again, it is gone, and a second one comes back.
    bounds(None);
    assert_eq!(limit(), None);
    assert!(!layer().contains("watchdog"), "{}", layer());
    bounds(Some(64 << 20));
    assert_eq!(spawnd.python("k-1", hoard), "9");
    spawnd.finish();
}

#[test]
fn the_gateway_itself_may_not_widen_bounds() {
    if !possible(As::Root) {
        return;
    }
    let spawnd = Spawnd::start(As::Root, |root, settings| {
        settings.gateway_uid = crate::common::ORDINARY;
        fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    });
    let refused = spawnd.client.limits(LimitTables::default()).unwrap_err().to_string();
    assert!(refused.contains("set by root"), "{refused}");
    spawnd.finish();
}

#[test]
fn a_home_far_beyond_its_bound_ends_what_writes_and_refuses_more() {
    for who in [As::Root, As::Ordinary].into_iter().filter(|who| possible(*who)) {
        let spawnd = Spawnd::start(who, |_, settings| {
            settings.limits.together = Together { disk_bytes: Some(16 << 20), ..Together::default() };
        });
        let started = spawnd.kernel("ada", "k-1");
        assert!(
            matches!(&started.layers[&LayerName::Disk], LayerState::Partly(how) if how.contains("watched"))
        );
        spawnd.kernel("bob", "k-2");
        // Whether it still gets to answer is the watch's pace, no matter here.
        spawnd.python("k-1", "open('/home/ada/big', 'wb').write(bytes(40 << 20))");
        eventually("its end", || spawnd.client.exit(id("k-1")).is_ok());
        assert_eq!(spawnd.client.exit(id("k-1")).unwrap().reason, Some(Reason::Disk));
        assert_eq!(spawnd.python("k-2", "print(1)"), "1", "the other user goes on");
        // Nothing of hers runs any more, and still it is known.
        assert!(spawnd.client.start(kernel("ada", "k-3")).is_err());
        fs::remove_file(spawnd.settings.state.join("homes/ada/big")).unwrap();
        eventually("room", || spawnd.client.start(kernel("ada", "k-3")).is_ok());
        spawnd.finish();
    }
}

#[test]
fn a_full_home_takes_no_new_kernel_until_something_is_deleted() {
    let spawnd = Spawnd::start(who(), |_, settings| {
        settings.limits.together = Together { disk_files: Some(100), ..Together::default() };
    });
    spawnd.kernel("ada", "k-1");
    // Beyond, but not far.
    let fill = "[open(f'/home/ada/{n}', 'w') for n in range(105)]; print(1)";
    assert_eq!(spawnd.python("k-1", fill), "1");
    let mut refusal = None;
    eventually("a refusal", || {
        refusal = spawnd.client.start(kernel("ada", "k-2")).err();
        refusal.is_some() || spawnd.client.stop(id("k-2")).is_err()
    });
    match refusal.unwrap() {
        gateway_spawnd::ClientError::Refused(refusal) => {
            assert_eq!(refusal.code, ErrorCode::Limit);
            assert!(refusal.message.contains("delete something first"), "{}", refusal.message);
        }
        other => panic!("{other:?}"),
    }
    // The one that runs is left alone, and can make room.
    assert_eq!(spawnd.python("k-1", "[os.unlink(f'/home/ada/{n}') for n in range(50)]; print(1)"), "1");
    eventually("room", || spawnd.client.start(kernel("ada", "k-2")).is_ok());
    assert!(fs::metadata(spawnd.settings.state.join("homes/ada/60")).is_ok());
    spawnd.finish();
}
