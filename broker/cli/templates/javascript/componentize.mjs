// Makes a component: node componentize.mjs SOURCE WIT WORLD OUTPUT, all paths absolute.
// Without these features nothing of WASI is imported, which a plugin would not get anyway.

import { writeFile } from 'node:fs/promises';

import { componentize } from '@bytecodealliance/componentize-js';

const [sourcePath, witPath, worldName, output] = process.argv.slice(2);
const disableFeatures = ['random', 'stdio', 'clocks', 'http', 'fetch-event'];
const { component } = await componentize({ sourcePath, witPath, worldName, disableFeatures });
await writeFile(output, component);
