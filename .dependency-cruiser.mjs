/**
 * The house, from the ground up. A module may import from its own room and from rooms below it, but never from one
 * above. Modules must not import each other in a circle, even if some of the imports are only of types. The lint step
 * of build.sh checks this.
 */
const rooms = [
  { name: 'values', path: '^ts/values/' }, // typed arrays, id types, values as messages name them
  { name: 'errors', path: '^ts/errors/' }, // the error family, and why a device can or cannot be used
  { name: 'input', path: '^ts/input/' }, // topkIdx in every form; which expert is on which rank
  { name: 'layout', path: '^ts/layout/' }, // the table of outputs, the request, the result, events
  { name: 'devices', path: '^ts/devices/' }, // what a device is; the devices js, wasm and cuda
  { name: 'platform', path: '^(ts|dist)/platform/' }, // the devices of each runtime, as #platform
  { name: 'api', path: '^ts/[^/]+[.]ts$' }, // what users call: the modules in ts/ itself
  { name: 'cli', path: '^ts/cli/' }, // the command line
];

const upward = rooms.slice(0, -1).map(({ name, path }, floor) => ({
  name: `${name}-imports-nothing-above-it`,
  severity: 'error',
  from: { path },
  to: { path: rooms.slice(floor + 1).map((room) => room.path) },
}));

/** @param exceptions the modules that `from` may import all the same. */
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
    // The plain reference is beside the folders of the other devices, since it checks them
    forbid(
      'wasm-and-cuda-do-not-know-each-other',
      { path: '^ts/devices/(wasm|cuda)/' },
      '^ts/devices/.*/',
      '^ts/devices/$1/',
    ),
    // The API's declarations contain the types of tensors. Their code is in no bundle for browsers, which a test checks
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
