#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the release keeps in memory: ten thousand idle connections, and states that are never taken.
See tests/run for the environment.
"""
import base64
import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import re
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.environ["TEST_SOURCE_DIR"], "tests"))
from kit import programs  # noqa: E402

KIB, MIB = 1024, 1024 * 1024
CONNECTIONS = 10000  # LATCHKEY_MAX_CONNECTIONS unless set
CONNECTION_BYTES_MAX = 2 * KIB
STATES = int(os.environ.get("TEST_SOAK_STATES", "100000"))
STATE_BYTES_MIN, STATE_BYTES_MAX = 64, 400
LEFT_BYTES_MAX = 4 * MIB
AHEAD_S = 15 * 60 + 1
WAIT_S = 20
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"


def own_bytes(pid):
    """Memory of its own, not of files. Anyone may read it, which smaps of such a process is not."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s*(\d+) kB", text)[1]) * KIB


def connect(port):
    # Many loopback addresses, so that no run of this test uses up the ports of one.
    client = socket.socket()
    client.settimeout(WAIT_S)
    client.bind((f"127.0.0.{2 + os.getpid() % 200}", 0))
    client.connect(("127.0.0.1", port))
    return client


def read_answers(client, count):
    """So many whole answers; their statuses."""
    got, statuses = b"", []
    while len(statuses) < count:
        head, found, rest = got.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head) if found else None
        if length and len(rest) >= int(length[1]):
            statuses.append(int(head[9:12]))
            got = rest[int(length[1]) :]
            continue
        more = client.recv(MIB)
        assert more, f"closed after {len(statuses)} of {count} answers"
        got += more
    assert not got, got
    return statuses


def is_healthy(client):
    client.sendall(HEALTH)
    return read_answers(client, 1) == [200]


def is_closed_at_once(port):
    with connect(port) as client:
        started = time.monotonic()
        try:
            closed = client.recv(1) == b""
        except ConnectionResetError:
            closed = True
        return closed and time.monotonic() - started < 2


def idle_connections(rig):
    wanted = CONNECTIONS + 500
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = hard == resource.RLIM_INFINITY or hard >= wanted
    assert enough, f"this test needs {wanted} open files, not {hard}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    settings = {"LATCHKEY_LOG_LEVEL": "warning", "LATCHKEY_IDLE_TIMEOUT_SECONDS": "600"}
    with rig.latchkey(settings) as server, contextlib.ExitStack() as clients:
        held = []
        clients.callback(lambda: [client.close() for client in held])
        assert is_healthy(clients.enter_context(connect(rig.port)))
        before = own_bytes(server.pid)
        for count in range(1, CONNECTIONS):
            held.append(connect(rig.port))
            assert is_healthy(held[-1])
            if count in (CONNECTIONS // 10, CONNECTIONS // 2, CONNECTIONS - 1):
                now = own_bytes(server.pid)
                each = (now - before) / count
                print(f"     {count + 1} connections: {each:.0f} bytes each, {now // KIB} KiB in all")
        assert each < CONNECTION_BYTES_MAX, f"{each:.0f} bytes a connection"
        assert all(is_closed_at_once(rig.port) for _ in range(20)), "one more was not closed at once"
        assert all(is_healthy(client) for client in held), "they are served"
        each = (own_bytes(server.pid) - before) / len(held)
        assert each < CONNECTION_BYTES_MAX, f"{each:.0f} bytes a connection, each after two requests"
        held.pop().close()
        assert is_healthy(held[0])  # it has seen the other leave by now
        with connect(rig.port) as client:
            assert is_healthy(client)
        started = time.monotonic()
        server.terminate()
        assert server.wait(WAIT_S) == 0
        print(f"     drained {len(held)} idle connections in {(time.monotonic() - started) * 1000:.0f} ms")


class Clock:
    """A program's clock that can be set ahead."""

    def __init__(self, folder):
        library = pathlib.Path(folder) / "clock.so"
        source = pathlib.Path(__file__).with_name("clock.c")
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
        self.path = pathlib.Path(folder) / "clock"
        self.ahead_s = 0
        self.set(0)
        self.settings = {"LD_PRELOAD": str(library), "TEST_CLOCK": str(self.path)}

    def set(self, ahead_s):
        self.ahead_s = ahead_s
        with open(self.path, "r+b" if self.path.exists() else "wb") as file:
            file.write(struct.pack("q", ahead_s * 10**9))


def make_token(user):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = {"sub": user, "subscription_tier": "premium", "exp": int(time.time()) + 24 * 3600}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    return signed + b"." + part(hmac.digest(programs.SECRET_KEY.encode(), signed, hashlib.sha256))


def make_requests(tokens):
    body = b'{"redirect_uri":""}'
    return [
        b"POST /api/v1/user/audible/oauth/authorize HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (token, len(body), body)
        for token in tokens
    ]


def authorize_all(rig, requests):
    """Pipelined, as many as fit a connection's buffer."""
    with connect(rig.port) as client:
        for start in range(0, len(requests), 50):
            some = requests[start : start + 50]
            client.sendall(b"".join(some))
            assert read_answers(client, len(some)) == [200] * len(some)


def wait_for_less(pid, bytes_max):
    """Until it has become this little and does not become less."""
    deadline = time.monotonic() + WAIT_S
    now, last = own_bytes(pid), None
    while (now > bytes_max or now != last) and time.monotonic() < deadline:
        time.sleep(0.2)
        now, last = own_bytes(pid), now
    return now


def pending_states(rig):
    requests = make_requests(make_token(f"user-{n:08}-of-a-platform") for n in range(STATES))
    with tempfile.TemporaryDirectory(prefix="latchkey-clock-") as folder:
        clock = Clock(folder)
        settings = {"LATCHKEY_LOG_LEVEL": "warning", "LATCHKEY_STATE_MAX": str(STATES)} | clock.settings
        with rig.latchkey(settings) as server:
            # The first round fills what stays: the cache of verified tokens, which is bounded.
            authorize_all(rig, requests)
            clock.set(clock.ahead_s + AHEAD_S)
            filled = own_bytes(server.pid)
            before = wait_for_less(server.pid, filled - STATES * STATE_BYTES_MIN)
            time_taken = time.monotonic()
            authorize_all(rig, requests)
            time_taken = time.monotonic() - time_taken
            full = own_bytes(server.pid)
            each = (full - before) / STATES
            clock.set(clock.ahead_s + AHEAD_S - 2)
            assert own_bytes(server.pid) > full - LEFT_BYTES_MAX, "gone too early"
            clock.set(clock.ahead_s + 2)
            after = wait_for_less(server.pid, before + LEFT_BYTES_MAX)
            print(
                f"     {STATES} states in {time_taken:.1f} s, {each:.0f} bytes each:"
                f" {before // KIB} KiB before, {full // KIB} KiB full, {after // KIB} KiB after 15:01"
            )
            assert STATE_BYTES_MIN < each < STATE_BYTES_MAX, each
            assert after <= before + LEFT_BYTES_MAX, f"{(after - before) // KIB} KiB are left"
            # Every one of them could be put again: none is there.
            authorize_all(rig, requests)


def main():
    with tempfile.TemporaryDirectory(prefix="latchkey-memory-") as folder:
        rig = programs.Rig(folder, programs.built("release", "latchkey"))
        return programs.run_tests([idle_connections, pending_states], rig)


if __name__ == "__main__":
    sys.exit(main())
