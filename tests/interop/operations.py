#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What docker/ and docs/operations.md say, held against the real server: metrics and their labels, settings,
alerts and their runbooks, times that must fit into one another, and the rotation of keys. See tests/run for
the environment. That the image works, and the alerts fire, is shown by `make test-image`.
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

import yaml

sys.dont_write_bytecode = True
SOURCE = pathlib.Path(os.environ["TEST_SOURCE_DIR"])
sys.path.insert(0, str(SOURCE / "tests"))
from kit import programs  # noqa: E402
from kit.programs import BUILD, SECRET_KEY, ask  # noqa: E402

DOCKER = SOURCE / "docker"
MANUAL = SOURCE / "docs/operations.md"
TARGET_LABELS = {"job", "instance"}  # Prometheus's own
METRIC = re.compile(r"\b(?:latchkey|process)_[a-z0-9_]+|\bup\b")
IN_TEXT = re.compile(r"`((?:latchkey|process)_[a-z0-9_]+_[^`]*)`")
SELECTOR = re.compile(r"\b([a-z][a-z0-9_]*)\{([^{}]*)\}")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
SETTING = re.compile(r"\b(?:LATCHKEY|AUDIBLE)_[A-Z0-9_]*[A-Z0-9]\b")
PLATFORM_SETTINGS = {"AUDIBLE_INTEGRATION_ENABLED"}


def latchkey(*arguments, settings=None, status=0):
    done = subprocess.run([BUILD / "latchkey", *arguments], env=settings or {}, capture_output=True, text=True)
    assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def units(name):
    """NAME=value lines of a unit's sections, those that occur again as lists."""
    found = {}
    for line in re.sub(r"\\\n\s*", "", (DOCKER / name).read_text()).splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value.strip('"'))
    return found


def kubernetes(kind):
    documents = yaml.safe_load_all((DOCKER / "kubernetes.yaml").read_text())
    return next(document for document in documents if document["kind"] == kind)


