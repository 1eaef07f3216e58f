//! The system call filter: a hand-written guard in front of a deny list.
//!
//! The guard refuses what a deny list cannot see: other architectures (killed), x32 numbers, numbers newer than this
//! list, and `clone3`, whose flags lie in memory (all ENOSYS, so that libraries fall back). A deny list is cheaper to
//! install than an allow list of 370 calls, with the same decisions.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Condition,
    SeccompFilter, SeccompRule as Rule, TargetArch, sock_filter,
};

/// The newest call this list was checked against: mseal, Linux 6.10. What comes later does not exist inside.
const NEWEST: u32 = 462;

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;

/// Calls that nothing in a jail needs.
const DENIED: &[libc::c_long] = &[
    // file systems and namespaces
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    STATMOUNT,
    LISTMOUNT,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    // kernel surface
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_vhangup,
    // the host's clock and name
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];
const STATMOUNT: libc::c_long = 457;
const LISTMOUNT: libc::c_long = 458;

#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[libc::c_long] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
    174,
    177,
    178, // create_module, get_kernel_syms, query_module
];
#[cfg(target_arch = "aarch64")]
const DENIED_HERE: &[libc::c_long] = &[];

/// Every flag that makes a namespace.
const NAMESPACES: [libc::c_int; 8] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    CLONE_NEWTIME,
];
const CLONE_NEWTIME: libc::c_int = 0x80;

/// The whole program, compiled once.
pub(crate) fn compile() -> Result<BpfProgram, seccompiler::BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let deny = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let list: BpfProgram = SeccompFilter::new(rules()?, SeccompAction::Allow, deny, arch)?.try_into()?;
    let mut program = guard();
    program.extend(list);
    Ok(program)
}

fn rules() -> Result<BTreeMap<i64, Vec<Rule>>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<Rule>> = BTreeMap::new();
    for call in DENIED.iter().chain(DENIED_HERE) {
        rules.insert(*call, vec![]);
    }
    let when = |conditions: &[(u8, Op, u64)]| {
        let conditions: Result<Vec<_>, _> = conditions
            .iter()
            .map(|(arg, op, value)| Condition::new(*arg, Len::Dword, op.clone(), *value))
            .collect();
        Rule::new(conditions?)
    };
    let flag = |arg, bit: u64| when(&[(arg, Op::MaskedEq(bit), bit)]);
    // New namespaces. NEWTIME shares its bit with clone's exit signal, where it means nothing.
    let bits = NAMESPACES.map(|bit| u64::from(bit.cast_unsigned()));
    rules.insert(libc::SYS_unshare, bits.iter().map(|bit| flag(0, *bit)).collect::<Result<_, _>>()?);
    let without_time = bits.iter().filter(|bit| **bit != 0x80);
    rules.insert(libc::SYS_clone, without_time.map(|bit| flag(0, *bit)).collect::<Result<_, _>>()?);
    // Socket families: unix, inet, inet6, and netlink for routing only. Network namespaces do not cover vsock.
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let others: Vec<_> =
        families.iter().map(|family| (0, Op::Ne, u64::from(family.cast_unsigned()))).collect();
    let netlink = [(0, Op::Eq, u64::from(libc::AF_NETLINK.cast_unsigned())), (2, Op::Ne, 0)];
    rules.insert(libc::SYS_socket, vec![when(&others)?, when(&netlink)?]);
    rules.insert(libc::SYS_socketpair, vec![when(&[(0, Op::Ne, u64::from(libc::AF_UNIX.cast_unsigned()))])?]);
    // Pushing input into a terminal. Requests are compared on 32 bits, as the kernel does.
    let requests = [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCCONS];
    rules.insert(
        libc::SYS_ioctl,
        requests.iter().map(|request| when(&[(1, Op::Eq, *request)])).collect::<Result<_, _>>()?,
    );
    // Anything but asking for the personality, or the plain one.
    rules.insert(libc::SYS_personality, vec![when(&[(0, Op::Ne, 0), (0, Op::Ne, 0xffff_ffff)])?]);
    // Device nodes.
    let device = |arg| -> Result<Vec<Rule>, seccompiler::BackendError> {
        let mask = u64::from(libc::S_IFMT);
        [libc::S_IFCHR, libc::S_IFBLK]
            .iter()
            .map(|kind| when(&[(arg, Op::MaskedEq(mask), u64::from(*kind))]))
            .collect()
    };
    rules.insert(libc::SYS_mknodat, device(2)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_mknod, device(1)?);
    Ok(rules)
}

