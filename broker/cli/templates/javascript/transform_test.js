// What the plugin does, without a sandbox. `hilum plugin test` runs this, and then the records.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { plugin, transformer } from '../plugin.js';

function outcome(body) {
  plugin.configure('{"mark": "test"}');
  const head = { time: 0n, contentType: 'text/plain', labels: [], attributes: [] };
  const message = { head, body: { tag: 'inline', val: new TextEncoder().encode(body) } };
  return transformer.transform({}, [message])[0];
}

test('a record is marked', () => {
  assert.deepEqual(outcome('a note'), { tag: 'annotate', val: [{ name: 'checked-by', value: 'test' }] });
});

test('an empty record is refused', () => {
  const { tag, val } = outcome('');
  assert.equal(tag, 'refuse');
  assert.equal(val.code, 'empty');
});
