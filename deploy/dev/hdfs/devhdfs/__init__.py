"""The parts of the development HDFS: artifacts, Kerberos, settings, processes, shell, datasets. `cluster.py` beside this folder puts them together."""


class Unavailable(Exception):
    """Something that the cluster needs can't be had or doesn't start. The text says what to do; the command line exits 69 with it."""


class Usage(Exception):
    """What was asked makes no sense for this cluster. The command line exits 64 with it."""
