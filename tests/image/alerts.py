# SPDX-License-Identifier: MIT
"""Every alert of docker/prometheus-rules.yaml, just above its threshold and just below it: promtool
runs the rules over made-up series of one hour, a value a minute.
"""
import json
import os
import pathlib
import subprocess

import yaml

DOCKER = pathlib.Path(os.environ["TEST_SOURCE_DIR"], "docker")
RULES = DOCKER / "prometheus-rules.yaml"
MINUTES = 60
CALLS, REFRESHES = "latchkey_provider_calls_total", "latchkey_refreshes_total"


def steady(a_minute):
    """A counter that goes up by so much a minute."""
    return f"0+{a_minute}x{MINUTES}"


def always(value):
    return f"{value}+0x{MINUTES}"


def at_once(count):
    """A counter that goes up by so much in the 50th minute."""
    return f"0x49 {count}x10"


def slow(name, labels, share):
    """A histogram in which this share is above the bound `le` of the labels, one count in a hundred a minute."""
    below, bound = 100 - share, labels.pop("le")
    return {
        series(f"{name}_bucket", le=bound, **labels): steady(below),
        series(f"{name}_bucket", le=str(float(bound) * 2), **labels): steady(100),
        series(f"{name}_bucket", le="+Inf", **labels): steady(100),
    }


def series(name, **labels):
    labels = {"job": "latchkey", "instance": "a"} | labels
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}"


def states(unknown, created):
    return {
        series("latchkey_states_unknown_total"): steady(unknown),
        series("latchkey_states_replayed_total"): steady(0),
        series("latchkey_states_mismatched_total"): steady(0),
        series("latchkey_states_created_total"): steady(created),
    }


def refreshes(**outcomes):
    return {series(REFRESHES, outcome=outcome): steady(count) for outcome, count in outcomes.items()}


def calls(endpoint, statuses):
    return {series(CALLS, endpoint=endpoint, status=status): steady(n) for status, n in statuses.items()}


def requests(good, bad):
    name = "latchkey_http_requests_total"
    return {series(name, status="2xx"): steady(good), series(name, status="5xx"): steady(bad)}


def one(name, value, **labels):
    return {series(name, **labels): value}


JUMPS = "1x41 2x3 3x3 {}x20"
STALE = "latchkey_jwks_fetches_total"

