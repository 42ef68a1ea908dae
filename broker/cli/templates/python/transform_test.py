"""What the plugin does, without a sandbox. `hilum plugin test` runs this, and then the records."""

import unittest

import app
from wit_world.exports.transformer import Outcome_Annotate, Outcome_Refuse
from wit_world.imports.types import Attribute, Body_Inline, Head, Message


def message(body):
    head = Head(offset=None, time=0, key=None, content_type="text/plain", labels=[], attributes=[])
    return Message(head, Body_Inline(body))


class Outcomes(unittest.TestCase):
    def setUp(self):
        app.Plugin().configure('{"mark": "test"}')

    def test_a_record_is_marked(self):
        self.assertEqual(app.outcome(message(b"a note")), Outcome_Annotate([Attribute("checked-by", "test")]))

    def test_an_empty_record_is_refused(self):
        outcome = app.outcome(message(b""))
        self.assertIsInstance(outcome, Outcome_Refuse)
        self.assertEqual(outcome.value.code, "empty")


if __name__ == "__main__":
    unittest.main()
