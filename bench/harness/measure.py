# SPDX-License-Identifier: MIT
"""The comparison: interleaved rounds over scenarios and contestants."""
import shutil
import socket
import statistics
import sys

from . import load, users
from .place import PEERS

NEEDS = {"fastify": PEERS / "fastify" / ".installed", "fastapi": PEERS / "fastapi" / ".installed",
         "oauth2-proxy": PEERS / "oauth2-proxy" / ".installed", "nginx": "/usr/sbin/nginx",
         "mod_auth_openidc": "/usr/lib/apache2/modules/mod_auth_openidc.so"}

PAIR_S = 2  # of a gate's round: the kernel samples which of user and system time it is


def is_here(name):
    """Whether this machine has that contestant; it is left out otherwise."""
    base, _, redis = name.partition("+")
    need = NEEDS.get(base)
    return (need is None or shutil.os.path.exists(need)) and (not redis or shutil.which("redis-server") is not None)


def say(text):
    print(text, file=sys.stderr, flush=True)


def median(rounds, key):
    return statistics.median(r[key] for r in rounds)


def answer_bytes(port, request):
    """How long the whole answer is: the bare loop's must be as long."""
    with open(request.headers) as headers, socket.create_connection(("127.0.0.1", port), 5) as s:
        head = f"{request.method} {request.path} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n{headers.readline().strip()}\r\n"
        if request.body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(request.body)}\r\n"
        s.sendall((head + "\r\n" + request.body).encode())
        got = b""
        while chunk := s.recv(65536):
            got += chunk
    if not got.startswith(b"HTTP/1.1 200"):
        sys.exit(f"{request.method} {request.path} answers {got[:200]!r}")
    return len(got) - len(b"Connection: close\r\n")


class Comparison:
    def __init__(self, contestants, scenarios, args):
        self.contestants = contestants
        self.args = args
        self.scenarios = scenarios
        self.bares = {}
        # By scenario and contestant, one entry a round.
        self.closed = {s.name: {name: [] for name in self.names(s)} for s in scenarios}
        self.fixed = {}
        self.gates = {s.name: {"latchkey": [], "bare": []} for s in scenarios if s.gate}
        self.servers = {}
        self.refused = []

    def names(self, scenario):
        return [name for name in scenario.contestants if name in self.args.contestants and is_here(name)]

    def server(self, name, scenario):
        if name == "bare":
            return self.bares[scenario.name]
        return self.contestants.server(name, slow=scenario.request.mix == "traffic")

    def start(self):
        """All of them, and a warm-up of each, which also makes the accounts that slow ones need."""
        for scenario in self.scenarios:
            for name in self.names(scenario):
                if name != "bare":
                    self.warm_up(scenario, name)
            if "bare" in self.names(scenario):
                own = self.contestants.server("latchkey")
                size = answer_bytes(own.port, self.contestants.request("latchkey", scenario))
                self.bares[scenario.name] = self.contestants.bare(size)
                load.closed(self.bares[scenario.name], self.contestants.request("latchkey", scenario), 1)

    def warm_up(self, scenario, name):
        server = self.server(name, scenario)
        if id(server) not in self.servers:
            self.servers[id(server)] = True
            say(f"{name}: serves after {server.start_ms:.0f} ms, {server.memory_kib('RssAnon') / 1024:.1f} MiB of its own")
            if name.partition("+")[0] in ("latchkey", "fastify", "fastapi"):
                users.link_all(server.port, self.contestants.headers)
        load.closed(server, self.contestants.request(name, scenario), 1)

    def closed_rounds(self):
        for number in range(self.args.rounds):
            for scenario in self.scenarios:
                for name in self.names(scenario):
                    request = self.contestants.request(name, scenario)
                    self.closed[scenario.name][name].append(
                        load.closed(self.server(name, scenario), request, self.args.seconds))
            say(f"closed loop: round {number + 1} of {self.args.rounds}")

    def rate_of(self, scenario, name):
        """Half of what it can, in two digits."""
        half = median(self.closed[scenario.name][name], "rate") / 2
        return max(1, int(float(f"{half:.1e}")))

    def gate_rounds(self):
        """User time at one rate, in pairs."""
        chosen = [s for s in self.scenarios if s.gate and {"latchkey", "bare"} <= set(self.names(s))]
        for number in range(self.args.pairs if chosen else 0):
            for scenario in chosen:
                rate = self.rate_of(scenario, "latchkey")
                for name in ("latchkey", "bare"):
                    request = self.contestants.request("latchkey", scenario)
                    self.gates[scenario.name][name].append(
                        load.fixed(self.server(name, scenario), request, rate, PAIR_S))
            if (number + 1) % 5 == 0:
                say(f"at a fixed rate: pair {number + 1} of {self.args.pairs}")

    def latency_rounds(self):
        """Latencies of each at half of what it can; of the bare loop at half of what Latchkey can."""
        chosen = [s for s in self.scenarios if s.latency]
        for scenario in chosen:
            self.fixed[scenario.name] = {name: [] for name in self.names(scenario)}
        for number in range(self.args.rounds):
            for scenario in chosen:
                for name in self.names(scenario):
                    with_own = name == "bare" and "latchkey" in self.names(scenario)
                    rate = self.rate_of(scenario, "latchkey" if with_own else name)
                    request = self.contestants.request(name, scenario)
                    self.fixed[scenario.name][name].append(
                        load.fixed(self.server(name, scenario), request, rate, self.args.seconds))
            say(f"latency: round {number + 1} of {self.args.rounds}")

    def memory(self):
        found = {}
        for (name, slow), server in self.contestants.servers.items():
            if not slow:
                found[name] = {"rss_kib": server.memory_kib("VmRSS"), "start_ms": server.start_ms}
        return found


def connection_rounds(comparison, args):
    """Throughput of connected by the number of connections."""
    scenario = next(s for s in args.all_scenarios if s.name == "connected")
    names = [n for n in ("latchkey", "bare", "fastify", "fastapi") if n in comparison.names(scenario)]
    found = {name: {} for name in names}
    for _ in range(args.rounds):
        for count in (1, 64, 1024, 10000):
            for name in names:
                request = comparison.contestants.request(name, scenario)
                try:
                    seen = load.closed(comparison.server(name, scenario), request, args.seconds + (count > 1000), count)
                except load.Refused as refused:
                    say(f"{name}, {count} connections: {refused}")
                    continue
                found[name].setdefault(count, []).append(seen)
    say("connections: done")
    return found
