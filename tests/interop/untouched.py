#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Without redis:// or mongodb:// in the settings not one function of their libraries is called, whatever is
asked. A function of a library is bound when it is first called (the programs of the tests are linked so),
and the dynamic linker tells. See tests/run for the environment.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.environ["TEST_SOURCE_DIR"], "tests"))
from kit import programs  # noqa: E402
from kit.programs import BUILD, SECRET_KEY, ask  # noqa: E402

BOUND = re.compile(r"binding file \S*/latchkey \[0\] to \S*/lib(mongoc|bson|hiredis)\S* \[0\]: normal symbol `(\w+)'")


class Rig(programs.Rig):
    def __init__(self, folder):
        super().__init__(folder)
        self.runs = 0

    def telling(self):
        """Settings for one more run."""
        self.runs += 1
        return {"LD_DEBUG": "bindings", "LD_DEBUG_OUTPUT": str(self.folder / f"bound-{self.runs}")}

    def called(self):
        """Of the last run: the libraries, and their functions that were called."""
        found = set()
        for path in self.folder.glob(f"bound-{self.runs}.*"):
            found |= set(BOUND.findall(path.read_text(errors="replace")))
        return found


def ask_everything(rig):
    for user in ("one", "two"):
        rig.link(user)
        token = rig.token(user)
        for path in ("connected", "library?limit=2", "search?q=the", "B000SIM001/details", "B000SIM001/play-url"):
            status, _, text = ask(f"{rig.api}/{path}", token)
            assert status in (200, 404), text
        status, _, text = ask(f"{rig.api}/library/sync", token, {})
        assert status == 200, text
    rig.disconnect("one")
    for path in ("healthz", "readyz", "metrics", "openapi.json"):
        status, _, text = ask(f"http://127.0.0.1:{rig.port}/{path}")
        assert status == 200, text


def leaves_no_trace(child):
    """libmongoc's counters would lie in memory that is shared as a file."""
    return not pathlib.Path(f"/dev/shm/mongoc-{child.pid}").exists()


def nothing_of_them_is_called_by_default(rig):
    with rig.latchkey(rig.telling()) as child:
        ask_everything(rig)
        assert leaves_no_trace(child)
    assert rig.called() == set(), rig.called()


def nor_by_the_commands(rig):
    usual = {"SECRET_KEY": SECRET_KEY, "LATCHKEY_ACCOUNT_STORE": f"sqlite:{rig.database}"}
    for command in (["check"], ["stats"], ["unlink", "--sub", "two"], ["rekey"], ["keygen"], ["--version"]):
        env = dict(os.environ) | usual | rig.telling()
        subprocess.run([BUILD / "latchkey", *command], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        called = {name for _, name in rig.called()}
        assert called <= {"mongoc_get_version"}, (command, called)


def what_is_looked_at_would_tell(rig):
    """With such settings it does; nobody need be there."""
    for store, library in (("mongodb://127.0.0.1:1/db", "mongoc"), ("redis://127.0.0.1:1", "hiredis")):
        with rig.latchkey(rig.telling() | {"LATCHKEY_ACCOUNT_STORE": store}) as child:
            ask(f"{rig.api}/connected", rig.token("anyone"))
            assert leaves_no_trace(child), "it is shared with nobody"
        assert library in {name for name, _ in rig.called()}, rig.called()


def main():
    tests = [nothing_of_them_is_called_by_default, nor_by_the_commands, what_is_looked_at_would_tell]
    with tempfile.TemporaryDirectory(prefix="latchkey-untouched-") as folder:
        rig = Rig(folder)
        with rig.provider():
            return programs.run_tests(tests, rig)


if __name__ == "__main__":
    sys.exit(main())
