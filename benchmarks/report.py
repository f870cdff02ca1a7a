"""Turns the results of benchmarks.servers into tables, a plot, and comparisons as text.

python -m benchmarks.report                 prints the table and the comparisons
python -m benchmarks.report --write         writes README.md (medians), benchmarks/README.md (with ranges) and the plot
"""

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "servers.json"
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
"""A document's table is between these two lines."""
VARIANTS = {"ours": "this service", "documented": "as documented", "engine": "on our engine"}

Results = dict[str, Any]
Format = Callable[[Iterable[float], str], str]
"""Turns the values of all rounds into one cell, by a format specification."""


def successful_runs(results: Results, way: str, name: str | None = None) -> list[dict[str, Any]]:
    """The rounds of a server that did not fail."""
    return [r for r in results["runs"] if r["way"] == way and name in (None, r["name"]) and "error" not in r]


def cells(runs: list[dict[str, Any]], body: str, clients: int) -> list[dict[str, Any]]:
    return [cell for run in runs for cell in run["cells"] if (cell["body"], cell["clients"]) == (body, clients)]


def median(values: Iterable[float]) -> float | None:
    kept = list(values)
    return statistics.median(kept) if kept else None


def spread(values: Iterable[float], spec: str = ".0f") -> str:
    """The median, and in brackets the smallest and the largest if there is more than one."""
    kept = list(values)
    if not kept:
        return "–"
    middle = format(statistics.median(kept), spec)
    return middle if len(kept) == 1 else f"{middle} ({format(min(kept), spec)}–{format(max(kept), spec)})"


def middle(values: Iterable[float], spec: str = ".0f") -> str:
    """The median alone."""
    found = median(values)
    return "–" if found is None else format(found, spec)


def table(results: Results, ranges: bool = True) -> str:
    """Markdown: one row per server; ours first, then the peers as documented, then the peers with our engine.

    `ranges` adds the smallest and the largest value to each median.
    """
    servers = dict.fromkeys(
        (run["way"], run["name"]) for way in VARIANTS for run in results["runs"] if run["way"] == way
    )
    lines = [
        "| 64 clients, PNG form | req/s | p50 ms | p99 ms | CPU ms each | 1 client, p50 ms | memory MiB | start s |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(results, way, name, spread if ranges else middle) for way, name in servers),
    ]
    return "\n".join([*lines, "", _conditions(results, ranges)])


def _conditions(results: Results, ranges: bool) -> str:
    """The lines below the table: where, when and how the figures were measured."""
    machine, options = results["machine"], results["options"]
    rounds = f"{options['rounds']} interleaved rounds" if options["rounds"] > 1 else "One round"
    return (
        f"Machine: {machine['processor']}, {machine['cores']} cores, {machine['when'][:10]}.\n"
        f"{rounds} of at least {options['seconds']} s each; wrk ran on the same cores.\n"
        "Each figure is the median." + ranges * " The smallest and the largest value are in brackets." + "\n"
        "Memory is the sum of all processes' peaks. Start is the time to the first correct answer."
    )


def _row(results: Results, way: str, name: str, cell_text: Format) -> str:
    label = "**this service**" if way == "ours" else f"{name}, {VARIANTS[way]}"
    runs = successful_runs(results, way, name)
    if not runs:
        error = next(r["error"] for r in results["runs"] if (r["way"], r["name"]) == (way, name))
        return f"| {label} | failed: {error.splitlines()[0]} |||||||"
    many, one = cells(runs, "multipart", 64), cells(runs, "multipart", 1)
    failed = sum(cell["failed"] for cell in many + one)
    columns = [
        cell_text((cell["rate"] for cell in many), ".0f") + (f", {failed} failed" if failed else ""),
        cell_text((cell["p50"] for cell in many), ".0f"),
        cell_text((cell["p99"] for cell in many), ".0f"),
        cell_text((cell["server_cpu"] for cell in many), ".2f"),
        cell_text((cell["p50"] for cell in one), ".2f"),
        cell_text((run["peak_mib"] for run in runs), ".0f"),
        cell_text((run["start_seconds"] for run in runs), ".1f"),
    ]
    return f"| {label} | {' | '.join(columns)} |"


def figures(results: Results) -> str:
    """Comparisons as lines of text; those that were not measured are left out."""
    return "\n".join(
        [
            *_answer_differences(results),
            *_throughput_ratios(results),
            *_limit_line(results),
            *_single_client_latency(results),
            *_idle_and_start(results),
            *_open_loop_lines(results),
        ]
    )


def _rate(results: Results, way: str, name: str | None = None) -> float | None:
    return median(cell["rate"] for cell in cells(successful_runs(results, way, name), "multipart", 64))


def _answer_differences(results: Results) -> list[str]:
    return [
        f"answers, peers {VARIANTS[way]}: same labels, probabilities off by at most {max(off):.4f}"
        for way in ("documented", "engine")
        if (off := [run["off"] for run in successful_runs(results, way) if "off" in run])
    ]


def _throughput_ratios(results: Results) -> list[str]:
    ours = _rate(results, "ours")
    if not ours:
        return []
    names = dict.fromkeys(run["name"] for run in results["runs"] if run["way"] == "documented")
    lines = [
        f"64 clients, PNG form: ours ÷ {name} as documented = {ours / rate:.2f}"
        for name in names
        if (rate := _rate(results, "documented", name))
    ]
    with_our_engine = {name: rate for name in names if (rate := _rate(results, "engine", name))}
    if with_our_engine:
        best = max(with_our_engine, key=with_our_engine.__getitem__)
        lines.append(f"64 clients, PNG form: ours ÷ best on our engine ({best}) = {ours / with_our_engine[best]:.2f}")
    return lines


