"""A pair of NameNodes with one name: the active one is found, and a change of it costs a user nothing but a moment."""
import threading
import time

import pytest
import reader
from cluster import Cluster
from reader import WORK, session, timed

CITIES = "SELECT count(*) AS n, sum(people) AS s FROM 'hdfs:///data/plain/cities'"
KNOWN = [(3, 3769495 + 2102650 + 13929286)]


@pytest.fixture(scope="module")
def pair():
    folder = WORK / "hdfs-pair"
    Cluster(folder).destroy()
    made = Cluster(folder, standby=True, datanodes=1)
    try:
        made.start()
        made.load(None)
        yield made
    finally:
        made.stop(kill=True)


@pytest.fixture(scope="module")
def carrel(pair):
    made = reader.make("hdfs-pair-carrel", pair, timeout=40).start()
    yield made
    made.stop()


def test_the_active_one_is_found_wherever_it_is(pair, carrel):
    with session(carrel, "ada") as ada:
        assert ada.rows(CITIES) == KNOWN
        pair.activate("standby")
        assert ada.rows(CITIES) == KNOWN
        with session(carrel, "bob") as bob:
            assert bob.rows(CITIES) == KNOWN
            assert bob.rows(CITIES.replace("hdfs://", "hdfs://carrel-pair")) == KNOWN
        pair.activate("namenode")
        assert ada.rows(CITIES) == KNOWN


def test_a_query_waits_while_neither_is_active(pair, carrel):
    """The active one is killed; the other takes over some seconds later, in the midst of a query."""
    with session(carrel, "ada") as ada:
        assert ada.rows(CITIES) == KNOWN
        time.sleep(1.1)  # a look at a table's files is good for a second
        pair.namenode_stop(kill=True)
        over = threading.Timer(4, lambda: pair.activate("standby"))
        over.start()
        try:
            found, seconds = timed(lambda: ada.rows(CITIES))
        finally:
            over.join()
        assert found == KNOWN
        assert 3 < seconds < 30, seconds
    # the killed one comes back as the standby, and is no trap for those who ask it first
    pair.namenode_start(wait=False)
    with session(carrel, "bob") as bob:
        assert bob.rows(CITIES) == KNOWN


def test_a_carrel_that_starts_while_the_first_of_the_list_is_down(pair):
    pair.namenode_stop(kill=True)
    late = reader.make("hdfs-pair-late", pair, timeout=20)
    late.log_path.unlink(missing_ok=True)
    late.start()
    try:
        assert "cannot be reached" not in late.log()
        with session(late, "ada") as ada:
            found, seconds = timed(lambda: ada.rows(CITIES))
            assert found == KNOWN and seconds < 10, seconds
            error = ada.fails("SELECT * FROM 'hdfs:///data/private/ada/nothing.csv'")
            assert error.startswith("FileNotFound"), error
        with session(late, "eve") as eve:
            error = eve.fails("SELECT * FROM 'hdfs:///data/private/ada/cities.csv'")
            assert "eve" in error and "java" not in error, error
    finally:
        late.stop()
