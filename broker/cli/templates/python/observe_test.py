"""What the plugin watches, without a sandbox. `hilum plugin test` runs this, and then the records."""

import unittest
from unittest import mock

import app
from wit_world.imports.types import Body_Inline, Head, Message


def message(body):
    head = Head(offset=0, time=0, key=None, content_type="text/plain", labels=[], attributes=[])
    return Message(head, Body_Inline(body))


class Watching(unittest.TestCase):
    def test_records_are_counted_and_large_ones_raise_an_alert(self):
        app.Plugin().configure('{"alerts": "alerts", "octets_max": 4}')
        with mock.patch.object(app, "state") as state, mock.patch.object(app, "emit") as emit:
            state.get.return_value = None
            app.Observer().observe(None, [message(b"1234"), message(b"12345")])
        state.put.assert_called_once_with("records", b"2", 0)
        emit.emit.assert_called_once()
        flow, alert = emit.emit.call_args.args
        self.assertEqual((flow, alert.body.value), ("alerts", b'{"octets":5}'))


if __name__ == "__main__":
    unittest.main()
