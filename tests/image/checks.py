# SPDX-License-Identifier: MIT
"""What the image is made of, its server at work, and what else is in docker/: run by tests/image/run. The
last line is `N passed, N failed`.
"""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import secrets
import sqlite3
import stat
import sys
import time
import traceback

sys.dont_write_bytecode = True
import alerts  # noqa: E402
import box  # noqa: E402
import stack  # noqa: E402
import units  # noqa: E402
from box import SCRATCH, USER, VOLUME, podman  # noqa: E402
from kit import programs  # noqa: E402
from kit.programs import ask  # noqa: E402

IMAGE_BYTES_MAX = 120_000_000
LOAD_S = 2
TOOLS = ["cc", "gcc", "c99", "clang", "ld", "as", "make", "cmake", "ninja", "git", "npm", "node", "python3", "curl"]


class Stage(programs.Rig):
    """A provider, and the image's container beside it: its ports are those of the image."""

    def __init__(self):
        super().__init__(SCRATCH)
        self.root = "http://127.0.0.1:8090"
        self.api = f"{self.root}/api/v1/user/audible"
        self.metrics = "http://127.0.0.1:9090"
        self.key = secrets.token_urlsafe(48)
        self.volume = SCRATCH / "volume"
        self.volume.mkdir(mode=0o700)
        os.chown(self.volume, USER, USER)
        self.secrets = []
        self.keep("secret_key", self.key)
        self.keep("client_secret", "sim-secret")
        self.keep("encryption_key", box.run(command=["keygen"]).strip())

    def keep(self, name, value):
        path = SCRATCH / name
        path.write_text(value)
        path.chmod(0o400)
        os.chown(path, USER, USER)
        self.secrets.append(path)

    def token(self, user):
        return box.token(self.key, user)

    def arguments(self):
        settings = {
            "SECRET_KEY_FILE": f"{box.SECRETS}/secret_key",
            "AUDIBLE_TOKEN_ENCRYPTION_KEY_FILE": f"{box.SECRETS}/encryption_key",
            "AUDIBLE_CLIENT_ID": "sim-client",
            "AUDIBLE_CLIENT_SECRET_FILE": f"{box.SECRETS}/client_secret",
            "AUDIBLE_REDIRECT_URI": f"{self.api}/oauth/callback",
            "AUDIBLE_AUTH_URL": f"{self.sim}/auth/oauth2",
            "AUDIBLE_REVOKE_URL": f"{self.sim}/auth/oauth2/revoke",
            "AUDIBLE_API_BASE_URL": f"{self.sim}/api",
            "AUDIBLE_RATE_LIMIT_PER_MINUTE": "0",
            "LATCHKEY_RATE_LIMIT_PER_MINUTE": "0",
            "LATCHKEY_TRUSTED_PROXIES": "127.0.0.0/8",
        }
        return [*box.environment(settings), *(part for path in self.secrets for part in box.secret(path))]

    def container(self):
        return box.container("latchkey", *self.arguments(), "--volume", f"{self.volume}:{VOLUME}")


# --- what it is made of ---------------------------------------------------------------------------


def inspect():
    return json.loads(podman("image", "inspect", box.IMAGE))[0]


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
    assert re.fullmatch(r"\d+\.\d+\.\d+", config["Labels"]["org.opencontainers.image.version"])
    names = {entry.split("=")[0] for entry in config["Env"]}
    assert names == {"PATH", "LATCHKEY_LISTEN", "LATCHKEY_METRICS_LISTEN"}


