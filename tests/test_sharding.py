"""Rows split over eight devices, in a separate process: the number of devices is set at the start."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from on_eight_devices import CHECKS, CHECKS_OF_EVERY_LAW


def checked(*laws):
    """Give the output of each check, from one process that runs all of them, with warnings as errors."""
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name("on_eight_devices.py")), *laws]
    result = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr
    return dict(map(json.loads, result.stdout.splitlines()))


@pytest.fixture(scope="module")
def failures():
    return checked("uniform")


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_on_eight_devices(failures, check):
    assert failures[check] == ""


@pytest.mark.slow
def test_the_other_laws_on_eight_devices():
    assert checked("redraw", "sequential", "normal") == dict.fromkeys(CHECKS_OF_EVERY_LAW, "")
