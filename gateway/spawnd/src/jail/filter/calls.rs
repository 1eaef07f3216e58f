//! System call numbers of both architectures, by name. The tests compare them with the C library's and with the kernel's own headers.

/// The architectures that jails run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    pub(crate) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The one that this program was built for.
    pub(crate) fn own() -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.name() == std::env::consts::ARCH)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// What the kernel calls it in `seccomp_data.arch`: `AUDIT_ARCH_*`.
    pub(crate) fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }
}

/// One call: its number on each architecture that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    x86_64: Option<u32>,
    aarch64: Option<u32>,
}

impl Call {
    pub(crate) fn number(&self, arch: Arch) -> Option<u32> {
        match arch {
            Arch::X86_64 => self.x86_64,
            Arch::Aarch64 => self.aarch64,
        }
    }
}

const fn call(name: &'static str, x86_64: u32, aarch64: u32) -> Call {
    Call { name, x86_64: Some(x86_64), aarch64: Some(aarch64) }
}

const fn only_x86(name: &'static str, x86_64: u32) -> Call {
    Call { name, x86_64: Some(x86_64), aarch64: None }
}

/// The newest call that this list was checked against: mseal, Linux 6.10. What comes later does not exist inside.
pub(crate) const NEWEST: u32 = 462;

/// Refused whatever the arguments: nothing in a jail needs them.
pub(crate) const DENIED: &[Call] = &[
    // file systems and namespaces
    call("mount", 165, 40),
    call("umount2", 166, 39),
    call("pivot_root", 155, 41),
    call("chroot", 161, 51),
    call("setns", 308, 268),
    call("open_tree", 428, 428),
    call("move_mount", 429, 429),
    call("fsopen", 430, 430),
    call("fsconfig", 431, 431),
    call("fsmount", 432, 432),
    call("fspick", 433, 433),
    call("mount_setattr", 442, 442),
    call("statmount", 457, 457),
    call("listmount", 458, 458),
    call("open_by_handle_at", 304, 265),
    call("fanotify_init", 300, 262),
    call("fanotify_mark", 301, 263),
    call("quotactl", 179, 60),
    call("quotactl_fd", 443, 443),
    call("swapon", 167, 224),
    call("swapoff", 168, 225),
    call("acct", 163, 89),
    // other processes
    call("ptrace", 101, 117),
    call("process_vm_readv", 310, 270),
    call("process_vm_writev", 311, 271),
    call("kcmp", 312, 272),
    call("pidfd_getfd", 438, 438),
    call("move_pages", 279, 239),
    call("migrate_pages", 256, 238),
    // kernel surface
    call("bpf", 321, 280),
    call("perf_event_open", 298, 241),
    call("userfaultfd", 323, 282),
    call("io_uring_setup", 425, 425),
    call("io_uring_enter", 426, 426),
    call("io_uring_register", 427, 427),
    call("io_setup", 206, 0),
    call("add_key", 248, 217),
    call("request_key", 249, 218),
    call("keyctl", 250, 219),
    call("init_module", 175, 105),
    call("finit_module", 313, 273),
    call("delete_module", 176, 106),
    call("kexec_load", 246, 104),
    call("kexec_file_load", 320, 294),
    call("reboot", 169, 142),
    call("syslog", 103, 116),
    call("lookup_dcookie", 212, 18),
    call("nfsservctl", 180, 42),
    call("vhangup", 153, 58),
    // the host's clock and name
    call("settimeofday", 164, 170),
    call("clock_settime", 227, 112),
    call("clock_adjtime", 305, 266),
    call("adjtimex", 159, 171),
    call("sethostname", 170, 161),
    call("setdomainname", 171, 162),
    // only here for old programs
    only_x86("iopl", 172),
    only_x86("ioperm", 173),
    only_x86("modify_ldt", 154),
    only_x86("uselib", 134),
    only_x86("ustat", 136),
    only_x86("sysfs", 139),
    only_x86("_sysctl", 156),
    only_x86("create_module", 174),
    only_x86("get_kernel_syms", 177),
    only_x86("query_module", 178),
];

