//! The filter's decisions, by running its program instruction by instruction, for both architectures on any machine.

use super::calls::tests::{ALLOWED, all};
use super::*;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

/// Runs the program as the kernel would.
fn decide(program: &[sock_filter], arch: u32, nr: u32, args: [u64; 6]) -> u32 {
    let mut data = [0u8; 64];
    data[0..4].copy_from_slice(&nr.to_le_bytes());
    data[4..8].copy_from_slice(&arch.to_le_bytes());
    for (i, arg) in args.iter().enumerate() {
        data[16 + 8 * i..24 + 8 * i].copy_from_slice(&arg.to_le_bytes());
    }
    let (mut at, mut acc) = (0usize, 0u32);
    loop {
        let i = &program[at];
        at += 1;
        let code = u32::from(i.code);
        match code & 7 {
            libc::BPF_LD => {
                let k = i.k as usize;
                acc = u32::from_le_bytes(data[k..k + 4].try_into().unwrap());
            }
            libc::BPF_ALU => {
                assert_eq!(code & 0xf0, libc::BPF_AND, "an operation other than and");
                acc &= i.k;
            }
            libc::BPF_JMP => {
                let jump = match code & 0xf0 {
                    libc::BPF_JA => i.k as usize,
                    libc::BPF_JEQ => if acc == i.k { i.jt } else { i.jf }.into(),
                    libc::BPF_JGT => if acc > i.k { i.jt } else { i.jf }.into(),
                    libc::BPF_JGE => if acc >= i.k { i.jt } else { i.jf }.into(),
                    other => panic!("unknown jump {other}"),
                };
                at += jump;
            }
            libc::BPF_RET => return i.k,
            other => panic!("unknown instruction class {other}"),
        }
    }
}

/// Asks the program of an architecture about a call.
fn judge(arch: Arch) -> impl Fn(Call, &[u64]) -> u32 {
    let program = compile_for(arch).unwrap();
    move |call, args| {
        let mut six = [0; 6];
        six[..args.len()].copy_from_slice(args);
        let number = call.number(arch).unwrap_or_else(|| panic!("{} has no {}", arch.name(), call.name));
        decide(&program, arch.audit(), number, six)
    }
}

#[test]
fn every_number_is_decided_as_the_lists_say() {
    for arch in Arch::ALL {
        let program = compile_for(arch).unwrap();
        assert!(program.len() < 1000, "{} instructions", program.len());
        let (named, own) = (all(), arch.audit());
        for number in (0..=NEWEST + 100).chain([1000, 0x4000_0000, 0x4000_0027, u32::MAX]) {
            let call = named.iter().find(|call| call.number(arch) == Some(number));
            let denied = DENIED.iter().any(|call| call.number(arch) == Some(number));
            // With nothing but zeros: a plain fork, an unspecified socket, mode 0.
            let expected = match call {
                _ if number > NEWEST => ENOSYS,
                Some(call) if *call == CLONE3 => ENOSYS,
                Some(call) if denied || *call == SOCKET || *call == SOCKETPAIR => EPERM,
                _ => ALLOW,
            };
            let name = call.map_or("?", |call| call.name);
            assert_eq!(decide(&program, own, number, [0; 6]), expected, "{} {name} {number}", arch.name());
            // i386, x32's and arm's 32-bit entries, and the other architecture.
            for foreign in [0x4000_0003, 0x4000_0028, 0, !own] {
                assert_eq!(decide(&program, foreign, number, [0; 6]), KILL, "{foreign:x}");
            }
        }
        for call in ALLOWED {
            assert_eq!(judge(arch)(*call, &[1, 2, 3]), ALLOW, "{}", call.name);
        }
    }
}

#[test]
fn who_is_held_to_some_processors_cannot_choose_others() {
    let arch = Arch::own().unwrap();
    let program = pinned();
    let decide = |call: Call| decide(&program, arch.audit(), call.number(arch).unwrap(), [0; 6]);
    assert_eq!(decide(SCHED_SETAFFINITY), EPERM);
    assert_eq!(decide(CLONE), ALLOW);
    assert_eq!(judge(arch)(SCHED_SETAFFINITY, &[]), ALLOW, "in other jails it may");
}

#[test]
fn namespaces_come_by_no_flag() {
    for arch in Arch::ALL {
        let call = judge(arch);
        for flag in NAMESPACES {
            assert_eq!(call(UNSHARE, &[flag as u64]), EPERM);
            let together = (flag | libc::CLONE_FILES) as u64 | 0xff00_0000_0000_0000;
            assert_eq!(call(UNSHARE, &[together]), EPERM);
            if flag != CLONE_NEWTIME {
                assert_eq!(call(CLONE, &[flag as u64 | 17]), EPERM, "{flag:x}");
            }
        }
        assert_eq!(call(UNSHARE, &[libc::CLONE_FILES as u64]), ALLOW);
        // A thread as the C library makes it, a fork, a vfork.
        for flags in [0x003d_0f00, 0x0120_0011, 0x4111] {
            assert_eq!(call(CLONE, &[flags]), ALLOW, "{flags:x}");
        }
    }
}

