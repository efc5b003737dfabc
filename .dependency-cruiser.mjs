/**
 * The folders of the library, from the lowest layer to the highest. A module may import from its own folder and from
 * lower ones, but never from a higher one. There must be no import cycles, even if some of the imports are type
 * imports. The lint step of build.sh checks these rules.
 */
const layers = [
  { name: 'values', path: '^ts/values/' }, // typed arrays, id types, and how messages show values
  { name: 'errors', path: '^ts/errors/' }, // the error classes, and why a device can or cannot be used
  { name: 'input', path: '^ts/input/' }, // topkIdx in every form; which expert is on which rank
  { name: 'layout', path: '^ts/layout/' }, // the table of outputs, the request, the result, events
  { name: 'receive', path: '^ts/receive/' }, // what a rank receives, from what all ranks send
  { name: 'devices', path: '^ts/devices/' }, // what a device is; the devices js, wasm and cuda
  { name: 'placement', path: '^ts/placement/' }, // plans of experts and replicas: dispatch-layout/placement
  { name: 'platform', path: '^(ts|dist)/platform/' }, // the devices of each runtime, as #platform
  { name: 'api', path: '^ts/[^/]+[.]ts$' }, // what users call: the modules in ts/ itself
  { name: 'routing', path: '^ts/routing/' }, // reads routing files: dispatch-layout/routing
  { name: 'findings', path: '^ts/findings/' }, // what is wrong or odd in routing
  { name: 'capture', path: '^ts/capture/' }, // what a page of pictures keeps of routing
  { name: 'cli', path: '^ts/cli/' }, // the command line
  { name: 'page', path: '^web/' }, // the page of pictures
];

const upward = layers.slice(0, -1).map(({ name, path }, level) => ({
  name: `${name}-imports-from-no-higher-layer`,
  severity: 'error',
  from: { path },
  to: { path: layers.slice(level + 1).map((layer) => layer.path) },
}));

/**
 * A rule that modules of `from` must not import those of `to`.
 *
 * @param exceptions the modules of `to` that they may import nevertheless.
 */
function forbid(name, from, to, ...exceptions) {
  return { name, severity: 'error', from, to: { path: to, pathNot: exceptions } };
}

export default {
  forbidden: [
    { name: 'no-import-cycle', severity: 'error', from: {}, to: { circular: true } },
    ...upward,
    forbid(
      'only-choose-device-and-the-orders-import-the-platform',
      { path: '^ts/', pathNot: '^ts/(choose-device|order-tasks|workspace)[.]ts$' },
      '^(ts|dist)/platform/',
    ),
    // It is a library of its own, which whoever computes only layouts does not load
    forbid(
      'placement-imports-no-device',
      { path: '^ts/placement/' },
      '^ts/(layout|receive|devices)/',
      '/decode-module[.]ts$',
    ),
    forbid(
      'only-the-command-line-imports-placement',
      { path: '^ts/', pathNot: '^ts/(placement|cli)/' },
      '^ts/placement/',
    ),
    // Both may import the plain reference, since it checks them
    forbid(
      'wasm-and-cuda-do-not-import-each-other',
      { path: '^ts/devices/(wasm|cuda)/' },
      '^ts/devices/.*/',
      '^ts/devices/($1|js)/',
    ),
    // The declarations of the API contain the types of tensors. A test checks that no bundle for browsers has their
    // code
    forbid(
      'the-api-imports-only-public-types-from-cuda',
      { path: '^ts/[^/]+[.]ts$' },
      '^ts/devices/cuda/',
      '/(device-(tensor|layout|workspace)|stream)[.]ts$',
    ),
    // It is a library of its own, and whoever reads files need not load the one that computes layouts
    forbid('routing-imports-only-values', { path: '^ts/routing/' }, '^ts/', '^ts/(values|routing)/'),
    forbid(
      'only-library-ts-of-the-command-line-imports-the-library',
      { path: '^ts/cli/', pathNot: '/library[.]ts$' },
      '^ts/',
      '^ts/(cli|routing|findings|capture)/',
    ),
    forbid('the-page-does-not-import-the-command-line', { path: '^web/' }, '^ts/cli/'),
    forbid('the-pages-computations-know-no-pictures', { path: '^web/compute/' }, '^web/(pictures|page|reader)/'),
    forbid('pictures-know-nothing-of-the-page', { path: '^web/pictures/' }, '^web/(page|reader)/'),
    forbid('the-reader-knows-nothing-of-the-page', { path: '^web/reader/' }, '^web/(page|pictures|compute)/'),
    // The packages that read formats are bundled into the two
    forbid(
      'the-library-imports-no-package-but-the-loader',
      { path: '^ts/', pathNot: '^ts/(cli|(routing|placement)/formats)/' },
      'node_modules/',
      '@assemblyscript/loader/',
    ),
    { name: 'every-import-is-found', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    parser: 'swc',
    tsPreCompilationDeps: true,
    doNotFollow: { path: ['node_modules', '^dist/'] },
    exclude: { path: '[.]wasm[?]module$|^(ts|web)/bundle[.]mjs$' },
  },
};
