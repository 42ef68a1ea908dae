"""{{name}}: marks the records that it has seen, and refuses empty ones. Put what your plugin does in its place."""

import json

from failures import told
from wit_world import exports
from wit_world.exports.transformer import Outcome_Annotate, Outcome_Refuse
from wit_world.imports.types import Attribute, Body_Inline, Description, Refusal

# The configuration of a stage, as JSON Schema: Hilum checks it before the plugin sees it.
SCHEMA = {
    "type": "object",
    "properties": {"mark": {"type": "string", "minLength": 1, "maxLength": 64}},
    "required": ["mark"],
    "additionalProperties": False,
}

settings = {}


class Plugin(exports.Plugin):
    def describe(self):
        return Description("{{name}}", "0.1.0", json.dumps(SCHEMA), removes=[], content_types=[])

    @told
    def configure(self, config):
        settings.update(json.loads(config))


class Transformer(exports.Transformer):
    @told
    def transform(self, of, messages):
        return [outcome(message) for message in messages]


def outcome(message):
    if octets(message.body) == 0:
        return Outcome_Refuse(Refusal("empty", "the record has no body"))
    return Outcome_Annotate(message.head.attributes + [Attribute("checked-by", settings["mark"])])


def octets(body):
    """A small body is bytes; a large one is a reader."""
    return len(body.value) if isinstance(body, Body_Inline) else body.value.size()
