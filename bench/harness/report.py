# SPDX-License-Identifier: MIT
"""The tables, on the terminal and in Markdown, and the verdict."""
import os
import pathlib
import platform
import re
import statistics
import subprocess

from .measure import median


def values(rounds, key):
    return [r[key] for r in rounds]


def spread(rounds, key):
    low, high = min(values(rounds, key)), max(values(rounds, key))
    return f"{low:.0f}-{high:.0f}"


def table(head, rows):
    """Markdown that is also aligned for a terminal."""
    cells = [head] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]

    def line(row):
        padded = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (width + 1) + (":" if i else "-") for i, width in enumerate(widths)) + "|"
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])


def closed_table(comparison):
    rows = []
    for scenario in comparison.scenarios:
        for name in comparison.names(scenario):
            rounds = comparison.closed[scenario.name][name]
            if rounds:
                rows.append([scenario.name, name, f"{median(rounds, 'rate'):.0f}", spread(rounds, "rate"),
                             f"{median(rounds, 'cpu_us'):.2f}", f"{median(rounds, 'user_us'):.2f}",
                             f"{median(rounds, 'system_us'):.2f}"])
    return table(["scenario", "contestant", "a second", "min-max", "CPU µs each", "user", "system"], rows)


def verdicts(comparison):
    """Each (what, reached, wanted, met)."""
    found = []
    for scenario in comparison.scenarios:
        gate = comparison.gates.get(scenario.name)
        if gate and gate["bare"]:
            above = median(gate["latchkey"], "user_us") - median(gate["bare"], "user_us")
            found.append((f"{scenario.name}: user µs above the bare loop's, {gate['latchkey'][0]['wanted_rate']}/s",
                          f"{above:.2f}", f"<= {scenario.gate}", above <= scenario.gate))
        for (own, other), factor in scenario.factors.items():
            ours, theirs = (comparison.closed[scenario.name].get(name) for name in (own, other))
            if ours and theirs:
                ratio = median(theirs, "cpu_us") / median(ours, "cpu_us")
                found.append((f"{scenario.name}: CPU a request of {other} / {own}", f"{ratio:.2f}", f">= {factor}",
                              ratio >= factor))
    return found


def verdict_table(found):
    return table(["gate", "reached", "wanted", "met"], [[a, b, c, "yes" if met else "NO"] for a, b, c, met in found])


def latency_table(comparison):
    rows = []
    for name, contestants in comparison.fixed.items():
        for contestant, rounds in contestants.items():
            if rounds:
                rows.append([name, contestant, rounds[0]["wanted_rate"]] +
                            [f"{median(rounds, key) / 1000:.2f}" for key in ("p50_us", "p90_us", "p99_us", "p999_us")] +
                            [f"{min(values(rounds, 'p99_us')) / 1000:.2f}-{max(values(rounds, 'p99_us')) / 1000:.2f}",
                             f"{max(values(rounds, 'max_us')) / 1000:.1f}"])
    return table(["scenario", "contestant", "rate", "p50 ms", "p90", "p99", "p99.9", "p99 min-max", "max"], rows)


def connections_table(found):
    counts = sorted({count for by in found.values() for count in by})
    rows = [[name] + [f"{median(by[count], 'rate'):.0f} ({median(by[count], 'cpu_us'):.1f})" if by.get(count) else "-"
                      for count in counts] for name, by in found.items()]
    return table(["connected, a second (CPU µs)"] + [f"{count} connections" for count in counts], rows)


def growth_table(found):
    rows = []
    for series, by in found["series"].items():
        for size, rounds in by.items():
            rows.append([series, f"{int(size):,}", f"{median(rounds['closed'], 'rate'):.0f}",
                         spread(rounds["closed"], "rate"), f"{median(rounds['closed'], 'cpu_us'):.2f}",
                         f"{median(rounds['fixed'], 'p99_us') / 1000:.2f}"])
    return table(["what grows", "size", "a second", "min-max", "CPU µs each", "p99 ms at half"], rows)


def memory_table(comparison):
    rows = [[name, f"{seen['start_ms']:.0f}", f"{seen['rss_kib'] / 1024:.0f}"]
            for name, seen in comparison.memory().items()]
    return table(["contestant", "ms until it serves", "MiB resident after all of it"], rows)


def output_of(*argv):
    try:
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout.strip()
    except OSError:
        return "-"


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    release = re.search(r'PRETTY_NAME="(.*)"', pathlib.Path("/etc/os-release").read_text())
    versions = {
        "gcc": output_of("gcc", "-dumpfullversion"), "wrk": output_of("wrk", "-v").split("[")[0].strip(),
        "Node": output_of("node", "--version"), "Python": output_of("/usr/bin/python3", "--version"),
        "nginx": output_of("/usr/sbin/nginx", "-v"), "Apache": output_of("/usr/sbin/apache2", "-v").split("\n")[0],
        "Redis": output_of("redis-server", "--version"),
    }
    described = [f"- {model[1] if model else platform.machine()}, {os.cpu_count()} processors, "
                 f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 2**30} GiB",
                 f"- {release[1] if release else ''}, Linux {platform.release()}; load average before: "
                 f"{os.getloadavg()[0]:.1f}"]
    return described + [f"- {name}: {version}" for name, version in versions.items()]


NOISE_MAX = 0.20


def noise(comparison):
    """How far the bare loop's own rounds lie apart, of the middle one, over its scenarios; None without it."""
    rounds = [r for s in comparison.closed.values() for r in [s.get("bare")] if r]
    if not rounds:
        return None
    shares = [(max(values(r, "rate")) - min(values(r, "rate"))) / median(r, "rate") for r in rounds]
    return statistics.median(shares)


def noise_lines(share):
    if share is None:
        return []
    lines = [f"- noise: (max - min) / median of the bare loop's throughput over the rounds: {share:.0%}; load average "
             f"after: {os.getloadavg()[0]:.1f}"]
    if share > NOISE_MAX:
        lines += ["", "**The machine did other work during this run.** Throughput and latencies are the machine's as much "
                  "as the contestants'; CPU time a request is disturbed less, and only its ratios are worth reading."]
    return lines