#[test]
fn sockets_are_the_four_families_with_plain_types_and_protocols() {
    const FLAGS: u64 = 0x80800;
    let table = [
        (1, 1, 0, ALLOW),
        (1, 5, 0, ALLOW),
        (2, 1, 0, ALLOW),
        (2, 1 | FLAGS, 6, ALLOW),
        (2, 2, 17, ALLOW),
        (10, 1, 6, ALLOW),
        (10, 2 | FLAGS, 0, ALLOW),
        (16, 3, 0, ALLOW),
        // raw, SCTP twice, DCCP, ping, UDP-Lite, L2TP, MPTCP
        (2, 3, 255, EPERM),
        (2, 3 | FLAGS, 6, EPERM),
        (2, 5, 0, EPERM),
        (2, 1, 132, EPERM),
        (10, 6, 33, EPERM),
        (2, 2, 1, EPERM),
        (2, 2, 136, EPERM),
        (10, 2, 115, EPERM),
        (2, 1, 262, EPERM),
        // netlink: audit, netfilter, generic, crypto
        (16, 3, 9, EPERM),
        (16, 3, 12, EPERM),
        (16, 3, 16, EPERM),
        (16, 3, 21, EPERM),
        // packet, key, bluetooth, tipc, alg, can, vsock, kcm, xdp, smc, and what is not a family
        (17, 3, 3, EPERM),
        (15, 3, 2, EPERM),
        (31, 3, 1, EPERM),
        (30, 5, 0, EPERM),
        (38, 5, 0, EPERM),
        (29, 3, 1, EPERM),
        (40, 1, 0, EPERM),
        (41, 2, 0, EPERM),
        (44, 3, 0, EPERM),
        (43, 1, 0, EPERM),
        (0, 1, 0, EPERM),
        (200, 1, 0, EPERM),
    ];
    for arch in Arch::ALL {
        let call = judge(arch);
        for (family, kind, protocol, verdict) in table {
            assert_eq!(call(SOCKET, &[family, kind, protocol]), verdict, "{family} {kind} {protocol}");
            // The kernel looks at 32 bits only.
            let high = 0x1_0000_0000;
            assert_eq!(call(SOCKET, &[family | high, kind | high, protocol | high]), verdict);
        }
        assert_eq!(call(SOCKETPAIR, &[1]), ALLOW);
        assert_eq!(call(SOCKETPAIR, &[30]), EPERM);
        assert_eq!(call(SETSOCKOPT, &[3, 1, 2]), ALLOW);
        for (level, option) in OPTIONS {
            assert_eq!(call(SETSOCKOPT, &[3, level as u64, option as u64]), EPERM);
            assert_eq!(call(SETSOCKOPT, &[3, 41, option as u64]), ALLOW);
        }
    }
}

#[test]
fn odd_requests_personalities_and_device_nodes_are_refused() {
    for arch in Arch::ALL {
        let call = judge(arch);
        for request in IOCTLS {
            assert_eq!(call(IOCTL, &[0, request]), EPERM);
            assert_eq!(call(IOCTL, &[0, 0xdead_0000_0000_0000 | request]), EPERM, "only 32 bits count");
        }
        for request in [libc::TIOCGWINSZ, libc::TCGETS, libc::FIONREAD] {
            assert_eq!(call(IOCTL, &[0, request]), ALLOW);
        }
        assert_eq!(call(PERSONALITY, &[0xffff_ffff]), ALLOW);
        assert_eq!(call(PERSONALITY, &[0]), ALLOW);
        assert_eq!(call(PERSONALITY, &[0x0040_0000]), EPERM);
        for kind in [libc::S_IFCHR, libc::S_IFBLK] {
            assert_eq!(call(MKNODAT, &[0, 0, u64::from(kind) | 0o666]), EPERM);
        }
        for kind in [libc::S_IFIFO, libc::S_IFSOCK, libc::S_IFREG] {
            assert_eq!(call(MKNODAT, &[0, 0, u64::from(kind) | 0o666]), ALLOW);
        }
    }
    let call = judge(Arch::X86_64);
    assert_eq!(call(MKNOD, &[0, u64::from(libc::S_IFCHR) | 0o666]), EPERM);
    assert_eq!(call(MKNOD, &[0, u64::from(libc::S_IFIFO) | 0o666]), ALLOW);
}