/// Falls through into the deny list, whose jumps are relative.
fn guard() -> BpfProgram {
    let op = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let above = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let nosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    vec![
        op(load, 0, 0, 4), // seccomp_data.arch
        op(equal, 1, 0, AUDIT_ARCH),
        op(answer, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        op(load, 0, 0, 0), // seccomp_data.nr
        // x32 numbers have bit 30 set, so they are above the newest as well.
        op(above, 1, 0, NEWEST),
        op(equal, 0, 1, libc::SYS_clone3 as u32),
        op(answer, 0, 0, nosys),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program as the kernel would.
    fn decide(program: &[sock_filter], arch: u32, nr: u32, args: [u64; 6]) -> u32 {
        let mut data = [0u8; 64];
        data[0..4].copy_from_slice(&nr.to_ne_bytes());
        data[4..8].copy_from_slice(&arch.to_ne_bytes());
        for (i, arg) in args.iter().enumerate() {
            data[16 + 8 * i..24 + 8 * i].copy_from_slice(&arg.to_ne_bytes());
        }
        let (mut at, mut acc) = (0usize, 0u32);
        loop {
            let i = &program[at];
            at += 1;
            let code = u32::from(i.code);
            match code & 7 {
                libc::BPF_LD => {
                    let k = i.k as usize;
                    acc = u32::from_ne_bytes(data[k..k + 4].try_into().unwrap());
                }
                libc::BPF_ALU => acc &= i.k,
                libc::BPF_JMP => {
                    let jump = match code & 0xf0 {
                        libc::BPF_JA => i.k as usize,
                        libc::BPF_JEQ if acc == i.k => i.jt.into(),
                        libc::BPF_JGT if acc > i.k => i.jt.into(),
                        libc::BPF_JGE if acc >= i.k => i.jt.into(),
                        _ => i.jf.into(),
                    };
                    at += jump;
                }
                libc::BPF_RET => return i.k,
                other => panic!("unknown instruction class {other}"),
            }
        }
    }

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();

    #[test]
    fn decisions() {
        let program = compile().unwrap();
        let call = |nr: libc::c_long, args: &[u64]| {
            let mut six = [0; 6];
            six[..args.len()].copy_from_slice(args);
            decide(&program, AUDIT_ARCH, nr as u32, six)
        };
        for nr in DENIED.iter().chain(DENIED_HERE) {
            assert_eq!(call(*nr, &[]), EPERM, "call {nr}");
        }
        for nr in [
            libc::SYS_read,
            libc::SYS_execve,
            libc::SYS_futex,
            libc::SYS_openat2,
            libc::SYS_memfd_create,
            libc::SYS_kill,
        ] {
            assert_eq!(call(nr, &[]), ALLOW, "call {nr}");
        }
        assert_eq!(call(libc::SYS_clone3, &[]), ENOSYS);
        assert_eq!(call(463, &[]), ENOSYS);
        assert_eq!(call(0x4000_0000 | libc::SYS_mount, &[]), ENOSYS);
        assert_eq!(decide(&program, 0x4000_0003, 1, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
        assert_eq!(call(libc::SYS_clone, &[0x1000_0000 | 17]), EPERM);
        assert_eq!(call(libc::SYS_clone, &[0x003d_0f00]), ALLOW);
        assert_eq!(call(libc::SYS_clone, &[0x0120_0000 | 17]), ALLOW);
        for flag in NAMESPACES {
            assert_eq!(call(libc::SYS_unshare, &[flag as u64]), EPERM);
        }
        assert_eq!(call(libc::SYS_unshare, &[libc::CLONE_FILES as u64]), ALLOW);
        for (family, protocol, verdict) in [
            (1, 0, ALLOW),
            (2, 0, ALLOW),
            (10, 6, ALLOW),
            (16, 0, ALLOW),
            (16, 9, EPERM),
            (17, 0, EPERM),
            (38, 0, EPERM),
            (40, 0, EPERM),
        ] {
            assert_eq!(call(libc::SYS_socket, &[family, 1, protocol]), verdict, "family {family}");
        }
        assert_eq!(call(libc::SYS_socketpair, &[1]), ALLOW);
        assert_eq!(call(libc::SYS_socketpair, &[30]), EPERM);
        assert_eq!(call(libc::SYS_ioctl, &[0, libc::TIOCSTI]), EPERM);
        assert_eq!(call(libc::SYS_ioctl, &[0, 0xdead_0000_0000_0000 | libc::TIOCSTI]), EPERM);
        assert_eq!(call(libc::SYS_ioctl, &[0, libc::TIOCGWINSZ]), ALLOW);
        assert_eq!(call(libc::SYS_personality, &[0xffff_ffff]), ALLOW);
        assert_eq!(call(libc::SYS_personality, &[0x0040_0000]), EPERM);
        assert_eq!(call(libc::SYS_mknodat, &[0, 0, u64::from(libc::S_IFCHR) | 0o666]), EPERM);
        assert_eq!(call(libc::SYS_mknodat, &[0, 0, u64::from(libc::S_IFIFO) | 0o666]), ALLOW);
        assert!(program.len() < 1000, "{} instructions", program.len());
    }
}
