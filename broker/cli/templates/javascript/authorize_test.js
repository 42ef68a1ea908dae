// What the plugin decides, without a sandbox. `hilum plugin test` runs this, and then the records.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { decision, plugin } from '../plugin.js';

function decided(contentType) {
  plugin.configure('{"content_types": ["application/json"]}');
  return decision({ contentType, labels: [], attributes: [] });
}

test('what is named may pass', () => {
  assert.deepEqual(decided('application/json'), { tag: 'allow' });
});

test('anything else may not', () => {
  const { tag, val } = decided('text/plain');
  assert.equal(tag, 'deny');
  assert.equal(val.code, 'content-type');
});
