//! A child that ends when its parent does, also when the parent is killed.
#![expect(unsafe_code, reason = "std offers no way but pre_exec to set a child's parent death signal")]

use tokio::process::Command;

/// Makes the program that is started by this command get SIGTERM when the thread that starts it ends.
pub(super) fn tether(command: &mut Command) {
    // SAFETY: between fork and exec only prctl(PR_SET_PDEATHSIG) is called, which allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
                .map_err(Into::into)
        });
    }
}
