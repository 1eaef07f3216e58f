"""The suites that were calibrated on the real peers (tests/conformance), against one running Carrel. What is left out is named here."""
import os
import pathlib
import subprocess
import sys

import pytest

SUITES = pathlib.Path(__file__).resolve().parent.parent / "conformance"
# Servers here start too fast to be seen pending, and a full Python server per user is tested in test_classic.py.
HUB_WITHOUT = "slow-spawn singleuser-binary python-kernel"
HUB_FILES = ["test_rest_basic.py", "test_rest_users.py", "test_rest_tokens.py", "test_rest_servers.py", "test_rest_groups.py", "test_rest_shares.py",
             "test_rest_services_proxy.py", "test_scopes.py", "test_oauth.py", "test_clients.py", "test_browser.py"]
# As the suite's own configuration has it: a service with a role, and people who may sign in to services.
HUB_CONFIG = """
[[service]]
name = "static-svc"
token_env = "STATIC_SERVICE_TOKEN"
display = false
info = { purpose = "conformance" }

[[role]]
name = "static-svc-role"
scopes = ["read:users:name", "list:users"]
services = ["static-svc"]

[[role]]
name = "user"
scopes = ["self", "access:services"]
"""


def run(suite, env, *words):
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *words], cwd=SUITES / suite,
                          env={**os.environ, **env}, capture_output=True, text=True, timeout=480)
    print(done.stdout[-6000:])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.timeout(500)
@pytest.mark.parametrize("kernel,profile", [("python3", "python"), ("carrel", "sql.json")])
def test_jupyter_server_api(carrel, ada, kernel, profile):
    env = {"SERVER_URL": ada.url, "TOKEN": ada.token, "HUB": "1", "KERNEL_NAME": kernel, "CODE": profile, "SKIP_FEATURES": "nbconvert"}
    files = [] if kernel == "python3" else ["test_channels.py", "test_kernels.py", "test_sessions.py"]
    assert " passed" in run("server", env, *files)


@pytest.mark.timeout(400)
def test_hub_api(fresh):
    hub = fresh("conformance-hub", demo=False, people=False, config_lines=HUB_CONFIG)
    hub.environment["STATIC_SERVICE_TOKEN"] = "static-service-token-0123456789abcdef"
    for name, password, admin in (("root-admin", "admin-pass-1", True), ("alice", "alice-pass-1", False), ("bob", "bob-pass-1x", False)):
        hub.add_user(name, password, admin)
    hub.start()
    env = {"HUB_URL": hub.url, "ADMIN_TOKEN": hub.token("root-admin"), "USER2_PASSWORD": "bob-pass-1x", "HUB_WITHOUT": HUB_WITHOUT,
           "NAMED_SERVER_LIMIT": "3", "KERNEL_NAME": "python3"}
    assert " passed" in run("hub", env, *HUB_FILES)
