// What an Observation of FHIR R4 has to have (https://hl7.org/fhir/R4/observation.html). Nothing here needs a sandbox.
// A fault names elements and never says what stands in them.

// The value set `observation-status`.
const STATUSES = [
  'registered', 'preliminary', 'final', 'amended', 'corrected', 'cancelled', 'entered-in-error', 'unknown',
];

// The first fault of a resource, or nothing.
export function check(octets, required) {
  let resource;
  try {
    resource = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(octets));
  } catch {
    return fault('malformed', 'the body is not JSON');
  }
  if (resource?.resourceType !== 'Observation') {
    return fault('not-an-observation', 'the resource is not an Observation');
  }
  if (!STATUSES.includes(resource.status)) {
    return fault('status', 'Observation.status is missing, or is none of the value set');
  }
  if (!hasMeaning(resource.code)) {
    return fault('code', 'Observation.code has neither a coding with system and code nor a text');
  }
  const values = choices(resource, 'value');
  if (values.length > 1) {
    return fault('value', 'Observation.value[x] is there more than once');
  }
  // Constraint obs-6.
  if (values.length === 1 && resource.dataAbsentReason !== undefined) {
    return fault('value', 'Observation.dataAbsentReason is there although a value is (obs-6)');
  }
  const missing = required.filter((element) => !has(resource, element));
  return missing.length ? fault('missing', `the Observation has no ${missing.join(', ')}`) : undefined;
}

function fault(code, reason) {
  return { code, reason };
}

// Whether somebody can tell what was measured.
function hasMeaning(concept) {
  const isText = (text) => typeof text === 'string' && text.trim() !== '';
  const codings = Array.isArray(concept?.coding) ? concept.coding : [];
  return isText(concept?.text) || codings.some((coding) => isText(coding?.system) && isText(coding?.code));
}

// The members of a choice such as `value[x]`.
function choices(resource, element) {
  return Object.keys(resource).filter((name) => name.startsWith(element) && /^[A-Z]/.test(name.slice(element.length)));
}

function has(resource, element) {
  if (element === 'effective') {
    return choices(resource, element).length === 1;
  }
  const value = resource[element];
  return Array.isArray(value) ? value.length > 0 : typeof value === 'object' && value !== null;
}
