"""What the cluster holds: copies of local datasets below /data, and small examples of every kind of permission.

A second load of the same files does nothing; changed ones replace their schema.
"""
import hashlib
import json
import pathlib
import tempfile
import time

from . import Usage

# Schemas that only one group may read; the others belong to hdfs:analysts and anybody may read them.
CLOSED = {"ads": "ads"}
USERS = ("demo", "ada", "bob", "eve", "admin")
CITIES = "city,country,people\nBerlin,de,3769495\nParis,fr,2102650\nTokyo,jp,13929286\n"


def fingerprint(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    text = "\n".join(f"{p.relative_to(folder)} {p.stat().st_size} {p.stat().st_mtime_ns}" for p in files)
    return hashlib.sha256(text.encode()).hexdigest()[:16], sum(p.stat().st_size for p in files), len(files)


def load(cluster, source):
    if source and not source.is_dir():
        raise Usage(f"{source} is no folder with <schema>/<table>/…")
    kept = cluster.folder / "loaded.json"
    have = json.loads(kept.read_text()) if kept.exists() else {}
    schemas = [s for s in sorted(source.iterdir()) if s.is_dir() and not s.name.startswith(".")] if source else []
    begin, size, count = time.monotonic(), 0, 0
    todo = {}
    for schema in schemas:
        mark, bytes_, files = fingerprint(schema)
        size, count = size + bytes_, count + files
        if have.get(schema.name) != mark:
            todo[schema] = mark
    if todo or "examples" not in have:
        with cluster.shell() as shell:
            if "examples" not in have:
                examples(cluster, shell)
                have["examples"] = "1"
            for schema, mark in todo.items():
                put(shell, schema)
                have[schema.name] = mark
        kept.write_text(json.dumps(have) + "\n")
    if not schemas:
        return "no datasets given: /data holds the permission examples only"
    what = f"{count} files, {size / 1e6:.0f} MB of {', '.join(s.name for s in schemas)}"
    return f"{what} loaded to /data in {time.monotonic() - begin:.1f} s" if todo else f"{what} are in /data already"


def put(shell, schema):
    """A schema folder whole, in one command; a failed copy leaves nothing under the schema's name."""
    group, others = (CLOSED[schema.name], "-rwx") if schema.name in CLOSED else ("analysts", "=rX")
    fresh, target = f"/data/.{schema.name}.new", f"/data/{schema.name}"
    shell.fs("-rm", "-r", "-f", "-skipTrash", fresh, target).ok()
    shell.fs("-mkdir", "-p", fresh).ok()
    shell.fs("-put", "-t", "2", *(schema / p.name for p in sorted(schema.iterdir())), fresh).ok()
    shell.fs("-chown", "-R", f"hdfs:{group}", fresh).ok()
    shell.fs("-chmod", "-R", f"u=rwX,g=rX,o{others}", fresh).ok()
    shell.fs("-mv", fresh, target).ok()


def examples(cluster, shell):
    """/data/plain for everybody, /data/private for ada alone, /data/shared by an ACL, homes, and a striped folder where the nodes allow it."""
    shell.fs("-mkdir", "-p", "/data/plain/cities", "/data/private/ada", "/data/shared/events", "/tmp", *(f"/user/{u}" for u in USERS)).ok()
    with tempfile.TemporaryDirectory() as folder:
        local = pathlib.Path(folder) / "cities.csv"
        local.write_text(CITIES)
        for target in ("/data/plain/cities", "/data/private/ada", "/data/shared/events"):
            shell.fs("-put", "-f", local, target).ok()
    shell.fs("-chmod", "755", "/data", "/data/plain", "/data/plain/cities", "/data/private", "/data/shared").ok()
    shell.fs("-chmod", "1777", "/tmp").ok()
    shell.fs("-chown", "-R", "ada:ada", "/data/private/ada").ok()
    shell.fs("-chmod", "-R", "u=rwX,g-rwx,o-rwx", "/data/private/ada", "/data/shared/events").ok()
    # bob by name, members of ads by group, nobody else.
    shell.fs("-setfacl", "-R", "-m", "user:bob:r-x,group:ads:r-x,default:user:bob:r-x,default:group:ads:r-x", "/data/shared/events").ok()
    for user in USERS:
        shell.fs("-chown", f"{user}:{user}", f"/user/{user}").ok()
        shell.fs("-chmod", "700", f"/user/{user}").ok()
    if len(cluster.datanodes) >= 5:
        shell.fs("-mkdir", "-p", "/data/striped").ok()
        shell.run("ec", "-enablePolicy", "-policy", "RS-3-2-1024k").ok()
        shell.run("ec", "-setPolicy", "-path", "/data/striped", "-policy", "RS-3-2-1024k").ok()
