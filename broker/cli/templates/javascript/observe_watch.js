// What the plugin watches. Put what yours does in its place.

export function watcher(settings, state, emit) {
  return (messages) => {
    count(state, messages.length);
    for (const { body } of messages) {
      const size = octets(body);
      if (size > settings.octets_max) {
        emit(settings.alerts, alert(size));
      }
    }
  };
}

function alert(size) {
  const body = { tag: 'inline', val: new TextEncoder().encode(`{"octets":${size}}`) };
  return { contentType: 'application/json', attributes: [], body };
}

// Instances come and go: what has to last is in the state of the stage.
function count(state, more) {
  const found = state.get('records');
  const counted = found ? Number(new TextDecoder().decode(found.value)) : 0;
  state.put('records', new TextEncoder().encode(String(counted + more)), found ? found.version : 0n);
}

// A small body is a Uint8Array; a large one is a reader.
function octets(body) {
  return body.tag === 'inline' ? body.val.length : Number(body.val.size());
}
