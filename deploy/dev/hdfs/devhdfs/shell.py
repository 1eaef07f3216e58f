"""Stock Hadoop commands (`fs`, `dfsadmin`, `ec`) as any user of the cluster, all in one JVM: Shell.java at the other end of a pipe."""
import dataclasses
import json
import subprocess
import threading

from . import Unavailable
from .artifacts import java, tail
from .kerberos import PRINCIPALS, REALM


@dataclasses.dataclass
class Done:
    argv: list
    rc: int
    out: str
    err: str
    ms: int

    def ok(self):
        if self.rc != 0:
            said = (self.err or self.out).strip().splitlines()[:3]
            raise Unavailable(f"`{' '.join(self.argv)}` failed ({self.rc}): " + " / ".join(said))
        return self


class Shell:
    """`with cluster.shell() as sh: sh.fs("-ls", "/data", user="ada")`.

    `user` names a keytab of the cluster, None stands for no login; `doas` is whom that user impersonates. `conf` is another configuration
    folder than conf/client.
    """

    def __init__(self, cluster, conf=None):
        conf = conf or cluster.client_conf
        self.cluster = cluster
        self.errors = []
        command = java(cluster.artifacts, conf, cluster.kerberos.conf, "512m") + ["Shell"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=cluster.kerberos.environment())
        threading.Thread(target=self.drain, daemon=True).start()

    def drain(self):
        for line in self.process.stderr:
            self.errors = [*self.errors[-50:], line]

    def run(self, *argv, user="hdfs", doas=None):
        request = {"argv": [str(a) for a in argv]}
        if user:
            request |= {"principal": f"{PRINCIPALS[user]}@{REALM}", "keytab": str(self.cluster.keytab(user))}
        if doas:
            request["as"] = doas
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Unavailable("the Hadoop shell ended:\n" + tail("".join(self.errors)))
        return Done(request["argv"], **json.loads(line))

    def fs(self, *argv, **who):
        return self.run("fs", *argv, **who)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
