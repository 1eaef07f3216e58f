"""What the cluster is: ports, users and options (remembered in <folder>/cluster.json), and the Hadoop configuration folders made from them.

conf/client is for any client of the cluster; conf/namenode and conf/datanodeN are for the servers. All are written anew at every start.
"""
import dataclasses
import json
import random
import socket
from xml.sax.saxutils import escape

from . import Unavailable, Usage
from .kerberos import PRINCIPALS, REALM

# User → groups, as the NameNode sees them. Nobody else has groups.
USERS = {"demo": ["analysts", "ads"], "ada": ["analysts", "ads"], "bob": ["analysts"], "eve": [], "admin": ["analysts", "ads"],
         "hdfs": ["hdfs"], "carrel-broker": []}
MARK = "cluster.json"
# What a pair of NameNodes is called in addresses.
SERVICE = "carrel-pair"


@dataclasses.dataclass
class Settings:
    """The choices of the first start. Ports are below the range that the system gives to outgoing connections, so they stay free."""
    datanodes: int = 2
    block_size: int = 1 << 20
    broker_ticket_life: int | None = None
    clock_skew: int = 300
    full_jit: bool = False
    standby: bool = False
    ports: dict = dataclasses.field(default_factory=dict)
    password: str = ""

    @classmethod
    def load(cls, folder):
        try:
            return cls(**json.loads((folder / MARK).read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as e:
            raise Unavailable(f"{folder / MARK} is damaged or of another version ({e}): stop the cluster and delete {folder}") from None

    def save(self, folder):
        fresh = folder / (MARK + ".new")
        fresh.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")
        fresh.chmod(0o600)
        fresh.replace(folder / MARK)

    def check(self):
        if not 1 <= self.datanodes <= 9:
            raise Usage(f"{self.datanodes} DataNodes: 1 to 9 are possible")
        if self.block_size < 65536 or self.block_size % 512:
            raise Usage(f"block size {self.block_size}: at least 65536, and a multiple of 512")

    def choose_ports(self):
        names = ["kdc"]
        for name in self.namenodes():
            names += [name, f"{name}-https"]
        for n in range(1, self.datanodes + 1):
            names += [f"datanode{n}", f"datanode{n}-https", f"datanode{n}-ipc"]
        for name in names:
            self.ports[name] = free_port(self.ports.values())

    def names(self):
        return [f"datanode{n}" for n in range(1, self.datanodes + 1)]

    def namenodes(self):
        return ["namenode", "standby"] if self.standby else ["namenode"]

    @property
    def url(self):
        return f"hdfs://{SERVICE}" if self.standby else f"hdfs://localhost:{self.ports['namenode']}"

    @property
    def replication(self):
        return min(2, self.datanodes)


def free_port(taken):
    for _ in range(1000):
        port = random.SystemRandom().randrange(20000, 32000)
        if port in taken:
            continue
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Unavailable("no free port between 20000 and 32000 on 127.0.0.1")


def listening(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def xml(path, values):
    rows = "".join(f"  <property><name>{escape(k)}</name><value>{escape(str(v))}</value></property>\n" for k, v in values.items())
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n<!-- Written at every start of the cluster. -->\n<configuration>\n{rows}</configuration>\n')


def core(settings):
    to_hdfs = "".join(f"RULE:[2:$1@$0]({p}@{REALM.replace('.', '[.]')})s/.*/hdfs/\n" for p in ("nn", "dn"))
    values = {
        "fs.defaultFS": settings.url,
        "hadoop.security.authentication": "kerberos",
        "hadoop.security.authorization": "true",
        "hadoop.rpc.protection": "privacy",
        "hadoop.security.auth_to_local": to_hdfs + "DEFAULT",
        "hadoop.security.group.mapping": "org.apache.hadoop.security.NullGroupsMapping",
        "hadoop.user.group.static.mapping.overrides": ";".join(f"{u}={','.join(g)}" for u, g in USERS.items()),
        "hadoop.security.token.service.use_ip": "true",
        # There is no native library: without this each encrypted connection looks for it in vain and logs a stack trace.
        "hadoop.security.crypto.codec.classes.aes.ctr.nopadding": "org.apache.hadoop.crypto.JceAesCtrCryptoCodec",
    }
    return values


def hdfs(settings):
    """What clients and servers share."""
    return {
        "dfs.namenode.kerberos.principal": f"{PRINCIPALS['nn']}@{REALM}",
        "dfs.datanode.kerberos.principal": f"{PRINCIPALS['dn']}@{REALM}",
        "dfs.web.authentication.kerberos.principal": f"{PRINCIPALS['HTTP']}@{REALM}",
        "dfs.block.access.token.enable": "true",
        "dfs.data.transfer.protection": "privacy",
        "dfs.encrypt.data.transfer.cipher.suites": "AES/CTR/NoPadding",
        "dfs.http.policy": "HTTPS_ONLY",
        **addresses(settings),
        "dfs.replication": settings.replication,
        "dfs.blocksize": settings.block_size,
        "dfs.client.block.write.replace-datanode-on-failure.policy": "NEVER",
    }


def addresses(settings):
    """Where the NameNode is; with a standby, where both are and how a client chooses."""
    ports = settings.ports
    if not settings.standby:
        return {"dfs.namenode.rpc-address": f"localhost:{ports['namenode']}", "dfs.namenode.https-address": f"localhost:{ports['namenode-https']}"}
    values = {
        "dfs.nameservices": SERVICE,
        f"dfs.ha.namenodes.{SERVICE}": ",".join(settings.namenodes()),
        f"dfs.client.failover.proxy.provider.{SERVICE}": "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider",
        "dfs.ha.automatic-failover.enabled": "false",
    }
    for name in settings.namenodes():
        values[f"dfs.namenode.rpc-address.{SERVICE}.{name}"] = f"localhost:{ports[name]}"
        values[f"dfs.namenode.https-address.{SERVICE}.{name}"] = f"localhost:{ports[name + '-https']}"
    return values


def servers(folder, settings):
    """hdfs-site of NameNode and DataNodes beyond the shared part. Short heartbeats, so that tests needn't wait for the usual minutes."""
    return hdfs(settings) | {
        "dfs.permissions.enabled": "true",
        "dfs.permissions.superusergroup": "hdfs",
        "dfs.namenode.acls.enabled": "true",
        "dfs.namenode.keytab.file": folder / "keytabs" / "nn.keytab",
        "dfs.datanode.keytab.file": folder / "keytabs" / "dn.keytab",
        "dfs.web.authentication.kerberos.keytab": folder / "keytabs" / "HTTP.keytab",
        "dfs.namenode.kerberos.internal.spnego.principal": f"{PRINCIPALS['HTTP']}@{REALM}",
        "dfs.namenode.rpc-bind-host": "127.0.0.1",
        "dfs.namenode.https-bind-host": "127.0.0.1",
        "dfs.namenode.name.dir": (folder / "data" / "name").as_uri(),
        "dfs.namenode.fs-limits.min-block-size": 65536,
        "dfs.namenode.fs-limits.blocks-per-file-max": 1_000_000,
        "dfs.namenode.handler.count": 8,
        # Tests damage or remove some blocks for good: a NameNode shall start all the same.
        "dfs.namenode.safemode.threshold-pct": 0.5,
        "dfs.namenode.safemode.extension": 0,
        "dfs.namenode.safemode.min.datanodes": 0,
        "dfs.namenode.heartbeat.recheck-interval": 5000,
        "dfs.namenode.stale.datanode.interval": 9000,
        "dfs.namenode.edits.noeditlogchannelflush": "true",
        "dfs.namenode.redundancy.interval.seconds": "1s",
        # All nodes share one machine: leaving a busy one out would only write a file with too few copies or parts.
        "dfs.namenode.redundancy.considerLoad": "false",
        "dfs.heartbeat.interval": "1s",
        "dfs.blockreport.initialDelay": "0s",
        "dfs.datanode.handler.count": 4,
        # Tests damage block files by hand: only a read shall find that out.
        "dfs.datanode.scan.period.hours": -1,
        "dfs.datanode.directoryscan.interval": -1,
        "dfs.datanode.du.reserved": 0,
        "ipc.client.connect.retry.interval": 100,
        "ipc.client.connect.max.retries": 200,
    }


LOG = """log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
log4j.logger.org.eclipse.jetty=WARN
log4j.logger.http.requests=WARN
"""


def write(folder, settings):
    """Every configuration folder."""
    conf = folder / "conf"
    superuser = {"hadoop.proxyuser.carrel-broker.hosts": "127.0.0.1", "hadoop.proxyuser.carrel-broker.groups": "*"}
    tls = {f"ssl.server.{kind}.{key}": value for kind in ("keystore", "truststore") for key, value in
           {"location": folder / "tls" / "keystore.p12", "password": settings.password, "type": "pkcs12"}.items()}
    tls["ssl.server.keystore.keypassword"] = settings.password
    for name in ["format", *settings.namenodes(), *settings.names()]:
        home = conf / name
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        site = servers(folder, settings)
        if name in settings.names():
            site |= {
                "dfs.datanode.address": f"127.0.0.1:{settings.ports[name]}",
                "dfs.datanode.https.address": f"127.0.0.1:{settings.ports[name + '-https']}",
                "dfs.datanode.ipc.address": f"127.0.0.1:{settings.ports[name + '-ipc']}",
                "dfs.datanode.hostname": "localhost",
                "dfs.datanode.data.dir": (folder / "data" / name).as_uri(),
            }
        if settings.standby:
            site |= {"dfs.namenode.shared.edits.dir": (folder / "data" / "edits").as_uri(), "dfs.ha.tail-edits.period": "1s",
                     "dfs.ha.namenode.id": "standby" if name == "standby" else "namenode"}
        if name == "standby":
            site["dfs.namenode.name.dir"] = (folder / "data" / "name-standby").as_uri()
        # Formatting needs no login, so it needn't wait for the realm.
        login = {"hadoop.security.authentication": "simple", "hadoop.security.authorization": "false"} if name == "format" else {}
        xml(home / "core-site.xml", core(settings) | superuser | login)
        xml(home / "hdfs-site.xml", site)
        xml(home / "ssl-server.xml", tls)
        (home / "log4j.properties").write_text(LOG)
    client = conf / "client"
    client.mkdir(parents=True, exist_ok=True)
    xml(client / "core-site.xml", core(settings))
    xml(client / "hdfs-site.xml", hdfs(settings))
    (client / "krb5.conf").write_text((conf / "krb5.conf").read_text())
    (client / "log4j.properties").write_text(LOG.replace("INFO", "WARN"))
