"""What becomes of the vendor's CSV, without a sandbox."""

import json
import unittest

import app
import telemetry
from wit_world.exports.transformer import Outcome_Pass, Outcome_Refuse, Outcome_Replace
from wit_world.imports.types import Attribute, Body_Inline, Head, Message

SENSORS = {"He_Level": "helium-level", "CH_Temp": "cold-head-temperature"}
HEADER = "device;timestamp;channel;value;unit\n"


def convert(rows):
    return json.loads(telemetry.convert((HEADER + rows).encode(), SENSORS))


class Conversion(unittest.TestCase):
    def test_commas_offsets_and_names_become_ours(self):
        made = convert("MR-1;2026-01-05T00:30:00+01:00;He_Level;78,4;%\nMR-1;2026-01-05T00:30:00+01:00;Fan;1;rpm\n")
        reading = {"sensor": "helium-level", "unit": "%", "time": "2026-01-04T23:30:00Z", "value": 78.4}
        self.assertEqual(made, {"machine": "MR-1", "readings": [reading]})

    def test_what_is_wrong_is_said_with_its_line_and_without_its_value(self):
        row = "MR-1;2026-01-05T08:00:00+01:00;He_Level;78,4;%\n"
        for rows, reason in [
            (row.replace("78,4", "Doe"), "line 2 has no number"),
            (row.replace("78,4", "1e999"), "line 2 has no number"),
            (row + row.replace("+01:00", ""), "line 3 has a time without an offset"),
            (row.replace("2026-01-05", "gestern "), "line 2 has no time of ISO 8601"),
            (row.replace(";%", ""), "line 2 has 4 columns, not 5"),
            (row + row.replace("MR-1", "MR-2"), "the rows are of 2 devices, not of one"),
            ("", "the rows are of 0 devices, not of one"),
        ]:
            with self.assertRaises(telemetry.Malformed) as caught:
                convert(rows)
            self.assertEqual(str(caught.exception), reason)


class Outcomes(unittest.TestCase):
    def setUp(self):
        app.Plugin().configure(json.dumps({"sensors": SENSORS}))

    def outcome(self, content_type, body):
        head = Head(None, 0, "MR-1", content_type, labels=[], attributes=[Attribute("ward", "3")])
        return app.outcome(Message(head, Body_Inline(body)))

    def test_csv_is_replaced_and_keeps_its_head(self):
        outcome = self.outcome("text/csv; charset=utf-8", (HEADER + "MR-1;2026-01-05T08:00:00Z;He_Level;1;%").encode())
        self.assertIsInstance(outcome, Outcome_Replace)
        self.assertEqual((outcome.value.key, outcome.value.content_type), ("MR-1", "application/json"))
        self.assertEqual(outcome.value.attributes, [Attribute("ward", "3")])

    def test_anything_else_passes(self):
        self.assertEqual(self.outcome("application/json", b"{}"), Outcome_Pass())

    def test_what_is_no_csv_of_the_gateway_is_refused(self):
        outcome = self.outcome("text/csv", b"\xff")
        self.assertIsInstance(outcome, Outcome_Refuse)
        self.assertEqual(outcome.value.reason, "the file is not UTF-8")


if __name__ == "__main__":
    unittest.main()