def limit(results: Results) -> dict[str, float] | None:
    """The machine's limit: least CPU milliseconds per request, by part, and the requests per second that they allow."""
    path = median(cell["server_cpu"] for cell in cells(successful_runs(results, "stub"), "multipart", 64))
    client = median(cell["client_cpu"] for cell in cells(successful_runs(results, "ours"), "multipart", 64))
    engine = median(min(row["cpu"] for row in rows) for rows in results["engine"])
    if path is None or client is None or engine is None:
        return None
    return {
        "engine": engine,
        "path": path,
        "client": client,
        "rate": 1000 * results["machine"]["cores"] / (engine + path + client),
    }


def _limit_line(results: Results) -> list[str]:
    parts, ours = limit(results), _rate(results, "ours")
    if not parts or not ours:
        return []
    return [
        f"machine's limit: {results['machine']['cores']} cores ÷ (engine alone {parts['engine']:.3f} + path "
        f"{parts['path']:.3f} + wrk {parts['client']:.3f} ms) = {parts['rate']:.0f} req/s; "
        f"ours {ours:.0f} req/s = {100 * ours / parts['rate']:.1f} %"
    ]


def _single_client_latency(results: Results) -> list[str]:
    ours, stub, tutorial = (
        median(cell["p50"] for cell in cells(successful_runs(results, *server), "multipart", 1))
        for server in (("ours",), ("stub",), ("documented", "tutorial FastAPI"))
    )
    engine = median(row["milliseconds"] for rows in results["engine"] for row in rows if row["batch"] == 1)
    lines = []
    if ours and tutorial:
        lines.append(f"1 client: our p50 {ours:.2f} ms ÷ tutorial FastAPI's {tutorial:.2f} ms = {ours / tutorial:.2f}")
    if ours and stub and engine:
        rest = ours - engine - stub
        lines.append(f"1 client: our p50 {ours:.2f} ms − (engine {engine:.2f} + path {stub:.2f}) = {rest:+.2f} ms")
    return lines


def _idle_and_start(results: Results) -> list[str]:
    runs = successful_runs(results, "ours")
    return [
        f"idle: {spread((100 * run['idle_cpu'] for run in runs), '.2f')} % of a core",
        f"start to first correct answer: {spread((run['start_seconds'] for run in runs), '.2f')} s; "
        f"peak memory {spread(run['peak_mib'] for run in runs)} MiB",
    ]


def _open_loop_lines(results: Results) -> list[str]:
    tests: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for run in results["runs"]:
        for test in run.get("open", ()):
            tests.setdefault((run["name"], test["load"]), []).append(test)
    return [_open_line(*server, rounds) for server, rounds in tests.items()]


def _open_line(name: str, load: float, rounds: list[dict[str, Any]]) -> str:
    def times(kind: str) -> str:
        found = [test[kind] for test in rounds if test[kind]]
        p50, p99 = (spread((one[what] for one in found), ".1f") for what in ("p50", "p99"))
        return f"p50 {p50}, p99 {p99} ms" if found else "none"

    shares = (100 * test["accepted_rate"] * load / test["rate"] for test in rounds)
    statuses = sum((Counter(test["statuses"]) for test in rounds), Counter())
    return (
        f"open loop, {name} at {load:g} × its closed-loop rate ({spread(test['rate'] for test in rounds)} req/s): "
        f"accepted {spread(test['accepted_rate'] for test in rounds)} req/s = {spread(shares)} %"
        f" of that rate, {times('accepted')}; 503s {times('refused')}; statuses {dict(statuses)}, "
        f"{sum(test['unanswered'] for test in rounds)} unanswered; "
        f"client {spread((test['client_cpu'] for test in rounds), '.3f')} ms of CPU a request, "
        f"{spread((test['late']['p99'] for test in rounds), '.1f')} ms late at p99"
    )


def plot(results: Results, file: Path) -> None:
    """Plots throughput and p99 against the number of clients, for PNG forms."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    names = list(dict.fromkeys(run["name"] for run in results["runs"]))
    for way, style in (("ours", "-"), ("documented", "-"), ("engine", "--")):
        for name in names:
            runs = successful_runs(results, way, name)
            counts = sorted({cell["clients"] for run in runs for cell in run["cells"] if cell["body"] == "multipart"})
            for axis, what in zip(axes, ("rate", "p99"), strict=True):
                values = [median(cell[what] for cell in cells(runs, "multipart", count)) for count in counts]
                label = name if way == "ours" else f"{name}, {VARIANTS[way]}"
                if counts:
                    axis.plot(counts, values, style, color=f"C{names.index(name)}", marker="o", label=label)
    for axis, title in zip(axes, ("requests a second", "p99, milliseconds"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="clients", title=title)
        axis.set_xticks([1, 8, 64, 256], labels=["1", "8", "64", "256"])
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    figure.savefig(file, dpi=120)


def write_table(text: str, document: Path) -> None:
    """Replaces what is between the document's markers."""
    before, rest = document.read_text().split(BEGIN)
    after = rest.split(END)[1]
    document.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    results = json.loads(arguments.results.read_text())
    print(table(results), figures(results), sep="\n\n")
    if arguments.write:
        write_table(table(results, ranges=False), ROOT / "README.md")
        write_table(table(results), ROOT / "benchmarks" / "README.md")
        plot(results, arguments.results.with_suffix(".png"))


if __name__ == "__main__":
    main()
