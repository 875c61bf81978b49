# SPDX-License-Identifier: MIT
"""docker/compose.yaml without Docker: its two Latchkeys as containers with its settings and secrets, and its
balancer, Redis and Prometheus as programs of this machine, with its files. MongoDB is FerretDB, which has
neither users nor replica sets: its URL is the one thing that is another.
"""
import contextlib
import json
import pathlib
import re
import secrets
import signal
import subprocess
import time
import urllib.parse

import box
import yaml
from box import SCRATCH, SOURCE
from kit import programs
from kit.programs import ask

DOCKER = SOURCE / "docker"
FOLDER = SCRATCH / "stack"
SECRETS = FOLDER / "secrets"
BALANCER = "http://127.0.0.1:8080"
PROMETHEUS = "http://127.0.0.1:9091"
FERRETDB = SOURCE / "build/ferretdb/ferretdb"
WORKERS = {"latchkey-1": 1, "latchkey-2": 2}
NAMES = tuple(WORKERS)
WAIT_S = 30


def interpolated(text, values):
    """${NAME:?what it is} and ${NAME:-default}."""

    def value_of(found):
        name, how, rest = found.groups()
        assert name in values or how == ":-", f"{name} {rest}"
        return values.get(name, rest)

    return re.sub(r"\$\{(\w+)(:[-?])([^}]*)\}", value_of, str(text))


def make_secrets(key):
    subprocess.run([DOCKER / "make-secrets", SECRETS], capture_output=True, timeout=30)
    (SECRETS / "secret_key").write_text(key + "\n")
    (SECRETS / "client_secret").write_text("sim-secret\n")
    if FERRETDB.exists():
        (SECRETS / "account_store").write_text("mongodb://mongodb:27017/latchkey\n")
    else:
        print("     no MongoDB server on this machine: accounts are in Redis")
        (SECRETS / "account_store").write_text((SECRETS / "state_store").read_text())


class Stack(programs.Rig):
    def __init__(self):
        super().__init__(FOLDER)
        self.compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
        self.api = f"{BALANCER}/api/v1/user/audible"
        self.key = secrets.token_urlsafe(48)
        FOLDER.mkdir()
        make_secrets(self.key)

    def token(self, user):
        return box.token(self.key, user)

    def address(self, name):
        return self.compose["services"][name]["networks"]["inside"]["ipv4_address"]

    def api_of(self, name):
        return f"http://{self.address(name)}:8090/api/v1/user/audible"

    def container(self, name):
        service = self.compose["services"][name]
        assert service["read_only"] and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        values = {"AUDIBLE_CLIENT_ID": "sim-client", "AUDIBLE_REDIRECT_URI": f"{self.api}/oauth/callback"}
        settings = {key: interpolated(value, values) for key, value in service["environment"].items()} | {
            # Both share this namespace's network, and the provider is another.
            "LATCHKEY_LISTEN": f"{self.address(name)}:8090",
            "LATCHKEY_METRICS_LISTEN": f"{self.address(name)}:9090",
            "AUDIBLE_AUTH_URL": f"{self.sim}/auth/oauth2",
            "AUDIBLE_REVOKE_URL": f"{self.sim}/auth/oauth2/revoke",
            "AUDIBLE_API_BASE_URL": f"{self.sim}/api",
            "LATCHKEY_RATE_LIMIT_PER_MINUTE": "0",
            "LATCHKEY_WORKERS": WORKERS[name],
        }
        arguments = box.environment(settings)
        arguments += [f"--tmpfs={place}" for place in service["tmpfs"]]
        for secret in service["secrets"]:
            arguments += box.secret(SECRETS / pathlib.Path(self.compose["secrets"][secret]["file"]).name)
        return box.container(name, *arguments)

    def metrics(self, name):
        status, _, text = ask(f"http://{self.address(name)}:9090/metrics")
        assert status == 200
        return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def redis():
    folder = FOLDER / "redis"
    folder.mkdir()
    command = ["redis-server", DOCKER / "redis.conf", "--dir", folder, "--aclfile", SECRETS / "redis_users",
               "--bind", "127.0.0.1", "--logfile", folder / "log"]  # fmt: skip
    return programs.program(command, {}, 6379)


def mongodb():
    folder = FOLDER / "mongodb"
    folder.mkdir()
    if not FERRETDB.exists():
        return contextlib.nullcontext()
    return programs.program([FERRETDB, folder, "127.0.0.1:27017"], {}, 27017)


