"""Two NameNodes, one active: which one it is, and who is to be. They share the edits by a folder, and nothing changes over by itself: a test decides."""
from . import settings
from .processes import wait_until


def role(cluster, name):
    """"active", "standby", or None for one that does not answer."""
    found = cluster.jmx("Hadoop:service=NameNode,name=NameNodeStatus", name)
    return found["State"] if found else None


def active(cluster):
    """The name of the active one, None while there is none."""
    return next((name for name in cluster.settings.namenodes() if role(cluster, name) == "active"), None)


def elect(cluster):
    """At a start both come up as standby: the first that answers is made active, unless one is already."""
    wait_until(lambda: all(role(cluster, p.name) for p in cluster.namenodes), 90, "both NameNodes", cluster.namenodes)
    if not active(cluster):
        activate(cluster, cluster.namenode.name)


def activate(cluster, name):
    """Every other one that runs is made standby first: two writers would spoil the shared edits. `--forceactive` bears one that is down."""
    with cluster.shell() as shell:
        for other in cluster.settings.namenodes():
            if other != name and role(cluster, other) == "active":
                shell.run("haadmin", "-transitionToStandby", other).ok()
        shell.run("haadmin", "-transitionToActive", "--forceactive", name).ok()
    wait_until(lambda: role(cluster, name) == "active", 60, f"{settings.SERVICE}: {name} active", [p for p in cluster.namenodes if p.name == name])
