// {{name}}: lets records of some content types pass. Put what your plugin decides in its place.

// The configuration of a stage, as JSON Schema: Hilum checks it before the plugin sees it.
const schema = {
  type: 'object',
  properties: { content_types: { type: 'array', items: { type: 'string' }, maxItems: 64 } },
  required: ['content_types'],
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

export const authorizer = {
  decide(of, requests) {
    return requests.map((request) => {
      const decided = decision(request.head);
      // A body is there to be read, `request.body.read(octets)`, and has to be let go of.
      request.body[Symbol.dispose]();
      return decided;
    });
  },
};

export function decision(head) {
  if (settings.content_types.includes(head.contentType)) {
    return { tag: 'allow' };
  }
  return { tag: 'deny', val: { code: 'content-type', reason: 'the content type is not one that may pass' } };
}
