"""readings: turns the CSV of a vendor's telemetry gateway into the JSON readings that Hilum's `analytics` understands."""

import json

import telemetry
from failures import told
from wit_world import exports
from wit_world.exports.transformer import Outcome_Pass, Outcome_Refuse, Outcome_Replace
from wit_world.imports.types import Body_Inline, Description, Draft, Refusal

# The configuration of a stage, as JSON Schema: Hilum checks it before the plugin sees it.
SCHEMA = {
    "type": "object",
    "properties": {
        "sensors": {
            "type": "object",
            "description": "our name of each of the vendor's channels; other channels are left out",
            "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 64},
            "maxProperties": 256,
        }
    },
    "required": ["sensors"],
    "additionalProperties": False,
}

settings = {}


class Plugin(exports.Plugin):
    def describe(self):
        return Description("readings", "0.1.0", json.dumps(SCHEMA), removes=[], content_types=["text/csv"])

    @told
    def configure(self, config):
        settings.update(json.loads(config))


class Transformer(exports.Transformer):
    @told
    def transform(self, of, messages):
        return [outcome(message) for message in messages]


def outcome(message):
    head = message.head
    if head.content_type.split(";")[0].strip() != "text/csv":
        return Outcome_Pass()
    if not isinstance(message.body, Body_Inline):
        return Outcome_Refuse(Refusal("too-large", "an hour of telemetry is no large body"))
    try:
        made = telemetry.convert(message.body.value, settings["sensors"])
    except telemetry.Malformed as fault:
        return Outcome_Refuse(Refusal("malformed", str(fault)))
    return Outcome_Replace(Draft(head.key, "application/json", head.attributes, Body_Inline(made)))
