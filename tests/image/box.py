# SPDX-License-Identifier: MIT
"""The image in containers, by Podman (PODMAN is how it is called here). Each has a read-only root without
any tmpfs of Podman's, no capability, no shell, and no network but that of the namespace that tests/image/run
has made.
"""
import base64
import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ["TEST_SOURCE_DIR"], "tests"))
from kit import programs  # noqa: E402

PODMAN = os.environ["TEST_PODMAN"].split()
IMAGE = os.environ["TEST_IMAGE"]
SOURCE = pathlib.Path(os.environ["TEST_SOURCE_DIR"])
SCRATCH = pathlib.Path(os.environ["TEST_SCRATCH"])
USER = 10001  # the image's
VOLUME = "/var/lib/latchkey"
SECRETS = "/run/secrets"
WAIT_S = 20

# The limits only because a root that may not raise them can't start a container with Podman's own.
CONFINED = ["--network", "host", "--cgroups", "disabled", "--read-only", "--read-only-tmpfs=false",
            "--cap-drop", "all", "--security-opt", "no-new-privileges", "--ulimit", "nofile=16000:16000",
            "--ulimit", "nproc=1000:1000", "--volume", "/dev/null:/usr/bin/dash:ro",
            "--volume", "/dev/null:/usr/bin/bash:ro"]  # fmt: skip


def podman(*arguments, status=0):
    """Its output; it must end with this status (None: any)."""
    done = subprocess.run([*PODMAN, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert status in (None, done.returncode), f"podman {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def run(*arguments, command=(), status=0):
    """A container that ends by itself: its output."""
    return podman("run", "--rm", "--pull", "never", *CONFINED, *arguments, IMAGE, *command, status=status)


def environment(settings):
    return [f"--env={name}={value}" for name, value in settings.items()]


def secret(path):
    """As compose mounts it."""
    return ["--volume", f"{path}:{SECRETS}/{path.name}:ro"]


class Container:
    def __init__(self, name):
        self.name = name

    def execute(self, *command):
        return podman("exec", self.name, "/usr/local/bin/latchkey", *command)

    def pid(self):
        return int(podman("inspect", "--format", "{{.State.Pid}}", self.name))

    def log(self):
        return [json.loads(line) for line in podman("logs", self.name).splitlines()]

    def wait_healthy(self):
        deadline = time.monotonic() + WAIT_S
        while "unhealthy" in podman("healthcheck", "run", self.name, status=None):
            assert time.monotonic() < deadline, "not healthy: " + podman("logs", self.name)

    def stop(self):
        """SIGTERM, and the exit code."""
        podman("kill", "--signal", "TERM", self.name)
        return int(podman("wait", self.name))


@contextlib.contextmanager
def container(name, *arguments):
    """Serving; it must be stopped before the block ends, else that fails."""
    podman("run", "--detach", "--pull", "never", "--name", name, *CONFINED, *arguments, IMAGE)
    try:
        made = Container(name)
        made.wait_healthy()
        yield made
        assert podman("inspect", "--format", "{{.State.Running}}", name).strip() == "false"
    finally:
        podman("rm", "--force", name)


def token(key, user):
    """What the platform would sign."""

    def part(fields):
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).rstrip(b"=")

    claims = {"sub": user, "subscription_tier": "premium", "exp": int(time.time()) + 3600}
    signed = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims)
    mac = hmac.new(key.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def wrk(url, seconds, tokens, method="GET", body=""):
    """Starts it; what it prints is looked at by rate_of."""
    listed = SCRATCH / "tokens"
    listed.write_text("".join(one + "\n" for one in tokens))
    root, path = url.split("/api/", 1) if "/api/" in url else url.rsplit("/", 1)
    path = ("/api/" if "/api/" in url else "/") + path
    command = ["wrk", "--threads", "1", "--connections", "32", "--duration", f"{seconds}s", "--script",
               SOURCE / "bench/wrk.lua", root, "--", method, path, body, listed]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def rate_of(started):
    """Requests a second; every one of them must have been answered, and well."""
    text, _ = started.communicate(timeout=60)
    assert started.returncode == 0 and "Non-2xx" not in text and "Socket errors" not in text, text
    return float(next(line for line in text.splitlines() if "Requests/sec" in line).split()[1])
