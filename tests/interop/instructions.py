#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The hot endpoints take no more instructions than bench/baseline.json says, 5 % allowed. See
bench/harness/instructions.py, and tests/run for the environment.
"""
import os
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.environ["TEST_SOURCE_DIR"], "tests"))
sys.path.insert(0, os.path.join(os.environ["TEST_SOURCE_DIR"], "bench"))
from harness import instructions  # noqa: E402
from kit import programs  # noqa: E402


def no_slip(build, before):
    with tempfile.TemporaryDirectory(prefix="latchkey-count-") as folder:
        now = instructions.count(build, folder, (programs.free_port(), programs.free_port()))
    worse, better = instructions.slips(now, before)
    for line in better:
        print(f"     better, so bench/instructions --record: {line}")
    assert not worse, "\n".join(worse)


def a_slip_is_seen(*_):
    worse, better = instructions.slips({"a": 106, "b": 104, "c": 90, "new": 7}, {"a": 100, "b": 100, "c": 100})
    assert len(worse) == 1 and worse[0].startswith("a: "), worse
    assert len(better) == 1 and better[0].startswith("c: "), better


def main():
    build = programs.built("release", "latchkey", "bench_provider")
    key = instructions.machine_key(build / "latchkey")
    before = instructions.read_baseline().get(key)
    if before is None:
        print(f"bench/baseline.json has no counts for this machine, so there is nothing to compare: {key}")
        return programs.run_tests([a_slip_is_seen])
    return programs.run_tests([a_slip_is_seen, no_slip], build, before)


if __name__ == "__main__":
    sys.exit(main())
