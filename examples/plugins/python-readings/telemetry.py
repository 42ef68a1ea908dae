"""The vendor's CSV, and what is made of it. Nothing here needs a sandbox.

The gateway writes one file an interval, as its German installation does: semicolons, a comma in numbers, local time with its offset.

    device;timestamp;channel;value;unit
    MR-1;2026-01-05T08:00:00+01:00;He_Level;78,4;%
"""

import csv
import io
import json
from datetime import datetime, timezone

COLUMNS = ["device", "timestamp", "channel", "value", "unit"]
ROWS_MAX = 10_000
DIGITS_MAX = 24


class Malformed(Exception):
    """Says what is wrong and in which line, and never what stands there."""


def convert(octets, sensors):
    """JSON with the readings of one device, in the order of the file."""
    try:
        # Some gateways begin with a byte order mark. The codec that drops it is no part of a component.
        text = octets.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise Malformed("the file is not UTF-8") from None
    table = csv.reader(io.StringIO(text), delimiter=";", strict=True)
    try:
        rows = [(table.line_num, row) for row in table if row]
    except csv.Error:
        raise Malformed(f"line {table.line_num} is not CSV") from None
    if not rows or rows[0][1] != COLUMNS:
        raise Malformed("the first line does not name the columns " + ", ".join(COLUMNS))
    if len(rows) > ROWS_MAX + 1:
        raise Malformed(f"there are more than {ROWS_MAX} rows")
    devices, readings = set(), []
    for line, row in rows[1:]:
        if len(row) != len(COLUMNS):
            raise Malformed(f"line {line} has {len(row)} columns, not {len(COLUMNS)}")
        device, timestamp, channel, value, unit = row
        devices.add(device)
        if channel in sensors:
            readings.append(
                {"sensor": sensors[channel], "unit": unit, "time": utc(timestamp, line), "value": number(value, line)}
            )
    if len(devices) != 1:
        raise Malformed(f"the rows are of {len(devices)} devices, not of one")
    return json.dumps({"machine": devices.pop(), "readings": readings}, separators=(",", ":")).encode()


def utc(text, line):
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Malformed(f"line {line} has no time of ISO 8601") from None
    if time.tzinfo is None:
        raise Malformed(f"line {line} has a time without an offset")
    return time.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def number(text, line):
    digits = text.replace(",", ".", 1).removeprefix("-")
    whole, _, part = digits.partition(".")
    is_number = digits.isascii() and whole.isdecimal() and (part == "" or part.isdecimal())
    if not is_number or len(text) > DIGITS_MAX:
        raise Malformed(f"line {line} has no number")
    return float(text.replace(",", ".", 1))
