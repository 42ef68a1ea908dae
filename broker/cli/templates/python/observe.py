"""{{name}}: counts records, and raises an alert for each large one. Put what your plugin watches in its place."""

import json

from failures import told
from wit_world import exports
from wit_world.imports import emit, state
from wit_world.imports.types import Body_Inline, Description, Draft

# The configuration of a stage, as JSON Schema: Hilum checks it before the plugin sees it.
SCHEMA = {
    "type": "object",
    "properties": {
        "alerts": {"type": "string", "description": "the flow that gets the alerts"},
        "octets_max": {"type": "integer", "minimum": 0},
    },
    "required": ["alerts", "octets_max"],
    "additionalProperties": False,
}

settings = {}


class Plugin(exports.Plugin):
    def describe(self):
        return Description("{{name}}", "0.1.0", json.dumps(SCHEMA), removes=[], content_types=[])

    @told
    def configure(self, config):
        settings.update(json.loads(config))


class Observer(exports.Observer):
    @told
    def observe(self, of, messages):
        count(len(messages))
        for message in messages:
            size = octets(message.body)
            if size > settings["octets_max"]:
                alert(size)

    def tick(self, now):
        """Called about once a second."""


def octets(body):
    """A small body is bytes; a large one is a reader."""
    return len(body.value) if isinstance(body, Body_Inline) else body.value.size()


def alert(size):
    body = Body_Inline(json.dumps({"octets": size}, separators=(",", ":")).encode())
    emit.emit(settings["alerts"], Draft(None, "application/json", [], body))


def count(more):
    """Instances come and go: what has to last is in the state of the stage."""
    found = state.get("records")
    counted = int(found.value) if found else 0
    state.put("records", str(counted + more).encode(), found.version if found else 0)