def balancer():
    command = ["haproxy", "-q", "-db", "-f", DOCKER / "haproxy.cfg"]
    return programs.program(command, {}, 8080, sign=signal.SIGUSR1)


def prometheus():
    folder = FOLDER / "prometheus"
    folder.mkdir()
    for name in ("prometheus.yaml", "prometheus-rules.yaml"):
        text = (DOCKER / name).read_text()
        (folder / name).write_text(text.replace("_interval: 15s", "_interval: 1s"))
    command = ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data",
               "--web.listen-address=127.0.0.1:9091", "--log.level=error"]  # fmt: skip
    return programs.program(command, {}, 9091)


@contextlib.contextmanager
def everything():
    stack = Stack()
    with redis(), mongodb(), stack.provider(), prometheus(), balancer():
        with contextlib.ExitStack() as latchkeys:
            stack.latchkeys = {name: latchkeys.enter_context(stack.container(name)) for name in NAMES}
            yield stack
            for latchkey in stack.latchkeys.values():
                assert latchkey.stop() == 0


def eventually(what, true):
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def queried(path, **parameters):
    status, _, text = ask(f"{PROMETHEUS}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
    answer = json.loads(text)
    assert status == 200 and answer["status"] == "success", text
    return answer["data"]


def a_flow_may_change_servers(stack):
    user = "user-1"
    stack.api, balanced = stack.api_of("latchkey-1"), stack.api
    try:
        back, _ = stack.grant(stack.token(user))
    finally:
        stack.api = balanced
    body = {"code": back["code"], "state": back["state"]}
    status, _, text = ask(f"{stack.api_of('latchkey-2')}/oauth/callback", stack.token(user), body)
    assert status == 200, text
    status, _, text = ask(f"{stack.api_of('latchkey-1')}/connected", stack.token(user))
    assert status == 200 and json.loads(text)["connected"], text


def the_balancer_asks_both_and_says_who_calls(stack):
    headers = {"X-Forwarded-For": "203.0.113.9"}
    answered = 'latchkey_http_requests_total{route="connected",status="2xx"}'

    def both_have_answered():
        status, _, text = ask(f"{stack.api}/connected", stack.token("user-1"), headers=headers)
        assert status == 200, text
        return all(int(stack.metrics(name)[answered]) for name in NAMES)

    eventually("both are asked", both_have_answered)
    stack.link("user-2")
    linked = [line for name in NAMES for line in stack.latchkeys[name].log() if line["event"] == "token_linked"]
    assert [line["client"] for line in linked if line["user_id"] == "user-2"] == ["127.0.0.1"], linked


def a_deployment_fails_no_request(stack):
    tokens = [stack.token(f"user-{n:03d}") for n in range(50)]
    load = box.wrk(f"{stack.api}/connected", 12, tokens)
    assert stack.latchkeys["latchkey-1"].stop() == 0
    box.podman("start", "latchkey-1")
    stack.latchkeys["latchkey-1"].wait_healthy()
    print(f"     {box.rate_of(load):,.0f} a second meanwhile")


def the_key_is_changed_on_both_servers(stack):
    """As the manual says it for servers that share a store."""
    key = SECRETS / "encryption_key"
    current = key.read_text().strip()
    stack.link("user-3")
    new = stack.latchkeys["latchkey-1"].execute("keygen").strip()

    def put(keys, times):
        key.write_text(keys + "\n")  # into the file that is mounted
        for name, latchkey in stack.latchkeys.items():
            box.podman("kill", "--signal", "HUP", name)

            def reloaded():
                return [line for line in latchkey.log() if line["event"] == "keys_reloaded" and line["outcome"] == "ok"]

            eventually(f"{name} has the new list", lambda: len(reloaded()) == times * WORKERS[name])

    def first_key_opens():
        text = stack.latchkeys["latchkey-2"].execute("stats")
        counts = dict(line.split() for line in text.splitlines())
        return counts["tokens_key_1"], counts["tokens_no_key_opens"]

    put(f"{new},{current}", 1)
    assert first_key_opens() == ("0", "0")
    stack.latchkeys["latchkey-1"].execute("rekey")
    put(new, 2)
    count, none = first_key_opens()
    assert int(count) >= 2 and none == "0"
    assert ask(f"{stack.api}/library", stack.token("user-3"))[0] == 200


def redis_lets_it_do_what_it_needs_and_strangers_nothing(stack):
    for name in NAMES:
        assert stack.metrics(name)['latchkey_redis_commands_total{outcome="refused"}'] == "0", name
        assert not [line for line in stack.latchkeys[name].log() if line["level"] == "error"]

    def asked(*command):
        return subprocess.run(["redis-cli", *command], capture_output=True, text=True, timeout=10).stdout

    assert asked("ping") == "PONG\n"
    assert asked("get", "latchkey:x").startswith("NOPERM")
    password = (SECRETS / "redis_password").read_text().strip()
    login = ("--no-auth-warning", "--user", "latchkey", "--pass", password)
    assert asked(*login, "flushall").startswith("NOPERM")
    assert asked(*login, "get", "another:x").startswith("NOPERM")
    assert asked(*login, "config", "get", "appendfsync").split() == ["appendfsync", "always"]


def prometheus_has_every_line_of_the_dashboard(stack):
    eventually("both are scraped twice", lambda: queried("query", query="min(count_over_time(up[1m])) >= 3")["result"])
    assert {one["health"] for one in queried("targets")["activeTargets"]} == {"up"}
    dashboard = json.loads((DOCKER / "grafana/latchkey.json").read_text())
    lines = [line["expr"] for panel in dashboard["panels"] for line in panel.get("targets", [])]
    assert len(lines) > 50
    empty = []
    for line in lines:
        query = line.replace("$instance", ".*").replace("$__rate_interval", "1m")
        if not queried("query", query=query)["result"] and not line.endswith("> 0"):
            empty.append(line)
    assert empty == []


def checklist(heading):
    """The list's own settings, and its commands with the lines that say what they check."""
    section = (SOURCE / "docs/operations.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    settings, commands = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return settings, re.findall(r"^# (.*)\n((?:(?!# ).*\n)+)", commands, re.MULTILINE)


def run_checklist(heading, **settings):
    """As written, but for the settings that are given: `latchkey` is the one in the container latchkey-1."""
    programs_here = FOLDER / "bin"
    programs_here.mkdir(exist_ok=True)
    command = programs_here / "latchkey"
    command.write_text(f'#!/bin/sh\nexec {" ".join(box.PODMAN)} exec latchkey-1 latchkey "$@"\n')
    command.chmod(0o755)
    own, lines = checklist(heading)
    given = "".join(f'{name}="{value}"\n' for name, value in settings.items())
    wrong = []
    for title, text in lines:
        done = subprocess.run(
            ["bash", "-c", own + given + text],
            env={"PATH": f"{programs_here}:/usr/sbin:/usr/bin:/sbin:/bin"},
            cwd=SOURCE,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode != 0:
            wrong.append(f"{title} {done.stdout}{done.stderr}")
    print(f"     {len(lines)} lines")
    assert len(lines) >= 8 and wrong == [], "\n".join(wrong)


def the_list_before_a_deployment_holds(_):
    backups = FOLDER / "backups"
    backups.mkdir()
    (backups / "today").touch()
    run_checklist("Before a deployment", secrets=SECRETS, backups=backups)


def the_list_after_a_deployment_holds(_):
    run_checklist("After a deployment")


def prometheus_evaluates_every_rule_and_none_fires(stack):
    def rules():
        return [rule for group in queried("rules")["groups"] for rule in group["rules"]]

    assert {rule["name"] for rule in rules()} == alerts_of(DOCKER)
    eventually("all are evaluated", lambda: {rule["health"] for rule in rules()} == {"ok"})
    assert [alert["labels"] for alert in queried("alerts")["alerts"] if alert["state"] == "firing"] == []


def alerts_of(folder):
    groups = yaml.safe_load((folder / "prometheus-rules.yaml").read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"]}


TESTS = [
    a_flow_may_change_servers,
    the_balancer_asks_both_and_says_who_calls,
    a_deployment_fails_no_request,
    the_key_is_changed_on_both_servers,
    redis_lets_it_do_what_it_needs_and_strangers_nothing,
    prometheus_has_every_line_of_the_dashboard,
    prometheus_evaluates_every_rule_and_none_fires,
    the_list_before_a_deployment_holds,
    the_list_after_a_deployment_holds,
]