def look_at(root):
    """Programs that run as someone else, and what belongs to the server's user."""
    raised, theirs = [], []
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = pathlib.Path(folder, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
                raised.append(path)
            if USER in (status.st_uid, status.st_gid):
                theirs.append(str(path.relative_to(root)))
            assert status.st_mode & 0o002 == 0 or not stat.S_ISREG(status.st_mode), path
    return raised, theirs


def nothing_superfluous_is_in_it(_):
    root = pathlib.Path(podman("image", "mount", box.IMAGE).strip())
    try:
        tools = [root / place / tool for place in ("usr/bin", "usr/local/bin", "usr/sbin") for tool in TOOLS]
        assert [tool for tool in tools if tool.is_symlink() or tool.exists()] == []
        assert [path.name for path in (root / "usr/local/bin").iterdir()] == ["latchkey"]
        assert not (root / "src").exists() and not list((root / "var/lib/apt/lists").iterdir())
        raised, theirs = look_at(root)
        assert raised == []
        assert theirs == [VOLUME[1:]], "only the volume is the server's to write, and it is empty"
    finally:
        podman("image", "unmount", box.IMAGE)


def every_library_is_there(_):
    text = box.run(command=["--version"])
    assert text.startswith("latchkey ") and "libuv" in text, text


def without_settings_it_ends_with_2(_):
    box.run(status=2)


def its_settings_are_good(stage):
    text = box.run(*stage.arguments(), command=["check"])
    assert text == "the settings are good (0 warnings)\n", text


# --- its server at work ---------------------------------------------------------------------------


def it_runs_with_no_privilege(stage):
    with stage.container() as latchkey:
        process = pathlib.Path(f"/proc/{latchkey.pid()}")
        field = dict(re.findall(r"^(\w+):\s+(.*)$", (process / "status").read_text(), re.MULTILINE))
        assert set(field["Uid"].split()) == {str(USER)} and set(field["Gid"].split()) == {str(USER)}
        assert int(field["CapEff"], 16) == int(field["CapBnd"], 16) == 0
        assert field["NoNewPrivs"] == "1" and field["Seccomp"] == "2"
        mounts = (process / "mountinfo").read_text()
        assert re.search(r"^\d+ \d+ \S+ \S+ / ro,", mounts, re.MULTILINE), mounts
        assert " /tmp " not in mounts
        assert latchkey.execute("healthcheck") == ""
        assert latchkey.stop() == 0


def metrics_and_pages_have_their_ports(stage):
    with stage.container() as latchkey:
        assert ask(f"{stage.root}/healthz")[0] == 200
        assert ask(f"{stage.root}/readyz")[0] == 200
        assert ask(f"{stage.root}/metrics")[0] == 404
        status, _, text = ask(f"{stage.metrics}/metrics")
        assert status == 200 and "latchkey_connections" in text
        assert ask(f"{stage.metrics}/docs")[0] == 404
        status, _, text = ask(f"{stage.root}/docs")
        assert status == 200 and "swagger" in text
        assert json.loads(ask(f"{stage.root}/openapi.json")[2])["openapi"].startswith("3.1")
        assert latchkey.stop() == 0


def an_account_is_linked_and_outlives_the_container(stage):
    user = "user-1"
    with stage.provider():
        with stage.container() as latchkey:
            stage.link(user)
            status, _, text = ask(f"{stage.api}/library?limit=5", stage.token(user))
            assert status == 200 and len(json.loads(text)) == 5
            assert latchkey.execute("stats").startswith("accounts 1\n")
            assert latchkey.stop() == 0
        with stage.container() as latchkey:
            status, _, text = ask(f"{stage.api}/connected", stage.token(user))
            assert status == 200 and json.loads(text)["connected"]
            stage.disconnect(user)
            assert latchkey.stop() == 0


def what_it_writes_is_private_and_sealed(stage):
    with stage.provider(), stage.container() as latchkey:
        stage.link("user-2")
        assert latchkey.stop() == 0
    for path in stage.volume.rglob("*"):
        status = path.stat()
        assert (status.st_uid, status.st_mode & 0o077) == (USER, 0), path
        assert re.fullmatch(r"data(/latchkey\.db(-wal|-shm|\.lock)?)?", str(path.relative_to(stage.volume))), path
    with contextlib.closing(sqlite3.connect(stage.volume / "data/latchkey.db")) as database:
        rows = database.execute("SELECT * FROM accounts").fetchall()
    texts = [value.decode() if isinstance(value, bytes) else str(value) for row in rows for value in row]
    assert len([text for text in texts if text.startswith("gAAAA")]) == 2, "both tokens are sealed"


def it_bears_load(stage):
    tokens = [stage.token(f"user-{n:03d}") for n in range(100)]
    loads = [
        ("GET", f"{stage.root}/healthz", ""),
        ("GET", f"{stage.api}/connected", ""),
        ("POST", f"{stage.api}/oauth/authorize", '{"redirect_uri":"any"}'),
    ]
    with stage.container() as latchkey:
        for method, url, body in loads:
            rate = box.rate_of(box.wrk(url, LOAD_S, tokens, method, body))
            print(f"     {url}: {rate:,.0f} a second")
            assert rate > 1000
        assert latchkey.stop() == 0


def sigterm_lets_finish_what_is_under_way(stage):
    with stage.provider(), stage.container() as latchkey, concurrent.futures.ThreadPoolExecutor(1) as pool:
        stage.link("user-3")
        fault = {"path": "/api/1.0/library", "fault": "delay", "value": 1500, "count": 1}
        assert ask(f"{stage.sim}/sim/faults", body=fault)[0] == 200
        slow = pool.submit(ask, f"{stage.api}/library", stage.token("user-3"))
        deadline = time.monotonic() + box.WAIT_S
        while json.loads(ask(f"{stage.sim}/sim/stats")[2])["libraries"] == 0:
            assert time.monotonic() < deadline and not slow.done()
        assert latchkey.stop() == 0
        status, headers, text = slow.result()
        assert status == 200 and headers["Connection"] == "close" and len(json.loads(text)) == 20


TESTS = [
    it_is_small,
    it_is_set_up_as_said,
    nothing_superfluous_is_in_it,
    every_library_is_there,
    without_settings_it_ends_with_2,
    its_settings_are_good,
    it_runs_with_no_privilege,
    metrics_and_pages_have_their_ports,
    an_account_is_linked_and_outlives_the_container,
    what_it_writes_is_private_and_sealed,
    it_bears_load,
    sigterm_lets_finish_what_is_under_way,
]


def main():
    podman("rm", "--all", "--force")  # what a run that was killed has left
    counts = [programs.count_tests(TESTS, Stage()), programs.count_tests(alerts.TESTS + units.TESTS)]
    try:
        with stack.everything() as started:
            counts.append(programs.count_tests(stack.TESTS, started))
    except Exception:  # it did not start, or did not end well
        counts.append((0, 1))
        traceback.print_exc(file=sys.stdout)
    passed, failed = (sum(column) for column in zip(*counts))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
