"""Chromium with somebody signed in, for the browser tests of JupyterLab's page."""
import contextlib
import os
import re

from harness import WORK
from playwright.sync_api import expect, sync_playwright
from test_browser import FLAGS


@contextlib.contextmanager
def signed_in(carrel, last, user="ada", password="ada-pass-12"):
    """A page in the user's Lab; its last look stays as a picture called `last`."""
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS)
        page = browser.new_context(viewport={"width": 1360, "height": 900}).new_page()
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        page.goto(carrel.url)
        page.get_by_label(re.compile("user", re.I)).fill(user)
        page.get_by_label(re.compile("^password", re.I)).fill(password)
        page.get_by_role("button", name=re.compile("sign in|log in", re.I)).click()
        page.wait_for_url(f"**/user/{user}/lab**")
        yield page
        page.screenshot(path=str(WORK / f"{last}.png"))
        browser.close()
