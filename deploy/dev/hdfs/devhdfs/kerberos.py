"""A private MIT Kerberos realm below the cluster's folder: database, KDC on loopback, principals and keytabs.

It runs as whoever starts the cluster, needs no root, and shares nothing with a realm that the machine may have.
"""
import os
import secrets
import subprocess

from . import Unavailable
from .artifacts import need, tail
from .processes import Process, wait_until

REALM = "CARREL.TEST"
# Keytab → principal. Services have one each; ada and bob exist for comparison by stock clients, the others are only ever impersonated.
PRINCIPALS = {"nn": "nn/localhost", "dn": "dn/localhost", "HTTP": "HTTP/localhost", "carrel-broker": "carrel-broker", "hdfs": "hdfs",
              "ada": "ada", "bob": "bob"}


def krb5_conf(port, clock_skew):
    return f"""# Written at every start of the cluster.
[libdefaults]
  default_realm = {REALM}
  dns_lookup_realm = false
  dns_lookup_kdc = false
  dns_canonicalize_hostname = false
  rdns = false
  udp_preference_limit = 1
  ticket_lifetime = 1d
  renew_lifetime = 7d
  clockskew = {clock_skew}
[realms]
  {REALM} = {{
    kdc = 127.0.0.1:{port}
  }}
[domain_realm]
  localhost = {REALM}
"""


class Kerberos:
    def __init__(self, folder, port, clock_skew=300):
        self.folder, self.port, self.clock_skew = folder, port, clock_skew
        self.home = folder / "kdc"
        self.conf = folder / "conf" / "krb5.conf"
        self.keytabs = folder / "keytabs"
        self.process = Process("kdc", folder)

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("KRB5")}
        return env | {"KRB5_CONFIG": str(self.conf), "KRB5_KDC_PROFILE": str(self.home / "kdc.conf"), "KRB5CCNAME": f"FILE:{self.home}/no-ccache"}

    def keytab(self, name):
        return self.keytabs / f"{name}.keytab"

    def write_conf(self):
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.conf.parent.mkdir(parents=True, exist_ok=True)
        self.conf.write_text(krb5_conf(self.port, self.clock_skew))
        (self.home / "kdc.conf").write_text(f"""# Written at every start of the cluster.
[kdcdefaults]
  kdc_listen = 127.0.0.1:{self.port}
  kdc_tcp_listen = 127.0.0.1:{self.port}
[realms]
  {REALM} = {{
    database_name = {self.home}/principal
    key_stash_file = {self.home}/stash
    acl_file = {self.home}/kadm5.acl
    max_life = 1d
    max_renewable_life = 7d
    master_key_type = aes256-cts-hmac-sha1-96
    supported_enctypes = aes256-cts-hmac-sha1-96:normal
    default_principal_flags = +preauth
  }}
[logging]
  kdc = STDERR
""")

    def create(self, broker_ticket_life=None):
        """The database with every principal, and the keytabs."""
        util, admin = need("kdb5_util", "kadmin.local")
        self.write_conf()
        self.keytabs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.run([util, "-r", REALM, "create", "-s", "-P", secrets.token_hex(16)])
        lines = []
        for name, principal in PRINCIPALS.items():
            life = f'-maxlife "{broker_ticket_life} seconds"' if broker_ticket_life and name == "carrel-broker" else ""
            lines += [f"addprinc {life} -randkey {principal}", f'ktadd -k "{self.keytab(name)}" {principal}']
        said = self.admin(admin, lines)
        missing = [n for n in PRINCIPALS if not self.keytab(n).exists()]
        if missing:
            raise Unavailable(f"kadmin.local made no keytab for {', '.join(missing)}:\n" + tail(said))

    def admin(self, program, lines):
        return self.run([program, "-r", REALM, "-p", f"cluster/admin@{REALM}"], "\n".join(lines) + "\n")

    def query(self, *lines):
        """kadmin.local commands, for tests: `modprinc -maxlife "5 seconds" carrel-broker`, `change_password -randkey carrel-broker` …"""
        return self.admin(need("kadmin.local")[0], lines)

    def run(self, command, text=""):
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=self.environment())
        if done.returncode != 0:
            raise Unavailable(f"{command[0]} failed ({done.returncode}):\n" + tail(done.stdout + done.stderr))
        return done.stdout + done.stderr

    def start(self, listening):
        """Starts the KDC and waits until it answers on its port; listening(port) says so."""
        self.write_conf()
        self.process.start([need("krb5kdc")[0], "-n", "-r", REALM], self.environment())
        wait_until(lambda: listening(self.port), 10, "the KDC's port", [self.process])
