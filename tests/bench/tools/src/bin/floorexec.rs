//! Bare fork and exec, the floor under every start of a program: from fork until the child has become it, and the processor time of both.
//! floorexec N -- CHILD [ARGS]
use std::ffi::CString;
use std::time::Instant;

fn used(who: libc::c_int) -> f64 {
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(who, &mut usage) };
    let us = |t: libc::timeval| t.tv_sec as f64 * 1e6 + t.tv_usec as f64;
    us(usage.ru_utime) + us(usage.ru_stime)
}

fn main() {
    let a: Vec<String> = std::env::args().collect();
    let n: usize = a[1].parse().unwrap();
    let argv: Vec<CString> = a[3..].iter().map(|s| CString::new(s.as_str()).unwrap()).collect();
    let mut ptrs: Vec<*const libc::c_char> = argv.iter().map(|c| c.as_ptr()).collect();
    ptrs.push(std::ptr::null());
    let (mut exec, own, children) = (vec![], used(libc::RUSAGE_SELF), used(libc::RUSAGE_CHILDREN));
    for _ in 0..n {
        let mut p = [0i32; 2];
        unsafe { libc::pipe2(p.as_mut_ptr(), libc::O_CLOEXEC) };
        let begun = Instant::now();
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            unsafe {
                libc::execv(ptrs[0], ptrs.as_ptr());
                libc::write(p[1], c"x".as_ptr() as *const _, 1);
                libc::_exit(127);
            }
        }
        let mut b = [0u8; 1];
        unsafe {
            libc::close(p[1]);
            // Closed at exec.
            let read = libc::read(p[0], b.as_mut_ptr() as *mut _, 1);
            exec.push(begun.elapsed().as_nanos() as f64 / 1e3);
            if pid < 0 || read != 0 {
                eprintln!("cannot run {}", a[3]);
                std::process::exit(1);
            }
            let mut status = 0;
            libc::waitpid(pid, &mut status, 0);
            libc::close(p[0]);
        }
    }
    let n = n as f64;
    let (own, children) = ((used(libc::RUSAGE_SELF) - own) / n, (used(libc::RUSAGE_CHILDREN) - children) / n);
    println!("{}", serde_json::json!({"exec_us": exec, "own_cpu_us": own, "child_cpu_us": children}));
}