def compose():
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def rules():
    groups = yaml.safe_load((DOCKER / "prometheus-rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard_expressions():
    panels = json.loads((DOCKER / "grafana/latchkey.json").read_text())["panels"]
    return [line["expr"] for panel in panels for line in panel.get("targets", [])]


# --- metrics --------------------------------------------------------------------------------------


def served(rig):
    """What the server shows: each family's labels, with the values that they have."""
    with rig.latchkey({}):
        status, _, text = ask(f"http://127.0.0.1:{rig.port}/metrics")
    assert status == 200
    families = {"up": {}}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels = re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line).groups()
            family = families.setdefault(name, {})
            for label, _, value in MATCHER.findall(labels or ""):
                family.setdefault(label, set()).add(value)
    return families


def complaints_about(expression, families):
    """Names, labels and values that no series has."""
    for name in METRIC.findall(expression):
        if name not in families:
            yield f"there is no {name}"
    for name, matchers in SELECTOR.findall(expression):
        for label, _, value in MATCHER.findall(matchers):
            if label in TARGET_LABELS or name not in families:
                continue
            values = families[name].get(label, set())
            for one in value.split("|"):
                if not any(re.fullmatch(one, having) for having in values):
                    yield f'{name} has no {label}="{one}"'
    known = set().union(*(families.get(name, {}) for name in METRIC.findall(expression))) | TARGET_LABELS
    for labels in re.findall(r"\bby \(([^)]*)\)", expression):
        for label in set(labels.split(", ")) - known:
            yield f"by ({label}): no such label"


def every_metric_that_is_named_is_served(rig):
    families = served(rig)
    named = [("dashboard", line) for line in dashboard_expressions()]
    named += [(rule["alert"], rule["expr"]) for rule in rules()]
    for path in sorted((SOURCE / "docs").glob("*.md")):
        named += [(path.name, code) for code in IN_TEXT.findall(path.read_text())]
    found = [f"{where}: {what}" for where, text in named for what in complaints_about(text, families)]
    assert len(named) > 80 and found == [], found


def every_family_is_on_the_dashboard(rig):
    shown = set(METRIC.findall("\n".join(dashboard_expressions())))
    # Answers to what was no request are among them; reserved addresses say nothing.
    spared = {"latchkey_http_responses_total", "process_virtual_memory_bytes"}
    missing = {re.sub(r"_seconds_(sum|count)$", "_seconds_bucket", name) for name in served(rig)}
    assert missing - shown - spared == set(), "each needs a line in docker/grafana/make-dashboard"


def the_dashboard_is_what_its_table_makes(_):
    made = subprocess.run([DOCKER / "grafana/make-dashboard"], capture_output=True, check=True).stdout
    assert made == (DOCKER / "grafana/latchkey.json").read_bytes(), "run docker/grafana/make-dashboard"


# --- settings -------------------------------------------------------------------------------------


def every_setting_that_is_named_exists(_):
    known = set(re.findall(r"^\| `(\w+)`", latchkey("--help-markdown"), re.MULTILINE)) | PLATFORM_SETTINGS
    found = []
    files = [path for path in DOCKER.rglob("*") if path.is_file() and path.parent != DOCKER / "secrets"]
    for path in [MANUAL, *files]:
        for name in SETTING.findall(path.read_text()):
            if name not in known and name.removesuffix("_FILE") not in known:
                found.append(f"{path.relative_to(SOURCE)}: {name}")
    assert found == []


def made_secrets(folder):
    """What docker/make-secrets makes, and what it asks for."""
    make = [DOCKER / "make-secrets", folder]
    assert subprocess.run(make, capture_output=True).returncode == 1, "two are not its to make"
    for name in ("secret_key", "client_secret"):
        (folder / name).write_text(f"no placeholder of {name} 0123456789\n")
    before = {path.name: path.read_text() for path in folder.iterdir()}
    assert subprocess.run(make, capture_output=True).returncode == 0
    assert {path.name: path.read_text() for path in folder.iterdir()} == before, "what is there stays"
    assert folder.stat().st_mode & 0o077 == 0
    return folder


def with_files(settings, secrets):
    """The settings, with those files for what is mounted where they are used."""
    files = {name: value for name, value in settings.items() if name.endswith("_FILE")}
    return settings | {name: str(secrets / pathlib.Path(value).name) for name, value in files.items()}


def the_settings_of_every_example_are_good(rig):
    environment = compose()["x-latchkey"]["environment"]
    secrets = made_secrets(rig.folder / "secrets")
    examples = {
        "compose": {key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)) for key, value in environment.items()}
        | {"AUDIBLE_CLIENT_ID": "sim-client", "AUDIBLE_REDIRECT_URI": "https://api.example.com/callback"},
        "kubernetes": kubernetes("ConfigMap")["data"],
        "unit": dict(line.split("=", 1) for line in units("latchkey.service")["Environment"])
        | {"LATCHKEY_ACCOUNT_STORE": f"sqlite:{rig.folder}/latchkey.db"},
    }
    examples["unit, with stores"] = examples["unit"] | dict(
        line.split("=", 1) for line in units("latchkey-stores.conf")["Environment"]
    )
    for name, settings in examples.items():
        said = latchkey("check", settings=with_files(settings, secrets))
        assert said.startswith("the settings are good"), f"{name}: {said}"


def default_of(name):
    row = next(line for line in latchkey("--help-markdown").splitlines() if line.startswith(f"| `{name}` "))
    return float(row.split("|")[3].strip(" `"))


def a_drain_fits_before_the_end(_):
    drain_s = default_of("LATCHKEY_DRAIN_SECONDS")
    delay = "LATCHKEY_DRAIN_DELAY_SECONDS"
    service = compose()["x-latchkey"]
    pod = kubernetes("Deployment")["spec"]["template"]["spec"]
    assert float(service["stop_grace_period"].removesuffix("s")) > drain_s + float(service["environment"][delay])
    assert pod["terminationGracePeriodSeconds"] > drain_s + float(kubernetes("ConfigMap")["data"][delay])
    assert float(units("latchkey.service")["TimeoutStopSec"][0]) > drain_s + default_of(delay)


