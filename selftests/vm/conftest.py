# SPDX-License-Identifier: BSD-2-Clause
"""What the guest's test files share: tests for some configurations only, and the peer table."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
pytest.register_assert_rewrite("guest_link", "guest_net")

import guest_table  # noqa: E402
from guest_link import SELF_PROOF  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "only(condition): for configurations of which it is true")


def pytest_collection_modifyitems(items):
    """A test that makes no sense in a configuration is not skipped there: it does not exist."""
    def wanted(item):
        return all(mark.args[0](item.callspec.params["link"]) for mark in item.iter_markers("only"))

    items[:] = [item for item in items if wanted(item)]


def pytest_sessionfinish():
    results = os.environ.get("RESULTS")
    if results and not SELF_PROOF:
        Path(results, "peers").write_text(guest_table.text())