# alert, series at which it fires, series at which it doesn't
CASES = [
    ("LatchkeyDown", one("up", always(0)), one("up", always(1))),
    (
        "LatchkeyRestarting",
        one("process_start_time_seconds", JUMPS.format(4)),
        one("process_start_time_seconds", JUMPS.format(3)),
    ),
    ("LatchkeyErrors", requests(97, 3), requests(99, 1)),
    (
        "LatchkeyLoopLag",
        slow("latchkey_loop_lag_seconds", {"le": "0.1"}, 2),
        slow("latchkey_loop_lag_seconds", {"le": "0.1"}, 0),
    ),
    (
        "LatchkeyConnectionsRefused",
        one("latchkey_connections_refused_total", steady(1)),
        one("latchkey_connections_refused_total", always(7)),
    ),
    (
        "LatchkeyLogDropped",
        one("latchkey_log_lines_dropped_total", at_once(1)),
        one("latchkey_log_lines_dropped_total", always(7)),
    ),
    (
        "LatchkeySealFailures",
        one("latchkey_seal_failures_total", at_once(1)),
        one("latchkey_seal_failures_total", always(7)),
    ),
    (
        "LatchkeyOpenFailures",
        one("latchkey_open_failures_total", at_once(1)),
        one("latchkey_open_failures_total", always(7)),
    ),
    (
        "LatchkeyTokensStoredPlain",
        one("latchkey_tokens_stored_plain_total", at_once(2)),
        one("latchkey_tokens_stored_plain_total", always(7)),
    ),
    (
        "LatchkeyPlaintextReads",
        one("latchkey_tokens_read_plain_total", at_once(1)),
        one("latchkey_tokens_read_plain_total", always(7)),
    ),
    ("LatchkeyStateFailures", states(3, 10), states(1, 10)),
    ("LatchkeyStateFailures", states(3, 10), states(3, 100)),
    (
        "LatchkeyStatesOfOthers",
        one("latchkey_states_mismatched_total", steady(1)),
        one("latchkey_states_mismatched_total", at_once(4)),
    ),
    ("LatchkeyRefreshFailures", refreshes(ok=80, unavailable=20), refreshes(ok=95, unavailable=5, operator=0)),
    ("LatchkeyRefreshFailures", refreshes(ok=80, storage=20), refreshes(ok=80, shared=20, paused=20)),
    ("LatchkeyGrantsRefused", refreshes(ok=70, grant_refused=30), refreshes(ok=90, grant_refused=10)),
    ("LatchkeyRefusedByProvider", refreshes(operator=1), refreshes(operator=0, unavailable=1)),
    (
        "LatchkeyProviderDown",
        one("latchkey_breaker_processes", always(1), peer="api", state="open"),
        one("latchkey_breaker_processes", always(1), peer="api", state="half_open"),
    ),
    (
        "LatchkeyProviderFailing",
        calls("search", {"2xx": 60, "5xx": 20, "timeout": 20}),
        calls("search", {"2xx": 60, "4xx": 30, "5xx": 10}),
    ),
    (
        "LatchkeyProviderSlow",
        slow("latchkey_provider_call_duration_seconds", {"endpoint": "library", "le": "5"}, 20),
        slow("latchkey_provider_call_duration_seconds", {"endpoint": "library", "le": "5"}, 5),
    ),
    ("LatchkeyProviderLimits", calls("library", {"429": 2}), calls("library", {"4xx": 2})),
    (
        "LatchkeyStoreFailures",
        one("latchkey_store_failures_total", steady(2)),
        one("latchkey_store_failures_total", at_once(4)),
    ),
    (
        "LatchkeyRedisFailures",
        one("latchkey_redis_commands_total", steady(2), outcome="timeout"),
        one("latchkey_redis_commands_total", steady(1000), outcome="ok"),
    ),
    (
        "LatchkeyLimitsAreLocal",
        one("latchkey_rate_limit_fallbacks_total", steady(1)),
        one("latchkey_rate_limit_fallbacks_total", always(7)),
    ),
    ("LatchkeyStatesFull", one("latchkey_states", always(900001)), one("latchkey_states", always(900000))),
    (
        "LatchkeyLanesWait",
        slow("latchkey_lane_wait_seconds", {"lane": "fast", "le": "0.5"}, 2),
        slow("latchkey_lane_wait_seconds", {"lane": "fast", "le": "0.5"}, 0),
    ),
    (
        "LatchkeyPublishedKeysStale",
        one(STALE, steady(1), outcome="failed") | one(STALE, always(9), outcome="ok"),
        one(STALE, steady(1), outcome="failed") | one(STALE, steady(1), outcome="ok"),
    ),
    (
        "LatchkeyForgedTokens",
        one("latchkey_signatures_total", steady(70), outcome="bad"),
        one("latchkey_signatures_total", steady(70), outcome="good"),
    ),
    (
        "LatchkeyUserLookupsFail",
        one("latchkey_user_lookups_total", steady(2), outcome="failed"),
        one("latchkey_user_lookups_total", steady(2), outcome="absent"),
    ),
]
DAY = 25 * 60
OLD_KEY = [
    ("LatchkeyOldKeyInUse", {series("latchkey_tokens_opened_total", key="2"): f"0+1x{DAY}"}, {}),
    ("LatchkeyOldKeyInUse", {series("latchkey_tokens_opened_total", key="later"): f"0+1x{DAY}"},
     {series("latchkey_tokens_opened_total", key="1"): f"0+1x{DAY}"}),
]  # fmt: skip


def case(alert, values, fires, minute):
    firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    expected = [{"labels": "{}", "value": 1}] if fires else []
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": text} for name, text in values.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": f"{minute}m", "exp_samples": expected}],
    }


def promtool(*arguments):
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def the_rules_and_the_configuration_are_valid():
    promtool("check", "config", DOCKER / "prometheus.yaml")


def every_alert_has_cases():
    groups = yaml.safe_load(RULES.read_text())["groups"]
    assert {rule["alert"] for group in groups for rule in group["rules"]} == {alert for alert, _, _ in CASES + OLD_KEY}


def every_alert_fires_at_its_threshold_and_not_below():
    tests = []
    for cases, minute in ((CASES, 54), (OLD_KEY, DAY)):
        for alert, above, below in cases:
            tests += [case(alert, above, True, minute), case(alert, below, False, minute)]
    path = pathlib.Path(os.environ["TEST_SCRATCH"], "alerts.json")  # JSON is YAML
    path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", path)


TESTS = [
    the_rules_and_the_configuration_are_valid,
    every_alert_has_cases,
    every_alert_fires_at_its_threshold_and_not_below,
]
