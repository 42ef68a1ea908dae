"""{{name}}: lets records of some content types pass. Put what your plugin decides in its place."""

import json

from failures import told
from wit_world import exports
from wit_world.exports.authorizer import Decision_Allow, Decision_Deny
from wit_world.imports.types import Description, Refusal

# The configuration of a stage, as JSON Schema: Hilum checks it before the plugin sees it.
SCHEMA = {
    "type": "object",
    "properties": {"content_types": {"type": "array", "items": {"type": "string"}, "maxItems": 64}},
    "required": ["content_types"],
    "additionalProperties": False,
}

settings = {}


class Plugin(exports.Plugin):
    def describe(self):
        return Description("{{name}}", "0.1.0", json.dumps(SCHEMA), removes=[], content_types=[])

    @told
    def configure(self, config):
        settings.update(json.loads(config))


class Authorizer(exports.Authorizer):
    @told
    def decide(self, of, requests):
        decisions = []
        for request in requests:
            # A body is there to be read, `request.body.read(octets)`, and is let go of at the end of this block.
            with request.body:
                decisions.append(decision(request.head))
        return decisions


def decision(head):
    if head.content_type in settings["content_types"]:
        return Decision_Allow()
    return Decision_Deny(Refusal("content-type", "the content type is not one that may pass"))
