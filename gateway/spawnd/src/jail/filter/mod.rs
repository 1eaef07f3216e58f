//! The system call filter: a hand-written guard in front of a deny list, for each architecture.
//!
//! The guard refuses what a deny list cannot see: other architectures (killed), x32 numbers, numbers newer than this
//! list, and `clone3`, whose flags lie in memory (all ENOSYS, so that libraries fall back). A deny list is cheaper to
//! install than an allow list of 370 calls, with the same decisions.

mod calls;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op,
    SeccompCondition as Condition, SeccompFilter, SeccompRule as Rule, TargetArch, sock_filter,
};

use calls::{
    Arch, CLONE, CLONE3, Call, DENIED, IOCTL, MKNOD, MKNODAT, NEWEST, PERSONALITY, SCHED_SETAFFINITY,
    SETSOCKOPT, SOCKET, SOCKETPAIR, UNSHARE,
};

/// The whole program for this machine, compiled once.
pub(crate) fn compile() -> Result<BpfProgram, BackendError> {
    let arch = Arch::own().ok_or(BackendError::InvalidTargetArch(std::env::consts::ARCH.to_owned()))?;
    compile_for(arch)
}

/// Refuses to choose other processors; decides nothing else.
pub(crate) fn pinned() -> BpfProgram {
    let number = Arch::own().and_then(|arch| SCHED_SETAFFINITY.number(arch)).unwrap_or(u32::MAX);
    let op = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    let answer = libc::BPF_RET | libc::BPF_K;
    vec![
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0), // seccomp_data.nr
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
        op(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned()),
        op(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

fn compile_for(arch: Arch) -> Result<BpfProgram, BackendError> {
    let target = TargetArch::try_from(arch.name())?;
    let deny = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let list: BpfProgram =
        SeccompFilter::new(rules(arch)?, SeccompAction::Allow, deny, target)?.try_into()?;
    let mut program = guard(arch);
    program.extend(list);
    Ok(program)
}

/// Falls through into the deny list, whose jumps are relative.
fn guard(arch: Arch) -> BpfProgram {
    let op = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let above = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let nosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    vec![
        op(load, 0, 0, 4), // seccomp_data.arch
        op(equal, 1, 0, arch.audit()),
        op(answer, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        op(load, 0, 0, 0), // seccomp_data.nr
        // x32 numbers have bit 30 set, so they are above the newest as well.
        op(above, 1, 0, NEWEST),
        op(equal, 0, 1, CLONE3.number(arch).unwrap_or(u32::MAX)),
        op(answer, 0, 0, nosys),
    ]
}

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

/// Input pushed into a terminal, other line disciplines (their modules load by themselves), project numbers of files (they are quotas).
const IOCTLS: [u64; 5] = [libc::TIOCSTI, libc::TIOCLINUX, libc::TIOCCONS, TIOCSETD, FS_IOC_FSSETXATTR];
const TIOCSETD: u64 = 0x5423;
const FS_IOC_FSSETXATTR: u64 = 0x401c_5820;

/// Programs run by the kernel on packets, and protocols layered into TCP (their modules load by themselves): level and option.
const OPTIONS: [(libc::c_int, libc::c_int); 5] = [
    (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER),
    (libc::SOL_SOCKET, libc::SO_ATTACH_BPF),
    (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF),
    (libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_EBPF),
    (libc::SOL_TCP, libc::TCP_ULP),
];

/// Types of internet sockets besides streams and datagrams: raw, reliable datagrams, sequenced packets (SCTP), DCCP, packet.
const ODD_TYPES: [u64; 5] = [3, 4, 5, 6, 10];

/// A call's conditions: argument, comparison, value. All must hold for one rule; one rule is enough to refuse.
type When = Vec<(u8, Op, u64)>;

fn rules(arch: Arch) -> Result<BTreeMap<i64, Vec<Rule>>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<Rule>> = BTreeMap::new();
    for number in DENIED.iter().filter_map(|call| call.number(arch)) {
        rules.insert(number.into(), vec![]);
    }
    let judged: [(Call, Vec<When>); 9] = [
        // NEWTIME shares its bit with clone's exit signal, where it means nothing.
        (CLONE, namespaces(&|bit| bit != CLONE_NEWTIME)),
        (UNSHARE, namespaces(&|_| true)),
        (SOCKET, sockets()),
        (SOCKETPAIR, vec![vec![(0, Op::Ne, number(libc::AF_UNIX))]]),
        (
            SETSOCKOPT,
            OPTIONS
                .iter()
                .map(|(level, option)| vec![(1, Op::Eq, number(*level)), (2, Op::Eq, number(*option))])
                .collect(),
        ),
        // Requests are compared on 32 bits, as the kernel does.
        (IOCTL, IOCTLS.iter().map(|request| vec![(1, Op::Eq, *request)]).collect()),
        // Anything but asking for the personality, or the plain one.
        (PERSONALITY, vec![vec![(0, Op::Ne, 0), (0, Op::Ne, 0xffff_ffff)]]),
        (MKNODAT, devices(2)),
        (MKNOD, devices(1)),
    ];
    for (call, whens) in judged {
        let Some(number) = call.number(arch) else { continue };
        rules.insert(number.into(), whens.into_iter().map(rule).collect::<Result<_, _>>()?);
    }
    Ok(rules)
}

fn rule(when: When) -> Result<Rule, BackendError> {
    let conditions: Result<Vec<_>, _> =
        when.into_iter().map(|(arg, op, value)| Condition::new(arg, Len::Dword, op, value)).collect();
    Rule::new(conditions?)
}

fn namespaces(wanted: &dyn Fn(libc::c_int) -> bool) -> Vec<When> {
    let bits = NAMESPACES.iter().filter(|bit| wanted(**bit)).map(|bit| number(*bit));
    bits.map(|bit| vec![(0, Op::MaskedEq(bit), bit)]).collect()
}

/// Unix, the internet's two with TCP and UDP, and netlink for routing. Network namespaces do not cover vsock.
fn sockets() -> Vec<When> {
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
    let mut whens: Vec<When> = vec![
        families.iter().map(|family| (0, Op::Ne, number(*family))).collect(),
        vec![(0, Op::Eq, number(libc::AF_NETLINK)), (2, Op::Ne, 0)],
    ];
    for family in [libc::AF_INET, libc::AF_INET6].map(number) {
        let protocols = [0, libc::IPPROTO_TCP, libc::IPPROTO_UDP];
        let mut other: When = vec![(0, Op::Eq, family)];
        other.extend(protocols.iter().map(|protocol| (2, Op::Ne, number(*protocol))));
        whens.push(other);
        // The type shares its word with flags.
        whens.extend(ODD_TYPES.map(|odd| vec![(0, Op::Eq, family), (1, Op::MaskedEq(0xf), odd)]));
    }
    whens
}

fn devices(mode: u8) -> Vec<When> {
    let mask = u64::from(libc::S_IFMT);
    [libc::S_IFCHR, libc::S_IFBLK].map(|kind| vec![(mode, Op::MaskedEq(mask), u64::from(kind))]).to_vec()
}

fn number(value: libc::c_int) -> u64 {
    u64::from(value.cast_unsigned())
}
