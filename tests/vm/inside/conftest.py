"""In the guest: what each test came to, for the host, and Carrel for them to use (guest.py)."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import guest  # noqa: E402


def pytest_runtest_logreport(report):
    """For the host, which shows each of these tests as one of its own."""
    if report.when == "call" or report.outcome != "passed":
        print(f"\n@@ {report.outcome} {report.nodeid.rpartition('/')[2]} {report.duration:.1f}", flush=True)
    if report.failed:
        for carrel in guest.RUNNING:
            for log in (carrel.log_path, carrel.runtime() / "spawnd.log"):
                print(f"-- {log}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-25:]) if log.exists() else f"no {log}", flush=True)


serve = pytest.fixture(guest.servers, name="serve")
serve_module = pytest.fixture(guest.servers, scope="module", name="serve_module")
