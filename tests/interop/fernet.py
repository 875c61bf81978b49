#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Stored tokens against Python's cryptography: what Latchkey seals opens there. The other way round is
tests/flow/fernet_python.c. See tests/run for the environment.
"""
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time

from cryptography.fernet import Fernet, InvalidToken

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.environ["TEST_SOURCE_DIR"], "tests"))
from kit import programs  # noqa: E402
from kit.programs import BUILD, WAIT_S, ask  # noqa: E402


class Rig(programs.Rig):
    def latchkey(self, keys):
        return super().latchkey({"AUDIBLE_TOKEN_ENCRYPTION_KEY": ",".join(key.decode() for key in keys)})

    def row(self, user):
        with contextlib.closing(sqlite3.connect(self.database)) as db:
            return db.execute(
                "SELECT access_token, refresh_token FROM accounts WHERE user_id = ?", (user,)
            ).fetchone()

    def replace_refresh_token(self, user, text):
        with contextlib.closing(sqlite3.connect(self.database)) as db, db:
            done = db.execute("UPDATE accounts SET refresh_token = ? WHERE user_id = ?", (text, user))
            assert done.rowcount == 1

    def stats(self):
        status, _, text = ask(f"{self.sim}/sim/stats")
        assert status == 200, text
        return json.loads(text)

    def wait_for_revocation(self, before):
        """The provider is told in the background, after the answer: the token that it was told."""
        deadline = time.monotonic() + WAIT_S
        while (stats := self.stats())["revokes"] == before["revokes"]:
            assert time.monotonic() < deadline, "nothing was revoked"
            time.sleep(0.02)
        assert stats["revokes"] == before["revokes"] + 1, stats
        return stats["revoked"]

    def disconnect(self, user):
        super().disconnect(user)
        assert self.row(user) is None


def stored_by_us_opens_there(rig):
    key = Fernet.generate_key()
    with rig.latchkey([key]):
        rig.link("there")
        access, refresh = (Fernet(key).decrypt(sealed).decode() for sealed in rig.row("there"))
        status, _, text = ask(f"{rig.sim}/api/1.0/library?limit=1", access)
        assert status == 200, text
        form = {
            "grant_type": "refresh_token",
            "refresh_token": refresh,
            "client_id": "sim-client",
            "client_secret": "sim-secret",
        }
        status, _, text = ask(f"{rig.sim}/auth/oauth2/token", form=form)
        assert status == 200, text
        age = time.time() - Fernet(key).extract_timestamp(rig.row("there")[0])
        assert -1 <= age < WAIT_S, age
        try:
            Fernet(Fernet.generate_key()).decrypt(rig.row("there")[0])
            raise AssertionError("any key opens it")
        except InvalidToken:
            pass
        rig.disconnect("there")


def what_is_revoked_is_what_was_stored(rig):
    key = Fernet.generate_key()
    with rig.latchkey([key]):
        rig.link("revoked")
        refresh = Fernet(key).decrypt(rig.row("revoked")[1]).decode()
        before = rig.stats()
        rig.disconnect("revoked")
        assert rig.wait_for_revocation(before) == refresh


def what_they_sealed_is_revoked(rig):
    key, old = Fernet.generate_key(), Fernet.generate_key()
    with rig.latchkey([key, old]):
        rig.link("theirs")
        rig.replace_refresh_token("theirs", Fernet(old).encrypt(b"simr/theirs").decode())
        before = rig.stats()
        rig.disconnect("theirs")
        assert rig.wait_for_revocation(before) == "simr/theirs"


def what_no_key_opens_can_be_disconnected(rig):
    key = Fernet.generate_key()
    with rig.latchkey([key]):
        rig.link("closed")
        access = Fernet(key).decrypt(rig.row("closed")[0]).decode()
        rig.link("locked")
    rig.replace_refresh_token("closed", Fernet(Fernet.generate_key()).encrypt(b"not ours").decode())
    before = rig.stats()
    with rig.latchkey([key]):
        rig.disconnect("closed")
        assert rig.wait_for_revocation(before) == access, "the one that opens"
    before = rig.stats()
    with rig.latchkey([Fernet.generate_key()]):
        rig.disconnect("locked")
    assert rig.stats()["revokes"] == before["revokes"], "ciphertext is never sent anywhere"


def keys_are_the_same(rig):
    made = subprocess.run([BUILD / "latchkey", "keygen"], check=True, capture_output=True).stdout.strip()
    assert Fernet(made).decrypt(Fernet(made).encrypt(b"text")) == b"text"
    with rig.latchkey([made]):
        rig.link("keys")
        assert Fernet(made).decrypt(rig.row("keys")[1]).startswith(b"simr/+")


def main():
    tests = [
        stored_by_us_opens_there,
        what_is_revoked_is_what_was_stored,
        what_they_sealed_is_revoked,
        what_no_key_opens_can_be_disconnected,
        keys_are_the_same,
    ]
    with tempfile.TemporaryDirectory(prefix="latchkey-fernet-") as folder:
        rig = Rig(folder)
        with rig.provider():
            return programs.run_tests(tests, rig)


if __name__ == "__main__":
    sys.exit(main())
