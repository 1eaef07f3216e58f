"""One kerberised HDFS for the whole test run, made anew, and a stock client beside it. `CARREL_TEST_WITHOUT=hdfs` leaves all of this out."""
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "deploy" / "dev" / "hdfs"))
from cluster import Cluster  # noqa: E402

WORK = pathlib.Path(os.environ.get("CARREL_TEST_DIR", "/var/lib/carrel-test"))
PREFIX = pathlib.Path(os.environ.get("CARREL_TEST_PREFIX", "/opt/carrel"))


def pytest_collection_modifyitems(items):
    if "hdfs" in os.environ.get("CARREL_TEST_WITHOUT", "").split(","):
        here = str(pathlib.Path(__file__).parent)
        for item in items:
            if str(item.path).startswith(here):
                item.add_marker(pytest.mark.skip(reason="left out by CARREL_TEST_WITHOUT=hdfs"))


@pytest.fixture(scope="session")
def datasets():
    """The demo datasets where the engine is built, otherwise small Parquet files of the same names."""
    made = WORK / "demo"
    engine = PREFIX / "bin" / "carrel-engine"
    if engine.exists():
        subprocess.run([engine, "demo", "--out", made], check=True, capture_output=True, timeout=300)
        return made
    import pyarrow
    import pyarrow.parquet
    made = WORK / "demo-small"
    for table in ("tpch/lineitem", "ads/clicks"):
        (made / table).mkdir(parents=True, exist_ok=True)
        rows = pyarrow.table({"id": range(200_000), "value": [i * 37 % 1009 / 7 for i in range(200_000)]})
        pyarrow.parquet.write_table(rows, made / table / "part-0000.parquet", compression="none", use_dictionary=False)
    return made


@pytest.fixture(scope="session")
def cluster(datasets):
    cluster = Cluster(WORK / "hdfs")
    cluster.destroy()
    cluster = Cluster(WORK / "hdfs").start()
    print(f"HDFS started in {cluster.times}; {cluster.load(datasets)}")
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def hadoop(cluster):
    """hadoop.fs("-ls", "/", user="ada"): Hadoop's own client."""
    with cluster.shell() as shell:
        yield shell
