//! Large blocks go back to the host when they are freed.
//!
//! Checking a password fills 19 MiB (argon2id). By default glibc raises its threshold for mapped blocks after the first such free and keeps
//! later ones in the heap: the gateway would grow by that much for every login at the same time, for good.

/// Blocks of this size and more are mapped, each on its own.
const MAPPED_FROM: libc::c_int = 1 << 20;

/// Fixes the threshold. Call before the first thread starts.
pub fn return_large_blocks() {
    #[expect(unsafe_code, reason = "mallopt has no safe wrapper")]
    // SAFETY: called once from main, before any other thread exists; it changes a setting of the allocator and touches no memory of ours.
    let accepted = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM) };
    if accepted == 0 {
        tracing::debug!("the allocator keeps its own threshold");
    }
}
