"""Fetches Hadoop's jars by Maven into the cache, once, compiles the shell driver beside them, and knows how to start a Java program on them.

The cache folder is $CACHE, $CARREL_CACHE or ~/.cache/carrel; the jars lie in <cache>/hadoop-<version>/jars. Fetching is atomic: a killed run
leaves nothing under that name.
"""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import xml.etree.ElementTree

from . import Unavailable

HERE = pathlib.Path(__file__).resolve().parent
POM = HERE.parent / "pom.xml"
SHELL = HERE / "Shell.java"
# The published jar lacks the servers' web pages, and they refuse to start without these folders: no pages, only /jmx and WebHDFS.
PAGES = ("hdfs", "datanode", "static")
PACKAGES = "deploy/setup/system hdfs"
# Hadoop reaches for these by reflection when Kerberos is on; without them Java 17 prints warnings or refuses.
OPENS = ["--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED"]
# The first compiler alone starts a server in half the CPU time; it lacks the AES intrinsics, so encrypted streams are slower.
QUICK = ["-XX:TieredStopAtLevel=1"]


def cache():
    return pathlib.Path(os.environ.get("CACHE") or os.environ.get("CARREL_CACHE") or pathlib.Path.home() / ".cache" / "carrel")


def version():
    names = {"m": "http://maven.apache.org/POM/4.0.0"}
    return xml.etree.ElementTree.parse(POM).findtext("m:properties/m:hadoop.version", namespaces=names)


def need(*programs):
    """The Debian packages' programs, or a message that says which command installs them."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [p for p in programs if not shutil.which(p, path=path)]
    if missing:
        raise Unavailable(f"{', '.join(missing)} not found; please run: sudo {PACKAGES}")
    return [shutil.which(p, path=path) for p in programs]


def fetch():
    """The folder with jars/ and classes/, made if it is not there yet."""
    folder = cache() / f"hadoop-{version()}"
    wanted = hashlib.sha256(POM.read_bytes() + SHELL.read_bytes() + " ".join(PAGES).encode()).hexdigest()[:16]
    mark = folder / ".carrel"
    if mark.exists() and mark.read_text() == wanted:
        return folder
    mvn, javac, _ = need("mvn", "javac", "java")
    fresh = folder.with_name(f"{folder.name}.new-{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    for page in PAGES:
        (fresh / "classes" / "webapps" / page).mkdir(parents=True)
    try:
        done = subprocess.run([mvn, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime",
                               f"-DoutputDirectory={fresh / 'jars'}"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Unavailable(f"Maven could not fetch Hadoop {version()}; check its network and settings, then try again. It said:\n"
                              + tail(done.stdout + done.stderr))
        done = subprocess.run([javac, "-nowarn", "-cp", f"{fresh / 'jars'}/*", "-d", str(fresh / "classes"), str(SHELL)],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise Unavailable(f"javac does not compile {SHELL.name} against Hadoop {version()}:\n" + tail(done.stdout + done.stderr))
        (fresh / ".carrel").write_text(wanted)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def tail(text, lines=12):
    """The last lines of what a program said, without the frames of Java's stack traces and Hadoop's banner."""
    kept = [line for line in text.strip().splitlines() if not re.match(r"\s+(at |\.\.\. \d+ more)|/?\*{20}|SHUTDOWN_MSG", line)]
    return "\n".join("  " + line[:400] for line in kept[-lines:])


def java(folder, conf, krb5, heap, full_jit=False):
    """The start of a command line: everything before the class name."""
    return [need("java")[0], *OPENS, f"-Xmx{heap}", "-Xms32m", "-XX:+UseSerialGC", "-XX:MaxMetaspaceSize=192m", "-Xss512k", *([] if full_jit else QUICK),
            "-Djava.net.preferIPv4Stack=true", "-Djava.awt.headless=true", f"-Djava.security.krb5.conf={krb5}",
            f"-Dlog4j.configuration=file:{conf}/log4j.properties",
            "-cp", f"{conf}:{folder}/classes:{folder}/jars/*"]
