"""A small virtual machine: Debian's kernel and busybox, unpacked and not installed, a root of ours, and `qemu-system` with KVM where it can be used.

`Machine` boots it, hands on what its console says line by line, and leaves no process behind.
"""
import os
import pathlib
import platform
import queue
import re
import shutil
import subprocess
import threading
import time

# What the root, the state disk and its quotas need, where it is not built in.
MODULES = "virtio_pci virtio_blk squashfs ext4 quota_v2 bfq".split()


# Seconds until the first program of the root runs; a loaded host in software needed 40.
BIRTH = 240


class Missing(Exception):
    """What the machine cannot be made without."""


def unpacked(cache):
    """Where deploy/setup/system has put Debian's kernel and busybox."""
    there = pathlib.Path(cache) / "vm" / "packages"
    kernels = sorted(there.glob("boot/vmlinuz-*"))
    if not kernels or not (there / "bin" / "busybox").exists():
        raise Missing(f"no kernel below {there}: run `deploy/setup/system vm`")
    return there, kernels[-1]


class Unborn(Exception):
    """The guest did not come as far as its first program."""


def accelerators():
    """What to try: KVM where this process may use it, then software; CARREL_TEST_ACCEL=kvm or tcg asks for one alone."""
    asked = os.environ.get("CARREL_TEST_ACCEL", "")
    if asked in ("kvm", "tcg"):
        return [asked]
    # A /dev/kvm without the processor's own virtualization (on a guest of PVM, for instance) runs no stock kernel.
    usable = re.search(r"^flags\s*:.*\b(vmx|svm)\b", pathlib.Path("/proc/cpuinfo").read_text(), re.M) and os.access("/dev/kvm", os.R_OK | os.W_OK)
    return ["kvm", "tcg"] if usable else ["tcg"]


def build_initramfs(packages, kernel, init, out):
    """busybox, the modules that the root needs, and `init`."""
    version = kernel.name.removeprefix("vmlinuz-")
    tree = out.with_suffix(".d")
    shutil.rmtree(tree, ignore_errors=True)
    for folder in ("bin", "modules", "proc", "dev", "sys", "new"):
        (tree / folder).mkdir(parents=True)
    shutil.copy2(packages / "bin" / "busybox", tree / "bin" / "busybox")
    shutil.copy2(init, tree / "init")
    (tree / "init").chmod(0o755)
    files = {f.name.removesuffix(".ko").replace("-", "_"): f for f in (packages / "lib" / "modules" / version).rglob("*.ko")}
    names = []

    def with_needs(name):
        if name in files and files[name].name not in names:
            content = files[name].read_bytes()
            needs = re.search(rb"\0depends=([^\0]*)\0", content)
            for needed in needs.group(1).decode().split(",") if needs else ():
                with_needs(needed.replace("-", "_"))
            names.append(files[name].name)
            (tree / "modules" / files[name].name).write_bytes(content)

    for name in MODULES:
        with_needs(name)
    (tree / "modules" / "order").write_text("".join(n + "\n" for n in names))
    listed = subprocess.run(["find", "."], cwd=tree, check=True, capture_output=True).stdout
    with out.open("wb") as file:
        subprocess.run([packages / "bin" / "busybox", "cpio", "-o", "-H", "newc"], cwd=tree, input=listed, stdout=file, stderr=subprocess.DEVNULL, check=True)


class Machine:
    """One run of the guest, which powers itself off at its end."""

    def __init__(self, accelerator, kernel, initramfs, disks, words, memory=1536, processors=2):
        program = shutil.which("qemu-system-x86_64")
        if platform.machine() != "x86_64" or not program:
            raise Missing("no qemu-system-x86_64 here: run `deploy/setup/system vm` on an x86_64 host")
        # It ends with this process, however that ends.
        argv = ["setpriv", "--pdeathsig", "KILL", program, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none", "-M", "pc", "-cpu", "max,arch-capabilities=off",
                "-accel", accelerator + (",thread=multi" if accelerator == "tcg" else ""), "-smp", str(processors), "-m", str(memory),
                "-kernel", str(kernel), "-initrd", str(initramfs), "-serial", "stdio",
                # What stands behind `--` is handed to init.
                "-append", f"console=ttyS0 quiet panic=-1 random.trust_cpu=on -- {words}"]
        for path, read_only in disks:
            argv += ["-drive", f"file={path},if=virtio,format=raw,cache=unsafe" + (",readonly=on" if read_only else "")]
        self.lines, self.begun = queue.Queue(), time.monotonic()
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.decode(errors="replace").rstrip("\r\n"))
        self.lines.put(None)

    def console(self, seconds):
        """What the guest says, with the second at which it did, until it powers off or the time is over."""
        up, last = False, ""
        while True:
            end = self.begun + (seconds if up else BIRTH)
            try:
                line = self.lines.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                raise (TimeoutError(f"the guest still ran after {seconds} s") if up else Unborn(f"nothing but {last!r} in {BIRTH} s")) from None
            if line is None:
                if not up:
                    raise Unborn(last)
                return
            up, last = up or line.startswith("@@ up"), line
            yield time.monotonic() - self.begun, line

    def end(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
