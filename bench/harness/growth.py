# SPDX-License-Identifier: MIT
"""What a request costs as pending states and accounts grow, and what each of them takes of memory."""
import contextlib
import itertools
import resource
import socket
import sqlite3
import subprocess

from . import load, users
from .measure import median, say
from .place import API, BUILD, LOAD_CPU
from .scenarios import AUTHORIZE, Request

STATE_SIZES = (0, 10**4, 10**6)
STATE_USERS = 10**5
ACCOUNT_SIZES = (0, 10**5, 10**6)
IDLE = 10000
WORSE_MAX = 0.10
# Those whose states and accounts only fill the stores: not the callers whose requests are measured.
FIRST_OTHER = 10**6


def make_pending(server, headers, count):
    """`count` states of STATE_USERS users, each as many."""
    for first in range(0, count, STATE_USERS):
        argv = ["taskset", "-c", LOAD_CPU, BUILD / "bench_steady", "--port", str(server.port),
                "--rate", str(min(count - first, STATE_USERS)), "--seconds", "1", "--method", "POST",
                "--path", API + "/oauth/authorize", "--body", AUTHORIZE, "--headers", headers]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def fill_sqlite(path, count):
    """Clones of the one account that the server has stored in it: every column is the server's own."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        columns = [row[1] for row in db.execute("pragma table_info(accounts)")]
        user = next(name for name in columns if name == "user_id")
        rest = ", ".join(name for name in columns if name != user)
        db.execute(
            f"with recursive n(i) as (select 0 union all select i + 1 from n where i + 1 < ?)"
            f" insert or ignore into accounts ({user}, {rest})"
            f" select printf('user-%08d', i), {rest} from n, (select {rest} from accounts limit 1)", (count,))
        db.commit()


REDIS_FILL = """local one = ARGV[3] .. redis.call('zrange', ARGV[4], 0, 0)[1]
local score = redis.call('zrange', ARGV[4], 0, 0, 'withscores')[2]
for i = ARGV[1], ARGV[2] - 1 do
    local user = string.format('user-%08d', i)
    redis.call('copy', one, ARGV[3] .. user)
    redis.call('zadd', ARGV[4], score, user)
