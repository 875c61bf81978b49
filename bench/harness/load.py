# SPDX-License-Identifier: MIT
"""One round of load on one server, by wrk (closed loop: the next request when the last is answered) or by
bench_steady (a fixed rate, latencies counted from each request's intended start)."""
import json
import re
import subprocess
import sys

from .place import BENCH, BUILD, LOAD_CPU


class Refused(Exception):
    pass


def spent(server, before, requests):
    after = server.cpu_s()
    user, system = (1e6 * (a - b) / requests for a, b in zip(after, before))
    return {"user_us": user, "system_us": system, "cpu_us": user + system}


def closed(server, request, seconds, connections=64):
    """Requests/s and CPU µs a request. A link flow counts as one."""
    script = "mixed.lua" if request.mix else "wrk.lua"
    first = [request.mix] if request.mix else [request.method]
    before = server.cpu_s()
    out = subprocess.run(
        ["taskset", "-c", LOAD_CPU, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s",
         "-s", BENCH / script, f"http://127.0.0.1:{server.port}", "--", *first, request.path, request.body,
         request.headers], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    if bad := re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", out):
        raise Refused(f"{request.path}: {bad[0]}")
    found = re.search(r"(\d+) requests in", out)
    if not found:
        sys.exit(f"wrk: {out}")
    if int(found[1]) == 0:
        raise Refused(f"{request.path}: no answer in {seconds} s")
    count = int(found[1]) / request.makes
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]) / request.makes
    return {"rate": rate} | spent(server, before, count)


def steady_argv(server, request, rate, seconds, connections):
    argv = ["taskset", "-c", LOAD_CPU, BUILD / "bench_steady", "--port", str(server.port), "--rate", str(rate),
            "--seconds", str(seconds), "--connections", str(connections), "--method", request.method,
            "--path", request.path, "--headers", request.headers]
    return [*argv, "--body", request.body] if request.body else argv


def fixed(server, request, rate, seconds, connections=64):
    """Latencies in µs and CPU µs a request, at `rate`."""
    rate = max(1, int(rate))
    before = server.cpu_s()
    out = subprocess.run(steady_argv(server, request, rate, seconds, connections), stdout=subprocess.PIPE, text=True)
    if not out.stdout:
        sys.exit(f"bench_steady failed at {request.path}")
    seen = json.loads(out.stdout)
    if seen["bad"]:
        raise Refused(f"{request.path}: {seen['bad']} answers were refused")
    seen["wanted_rate"] = rate
    return seen | spent(server, before, max(1, seen["good"]))
