//! Devices that the administrator names, for kernels that may have them. A copy of `/dev/full` under another name stands for one.

use std::path::PathBuf;

use crate::common::{As, Spawnd, kernel, possible};
use gateway_spawnd::limits::Who;
use gateway_spawnd::{KernelProfile, ProfileRule};
use rustix::fs::{CWD, FileType, Mode, chmodat, makedev, mknodat};

/// Gone with the test.
struct Node(PathBuf);

impl Node {
    fn make(name: &str) -> Self {
        let node = Self(format!("/dev/carrel-test-{name}-{}", std::process::id()).into());
        let mode = Mode::from_raw_mode(0o666);
        mknodat(CWD, &node.0, FileType::CharacterDevice, mode, makedev(1, 7)).unwrap();
        chmodat(CWD, &node.0, mode, rustix::fs::AtFlags::empty()).unwrap();
        node
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn devices_are_there_for_whom_a_rule_names_and_for_nobody_else() {
    if !possible(As::Root) {
        return;
    }
    for who in [As::Root, As::Ordinary] {
        let node = Node::make(if who == As::Root { "root" } else { "own" });
        let spawnd = Spawnd::start(who, |_, settings| {
            settings.devices = vec![node.0.clone()];
            settings.profiles = vec![ProfileRule {
                profile: KernelProfile::Gpu,
                kernelspec: None,
                who: Some(Who::User("ada".parse().unwrap())),
            }];
        });
        spawnd.kernel("ada", "k-1");
        spawnd.kernel("bob", "k-2");
        // Opened for writing, and it is the device itself that answers.
        let write = format!(
            "try:\n  print(os.write(os.open('{0}', os.O_RDWR), b'x'))\nexcept OSError as error: print(error.errno, os.path.exists('{0}'))",
            node.0.display()
        );
        assert_eq!(spawnd.python("k-1", &write), "28 True", "{}", (spawnd.log)());
        assert_eq!(spawnd.python("k-2", &write), "2 False");
        // Neither can it be put away, nor another one be made.
        let change = format!(
            "for do in (lambda: os.unlink('{0}'), lambda: os.chmod('{0}', 0o777), lambda: os.mknod('/tmp/x', 0o20666, os.makedev(1, 7)), lambda: open('/dev/y', 'w')):\n  try:\n    do(); print('done')\n  except OSError as error: pass\nprint('no')",
            node.0.display()
        );
        assert_eq!(spawnd.python("k-1", &change), "no");
        spawnd.finish();
    }
}

#[test]
fn without_devices_the_profile_is_refused_and_a_wrong_one_is_named() {
    if !possible(As::Root) {
        return;
    }
    let gpu = |settings: &mut gateway_spawnd::Settings| {
        settings.kernelspecs.values_mut().for_each(|spec| spec.profile = KernelProfile::Gpu);
    };
    let spawnd = Spawnd::start(As::Root, |_, settings| gpu(settings));
    let refused = spawnd.client.start(kernel("ada", "k-1")).unwrap_err().to_string();
    assert!(refused.contains("sets devices under [sandbox]"), "{refused}");
    spawnd.finish();
    for wrong in ["/dev/nowhere", "/dev/shm/../full", "/etc/passwd", "/dev/shm"] {
        let spawnd = Spawnd::start(As::Root, |_, settings| {
            gpu(settings);
            settings.devices = vec![wrong.into()];
        });
        let refused = spawnd.client.start(kernel("ada", "k-1")).unwrap_err().to_string();
        assert!(refused.contains(wrong) && refused.contains("not a character device"), "{refused}");
        spawnd.finish();
    }
}