/// Does not exist inside: its flags lie in memory, where no filter sees them. Libraries fall back to `clone`.
pub(crate) const CLONE3: Call = call("clone3", 435, 435);

/// Refused in jails that are held to some processors.
pub(crate) const SCHED_SETAFFINITY: Call = call("sched_setaffinity", 203, 122);

// Judged by their arguments.
pub(crate) const CLONE: Call = call("clone", 56, 220);
pub(crate) const UNSHARE: Call = call("unshare", 272, 97);
pub(crate) const SOCKET: Call = call("socket", 41, 198);
pub(crate) const SOCKETPAIR: Call = call("socketpair", 53, 199);
pub(crate) const SETSOCKOPT: Call = call("setsockopt", 54, 208);
pub(crate) const IOCTL: Call = call("ioctl", 16, 29);
pub(crate) const PERSONALITY: Call = call("personality", 135, 92);
pub(crate) const MKNOD: Call = only_x86("mknod", 133);
pub(crate) const MKNODAT: Call = call("mknodat", 259, 33);

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Harmless ones, which must stay allowed.
    pub(crate) const ALLOWED: &[Call] = &[
        call("read", 0, 63),
        call("execve", 59, 221),
        call("futex", 202, 98),
        call("openat2", 437, 437),
        call("memfd_create", 319, 279),
        call("kill", 62, 129),
        call("getpid", 39, 172),
    ];

    /// Every call that is named in this file.
    pub(crate) fn all() -> Vec<Call> {
        let judged = [
            CLONE3,
            SCHED_SETAFFINITY,
            CLONE,
            UNSHARE,
            SOCKET,
            SOCKETPAIR,
            SETSOCKOPT,
            IOCTL,
            PERSONALITY,
            MKNOD,
            MKNODAT,
        ];
        DENIED.iter().chain(&judged).chain(ALLOWED).copied().collect()
    }

    /// `#define __NR_name number` of a header; names that stand for others are followed once.
    fn header(path: &str) -> BTreeMap<String, u32> {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path} (libc6-dev): {error}"));
        let mut numbers = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some("#define"), Some(name), Some(value)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let Some(name) = name.strip_prefix("__NR_").or_else(|| name.strip_prefix("__NR3264_")) else {
                continue;
            };
            if let Ok(number) = value.parse() {
                numbers.entry(name.to_owned()).or_insert(number);
            }
        }
        numbers
    }

    #[test]
    fn the_numbers_are_those_of_the_kernel_s_headers() {
        // arm64 has the generic table.
        let headers = [
            (Arch::X86_64, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
            (Arch::Aarch64, "/usr/include/asm-generic/unistd.h"),
        ];
        let mut compared = 0;
        for (arch, path) in headers {
            if arch == Arch::X86_64 && Arch::own() != Some(arch) {
                continue; // that header is not installed there; the library's own numbers are compared below
            }
            let numbers = header(path);
            for call in all() {
                // The headers of Debian 12 end before the newest calls.
                if let (Some(number), Some(theirs)) = (call.number(arch), numbers.get(call.name)) {
                    assert_eq!(number, *theirs, "{} {}", arch.name(), call.name);
                    compared += 1;
                }
                if call.number(arch).is_none() {
                    assert!(!numbers.contains_key(call.name), "{} has {}", arch.name(), call.name);
                }
            }
        }
        assert!(compared > 70, "{compared} numbers were compared");
    }

    #[test]
    fn no_number_stands_twice() {
        for arch in Arch::ALL {
            let numbers: Vec<u32> = all().iter().filter_map(|call| call.number(arch)).collect();
            let distinct: std::collections::BTreeSet<u32> = numbers.iter().copied().collect();
            assert_eq!(numbers.len(), distinct.len(), "{}", arch.name());
            assert!(numbers.iter().all(|number| *number <= NEWEST), "{}", arch.name());
        }
    }
}
