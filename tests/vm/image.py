"""The guest's disks: a read-only root made of this host's own packages and the installed prefix, a state disk with project quotas, a swap disk.

Everything in the root belongs to root there, whoever builds it. Nothing of the host's /etc but a few harmless files goes in, and nobody's home.
"""
import io
import os
import pathlib
import re
import subprocess
import sys
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
TESTS = HERE.parent
# What the guest needs of Debian, with all that these depend on.
PACKAGES = "bash dash coreutils util-linux mount e2fsprogs procps grep sed findutils hostname libc-bin login passwd tar gzip libgcc-s1 libstdc++6 python3-minimal".split()
ETC = "ld.so.cache ld.so.conf ld.so.conf.d nsswitch.conf alternatives mime.types os-release debian_version localtime python3 python3.11 python3.13".split()
# What the tests in the guest do not use of the two Python environments and of an interpreter.
HEAVY = re.compile(r"/site-packages/(duckdb|_duckdb|adbc|sklearn|scikit|scipy|playwright|pyarrow|polars|_polars|pandas|numpy|jedi|debugpy|jupyterhub|jupyter_server|sqlalchemy|babel|notebook"
                   r"|pip|setuptools|grpc|cryptography|greenlet|pkg_resources)[^/]*(/|$)|/(tests?|config-3[^/]*|idlelib|ensurepip|turtledemo|lib2to3)/|\.a$"
                   r"|/venv[^/]*/share/|/share/labextensions/")
INTERPRETER = re.compile(HEAVY.pattern + r"|/(site|dist)-packages/")
PAPERS = re.compile(r"/share/(doc|man|locale|info|lintian|bash-completion|zoneinfo|perl5)/")
NONE = re.compile(r"(?!)")


def packages():
    """The wanted packages and what they depend on, as far as they are installed here."""
    said = subprocess.run(["dpkg-query", "-W", "-f", "${binary:Package}\t${Pre-Depends}, ${Depends}\t${Provides}\t${db:Status-Status}\n"], check=True, capture_output=True, text=True).stdout
    needs, gives = {}, {}
    name_of = lambda word: re.split(r"[ (:]", word.strip())[0]  # noqa: E731
    for line in said.splitlines():
        package, depends, provides, status = line.split("\t")
        if status != "installed":
            continue
        name = package.split(":")[0]
        needs[name] = [name_of(w) for w in re.split(r"[,|]", depends) if w.strip()]
        for word in [name, *provides.split(",")]:
            gives.setdefault(name_of(word), name)
    found, left = set(), [gives[p] for p in PACKAGES if p in gives]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += [gives[n] for n in needs[name] if n in gives]
    return sorted(found - {"perl-base", "perl", "debconf"})


def libraries(programs):
    """The shared libraries that these programs and modules are linked with."""
    said = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True).stdout
    return {pathlib.Path(p) for p in re.findall(r"(?:=> |^\t)(/\S+) \(", said, re.M)}


class Root:
    """A root in the making: a stream of tar members that `mksquashfs` turns into a file system. Each name once, folders before what is in them."""

    def __init__(self, stream):
        self.tar = tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT)
        self.seen = set()

    def folder(self, path, mode=0o755):
        path = path.strip("/")
        if path and path not in self.seen:
            self.folder(os.path.dirname(path))
            self.add(path, tarfile.DIRTYPE, mode)

    def add(self, path, kind=tarfile.REGTYPE, mode=0o644, link="", content=None, mtime=0):
        """One member, if it is not there yet."""
        if path in self.seen:
            return
        self.seen.add(path)
        info = tarfile.TarInfo(path)
        info.type, info.mode, info.linkname, info.mtime = kind, mode, link, int(mtime)
        if content is None:
            self.tar.addfile(info)
            return
        info.size = content.seek(0, os.SEEK_END)
        content.seek(0)
        self.tar.addfile(info, content)

    def text(self, path, text, mode=0o644):
        self.folder(os.path.dirname(path))
        self.add(path.strip("/"), mode=mode, content=io.BytesIO(text.encode()))

    def host(self, source, target=None):
        """One file, link or folder (without what is in it) of this host, at the same path or another one."""
        source = pathlib.Path(source)
        # With merged /usr a package's /bin/x lies in /usr/bin.
        target = str(target or pathlib.Path(os.path.realpath(source.parent)) / source.name).strip("/")
        try:
            stat = source.lstat()
        except FileNotFoundError:
            return
        if source.is_symlink():
            self.folder(os.path.dirname(target))
            self.add(target, tarfile.SYMTYPE, link=os.readlink(source))
        elif source.is_dir():
            self.folder(target)
        elif source.is_file():
            self.folder(os.path.dirname(target))
            with source.open("rb") as content:
                self.add(target, mode=stat.st_mode & 0o7777, content=content, mtime=stat.st_mtime)

    def tree(self, source, target=None, leave_out=HEAVY):
        """A folder with what is in it."""
        source, target = pathlib.Path(source), pathlib.Path(target or source)
        for folder, folders, files in os.walk(source):
            below = pathlib.Path(folder).relative_to(source)
            folders[:] = sorted(f for f in folders if not leave_out.search(f"{folder}/{f}/") and f != ".git")
            self.folder(str(target / below))
            for name in sorted(files + [f for f in folders if (pathlib.Path(folder) / f).is_symlink()]):
                if not leave_out.search(f"{folder}/{name}"):
                    self.host(pathlib.Path(folder) / name, target / below / name)


