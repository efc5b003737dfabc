/** Runs page.js in a module worker. */
const worker = new Worker(`./page.js${location.search}`, { type: 'module' });
worker.addEventListener('error', ({ message, filename, lineno }) =>
  reportError(new Error(`in the worker: ${message} (${filename}:${lineno})`)),
);
