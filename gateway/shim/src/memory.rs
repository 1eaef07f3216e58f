//! Keeps the shim small after a burst: freed memory goes back to the operating system.

/// Blocks of this size and more are mapped on their own, and free memory at the end of the heap beyond it is given back.
const THRESHOLD: libc::c_int = 128 * 1024;

/// Pins glibc's thresholds, which otherwise grow with the largest block that was ever freed (to 64 MiB). Call it first.
pub(crate) fn stay_small() {
    #[expect(unsafe_code, reason = "mallopt is the only way to pin the thresholds from within")]
    // SAFETY: mallopt takes two numbers and is called before any other thread exists; an unknown parameter is refused.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD);
        libc::mallopt(libc::M_TRIM_THRESHOLD, THRESHOLD);
    }
}

/// Gives free memory in the middle of the heap back, too: after a burst of small messages was delivered.
pub(crate) fn give_back() {
    #[expect(unsafe_code, reason = "malloc_trim has no safe wrapper")]
    // SAFETY: malloc_trim takes a number and may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
