"""What the rounds say: a table, the figures that count, a chart, and everything as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import pandas as pd
from matplotlib.figure import Figure

from tests.benchmark.contestants import CONSTANT, IN_FULL, PEERS, SERVICE, WITH_VIEWS
from tests.benchmark.figures import ideal_per_s, targets
from tests.benchmark.load import AT_64, LARGE, LONE, MEDIUM, RAW, Case
from tests.benchmark.rounds import SERVICE_CASES, Round

_FORMAT = {
    "pictures/s": "{:,.0f}",
    "least": "{:,.0f}",
    "most": "{:,.0f}",
    "of ideal": "{:.2f}",
    "p50 ms": "{:.2f}",
    "p99 ms": "{:.1f}",
    "failed": "{:.0f}",
    "CPU ms": "{:.2f}",
    "MB": "{:.0f}",
    "batch": "{:.1f}",
    "balance": "{:.2f}",
    "start s": "{:.1f}",
}


@dataclass(frozen=True)
class Run:
    """A whole run.

    Attributes:
        facts: what was measured, where and when.
        precision: of the model file, as its card says.
        flags: what the processor has, as in `processor.py`.
        versions: the version of each peer, by its name.
        failures: why a peer is missing, by its name.
        rounds: at least one.
    """

    facts: Mapping[str, str]
    precision: str
    flags: Sequence[str]
    versions: Mapping[str, str]
    failures: Mapping[str, str]
    rounds: Sequence[Round]


def text(run: Run) -> str:
    """The report for a terminal."""
    lines = [f"{name}: {value}" for name, value in run.facts.items()]
    lines += ["", measurements(run).to_string(), "", figures(run).to_string(), ""]
    lines += [f"{name} is missing: {reason}" for name, reason in run.failures.items()]
    return "\n".join(lines)


def markdown(run: Run) -> str:
    """The figures that count, as a table for README.md beside this file."""
    table = figures(run)
    lines = ["| figure | median | least to most | target | |", "|---|---|---|---|---|"]
    for name, row in table.iterrows():
        spread = f"{row['least']} to {row['most']}"
        cells = [name, row["figure"], spread, row.get("target", ""), row.get("", "")]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    facts = (f"{name}: {value}" for name, value in run.facts.items())
    return "\n".join([*lines, "", f"({'; '.join(facts)}.)", ""])


def write(run: Run, folder: Path) -> None:
    """Writes `results.json`, `report.txt`, `readme.md` and `chart.png`."""
    folder.mkdir(parents=True)
    (folder / "readme.md").write_text(markdown(run))
    (folder / "report.txt").write_text(text(run))
    (folder / "results.json").write_text(json.dumps(asdict(run), indent=1))
    chart(run).savefig(folder / "chart.png", dpi=150)


def measurements(run: Run) -> pd.DataFrame:
    """Everything measured: medians of the rounds, with the least and the most pictures a second."""
    rows = {**_ceiling_rows(run), **_server_rows(run)}
    printed = {
        name: [
            form.format(row[column]) if column in row else "" for column, form in _FORMAT.items()
        ]
        for name, row in rows.items()
    }
    return pd.DataFrame.from_dict(printed, orient="index", columns=list(_FORMAT))


def figures(run: Run) -> pd.DataFrame:
    """The figures that count, with their targets."""
    rows = {}
    for target in targets(run.precision, run.flags):
        values = [value for value in map(target.value, run.rounds) if value is not None]
        if not values:
            continue
        row = {"figure": median(values), "least": min(values), "most": max(values)}
        rows[target.name] = {name: f"{value:.2f}{target.unit}" for name, value in row.items()}
        if target.bound is not None:
            sign = ">=" if target.at_least else "<="
            rows[target.name]["target"] = f"{sign} {target.bound:g}{target.unit}"
            rows[target.name][""] = "reached" if target.reached(row["figure"]) else "MISSED"
    return pd.DataFrame.from_dict(rows, orient="index").fillna("")


def chart(run: Run) -> Figure:
    """Requests a second and their 99th percentile, of the service and of its peers."""
    names = [peer.name for peer in PEERS if all(peer.name in r.loads for r in run.rounds)]
    names = [*sorted(names, key=lambda name: _rate(run, name)), SERVICE]
    figure = Figure(figsize=(9, 0.5 * len(names) + 1.2), layout="constrained")
    rate, p99 = figure.subplots(1, 2, sharey=True)
    colours = ["tab:grey"] * (len(names) - 1) + ["tab:blue"]
    loads = {name: [r.loads[name][AT_64.name] for r in run.rounds] for name in names}
    for axes, title, attribute in (
        (rate, "requests/s", "requests_per_s"),
        (p99, "99th percentile, ms", "p99_ms"),
    ):
        values = [[getattr(load, attribute) for load in loads[name]] for name in names]
        middle = [median(of) for of in values]
        spread = [[m - min(of), max(of) - m] for m, of in zip(middle, values, strict=True)]
        axes.barh(names, middle, xerr=list(zip(*spread, strict=True)), color=colours, capsize=3)
        axes.set_xlabel(title)
    ideal = median(ideal_per_s(r, AT_64) for r in run.rounds)
    rate.axvline(ideal, color="black", linestyle="--")
    rate.text(ideal, 0, "ideal ", ha="right", va="center")  # beside the shortest bar
    figure.suptitle("32x32 JPEG, multipart, 64 connections: median, least and most of the rounds")
    return figure


def _rate(run: Run, server: str) -> float:
    return median(r.loads[server][AT_64.name].requests_per_s for r in run.rounds)


def _ceiling_rows(run: Run) -> dict[str, dict[str, float]]:
    rates = {
        f"ideal, {case.name}": [ideal_per_s(r, case) for r in run.rounds] for case in (AT_64, RAW)
    }
    ceilings = [r.ceilings for r in run.rounds]
    for batch in ceilings[0].compute:
        name = f"decode, resize and infer, batch {batch}"
        rates[name] = [ceiling.compute[batch] for ceiling in ceilings]
    for batch in ceilings[0].onnx_runtime:
        rates[f"ONNX Runtime, batch {batch}"] = [c.onnx_runtime[batch] for c in ceilings]
    rows = {name: _rate_columns(values) for name, values in rates.items()}
    rows["decode, resize and infer, lone"] = {"p50 ms": median(c.lone_ms for c in ceilings)}
    return rows


def _server_rows(run: Run) -> dict[str, dict[str, float]]:
    rows = {}
    for server, cases in (
        (CONSTANT, (LONE, AT_64, RAW)),
        (SERVICE, SERVICE_CASES),
        (WITH_VIEWS, (AT_64, MEDIUM)),
        (IN_FULL, (MEDIUM, LARGE)),
        *((peer.name, (AT_64,)) for peer in PEERS),
    ):
        rounds = [r for r in run.rounds if server in r.loads]
        name = f"{server} {run.versions.get(server, '')}".strip()
        for case in cases if rounds else ():
            rows[f"{name}, {case.name}"] = _server_row(rounds, server, case)
    return rows


def _server_row(rounds: Sequence[Round], server: str, case: Case) -> dict[str, float]:
    loads = [r.loads[server][case.name] for r in rounds]
    rates = [load.requests_per_s for load in loads]
    row = _rate_columns([rate * case.pictures_per_request for rate in rates])
    if case in (AT_64, RAW) and server != CONSTANT:
        ideal = [ideal_per_s(r, case) for r in rounds]
        row["of ideal"] = median(rate / of for rate, of in zip(rates, ideal, strict=True))
    row |= {
        "p50 ms": median(load.p50_ms for load in loads),
        "p99 ms": median(load.p99_ms for load in loads),
        "failed": sum(load.failed for load in loads),
        "CPU ms": median(load.cpu_ms for load in loads),
        "MB": median(load.memory_mb for load in loads),
        "start s": median(r.start_s[server] for r in rounds),
    }
    if server in (SERVICE, WITH_VIEWS, IN_FULL, CONSTANT) and case.connections > 1:
        row["balance"] = median(load.balance for load in loads)
    sizes = [load.batch_size for load in loads if load.batch_size]
    return row | ({"batch": median(sizes)} if sizes else {})


def _rate_columns(rates: Sequence[float]) -> dict[str, float]:
    return {"pictures/s": median(rates), "least": min(rates), "most": max(rates)}
