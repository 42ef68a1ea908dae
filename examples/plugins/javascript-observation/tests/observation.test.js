// What an Observation has to have, without a sandbox.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { check } from '../observation.js';
import { authorizer, plugin } from '../plugin.js';

const good = {
  resourceType: 'Observation',
  status: 'final',
  code: { coding: [{ system: 'http://loinc.org', code: '8867-4' }] },
  subject: { reference: 'Patient/1' },
  effectiveDateTime: '2026-01-05T08:00:00Z',
  valueQuantity: { value: 72, unit: '/min' },
};

const octets = (resource) => new TextEncoder().encode(JSON.stringify(resource));
const code = (change, required = []) => check(octets({ ...good, ...change }), required)?.code;

test('a good one has no fault', () => {
  assert.equal(code({}, ['subject', 'effective']), undefined);
  assert.equal(code({ code: { text: 'heart rate' } }), undefined);
});

test('each fault has its code', () => {
  assert.equal(check(new TextEncoder().encode('{'), []).code, 'malformed');
  assert.equal(check(Uint8Array.of(0xff), []).code, 'malformed');
  assert.equal(check(octets(null), []).code, 'not-an-observation');
  assert.equal(code({ resourceType: 'Patient' }), 'not-an-observation');
  assert.equal(code({ status: 'done' }), 'status');
  assert.equal(code({ code: { coding: [{ code: '8867-4' }] } }), 'code');
  assert.equal(code({ valueString: '72' }), 'value');
  assert.equal(code({ dataAbsentReason: { text: 'lost' } }), 'value');
});

test('what is required is named where it is missing', () => {
  const { reason } = check(octets({ ...good, subject: undefined }), ['subject', 'performer']);
  assert.equal(reason, 'the Observation has no subject, performer');
});

test('a body is read in the pieces that the host gives, and let go of', () => {
  plugin.configure('{"require": ["subject"]}');
  const whole = octets(good);
  let [at, disposed] = [0, 0];
  const body = {
    read: (max) => whole.subarray(at, (at += Math.min(max, 7))),
    [Symbol.dispose]: () => disposed++,
  };
  const request = { head: { contentType: 'application/fhir+json' }, size: BigInt(whole.length), body };
  assert.deepEqual(authorizer.decide({}, [request]), [{ tag: 'allow' }]);
  assert.equal(disposed, 1);
});
