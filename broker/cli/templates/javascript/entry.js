// What is compiled: the project's module, with every function that Hilum calls wrapped. A failure is told with its place before the
// instance is gone, and never with its message, which may hold a value of a record.

import { log } from 'hilum:plugin/log@{{contract}}';

import * as project from '../plugin.js';

function told(call) {
  return (...given) => {
    try {
      return call(...given);
    } catch (failure) {
      // Anything else that is thrown is an answer, such as a configuration that is refused.
      if (failure instanceof Error && failure.payload === undefined) {
        // Hilum takes a line that begins so as the reason of the failure.
        log('error', `the plugin panicked at ${place(failure)} (${failure.name})`);
      }
      throw failure;
    }
  };
}

// Of a line of the stack the file and the line in it.
function place(failure) {
  const [, file, line] = /([^/\\@\s]+?):(\d+)/.exec(failure.stack ?? '') ?? [undefined, 'an unknown place', 0];
  return `${file}:${line}`;
}

function wrapped(functions) {
  return Object.fromEntries(Object.entries(functions).map(([name, call]) => [name, told(call.bind(functions))]));
}

export const plugin = wrapped(project.plugin);
export const {{interface}} = wrapped(project.{{interface}});
