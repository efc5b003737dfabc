/**
 * The house, from the ground up. A module imports from its own room and from rooms below it, never from one above, and no
 * circle of modules closes, imports of types counted. `./build.sh lint` checks it.
 */
const rooms = [
  { name: 'values', path: '^ts/values/' }, // typed arrays, id types, values in the words of messages
  { name: 'errors', path: '^ts/errors/' }, // the error family, and why a device can be used or not
  { name: 'input', path: '^ts/input/' }, // topkIdx in every form; which expert is on which rank
  { name: 'layout', path: '^ts/layout/' }, // the table of outputs, the request, the result, events
  { name: 'devices', path: '^ts/devices/' }, // what a device is; js, wasm, cuda
  { name: 'platform', path: '^(ts|dist)/platform/' }, // which devices there are on which runtime, as #platform
  { name: 'api', path: '^ts/[^/]+[.]ts$' }, // what users call: the modules that lie in ts/ itself
  { name: 'cli', path: '^ts/cli/' }, // the command line
];

const upward = rooms.slice(0, -1).map(({ name, path }, floor) => ({
  name: `${name}-imports-nothing-above-it`,
  severity: 'error',
  from: { path },
  to: { path: rooms.slice(floor + 1).map((room) => room.path) },
}));

/** @param exceptions what `from` may import all the same. */
function forbid(name, from, to, ...exceptions) {
  return { name, severity: 'error', from, to: { path: to, pathNot: exceptions } };
}

export default {
  forbidden: [
    { name: 'no-circle', severity: 'error', from: {}, to: { circular: true } },
    ...upward,
    forbid(
      'only-the-choice-of-devices-asks-the-platform',
      { path: '^ts/', pathNot: '^ts/choose-device[.]ts$' },
      '^(ts|dist)/platform/',
    ),
    // The plain reference lies beside the folders of the others, since it checks them
    forbid(
      'wasm-and-cuda-do-not-know-each-other',
      { path: '^ts/devices/(wasm|cuda)/' },
      '^ts/devices/.*/',
      '^ts/devices/$1/',
    ),
    // The API has the types of tensors in its declarations; the code is in no bundle for browsers, which a test checks
    forbid(
      'of-cuda-the-api-sees-tensors-only',
      { path: '^ts/[^/]+[.]ts$' },
      '^ts/devices/cuda/',
      'device-(tensor|layout)[.]ts$',
    ),
    forbid(
      'the-command-line-sees-one-module-of-the-library',
      { path: '^ts/cli/', pathNot: '/library[.]ts$' },
      '^ts/',
      '^ts/cli/',
    ),
    forbid(
      'the-library-needs-no-package-but-the-loader',
      { path: '^ts/', pathNot: '^ts/cli/' },
      'node_modules/',
      '@assemblyscript/loader/',
    ),
    { name: 'every-import-is-found', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    parser: 'swc',
    tsPreCompilationDeps: true,
    doNotFollow: { path: ['node_modules', '^dist/'] },
    exclude: { path: '[.]wasm[?]module$|^ts/bundle[.]mjs$' },
  },
};
