# SPDX-License-Identifier: MIT
"""Instructions a request, counted by callgrind: the same at every run on one machine, so that a slip shows the
day it happens, however loaded the machine is. One connection asks for one request after the other; what is
counted lies between two dumps, so neither the start nor the warm-up is in it. All threads count.

Counts depend on the compiler, the libraries and what the processor offers them: bench/baseline.json has them
by those. A machine that it doesn't know has no baseline until `bench/instructions --record` adds one."""
import base64
import glob
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import re
import subprocess
import time

ALLOWANCE = 0.05
API = "/api/v1/user/audible"
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BASELINE = ROOT / "bench" / "baseline.json"
LIBRARIES = ("libc.so", "libuv.so", "libcurl.so", "libsqlite3.so", "libmbedcrypto.so", "libssl.so", "libmongoc-1.0.so",
             "libmongoc2.so", "libhiredis.so", "libllhttp.so", "libyyjson.so")
COUNT, WARM_UP, WINDOWS, USERS = 100, 50, 3, 50  # at most 16 pending states a user
SECRET_KEY = "a secret of the counts, 32 bytes or more"


def said(*argv):
    return subprocess.run([str(part) for part in argv], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


def machine_key(program):
    """What the counts depend on: compiler, valgrind, libraries, and vector instructions."""
    names = [f"gcc {said('gcc', '-dumpfullversion').strip()}", said("valgrind", "--version").strip()]
    packages = set()
    for line in said("ldd", program).splitlines():
        found = re.search(r"(\S+) => (\S+)", line)
        if found and found[1].startswith(LIBRARIES):
            paths = [found[2], os.path.realpath(found[2])]
            owner = next((text for path in [*paths, *(p.removeprefix("/lib") and "/usr" + p for p in paths)]
                          if ": " in (text := said("dpkg", "-S", path)) and "no path" not in text), "")
            if package := owner.split(":")[0]:
                packages.add(said("dpkg-query", "-W", "-f", "${Package} ${Version}\n", package).split("\n")[0])
    flags = pathlib.Path("/proc/cpuinfo").read_text()
    return "; ".join(names + sorted(packages) + [f for f in ("avx2", "aes") if re.search(rf"\b{f}\b", flags)])


def token(user):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = {"sub": user, "subscription_tier": "premium", "exp": 4102444800}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.digest(SECRET_KEY.encode(), signed, hashlib.sha256))).decode()


class Client:
    """One connection to the server."""

    def __init__(self, port):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.tokens = [token(f"user-{i:06d}") for i in range(USERS)]
        self.states = []

    def ask(self, method, path, user, body=None):
        headers = {"Authorization": f"Bearer {self.tokens[user % USERS]}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.http.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self.http.getresponse()
        text = answer.read()
        assert answer.status == 200, (path, answer.status, text)
        return json.loads(text)

    def get(self, path):
        return lambda i: self.ask("GET", path, i)

    def authorize(self, i):
        self.states.append((i, self.ask("POST", API + "/oauth/authorize", i, {"redirect_uri": "x"})["state"]))

    def callback(self, _):
        user, state = self.states.pop(0)
        self.ask("POST", API + "/oauth/callback", user, {"code": "bench", "state": state})

    def endpoints(self):
        """In this order: a callback needs states, what follows it accounts. With how often each."""
        return [("healthz", self.get("/healthz"), COUNT), ("authorize", self.authorize, COUNT),
                ("callback", self.callback, COUNT * 3 // 4), ("connected", self.get(API + "/connected"), COUNT),
                ("play-url", self.get(API + "/B000000001/play-url?platform=web"), COUNT),
                ("library 20", self.get(API + "/library?limit=20"), COUNT // 2)]


def settings(port, provider_port, folder, key):
    provider = f"http://127.0.0.1:{provider_port}"
    return {
        "PATH": os.environ["PATH"], "SECRET_KEY": SECRET_KEY, "AUDIBLE_CLIENT_ID": "bench",
        "AUDIBLE_CLIENT_SECRET": "bench-secret", "AUDIBLE_REDIRECT_URI": "http://127.0.0.1:9/oauth/callback",
        "AUDIBLE_AUTH_URL": provider + "/auth/oauth2", "AUDIBLE_API_BASE_URL": provider + "/api",
        "AUDIBLE_TOKEN_ENCRYPTION_KEY": key, "AUDIBLE_RATE_LIMIT_PER_MINUTE": "1000000",
        "LATCHKEY_RATE_LIMIT_PER_MINUTE": "1000000", "LATCHKEY_RATE_LIMIT_CALLBACK_PER_ADDRESS_PER_MINUTE": "1000000",
        "LATCHKEY_ACCOUNT_STORE": f"sqlite:{folder}/accounts.db", "LATCHKEY_LISTEN": f"127.0.0.1:{port}",
        "LATCHKEY_STATE_MAX": "10000", "LATCHKEY_LOG_LEVEL": "warning", "LATCHKEY_REQUEST_TIMEOUT_SECONDS": "60",
    }


def wait_for(port, child, seconds=60):
    end = time.monotonic() + seconds
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            connection.close()
            return
        except OSError:
            assert child.poll() is None and time.monotonic() < end, "it does not start"
            time.sleep(0.05)


def dumped(folder, pid, number):
    """Asks the running server for a dump, which starts the count anew; what it had counted."""
    said("callgrind_control", "--dump", str(pid))
    path, end = f"{folder}/callgrind.{number}", time.monotonic() + 20
    while time.monotonic() < end:
        if os.path.exists(path) and (found := re.search(r"^totals: (\d+)", pathlib.Path(path).read_text(), re.M)):
            return int(found[1])
        time.sleep(0.05)
    raise AssertionError(f"no dump; there is {glob.glob(folder + '/*')}")


def count(build, folder, ports):
    """Instructions a request by endpoint."""
    port, provider_port = ports
    key = subprocess.check_output([build / "latchkey", "keygen"], text=True).strip()
    provider = subprocess.Popen([build / "bench_provider", "--port", str(provider_port)])
    argv = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind", "--quiet",
            build / "latchkey", "serve"]
    server = subprocess.Popen(argv, env=settings(port, provider_port, folder, key), stdout=subprocess.DEVNULL)
    found, dumps = {}, 0
    try:
        wait_for(provider_port, provider)
        wait_for(port, server)
        client = Client(port)
        endpoints = client.endpoints()
        for name, act, times in endpoints:
            for i in range(WARM_UP):
                act(i)
            windows = []
            for _ in range(WINDOWS):
                dumped(folder, server.pid, dumps + 1)
                for i in range(times):
                    act(i)
                windows.append(dumped(folder, server.pid, dumps + 2))
                dumps += 2
            # What timers do meanwhile only adds.
            found[name] = round(min(windows) / times)
    finally:
        for child in (server, provider):
            child.terminate()
            child.wait(60)
    return found


def read_baseline():
    return json.loads(BASELINE.read_text()) if BASELINE.exists() else {}


def slips(now, before):
    """Those that have become worse than allowed, as text; what became better by as much is said too."""
    worse, better = [], []
    for name, instructions in now.items():
        was = before.get(name)
        if was and instructions > was * (1 + ALLOWANCE):
            worse.append(f"{name}: {instructions} instructions a request, {instructions / was - 1:+.1%} (was {was})")
        elif was and instructions < was * (1 - ALLOWANCE):
            better.append(f"{name}: {instructions} instructions a request, {instructions / was - 1:+.1%} (was {was})")
    return worse, better
