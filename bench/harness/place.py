# SPDX-License-Identifier: MIT
"""Where a run happens: the processors, a folder, ports, and processes with what they have used."""
import contextlib
import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BENCH = ROOT / "bench"
BUILD = ROOT / "build" / "release"
PEERS = ROOT / "build" / "peers"
API = "/api/v1/user/audible"
SERVER_CPU, LOAD_CPU = "0", "1"
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
START_S = 60


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def children_of():
    found = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
            found.setdefault(parent, []).append(int(stat.parent.name))
    return found


class Server:
    """A process with its descendants on one processor, and what they have used."""

    def __init__(self, argv, port, env=None, processor=SERVER_CPU, user=None, log=None):
        self.port = port
        self.argv = [str(part) for part in argv]
        who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        self.log = log
        output = open(log, "wb") if log else subprocess.DEVNULL
        started = time.perf_counter()
        self.process = subprocess.Popen(["taskset", "-c", processor, *self.argv], env=env, stdout=output,
                                        stderr=subprocess.STDOUT if log else None, **who)
        self.wait()
        self.start_ms = 1000 * (time.perf_counter() - started)

    def wait(self):
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                said = pathlib.Path(self.log).read_text() if self.log else ""
                sys.exit(f"{self.argv[0]} ended with code {self.process.returncode} before it served\n{said}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.002)
        sys.exit(f"{self.argv[0]} does not answer")

    def pids(self):
        children, found, todo = children_of(), [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, [])
        return found

    def cpu_s(self):
        """User and system time of all of them, those that ended included."""
        user = system = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                user += int(fields[11]) + int(fields[13])
                system += int(fields[12]) + int(fields[14])
        return user * TICK_S, system * TICK_S

    def memory_kib(self, field):
        """VmRSS: resident; RssAnon: of its own, not of files."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                found = re.search(field + r":\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())
                total += int(found[1]) if found else 0
        return total

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Place:
    """Ends what was started in it, and removes its folder."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="latchkey-bench-"))
        self.folder.chmod(0o755)
        self.servers = []

    def start(self, argv, port, **options):
        server = Server(argv, port, **options)
        self.servers.append(server)
        return server

    def stop(self, server):
        self.servers.remove(server)
        server.stop()

    def ordinary_user(self, folder):
        """For servers that won't serve as root: whom to run as (None: as we are), with that folder theirs."""
        if os.geteuid() != 0:
            return None
        user = pwd.getpwnam("www-data")
        os.chown(folder, user.pw_uid, user.pw_gid)
        return user

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in reversed(self.servers):
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
