"""Fixtures: demo data made by the built engine, and one engine for all tests that do not end it."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import engine as engines


@pytest.fixture(scope="session")
def data():
    return engines.demo_data()


@pytest.fixture(scope="session")
def engine(data):
    running = engines.Engine(data)
    yield running
    running.close()
