// What the plugin watches, without a sandbox. `hilum plugin test` runs this, and then the records.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { watcher } from '../watch.js';

test('records are counted, and large ones raise an alert', () => {
  const [put, emitted] = [[], []];
  const state = { get: () => undefined, put: (...change) => put.push(change) };
  const watch = watcher({ alerts: 'alerts', octets_max: 4 }, state, (...record) => emitted.push(record));
  const message = (text) => ({ body: { tag: 'inline', val: new TextEncoder().encode(text) } });
  watch([message('1234'), message('12345')]);
  assert.deepEqual(put, [['records', new TextEncoder().encode('2'), 0n]]);
  assert.equal(emitted.length, 1);
  const [flow, { body }] = emitted[0];
  assert.equal(flow, 'alerts');
  assert.equal(new TextDecoder().decode(body.val), '{"octets":5}');
});
