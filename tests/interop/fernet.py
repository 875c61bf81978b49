#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Stored tokens against Python's cryptography: what Latchkey seals opens there. The other way round is
tests/flow/fernet_python.c. See tests/run for the environment.
"""
import contextlib
import json
import os
import pathlib
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

from cryptography.fernet import Fernet, InvalidToken

BUILD = pathlib.Path(os.environ["TEST_BUILD_DIR"])
WAIT_S = 15
LATCHKEY_SECRET = "a secret of the tests, 32 bytes or more"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Stay(urllib.request.HTTPRedirectHandler):
    """Redirects are looked at, not followed."""

    def redirect_request(self, *_):
        return None


opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay)


def ask(url, token=None, body=None, form=None):
    """Status, headers and text; a GET unless there is a body."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
    if form is not None:
        data = urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(url, data, headers)
    try:
        with opener.open(request, timeout=WAIT_S) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


@contextlib.contextmanager
def program(arguments, settings, port):
    """Runs it until the block ends; it must then end well."""
    with subprocess.Popen(arguments, env=dict(os.environ) | settings, stdout=subprocess.DEVNULL) as child:
        try:
            deadline = time.monotonic() + WAIT_S
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert child.poll() is None and time.monotonic() < deadline, f"{arguments} does not start"
                time.sleep(0.02)
            yield
        finally:
            child.send_signal(signal.SIGTERM)
            status = child.wait(WAIT_S)
        assert status == 0, f"{arguments} ended with {status}"


class Rig:
    """A provider, and where Latchkeys with one database can be started beside it."""

    def __init__(self, folder):
        self.database = pathlib.Path(folder) / "accounts.db"
        self.port = free_port()
        self.sim_port = free_port()
        self.sim = f"http://127.0.0.1:{self.sim_port}"
        self.api = f"http://127.0.0.1:{self.port}/api/v1/user/audible"

    def provider(self):
        settings = {
            "SIM_LISTEN": f"127.0.0.1:{self.sim_port}",
            "SIM_REDIRECT_URI": f"{self.api}/oauth/callback",
        }
        return program([BUILD / "simprovider"], settings, self.sim_port)

    def latchkey(self, keys):
        settings = {
            "SECRET_KEY": LATCHKEY_SECRET,
            "LATCHKEY_LISTEN": f"127.0.0.1:{self.port}",
            "LATCHKEY_ACCOUNT_STORE": f"sqlite:{self.database}",
            "AUDIBLE_CLIENT_ID": "sim-client",
            "AUDIBLE_CLIENT_SECRET": "sim-secret",
            "AUDIBLE_REDIRECT_URI": f"{self.api}/oauth/callback",
            "AUDIBLE_AUTH_URL": f"{self.sim}/auth/oauth2",
            "AUDIBLE_REVOKE_URL": f"{self.sim}/auth/oauth2/revoke",
            "AUDIBLE_API_BASE_URL": f"{self.sim}/api",
            "AUDIBLE_TOKEN_ENCRYPTION_KEY": ",".join(key.decode() for key in keys),
            "AUDIBLE_RATE_LIMIT_PER_MINUTE": "0",
        }
        return program([BUILD / "latchkey", "serve"], settings, self.port)

    def token(self, user):
        command = [BUILD / "latchkey", "token", "--sub", user, "--tier", "premium"]
        env = dict(os.environ) | {"SECRET_KEY": LATCHKEY_SECRET}
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.strip()

    def link(self, user):
        token = self.token(user)
        status, _, text = ask(f"{self.api}/oauth/authorize", token, {"redirect_uri": "any"})
        assert status == 200, text
        wish = urllib.parse.parse_qs(urllib.parse.urlsplit(json.loads(text)["auth_url"]).query)
        form = {name: values[0] for name, values in wish.items()} | {"decision": "allow"}
        status, headers, text = ask(f"{self.sim}/auth/oauth2/authorize", form=form)
        assert status == 303, text
        back = urllib.parse.parse_qs(urllib.parse.urlsplit(headers["Location"]).query)
        body = {"code": back["code"][0], "state": back["state"][0]}
        status, _, text = ask(f"{self.api}/oauth/callback", token, body)
        assert status == 200, text

    def row(self, user):
        with contextlib.closing(sqlite3.connect(self.database)) as db:
            return db.execute(
                "SELECT access_token, refresh_token FROM accounts WHERE user_id = ?", (user,)
            ).fetchone()

    def replace_refresh_token(self, user, text):
        with contextlib.closing(sqlite3.connect(self.database)) as db, db:
            done = db.execute("UPDATE accounts SET refresh_token = ? WHERE user_id = ?", (text, user))
            assert done.rowcount == 1

    def disconnect(self, user):
        status, _, text = ask(f"{self.api}/disconnect", self.token(user), {})
        assert (status, json.loads(text)) == (200, {"status": "disconnected"}), text
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


def what_no_key_opens_can_be_disconnected(rig):
    key = Fernet.generate_key()
    with rig.latchkey([key]):
        rig.link("closed")
    rig.replace_refresh_token("closed", Fernet(Fernet.generate_key()).encrypt(b"not ours").decode())
    with rig.latchkey([key]):
        rig.disconnect("closed")


def keys_are_the_same(rig):
    made = subprocess.run([BUILD / "latchkey", "keygen"], check=True, capture_output=True).stdout.strip()
    assert Fernet(made).decrypt(Fernet(made).encrypt(b"text")) == b"text"
    with rig.latchkey([made]):
        rig.link("keys")
        assert Fernet(made).decrypt(rig.row("keys")[1]).startswith(b"simr/+")


def main():
    tests = [
        stored_by_us_opens_there,
        what_no_key_opens_can_be_disconnected,
        keys_are_the_same,
    ]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="latchkey-fernet-") as folder:
        rig = Rig(folder)
        with rig.provider():
            for test in tests:
                try:
                    test(rig)
                    print(f"ok   {test.__name__}", flush=True)
                except Exception:  # whatever it is, the others run
                    failed += 1
                    print(f"FAIL {test.__name__}\n{traceback.format_exc()}", flush=True)
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
