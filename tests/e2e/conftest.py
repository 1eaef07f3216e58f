"""A running Carrel for the whole test run, with an administrator and two users; and a maker of fresh ones for tests that break things."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from harness import Carrel  # noqa: E402


def with_people(carrel):
    carrel.add_user("root-admin", "admin-pass-1", admin=True)
    carrel.add_user("ada", "ada-pass-12")
    carrel.add_user("bob", "bob-pass-12")
    return carrel


@pytest.fixture(scope="session")
def carrel():
    c = with_people(Carrel("shared")).start()
    yield c
    c.stop()


@pytest.fixture
def fresh(request):
    """make(name, **Carrel arguments): a Carrel of the test's own, not yet started."""
    made = []

    def make(name=None, people=True, **kw):
        c = (with_people if people else lambda c: c)(Carrel(name or request.node.name.replace("[", "-").replace("]", ""), **kw))
        made.append(c)
        return c

    yield make
    for c in made:
        c.stop()


@pytest.fixture(scope="session")
def ada(carrel):
    s = carrel.server("ada")
    s.start_server()
    return s


@pytest.fixture(scope="session")
def bob(carrel):
    s = carrel.server("bob")
    s.start_server()
    return s


@pytest.fixture
def cell(ada):
    """A fresh Carrel SQL kernel of ada's and an open websocket: cell(code) -> (reply, text, outputs)."""
    kid = ada.start_kernel()
    ws = ada.connect(kid)
    run = lambda code, timeout=60: ada.sql(ws, code, timeout)  # noqa: E731
    run.ws, run.kid, run.server = ws, kid, ada
    yield run
    ws.close()
    ada.stop_kernel(kid)
