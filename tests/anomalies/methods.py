"""What the series are put through: plugin `analytics` in the sandbox, and the simple methods beside it."""

import datetime
import json
import math
import re
import statistics
import subprocess

TELEMETRY = "application/vnd.hilum.telemetry+json"
START_MS = 1_650_000_000_000
# Standard deviations that both simple methods allow.
LIMIT = 3


def observe(hilum, base, config, records):
    """What the plugin emits about records, in order."""
    settings = base / "config.json"
    settings.write_text(json.dumps(config))
    command = [hilum, "plugin", "run", "analytics", "--config", str(settings), "--content-type", TELEMETRY, "--lines"]
    lines = base / "records.jsonl"
    with lines.open("w") as out:
        for record in records:
            out.write(json.dumps(record, separators=(",", ":")) + "\n")
    with lines.open() as source:
        run = subprocess.run(command, stdin=source, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    lines.unlink()
    if run.returncode != 0:
        raise SystemExit(f"hilum plugin run failed: {run.stderr[-2000:]}")
    found = re.findall(r"^emitted to alerts: \S+, \d+ octets: (.*)$", run.stderr, re.M)
    return [json.loads(line) for line in found]


def milliseconds(text):
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


def spans(alerts, end_ms):
    """From when to when an alert stands, for each sensor and cause."""
    standing, closed = {}, []
    for alert in alerts:
        key = (alert["sensor"], alert["cause"])
        at = milliseconds(alert["time"])
        if alert["status"] == "cleared":
            if key in standing:
                closed.append((standing.pop(key), at, key))
        else:
            standing.setdefault(key, at)
    closed.extend((since, end_ms, key) for key, since in standing.items())
    return sorted(closed)


def standing(times, beyond):
    """From when to when readings are beyond a method's limits."""
    since, closed = None, []
    for time, is_beyond in [*zip(times, beyond), (times[-1] + 1, False)]:
        if is_beyond and since is None:
            since = time
        elif not is_beyond and since is not None:
            closed.append((since, time))
            since = None
    return closed


def threshold(values, learned):
    """Whether each value is more than three standard deviations from the mean of those learned from."""
    mean, deviation = statistics.fmean(learned), statistics.stdev(learned)
    return [abs(value - mean) > LIMIT * deviation for value in values]


def chart(values, learned, weight=0.2):
    """Whether the moving average is beyond the chart's limits, at each value."""
    mean, deviation = statistics.fmean(learned), statistics.stdev(learned)
    bound = LIMIT * deviation * math.sqrt(weight / (2 - weight))
    smoothed, beyond = mean, []
    for value in values:
        smoothed += weight * (value - smoothed)
        beyond.append(abs(smoothed - mean) > bound)
    return beyond
