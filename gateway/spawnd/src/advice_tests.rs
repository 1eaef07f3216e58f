//! The table of advice: every layer, every mode.

use super::*;

fn off(why: &str) -> LayerState {
    LayerState::Off(why.into())
}

#[test]
fn each_missing_layer_has_the_words_that_help() {
    use LayerName::*;
    use Mode::{Degraded, Root, Userns};
    let eperm = "Operation not permitted (os error 1)";
    let enospc = "No space left on device (os error 28)";
    let einval = "Invalid argument (os error 22)";
    let delegated =
        "cgroup /user.slice is not delegated to this user; start under systemd-run --user --scope";
    let table: &[(LayerName, Mode, &str, &str)] = &[
        (Mount, Root, eperm, "--cap-add SYS_ADMIN"),
        (Mount, Root, enospc, "sysctl -w user.max_mnt_namespaces="),
        (Pid, Root, enospc, "sysctl -w user.max_pid_namespaces="),
        (Pid, Userns, einval, "CONFIG_PID_NS=y"),
        (Net, Userns, enospc, "sysctl -w user.max_net_namespaces="),
        (Net, Root, einval, "CONFIG_NET_NS=y"),
        (Ipc, Root, enospc, "user.max_ipc_namespaces="),
        (Uts, Root, einval, "CONFIG_UTS_NS=y"),
        (User, Root, enospc, "sysctl -w user.max_user_namespaces="),
        (User, Userns, eperm, "kernel.apparmor_restrict_unprivileged_userns=0"),
        (Cgroup, Root, enospc, "user.max_cgroup_namespaces="),
        (Net, Degraded, "mode is degraded", "mode = \"auto\""),
        (Uid, Userns, "no range of 64 or more ids is granted to ada", "usermod --add-subuids"),
        (Uid, Userns, "newuidmap is not installed; install the package uidmap", "apt-get install uidmap"),
        (Uid, Degraded, "mode is degraded", "start Carrel as root"),
        (Memory, Userns, delegated, "systemd-run --user --scope -p Delegate=yes carrel serve"),
        (Memory, Root, "no cgroup file system is mounted", "mount -t cgroup2 none /sys/fs/cgroup"),
        (Memory, Root, "this host's cgroups have no memory controller for us", "cgroup_enable=memory"),
        (Memory, Root, NO_LIMIT, "memory = \"2GiB\" under [limits.kernel]"),
        (
            Pids,
            Root,
            "cannot make /sys/fs/cgroup/pids/x: Read-only file system (os error 30)",
            "Delegate=yes",
        ),
        (Pids, Userns, delegated, "has no pids controller"),
        (Pids, Root, NO_LIMIT, "processes = 256"),
        (Cpu, Root, "this host's cgroups have no cpu controller for us", "CONFIG_CFS_BANDWIDTH=y"),
        (Cpu, Root, NO_LIMIT, "cpus = 2 under [limits.kernel]"),
        (Cpu, Userns, delegated, "Delegate=cpu io memory pids"),
        (Io, Root, "writing io.weight: No such file or directory (os error 2)", "echo bfq"),
        (Io, Root, "the scheduler of vda is none, under which no weight counts", "echo bfq"),
        (Io, Root, NO_LIMIT, "io_weight = 100"),
        (Io, Userns, delegated, "Delegate=yes"),
        (Disk, Root, NO_LIMIT, "disk = \"10GiB\" under [limits.together]"),
        (Disk, Root, "no project quota: ext4 at / is mounted without prjquota", "tune2fs -O project,quota"),
        (Disk, Root, "no project quota: xfs at /srv is mounted without prjquota", "rootflags=prjquota"),
        (Disk, Root, "no project quota on tmpfs", "mkfs.ext4 -O project,quota"),
        (Disk, Userns, "only root may set quotas", "start Carrel as root"),
        (Landlock, Root, "this kernel has no Landlock", "lsm=landlock"),
        (Seccomp, Userns, einval, "CONFIG_SECCOMP_FILTER=y"),
        (NoNewPrivs, Root, einval, "intercepts system calls"),
        (Capabilities, Root, einval, "intercepts system calls"),
        (Rlimits, Root, einval, "intercepts system calls"),
    ];
    for (layer, mode, why, expected) in table {
        for state in [off(why), LayerState::Partly((*why).into())] {
            let said = advice(*layer, &state, *mode).unwrap();
            assert!(said.contains(expected), "{layer} in mode {mode} ({why}): {said}");
        }
    }
    for layer in LayerName::ALL {
        assert!(table.iter().any(|(known, ..)| *known == layer), "{layer} is not in the table");
        assert_eq!(advice(layer, &LayerState::On, Root), None);
        assert_eq!(advice(layer, &LayerState::By("project quota".into()), Root), None);
    }
}

#[test]
fn a_refusal_names_each_layer_with_its_advice_and_the_line_to_go_without() {
    let missing: LayerReport = [
        (LayerName::Landlock, off("this kernel has no Landlock")),
        (LayerName::Cpu, LayerState::Partly("affinity".into())),
    ]
    .into();
    let required = [LayerName::Mount, LayerName::Landlock, LayerName::Cpu];
    let text = refusal(&missing, &required, Mode::Root);
    for expected in [
        "landlock (this kernel has no Landlock): run Linux 5.13",
        "cpu (affinity): ",
        "required = [\"mount\"] under [sandbox]",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn only_the_settings_that_stand_in_the_way_are_named() {
    let all = UsernsSettings { max: Some(0), clone: Some(0), apparmor: Some(1) };
    let said = user_namespaces(&all);
    for line in ["user.max_user_namespaces=", "unprivileged_userns_clone=1", "apparmor_restrict"] {
        assert!(said.contains(line), "{said}");
    }
    let one = user_namespaces(&UsernsSettings { max: Some(100), clone: Some(0), apparmor: Some(0) });
    assert!(one.contains("unprivileged_userns_clone=1") && !one.contains("max_user"), "{one}");
    assert!(user_namespaces(&UsernsSettings::default()).contains("degraded"));
}
