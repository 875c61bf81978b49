# SPDX-License-Identifier: MIT
"""What the tests in Python share: the programs as child processes, a link from end to end, and a count
of what passed. See tests/run for the environment.
"""
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request

BUILD = pathlib.Path(os.environ["TEST_BUILD_DIR"])
WAIT_S = 15
SECRET_KEY = "a secret of the tests, 32 bytes or more"


def built(preset, *targets):
    """Another build of these programs: where it is."""
    source = pathlib.Path(os.environ["TEST_SOURCE_DIR"])
    command = ["make", f"build-{preset}", f"TARGETS={' '.join(targets)}"]
    made = subprocess.run(command, cwd=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert made.returncode == 0, made.stdout
    return source / "build" / preset


def free_port():
    """Below those that the system gives to outgoing connections, one of which could take it meanwhile."""
    while True:
        port = random.randrange(12000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Stay(urllib.request.HTTPRedirectHandler):
    """Redirects are looked at, not followed."""

    def redirect_request(self, *_):
        return None


opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay)


def ask(url, token=None, body=None, form=None, headers=None):
    """Status, headers and text; a GET unless there is a body."""
    headers = dict(headers or {})
    if token:
        headers["Authorization"] = f"Bearer {token}"
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
def program(arguments, settings, port, wait_s=WAIT_S, sign=signal.SIGTERM):
    """Runs it until the block ends; it must then end well."""
    with subprocess.Popen(arguments, env=dict(os.environ) | settings, stdout=subprocess.DEVNULL) as child:
        try:
            deadline = time.monotonic() + wait_s
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert child.poll() is None and time.monotonic() < deadline, f"{arguments} does not start"
                time.sleep(0.02)
            yield child
        finally:
            child.send_signal(sign)
            status = child.wait(wait_s)
        assert status == 0, f"{arguments} ended with {status}"


class Rig:
    """A provider, and where Latchkeys with one database can be started beside it."""

    def __init__(self, folder, build=BUILD):
        self.build = build
        self.folder = pathlib.Path(folder)
        self.database = self.folder / "accounts.db"
        self.port = free_port()
        self.sim_port = free_port()
        self.sim = f"http://127.0.0.1:{self.sim_port}"
        self.api = f"http://127.0.0.1:{self.port}/api/v1/user/audible"

    def provider(self):
        settings = {
            "SIM_LISTEN": f"127.0.0.1:{self.sim_port}",
            "SIM_REDIRECT_URI": f"{self.api}/oauth/callback",
        }
        return program([self.build / "simprovider"], settings, self.sim_port)

    def latchkey(self, settings, wrapper=(), wait_s=WAIT_S):
        usual = {
            "SECRET_KEY": SECRET_KEY,
            "LATCHKEY_LISTEN": f"127.0.0.1:{self.port}",
            "LATCHKEY_ACCOUNT_STORE": f"sqlite:{self.database}",
            "AUDIBLE_CLIENT_ID": "sim-client",
            "AUDIBLE_CLIENT_SECRET": "sim-secret",
            "AUDIBLE_REDIRECT_URI": f"{self.api}/oauth/callback",
            "AUDIBLE_AUTH_URL": f"{self.sim}/auth/oauth2",
            "AUDIBLE_REVOKE_URL": f"{self.sim}/auth/oauth2/revoke",
            "AUDIBLE_API_BASE_URL": f"{self.sim}/api",
            "AUDIBLE_RATE_LIMIT_PER_MINUTE": "0",
            "LATCHKEY_RATE_LIMIT_PER_MINUTE": "0",
            "LATCHKEY_RATE_LIMIT_CALLBACK_PER_ADDRESS_PER_MINUTE": "0",
        }
        command = [*wrapper, self.build / "latchkey", "serve"]
        return program(command, usual | settings, self.port, wait_s)

    def token(self, user):
        command = [self.build / "latchkey", "token", "--sub", user, "--tier", "premium"]
        env = dict(os.environ) | {"SECRET_KEY": SECRET_KEY}
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.strip()

    def grant(self, token, decision="allow"):
        """Authorizes and decides at the provider: what the browser comes back with, and its cookie."""
        status, headers, text = ask(f"{self.api}/oauth/authorize", token, {"redirect_uri": "any"})
        assert status == 200, text
        cookie = headers["Set-Cookie"].split(";")[0]
        wish = urllib.parse.parse_qs(urllib.parse.urlsplit(json.loads(text)["auth_url"]).query)
        form = {name: values[0] for name, values in wish.items()} | {"decision": decision}
        status, headers, text = ask(f"{self.sim}/auth/oauth2/authorize", form=form)
        assert status == 303, text
        back = urllib.parse.parse_qs(urllib.parse.urlsplit(headers["Location"]).query)
        return {name: values[0] for name, values in back.items()}, cookie

    def link(self, user):
        token = self.token(user)
        back, _ = self.grant(token)
        body = {"code": back["code"], "state": back["state"]}
        status, _, text = ask(f"{self.api}/oauth/callback", token, body)
        assert status == 200, text

    def disconnect(self, user):
        status, _, text = ask(f"{self.api}/disconnect", self.token(user), {})
        assert (status, json.loads(text)) == (200, {"status": "disconnected"}), text


def count_tests(tests, *arguments):
    """One after another; returns how many passed and failed."""
    failed = 0
    for test in tests:
        try:
            test(*arguments)
            print(f"ok   {test.__name__}", flush=True)
        except Exception:  # whatever it is, the others run
            failed += 1
            print(f"FAIL {test.__name__}\n{traceback.format_exc()}", flush=True)
    return len(tests) - failed, failed


def run_tests(tests, *arguments):
    """Prints the line that tests/run reads as well, returns the exit code."""
    passed, failed = count_tests(tests, *arguments)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0