def build_root(out, prefix, venv, packages, extra=(), classic=False):
    """The read-only root: Debian's files, the programs at /opt/carrel, the tests' Python environment and the tests; `packages` is the folder of what
    was unpacked and not installed, `extra` are files of this host that are wanted too, with `classic` the whole environment of classic servers."""
    squash = subprocess.Popen(["mksquashfs", "-", str(out), "-tar", "-noappend", "-root-mode", "755", "-no-progress", "-noI", "-noD", "-noF", "-noX", "-quiet"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        root = Root(squash.stdin)
        if classic:
            environment(root, pathlib.Path(prefix) / "share" / "classic", "/opt/carrel/share/classic")
        fill(root, pathlib.Path(prefix), pathlib.Path(venv))
        for name in ("usr/bin/newuidmap", "usr/bin/newgidmap"):
            root.host(packages / name, name)
        root.host(packages / "bin" / "busybox", "usr/bin/busybox")
        for library in packages.glob("usr/lib/*/libsubid.so*"):
            root.host(library, library.relative_to(packages))
        for path in extra:
            root.host(path)
        root.text("/etc/spawnd-tests", "".join(f"{path}\n" for path in extra[:1]))
        root.tar.close()
        squash.stdin.close()
    except BrokenPipeError:
        pass
    said = squash.stdout.read().decode(errors="replace")
    assert squash.wait() == 0, f"mksquashfs: {said}"


def environment(root, there, here):
    """A Python environment at another path, which its scripts name in their first line."""
    for script in (there / "bin").iterdir():
        if script.is_file() and not script.is_symlink() and (text := script.read_bytes()).startswith(b"#!" + str(there).encode()):
            root.text(f"{here}/bin/{script.name}", text.decode().replace(str(there), here), 0o755)
    root.tree(there, here, NONE)


def fill(root, prefix, venv):
    for link in ("bin", "sbin", "lib", "lib64", "lib32"):
        if os.path.islink(f"/{link}"):
            root.host(f"/{link}", link)
    for path in "proc sys dev run tmp mnt state var/tmp var/lib var/empty root home opt".split():
        root.folder(path)
    listed = subprocess.run(["dpkg-query", "-L", *packages()], check=True, capture_output=True, text=True).stdout
    for path in sorted(set(listed.splitlines())):
        if path.startswith("/") and not path.startswith("/etc/") and not PAPERS.search(path + "/") and not INTERPRETER.search(path + "/"):
            root.host(path)
    # The interpreter of the tests' environment, and that of the Python kernel.
    modules = []
    for python in {os.path.realpath(venv / "bin" / "python"), os.path.realpath(prefix / "share" / "python" / "bin" / "python"), "/usr/bin/python3"}:
        base = pathlib.Path(python).parent.parent
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        root.host(python)
        for name in sorted(base.glob("lib/python3*")):
            root.tree(name, leave_out=INTERPRETER)
        modules += [python, *base.glob("lib/python3*/lib-dynload/*.so"), *base.glob("lib/libpython3*.so*")]
        for name in base.glob("lib/libpython3*.so*"):
            root.host(name)
        for link in ("bin/python3", "bin/" + version):
            root.host(base / link, base / link)
    for library in sorted(libraries([*modules, *prefix.glob("bin/*")])):
        root.host(library)
        root.host(os.path.realpath(library))
    root.tree(venv, venv)
    root.tree(prefix, "/opt/carrel")
    root.tree(TESTS, "/tests", NONE)
    for name in ETC:
        path = pathlib.Path("/etc") / name
        (root.tree if path.is_dir() and not path.is_symlink() else root.host)(path, path)
    root.text("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\noperator:x:64250:64250::/state/operator:/bin/bash\n"
              "carrel:x:990:990::/nonexistent:/usr/sbin/nologin\n")
    root.text("/etc/group", "root:x:0:\nnogroup:x:65534:\noperator:x:64250:\ncarrel:x:990:\nshadow:x:42:\n")
    root.text("/etc/shadow", "root:*:1::::::\noperator:*:1::::::\n", 0o600)
    root.text("/etc/subuid", "operator:100000:65536\n")
    root.text("/etc/subgid", "operator:100000:65536\n")
    root.text("/etc/hosts", "127.0.0.1 localhost\n")
    root.text("/etc/python", str(venv / "bin" / "python") + "\n")
    root.host(HERE / "init", "/tests/vm/init")


def build_state(out, megabytes):
    """An empty disk for what Carrel keeps, as the operator's guide has it made: ext4 with project quotas."""
    empty(out, megabytes)
    subprocess.run(["/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-O", "quota,project", "-E", "quotatype=prjquota", str(out)], check=True)


def empty(out, megabytes):
    with open(out, "wb") as file:
        file.truncate(megabytes << 20)
