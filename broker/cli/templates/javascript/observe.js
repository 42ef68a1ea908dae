// {{name}}: counts records, and raises an alert for each large one. What it watches is in watch.js, which needs no sandbox.

import { emit } from 'hilum:plugin/emit@{{contract}}';
import * as state from 'hilum:plugin/state@{{contract}}';

import { watcher } from './watch.js';

// The configuration of a stage, as JSON Schema: Hilum checks it before the plugin sees it.
const schema = {
  type: 'object',
  properties: {
    alerts: { type: 'string', description: 'the flow that gets the alerts' },
    octets_max: { type: 'integer', minimum: 0 },
  },
  required: ['alerts', 'octets_max'],
  additionalProperties: false,
};

let watch;

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
    watch = watcher(JSON.parse(config), state, emit);
  },
};

export const observer = {
  observe(of, messages) {
    watch(messages);
  },

  // Called about once a second.
  tick(now) {},
};
