# SPDX-License-Identifier: MIT
"""The pictures, as SVG and PNG: latencies at a fixed rate, throughput by connections, cost as work grows."""
from .measure import median, say


def cumulative(rounds):
    """Latency in ms against the share of requests that took longer, over all rounds."""
    counts = {}
    for seen in rounds:
        for upper_us, count in seen["histogram"]:
            counts[upper_us] = counts.get(upper_us, 0) + count
    total, before, points = sum(counts.values()), 0, []
    for upper_us in sorted(counts):
        before += counts[upper_us]
        left = (total - before) / total
        if left > 0:
            points.append((1 / left, upper_us / 1000))
    return points


def latency(axes, contestants):
    for name, rounds in contestants.items():
        points = cumulative(rounds) if rounds else []
        if points:
            axes.plot([x for x, _ in points], [y for _, y in points], label=f"{name}, {rounds[0]['wanted_rate']:,}/s")
    axes.set(xscale="log", yscale="log", xlabel="percentile", ylabel="ms from the intended start", xlim=(1, 1e5))
    axes.set_xticks([1, 10, 100, 1000, 10000, 100000], ["0", "90", "99", "99.9", "99.99", "99.999"])


def connections(axes, found):
    for name, by in found.items():
        counts = sorted(by)
        axes.plot(counts, [median(by[count], "rate") for count in counts], marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel="connections", ylabel="connected, requests a second")


def growth(axes, found):
    for name, by in found["series"].items():
        sizes = sorted(by, key=int)
        axes.plot([max(int(size), 1) for size in sizes], [median(by[size]["closed"], "cpu_us") for size in sizes],
                  marker="o", label=name)
    axes.set(xscale="symlog", xlabel="pending states or accounts", ylabel="CPU µs a request")
    axes.set_ylim(bottom=0)


def throughput(axes, closed):
    """CPU time a request of each contestant, by scenario."""
    names = list(dict.fromkeys(name for by in closed.values() for name, rounds in by.items() if rounds))
    wanted = [s for s in ("healthz", "connected", "authorize", "link flow", "library 20", "mixed") if closed.get(s)]
    width = 0.8 / max(1, len(names))
    for i, name in enumerate(names):
        at = [k for k, s in enumerate(wanted) if closed[s].get(name)]
        axes.bar([k + (i - len(names) / 2) * width for k in at],
                 [median(closed[wanted[k]][name], "cpu_us") for k in at], width, label=name)
    axes.set(yscale="log", ylabel="CPU µs a request (less is better)")
    axes.set_xticks(range(len(wanted)), wanted)


def draw(raw, folder):
    try:
        import matplotlib
    except ImportError:
        say("no plots without python3-matplotlib")
        return []
    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "latchkey", "axes.grid": True, "grid.alpha": 0.3}
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    wanted = [("cpu", throughput, raw.get("closed")), ("connections", connections, raw.get("connections")),
              ("growth", growth, raw.get("growth"))]
    wanted += [(f"latency-{name}", latency, by) for name, by in raw.get("fixed", {}).items()]
    paths = []
    for name, plot, found in wanted:
        if not found:
            continue
        figure, axes = pyplot.subplots(figsize=(9, 5))
        plot(axes, found)
        axes.set_title(name)
        axes.legend(fontsize="small")
        figure.tight_layout()
        for suffix in (".svg", ".png"):
            paths.append(folder / (name + suffix))
            figure.savefig(paths[-1], metadata={"Date": None} if suffix == ".svg" else None)
        pyplot.close(figure)
    return paths