end"""


def fill_redis(port, count):
    for first in range(0, count, 10000):
        subprocess.run(["redis-cli", "-p", str(port), "eval", REDIS_FILL, "0", str(first), str(min(count, first + 10000)),
                        "latchkey:account:", "latchkey:accounts"], check=True, stdout=subprocess.DEVNULL)


class Growth:
    def __init__(self, contestants, args):
        self.contestants = contestants
        self.place = contestants.place
        self.args = args
        self.series = {}
        self.memory = []

    def headers(self, name, numbers):
        return users.write_headers(self.place.folder / name, map(users.name, numbers))

    def pending(self):
        others = self.headers("others", range(FIRST_OTHER, FIRST_OTHER + STATE_USERS))
        servers = {}
        for size in STATE_SIZES:
            server = servers[size] = self.contestants.latchkey(f"pending{size}")
            # The caches are filled first, so that what follows is the states' own.
            make_pending(server, others, STATE_USERS if size == max(STATE_SIZES) else 0)
            before = server.memory_kib("RssAnon")
            make_pending(server, others, size - (STATE_USERS if size == max(STATE_SIZES) else 0))
            if size == max(STATE_SIZES):
                each = (server.memory_kib("RssAnon") - before) * 1024 / (size - STATE_USERS)
                self.memory.append(["a pending state", f"{each:.0f}", 300])
        request = Request("POST", API + "/oauth/authorize", AUTHORIZE, headers=self.contestants.headers)
        self.measure("pending states: authorize", servers, request)

    def sqlite(self):
        servers = {}
        for size in ACCOUNT_SIZES:
            name = f"accounts{size}"
            first = self.contestants.latchkey(name)
            users.link_all(first.port, self.contestants.headers)
            self.place.stop(first)
            if size:
                fill_sqlite(self.place.folder / f"{name}.db", size)
            servers[size] = self.contestants.latchkey(name)
        self.measure("accounts in SQLite: connected", servers, self.connected(self.contestants.headers))
        largest = servers[max(ACCOUNT_SIZES)]
        spread = self.connected(self.headers("all", shuffled(max(ACCOUNT_SIZES))))
        self.spread("spread over accounts in SQLite: connected", largest, spread)

    def redis(self):
        servers = {}
        for size in ACCOUNT_SIZES:
            url = self.contestants.redis(f"redis{size}")
            server = servers[size] = self.contestants.latchkey(f"redis{size}", url, url)
            users.link_all(server.port, self.contestants.headers)
            fill_redis(int(url.rsplit(":", 1)[1]), size)
        self.measure("accounts in Redis: connected", servers, self.connected(self.contestants.headers))

    @staticmethod
    def connected(headers):
        return Request("GET", API + "/connected", headers=headers)

    def measure(self, name, servers, request):
        """Closed loop and a fixed rate, interleaved over the sizes; the rate is half of the first's."""
        self.series[name] = {size: {"closed": [], "fixed": []} for size in servers}
        for server in servers.values():
            load.closed(server, request, 1)
        for _ in range(self.args.rounds):
            for size, server in servers.items():
                self.series[name][size]["closed"].append(load.closed(server, request, self.args.seconds))
        rate = median(self.series[name][min(servers)]["closed"], "rate") / 2
        for _ in range(self.args.rounds):
            for size, server in servers.items():
                self.series[name][size]["fixed"].append(load.fixed(server, request, rate, self.args.seconds))
        say(f"{name}: done")

    def spread(self, name, server, request):
        """As many callers as accounts, in no order: bench_steady has them all, where wrk has not the room."""
        rounds = {"closed": [], "fixed": []}
        load.fixed(server, request, 20000, 3)
        for _ in range(self.args.rounds):
            seen = load.fixed(server, request, 20000, self.args.seconds)
            rounds["fixed"].append(seen)
            rounds["closed"].append({"rate": 20000} | {key: seen[key] for key in ("cpu_us", "user_us", "system_us")})
        self.series[name + " (at 20,000/s)"] = {max(ACCOUNT_SIZES): rounds}
        say(f"{name}: done")

    def idle(self):
        server = self.contestants.latchkey("idle")
        stripped = self.place.folder / "stripped"
        subprocess.run(["strip", "-o", stripped, BUILD / "latchkey"], check=True)
        self.memory.append(["the stripped program", stripped.stat().st_size, 2**20])
        self.memory.append(["the server when idle", f"{server.memory_kib('RssAnon') * 1024}", 4 * 2**20])
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = IDLE if hard == resource.RLIM_INFINITY or hard > IDLE + 500 else hard - 500
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 500), hard))
        before, held = server.memory_kib("RssAnon"), []
        for _ in range(count):
            held.append(socket.create_connection(("127.0.0.1", server.port)))
            held[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: b\r\n\r\n")
            held[-1].recv(4096)
        self.memory.append(["an idle connection", f"{(server.memory_kib('RssAnon') - before) * 1024 / count:.0f}", 1024])
        for sock in held:
            sock.close()
        self.tokens(server)

    def tokens(self, server):
        count = 50000
        before = server.memory_kib("RssAnon")
        load.fixed(server, self.connected(self.headers("tokens", range(count))), count, 1)
        each = (server.memory_kib("RssAnon") - before) * 1024 / count
        self.memory.append(["a cached token (and account, of none)", f"{each:.0f}", "-"])


def shuffled(count):
    """All numbers below `count`, each once and far from those before it."""
    step = 7919 * 13 + 4  # shares no factor with a power of ten
    step += 0 if step % 2 and step % 5 else 3
    return (i * step % count for i in range(count))


def run(contestants, args):
    growth = Growth(contestants, args)
    for part in (growth.idle, growth.pending, growth.sqlite, growth.redis):
        part()
    return {"series": growth.series, "memory": growth.memory}


def verdicts(found):
    out = []
    for name, by in found["series"].items():
        if len(by) > 1:
            first, last = (median(by[size]["closed"], "cpu_us") for size in (min(by), max(by)))
            out.append((f"{name}, CPU a request: the largest against the smallest", f"{last / first:.2f}",
                        f"<= {1 + WORSE_MAX:.2f}", last / first <= 1 + WORSE_MAX))
    for name, each, wanted in found["memory"]:
        if wanted != "-":
            out.append((f"bytes of {name}", each, f"< {wanted}", float(each) < wanted))
    return out
