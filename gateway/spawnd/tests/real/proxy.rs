//! The way to the proxy: who has it, whose it is, and that it is found again.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use gateway_spawnd::limits::Who;
use gateway_spawnd::{AideSettings, ErrorCode, KernelProfile, Profile, ProfileRule, Start};

use crate::common::{As, ORDINARY, Spawnd, eventually, id, possible};
use crate::restart::{alive, unsafe_kill};

const MODES: [As; 2] = [As::Root, As::Ordinary];

/// Says who asks by which socket, and who answers as the host counts; ends with spawnd.
const PROXY: &str = r#"#!/usr/bin/python3 -S
import json, os, socket, select, array
control = socket.socket(fileno=3)
kernels = {}
while True:
    for ready in select.select([control, *kernels], [], [])[0]:
        if ready is control:
            data, rights, _, _ = control.recvmsg(65536, socket.CMSG_SPACE(4))
            if not data: os._exit(0)
            word = json.loads(data)
            for kept in [s for s, w in kernels.items() if w["id"] == word["id"]]: del kernels[kept]
            if word["op"] == "kernel":
                fds = array.array("i"); fds.frombytes(rights[0][2])
                kernels[socket.socket(fileno=fds[0])] = word
        else:
            try: c, _ = ready.accept()
            except BlockingIOError: continue
            w = kernels[ready]
            c.sendall(f'{w["id"]} {w["user"]} {",".join(w["groups"])} {os.getuid()} {os.getpid()}'.encode()); c.close()
"#;

const ASK: &str = "import time\nfor _ in range(400):\n  s = socket.socket(socket.AF_UNIX); s.settimeout(20)\n  try:\n    s.connect('/run/proxy/proxy.sock'); told = s.makefile('rb').read().decode()\n    if told: break\n  except OSError: pass\n  time.sleep(0.05)\nprint(told)";

fn proxied(who: As) -> Spawnd {
    Spawnd::detached(who, |root, settings| {
        fs::write(root.join("bin/proxy"), PROXY).unwrap();
        fs::set_permissions(root.join("bin/proxy"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        let (program, config) = (root.join("bin/proxy"), root.join("engine.toml"));
        settings.proxy = Some(AideSettings { program, config, uid: ORDINARY, gid: ORDINARY });
        settings.profiles = vec![ProfileRule {
            profile: KernelProfile::Proxy,
            kernelspec: Some("py".parse().unwrap()),
            who: Some(Who::Group("ml".parse().unwrap())),
        }];
    })
}

fn start(user: &str, jail: &str, groups: &[&str]) -> Start {
    Start {
        user: user.parse().unwrap(),
        id: id(jail),
        profile: Profile::Kernel,
        kernelspec: Some("py".parse().unwrap()),
        cwd: Default::default(),
        groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
    }
}

#[test]
fn a_kernel_finds_its_proxy_again_whoever_was_killed_and_others_find_none() {
    for who in MODES.into_iter().filter(|who| possible(*who)) {
        let mut spawnd = proxied(who);
        for (user, jail, groups) in
            [("ada", "k-1", &["x", "ml"][..]), ("bob", "k-2", &["ml"]), ("eve", "k-3", &[])]
        {
            spawnd.client.start(start(user, jail, groups)).unwrap();
        }
        let proxy = |answer: &str| answer.trim().rsplit(' ').next().unwrap().parse::<i32>().unwrap();
        let first = spawnd.python("k-1", ASK);
        assert!(first.starts_with("k-1 ada x,ml "), "{who:?} {first} {}", (spawnd.log)());
        if who == As::Root {
            assert!(first.contains(&format!(" {ORDINARY} ")), "{first}");
        }
        assert!(spawnd.python("k-2", ASK).starts_with("k-2 bob ml "), "{who:?}");
        // Who has no such profile has neither a socket nor a folder for it, nor the environment.
        let none = spawnd.python("k-3", "print(os.path.exists('/run/proxy'), 'HTTPS_PROXY' in os.environ)");
        assert_eq!(none.trim(), "False False", "{who:?}");
        let some = spawnd.python(
            "k-1",
            "print(os.listdir('/run/proxy'), os.environ['HTTPS_PROXY'], os.access('/run/proxy', os.W_OK))",
        );
        assert_eq!(some.trim(), "['proxy.sock'] http://127.0.0.1:3128 False", "{who:?}");
        let listed: Vec<_> = spawnd.client.list().unwrap().iter().map(|jail| jail.proxy).collect();
        assert_eq!(listed, [true, true, false]);
        // The proxy: another one knows all kernels.
        assert_eq!(unsafe_kill(proxy(&first)), 0);
        let second = spawnd.python("k-1", ASK);
        assert!(second.starts_with("k-1 ada x,ml "), "{who:?} {second}");
        assert_ne!(proxy(&first), proxy(&second));
        // spawnd: the kernel's socket is the same; the old proxy ends.
        assert_eq!(unsafe_kill(spawnd.hello.pid), 0);
        let third = spawnd.python("k-2", ASK);
        assert!(third.starts_with("k-2 bob ml "), "{who:?} {third}");
        spawnd.client = spawnd.connect_again();
        eventually("the end of the old proxy", || !alive(proxy(&second)));
        spawnd.client.stop(id("k-1")).unwrap();
        assert!(spawnd.python("k-2", ASK).starts_with("k-2 bob ml "), "{who:?}");
        spawnd.finish();
    }
}

#[test]
fn without_a_proxy_in_the_settings_the_profile_is_refused() {
    let who = MODES.into_iter().rfind(|who| possible(*who)).unwrap();
    let spawnd = Spawnd::detached(who, |_, settings| {
        settings.kernelspecs.values_mut().for_each(|spec| spec.profile = KernelProfile::Proxy);
    });
    let refusal = spawnd.client.start(start("ada", "k-1", &[])).unwrap_err();
    let gateway_spawnd::ClientError::Refused(refusal) = refusal else { panic!("{refusal}") };
    assert_eq!(refusal.code, ErrorCode::Refused);
    assert!(refusal.message.contains("[[allow]]"), "{}", refusal.message);
    spawnd.finish();
}
