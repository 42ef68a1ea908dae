"""What the plugin decides, without a sandbox. `hilum plugin test` runs this, and then the records."""

import unittest

import app
from wit_world.exports.authorizer import Decision_Allow, Decision_Deny
from wit_world.imports.types import Head


def decided(content_type):
    return app.decision(Head(None, 0, None, content_type, labels=[], attributes=[]))


class Decisions(unittest.TestCase):
    def setUp(self):
        app.Plugin().configure('{"content_types": ["application/json"]}')

    def test_what_is_named_may_pass(self):
        self.assertEqual(decided("application/json"), Decision_Allow())

    def test_anything_else_may_not(self):
        decision = decided("text/plain")
        self.assertIsInstance(decision, Decision_Deny)
        self.assertEqual(decision.value.code, "content-type")


if __name__ == "__main__":
    unittest.main()
