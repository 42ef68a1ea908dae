// {{name}}: marks the records that it has seen, and refuses empty ones. Put what your plugin does in its place.

// The configuration of a stage, as JSON Schema: Hilum checks it before the plugin sees it.
const schema = {
  type: 'object',
  properties: { mark: { type: 'string', minLength: 1, maxLength: 64 } },
  required: ['mark'],
  additionalProperties: false,
};

let settings;

export const plugin = {
  describe() {
    return {
      name: '{{name}}',
      version: '0.1.0',
      configSchema: JSON.stringify(schema),
      removes: [],
      contentTypes: [],
    };
  },

  configure(config) {
    settings = JSON.parse(config);
  },
};

export const transformer = {
  transform(of, messages) {
    return messages.map(outcome);
  },
};

function outcome({ head, body }) {
  if (octets(body) === 0n) {
    return { tag: 'refuse', val: { code: 'empty', reason: 'the record has no body' } };
  }
  return { tag: 'annotate', val: [...head.attributes, { name: 'checked-by', value: settings.mark }] };
}

// A small body is a Uint8Array; a large one is a reader.
function octets(body) {
  return body.tag === 'inline' ? BigInt(body.val.length) : body.val.size();
}