def the_pod_is_confined(_):
    pod = kubernetes("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["enableServiceLinks"] is False and pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    user = re.search(r"^USER (\d+):\1$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)[1]
    assert str(pod["securityContext"]["runAsUser"]) == user


def no_secret_stands_in_an_environment(_):
    secret = re.compile(r"SECRET_KEY|CLIENT_SECRET|ENCRYPTION_KEY|(STATE|ACCOUNT)_STORE$|PASSWORD")
    for name, service in compose()["services"].items():
        named = {key for key in service.get("environment", {}) if secret.search(key)}
        assert all(key.endswith("_FILE") for key in named), name
    named = {key for key in kubernetes("ConfigMap")["data"] if secret.search(key)}
    assert named and all(key.endswith("_FILE") for key in named)


# --- alerts ---------------------------------------------------------------------------------------


def anchor(heading):
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


def every_alert_has_a_runbook(_):
    headings = {anchor(text) for text in re.findall(r"^#+ (.*)$", MANUAL.read_text(), re.MULTILINE)}
    for rule in rules():
        file, _, target = rule["annotations"]["runbook"].partition("#")
        assert SOURCE / file == MANUAL and target in headings, rule["alert"]
        assert target == rule["alert"].lower() and rule["labels"]["severity"] in ("critical", "warning")
    alerts = {rule["alert"].lower() for rule in rules()}
    assert {heading for heading in headings if heading.startswith("latchkey")} == alerts, "and no other"


# --- keys -----------------------------------------------------------------------------------------


def stats(settings):
    return dict(line.split() for line in latchkey("stats", settings=settings).splitlines())


def keys_are_rotated_beside_the_server(rig):
    keys, archive = rig.folder / "keys", rig.folder / "retired"
    keys.write_text(latchkey("keygen"))
    first = keys.read_text().strip()
    store = {"LATCHKEY_ACCOUNT_STORE": f"sqlite:{rig.database}", "SECRET_KEY": SECRET_KEY}
    settings = store | {"AUDIBLE_TOKEN_ENCRYPTION_KEY_FILE": str(keys)}
    with rig.provider(), rig.latchkey({"AUDIBLE_TOKEN_ENCRYPTION_KEY_FILE": str(keys)}) as server:

        def rotate(status=0, **more):
            command = [DOCKER / "rotate-key", keys, archive, "kill", f"-{signal.SIGHUP.value}", str(server.pid)]
            env = {"PATH": os.environ["PATH"], "PROGRAM": str(BUILD / "latchkey")} | settings | more
            done = subprocess.run(command, env=env, capture_output=True, text=True)
            assert done.returncode == status, done.stdout + done.stderr

        def listed():
            return keys.read_text().strip().split(",")

        rig.link("user-1")
        rotate()
        second, former = listed()
        assert former == first != second and stats(settings)["tokens_key_1"] == "2"
        assert archive.read_text() == "" and archive.stat().st_mode & 0o077 == 0
        rig.link("user-2")
        rotate()
        third, former = listed()
        assert former == second and archive.read_text().split() == [first]
        assert stats(store | {"AUDIBLE_TOKEN_ENCRYPTION_KEY": third})["tokens_key_1"] == "4"

        # Not with a key that is still needed: what can't be sealed anew keeps its key.
        before = keys.read_text()
        rotate(status=1, PROGRAM="false")
        assert keys.read_text() == before
        for user in ("user-1", "user-2"):
            assert ask(f"{rig.api}/library", rig.token(user))[0] == 200
            rig.disconnect(user)


TESTS = [
    every_metric_that_is_named_is_served,
    every_family_is_on_the_dashboard,
    the_dashboard_is_what_its_table_makes,
    every_setting_that_is_named_exists,
    the_settings_of_every_example_are_good,
    a_drain_fits_before_the_end,
    the_pod_is_confined,
    no_secret_stands_in_an_environment,
    every_alert_has_a_runbook,
    keys_are_rotated_beside_the_server,
]

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(programs.run_tests(TESTS, programs.Rig(scratch)))
