# SPDX-License-Identifier: MIT
"""What the image is made of, and its server at work: run by tests/image/run, which says where it is.

usage: checks.py PODMAN [ARGUMENT...]      how Podman is called here

Every container has a read-only root without any tmpfs, no capability, no shell, no network but that of
this namespace, and the volume. The last line is `N passed, N failed`.
"""
import base64
import concurrent.futures
import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import re
import secrets
import sqlite3
import stat
import subprocess
import sys
import time

sys.dont_write_bytecode = True
SOURCE = pathlib.Path(os.environ["TEST_SOURCE_DIR"])
sys.path.insert(0, str(SOURCE / "tests"))
from kit import programs  # noqa: E402
from kit.programs import ask  # noqa: E402

PODMAN = sys.argv[1:]
IMAGE = os.environ["TEST_IMAGE"]
SCRATCH = pathlib.Path(os.environ["TEST_SCRATCH"])
USER = 10001
IMAGE_BYTES_MAX = 120_000_000
WAIT_S = 20
LOAD_S = 2
VOLUME = "/var/lib/latchkey"
SECRETS = "/run/secrets"
TOOLS = ["cc", "gcc", "c99", "clang", "ld", "as", "make", "cmake", "ninja", "git", "npm", "node", "python3", "curl"]


def podman(*arguments, status=0):
    """Its output; it must end with this status (None: any)."""
    done = subprocess.run([*PODMAN, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert status in (None, done.returncode), f"podman {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def inspect():
    return json.loads(podman("image", "inspect", IMAGE))[0]


class Box(programs.Rig):
    """A provider, and the image's container beside it: its ports are those of the image."""

    def __init__(self):
        super().__init__(SCRATCH)
        self.port, self.metrics_port = 8090, 9090
        self.root = f"http://127.0.0.1:{self.port}"
        self.api = f"{self.root}/api/v1/user/audible"
        self.secret = secrets.token_urlsafe(48)
        self.volume = SCRATCH / "volume"
        self.secrets = SCRATCH / "secrets"
        self.secrets.mkdir(mode=0o755)
        self.keep("secret_key", self.secret)
        self.keep("client_secret", "sim-secret")
        self.keep("encryption_key", podman(*self.run_arguments("--rm"), IMAGE, "keygen").strip())

    def keep(self, name, value):
        path = self.secrets / name
        path.write_text(value)
        path.chmod(0o400)
        os.chown(path, USER, USER)

    def token(self, user):
        def part(fields):
            return base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=")

        claims = {"sub": user, "subscription_tier": "premium", "exp": int(time.time()) + 3600}
        signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims)
        mac = hmac.new(self.secret.encode(), signed, hashlib.sha256).digest()
        return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()

    def settings(self):
        return {
            "SECRET_KEY_FILE": f"{SECRETS}/secret_key",
            "AUDIBLE_TOKEN_ENCRYPTION_KEY_FILE": f"{SECRETS}/encryption_key",
            "AUDIBLE_CLIENT_ID": "sim-client",
            "AUDIBLE_CLIENT_SECRET_FILE": f"{SECRETS}/client_secret",
            "AUDIBLE_REDIRECT_URI": f"{self.api}/oauth/callback",
            "AUDIBLE_AUTH_URL": f"{self.sim}/auth/oauth2",
            "AUDIBLE_REVOKE_URL": f"{self.sim}/auth/oauth2/revoke",
            "AUDIBLE_API_BASE_URL": f"{self.sim}/api",
            "AUDIBLE_RATE_LIMIT_PER_MINUTE": "0",
            "LATCHKEY_RATE_LIMIT_PER_MINUTE": "0",
            "LATCHKEY_RATE_LIMIT_CALLBACK_PER_ADDRESS_PER_MINUTE": "0",
            "LATCHKEY_TRUSTED_PROXIES": "127.0.0.0/8",
        }

    @staticmethod
    def run_arguments(*more):
        # The limits only because a root that may not raise them can't start a container otherwise.
        return ["run", "--pull", "never", "--network", "host", "--cgroups", "disabled", "--read-only",
                "--read-only-tmpfs=false", "--cap-drop", "all", "--security-opt", "no-new-privileges",
                "--ulimit", "nofile=16000:16000", "--ulimit", "nproc=1000:1000",
                "--volume", "/dev/null:/usr/bin/dash:ro", "--volume", "/dev/null:/usr/bin/bash:ro", *more]  # fmt: skip

    def with_settings(self, *more):
        settings = [f"--env={name}={value}" for name, value in self.settings().items()]
        return self.run_arguments("--volume", f"{self.secrets}:{SECRETS}:ro", *settings, *more)

    @contextlib.contextmanager
    def container(self):
        """Serving; it must be stopped before the block ends."""
        self.volume.mkdir(mode=0o700, exist_ok=True)
        os.chown(self.volume, USER, USER)
        podman(*self.with_settings("--detach", "--name", "latchkey", "--volume", f"{self.volume}:{VOLUME}"), IMAGE)
        try:
            deadline = time.monotonic() + WAIT_S
            while "unhealthy" in podman("healthcheck", "run", "latchkey", status=None):
                if time.monotonic() > deadline:
                    raise AssertionError("not healthy: " + podman("logs", "latchkey"))
            yield
        finally:
            podman("rm", "--force", "latchkey")

    def pid(self):
        return int(podman("inspect", "--format", "{{.State.Pid}}", "latchkey"))

    def stop(self):
        podman("kill", "--signal", "TERM", "latchkey")
        return int(podman("wait", "latchkey"))


# --- what it is made of ---------------------------------------------------------------------------


def it_is_small(_):
    size = inspect()["Size"]
    print(f"     {size / 1e6:.1f} MB")
    assert size < IMAGE_BYTES_MAX


def it_is_set_up_as_said(_):
    image = inspect()
    config = image["Config"]
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ["/usr/local/bin/latchkey"] and config["Cmd"] == ["serve"]
    assert config["StopSignal"] == "SIGTERM"
    assert set(config["ExposedPorts"]) == {"8090/tcp", "9090/tcp"}
    assert set(config["Volumes"]) == {VOLUME} and config["WorkingDir"] == VOLUME
    assert image["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/latchkey", "healthcheck"]
    assert config["Labels"]["org.opencontainers.image.licenses"] == "MIT"
    names = {entry.split("=")[0] for entry in config["Env"]}
    assert names == {"PATH", "LATCHKEY_LISTEN", "LATCHKEY_METRICS_LISTEN"}


def nothing_superfluous_is_in_it(_):
    root = pathlib.Path(podman("image", "mount", IMAGE).strip())
    try:
        tools = [f"{place}/{tool}" for place in ("usr/bin", "usr/local/bin", "usr/sbin") for tool in TOOLS]
        assert [tool for tool in tools if (root / tool).is_symlink() or (root / tool).exists()] == []
        assert sorted(p.name for p in (root / "usr/local/bin").iterdir()) == ["latchkey"]
        assert not (root / "src").exists() and not list((root / "var/lib/apt/lists").iterdir())
        raised, theirs = [], []
        for folder, folders, files in os.walk(root):
            for name in folders + files:
                path = pathlib.Path(folder, name)
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
                    raised.append(path)
                if status.st_uid == USER or status.st_gid == USER:
                    theirs.append(str(path.relative_to(root)))
                assert status.st_mode & 0o002 == 0 or not stat.S_ISREG(status.st_mode), path
        assert raised == []
        assert theirs == [VOLUME[1:]], "only the volume is the server's to write, and it is empty"
    finally:
        podman("image", "unmount", IMAGE)


def every_library_is_there(box):
    text = podman(*box.run_arguments("--rm"), IMAGE, "--version")
    assert text.startswith("latchkey ") and "libuv" in text, text


def without_settings_it_says_what_is_missing(box):
    done = subprocess.run([*PODMAN, *box.run_arguments("--rm"), IMAGE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "SECRET_KEY" in done.stderr, done


def its_settings_are_good(box):
    text = podman(*box.with_settings("--rm"), IMAGE, "check")
    assert text == "the settings are good (0 warnings)\n", text


# --- its server at work ---------------------------------------------------------------------------


def it_runs_with_no_privilege(box):
    with box.container():
        status = pathlib.Path(f"/proc/{box.pid()}/status").read_text()
        field = dict(re.findall(r"^(\w+):\s+(.*)$", status, re.MULTILINE))
        assert set(field["Uid"].split()) == {str(USER)} and set(field["Gid"].split()) == {str(USER)}
        assert int(field["CapEff"], 16) == int(field["CapBnd"], 16) == 0
        assert field["NoNewPrivs"] == "1" and field["Seccomp"] == "2"
        mounts = pathlib.Path(f"/proc/{box.pid()}/mountinfo").read_text()
        assert re.search(r"^\d+ \d+ \S+ \S+ / ro,", mounts, re.MULTILINE), mounts
        assert " /tmp " not in mounts
        assert podman("exec", "latchkey", "/usr/local/bin/latchkey", "healthcheck") == ""
        assert box.stop() == 0


def metrics_and_pages_have_their_ports(box):
    with box.container():
        assert ask(f"{box.root}/healthz")[0] == 200
        assert ask(f"{box.root}/readyz")[0] == 200
        assert ask(f"{box.root}/metrics")[0] == 404
        status, _, text = ask(f"http://127.0.0.1:{box.metrics_port}/metrics")
        assert status == 200 and "latchkey_connections" in text
        assert ask(f"http://127.0.0.1:{box.metrics_port}/docs")[0] == 404
        status, _, text = ask(f"{box.root}/docs")
        assert status == 200 and "swagger" in text
        assert json.loads(ask(f"{box.root}/openapi.json")[2])["openapi"].startswith("3.1")
        assert box.stop() == 0


def an_account_is_linked_and_outlives_the_container(box):
    user = "user-1"
    with box.provider():
        with box.container():
            box.link(user)
            status, _, text = ask(f"{box.api}/library?limit=5", box.token(user))
            assert status == 200 and len(json.loads(text)) == 5
            assert podman("exec", "latchkey", "latchkey", "stats").startswith("accounts 1\n")
            assert box.stop() == 0
        with box.container():
            status, _, text = ask(f"{box.api}/connected", box.token(user))
            assert status == 200 and json.loads(text)["connected"]
            box.disconnect(user)
            assert box.stop() == 0


def what_it_writes_is_private_and_sealed(box):
    with box.provider(), box.container():
        box.link("user-2")
        assert box.stop() == 0
    for path in box.volume.rglob("*"):
        status = path.stat()
        assert (status.st_uid, status.st_mode & 0o077) == (USER, 0), path
        assert re.fullmatch(r"data(/latchkey\.db(-wal|-shm|\.lock)?)?", str(path.relative_to(box.volume))), path
    with contextlib.closing(sqlite3.connect(box.volume / "data/latchkey.db")) as database:
        rows = database.execute("SELECT * FROM accounts").fetchall()
    texts = [value.decode() if isinstance(value, bytes) else str(value) for row in rows for value in row]
    assert len([text for text in texts if text.startswith("gAAAA")]) == 2, "both tokens are sealed"


def load(box, method, path, body=""):
    """Requests a second; every one of them must be answered, and well."""
    tokens = SCRATCH / "tokens"
    tokens.write_text("".join(box.token(f"user-{n:03d}") + "\n" for n in range(100)))
    command = ["wrk", "--threads", "1", "--connections", "32", "--duration", f"{LOAD_S}s", "--script",
               SOURCE / "bench/wrk.lua", box.root, "--", method, path, body, tokens]  # fmt: skip
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "Non-2xx" not in text and "Socket errors" not in text, text
    rate = float(re.search(r"Requests/sec:\s*([\d.]+)", text)[1])
    print(f"     {path}: {rate:,.0f} a second")
    return rate


def it_bears_load(box):
    with box.container():
        assert load(box, "GET", "/healthz") > 1000
        assert load(box, "GET", "/api/v1/user/audible/connected") > 1000
        assert load(box, "POST", "/api/v1/user/audible/oauth/authorize", '{"redirect_uri":"any"}') > 1000
        assert box.stop() == 0


def sigterm_lets_finish_what_is_under_way(box):
    with box.provider(), box.container(), concurrent.futures.ThreadPoolExecutor(1) as pool:
        box.link("user-3")
        fault = {"path": "/api/1.0/library", "fault": "delay", "value": 1500, "count": 1}
        assert ask(f"{box.sim}/sim/faults", body=fault)[0] == 200
        slow = pool.submit(ask, f"{box.api}/library", box.token("user-3"))
        deadline = time.monotonic() + WAIT_S
        while json.loads(ask(f"{box.sim}/sim/stats")[2])["libraries"] == 0:
            assert time.monotonic() < deadline and not slow.done()
        assert box.stop() == 0
        status, headers, text = slow.result()
        assert status == 200 and headers["Connection"] == "close" and len(json.loads(text)) == 20


TESTS = [
    it_is_small,
    it_is_set_up_as_said,
    nothing_superfluous_is_in_it,
    every_library_is_there,
    without_settings_it_says_what_is_missing,
    its_settings_are_good,
    it_runs_with_no_privilege,
    metrics_and_pages_have_their_ports,
    an_account_is_linked_and_outlives_the_container,
    what_it_writes_is_private_and_sealed,
    it_bears_load,
    sigterm_lets_finish_what_is_under_way,
]

if __name__ == "__main__":
    podman("rm", "--all", "--force")  # what a run that was killed has left
    sys.exit(programs.run_tests(TESTS, Box()))
