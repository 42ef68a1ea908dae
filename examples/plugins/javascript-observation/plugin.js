// observation-check: lets FHIR resources pass only if they are Observations that others can use.

import { check } from './observation.js';

// The configuration of a stage, as JSON Schema: Hilum checks it before the plugin sees it.
const schema = {
  type: 'object',
  properties: {
    require: {
      type: 'array',
      description: 'what an Observation has to have, besides what FHIR itself demands',
      items: { enum: ['category', 'device', 'effective', 'performer', 'subject'] },
      uniqueItems: true,
    },
  },
  additionalProperties: false,
};

const FHIR_JSON = 'application/fhir+json';
// An Observation is small; what is larger is none.
const OCTETS_MAX = 1 << 20;

let required = [];

export const plugin = {
  describe() {
    return {
      name: 'observation-check',
      version: '0.1.0',
      configSchema: JSON.stringify(schema),
      removes: [],
      contentTypes: [FHIR_JSON],
    };
  },

  configure(config) {
    required = JSON.parse(config).require ?? [];
  },
};

export const authorizer = {
  decide(of, requests) {
    return requests.map((request) => {
      const decided = decision(request);
      request.body[Symbol.dispose]();
      return decided;
    });
  },
};

function decision({ head, size, body }) {
  if (head.contentType.split(';')[0].trim() !== FHIR_JSON) {
    return { tag: 'allow' };
  }
  if (size > BigInt(OCTETS_MAX)) {
    return deny('too-large', `the resource has more than ${OCTETS_MAX} octets`);
  }
  const fault = check(read(body, Number(size)), required);
  return fault ? deny(fault.code, fault.reason) : { tag: 'allow' };
}

function deny(code, reason) {
  return { tag: 'deny', val: { code, reason } };
}

// The whole body. A read gives at most 1 MiB, and less where the host likes.
function read(body, size) {
  const octets = new Uint8Array(size);
  let at = 0;
  while (at < size) {
    const chunk = body.read(size - at);
    if (chunk.length === 0) {
      break;
    }
    octets.set(chunk, at);
    at += chunk.length;
  }
  return octets.subarray(0, at);
}
