/** Every error code: what provokes it, the value that it names, and its remedy; and the error classes. */
import { inspect } from 'node:util';
import { MessageChannel } from 'node:worker_threads';
import { assert } from 'chai';
import {
  DeviceUnavailableError,
  type DispatchLayout,
  DispatchLayoutError,
  describeDevices,
  type ErrorCode,
  EventOverlap,
  ExpertGroup,
  type ExpertGroupOptions,
  type ExpertPermutation,
  expertOfBlock,
  expertOfRow,
  getDispatchLayout,
  getExpertPermutation,
  getRankPermutation,
  InvalidExpertError,
  type LayoutArrays,
  type LayoutOptions,
  type MaxRowsShape,
  maxRows,
  type Sent,
  type TopkIdxInput,
  Workspace,
} from 'dispatch-layout';
import { outputNames } from './conformance/oracle.ts';
import { detached } from './support/buffers.ts';
import { describeOnEachDevice } from './support/each-device.ts';
import { type ErrorExpectation, expectError } from './support/expect.ts';
import { expectUntouched, markedArrays } from './support/marked-arrays.ts';

/** Calls with arguments that TypeScript would refuse. */
function call(topkIdx: unknown, numExperts: unknown = 8, options: object = {}): DispatchLayout {
  const withRanks = { ...inTwoNodes, ...options } as ExpertGroupOptions & LayoutOptions;
  return getDispatchLayout(topkIdx as TopkIdxInput, numExperts as number, withRanks);
}

/** Orders with options that TypeScript would refuse. */
const byExpert = (options: object = {}, numExperts = 8, topkIdx: unknown = good) =>
  getExpertPermutation(topkIdx as TopkIdxInput, numExperts, options);
const byRank = (options: object = {}, numExperts = 8, topkIdx: unknown = good) =>
  getRankPermutation(topkIdx as TopkIdxInput, numExperts, { ...inTwoNodes, ...options });

/** What rank 0 receives, from what TypeScript would refuse. */
const receive = (sent: unknown) => new ExpertGroup(inTwoNodes).getReceiveLayout(sent as Sent, 8, 0);

/** Classes whose constructors callers should not use. */
const HandMade = { Workspace, EventOverlap } as unknown as Record<string, new (argument: unknown) => unknown>;

const int64 = (...ids: number[]) => BigInt64Array.from(ids, BigInt);
const good = { data: int64(0, 1, 2, 7), shape: [2, 2] };

const inTwoNodes = { numRanks: 4, numRanksPerNode: 2 };
const freshOut = () => markedArrays({ ...inTwoNodes, numTokens: 2, numExperts: 8 });

/** Arrays for the result of `good`, some of which are replaced. */
const outWith = (replaced: object): LayoutArrays => ({ ...freshOut(), ...replaced });

interface Provocation extends Omit<ErrorExpectation, 'code'> {
  readonly run: () => unknown;
}

/** One provocation of the same kind for each of several values, with the value as its name. */
function forValues(values: readonly unknown[], run: (value: unknown) => unknown): [string, Provocation][] {
  return values.map((value) => [`${typeof value} ${inspect(value)}`, { run: () => run(value), value }]);
}

const notCounts = [
  undefined,
  null,
  0,
  -1,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  '8',
  8n,
  [8],
  {},
  true,
  2 ** 31,
  2 ** 53,
];
const notNumbers = notCounts.filter((value) => value !== undefined);
const hasCuda = describeDevices().some(({ device, available }) => device === 'cuda' && available);
const floats = new Float64Array(4);
const dataView = new DataView(new ArrayBuffer(32));
const buffer = new ArrayBuffer(1024);

/**
 * The codes that are provoked elsewhere: those of the GPU, that of environment variables (`settings.test.ts`), and that of
 * rejections (`receive/exchange.test.ts`).
 */
type ElsewhereCode = 'CAPTURE' | 'CUDA_ERROR' | 'DISPOSED' | 'TENSOR' | 'ENVIRONMENT' | 'EXCHANGE';

/**
 * The provocations of every other code. The type makes the table complete: without a provocation, a new code does not
 * compile.
 */
const provocations: Record<Exclude<ErrorCode, ElsewhereCode>, () => [string, Provocation][]> = {
  INVALID_EXPERT: () => [
    [
      'too large',
      {
        run: () =>
          call([
            [0, 1],
            [2, 8],
          ]),
        token: 1,
        slot: 1,
        value: 8,
        message: /topkIdx\[1\]\[1\] is 8, not an expert in \[0, 8\)/,
      },
    ],
    [
      'negative',
      {
        run: () => call({ data: int64(0, 1, -2, 9), shape: [2, 2] }),
        token: 1,
        slot: 0,
        value: -2n,
        message: /is -2,/,
      },
    ],
    [
      '64 bits',
      {
        run: () => call({ data: int64(0, 2 ** 32 + 5), shape: [1, 2] }),
        token: 0,
        slot: 1,
        value: 4294967301n,
        message: /4294967301/,
      },
    ],
  ],
  TOPK_TYPE: () => [
    ...forValues([undefined, null, 0, 5, 'rows', true, 7n, Symbol.iterator, {}, { shape: [2, 2] }], (value) =>
      call(value),
    ),
    ['a function', { run: () => call(() => 1) }],
    ['a typed array without shape', { run: () => call(int64(1, 2)), message: /BigInt64Array/ }],
    ['data without shape', { run: () => call({ data: int64(1, 2) }) }],
    ['Float32Array', { run: () => call({ data: new Float32Array(4), shape: [2, 2] }), message: /Float32Array/ }],
    ['Float64Array', { run: () => call({ data: floats, shape: [2, 2] }), value: floats, message: /Float64Array/ }],
    [
      'Uint8ClampedArray',
      { run: () => call({ data: new Uint8ClampedArray(4), shape: [2, 2] }), message: /Uint8ClampedArray/ },
    ],
    ['DataView', { run: () => call({ data: dataView, shape: [2, 2] }), value: dataView }],
    ['ArrayBuffer', { run: () => call({ data: new ArrayBuffer(32), shape: [2, 2] }) }],
    ['a plain array as data', { run: () => call({ data: [0, 1, 2, 3], shape: [2, 2] }) }],
    ['a string as data', { run: () => call({ data: '0123', shape: [2, 2] }) }],
    ['null as data', { run: () => call({ data: null, shape: [2, 2] }) }],
    ['a float tensor', { run: () => call({ data: new Float32Array(4), dims: [2, 2], type: 'float32' }) }],
    [
      'a tensor of another type than its data',
      { run: () => call({ data: int64(0, 1), dims: [1, 2], type: 'float32' }), value: 'float32' },
    ],
    ...forValues([Number.NaN, 1.5, Number.POSITIVE_INFINITY, '3', null, undefined, true, {}, [], [1]], (value) =>
      call([
        [0, 1],
        [2, value],
      ]),
    ).map(([name, provocation]): [string, Provocation] => [
      `nested: ${name}`,
      { ...provocation, message: /topkIdx\[1\]\[1\] is / },
    ]),
    // biome-ignore lint/suspicious/noSparseArray: that is the case
    ['a hole in a nested row', { run: () => call([[0, 1], [2, , 3].slice(0, 2)]), message: /topkIdx\[1\]\[1\]/ }],
    ['three levels of arrays', { run: () => call([[[0], [1]]]), message: /topkIdx\[0\]\[0\]/ }],
  ],
  TOPK_SHAPE: () => [
    ...forValues(
      [
        [],
        [4],
        [1, 2, 3],
        [1, -2, -2],
        [-1, -2, 2],
        [0.5, 4, 2],
        [1, 2, '2'],
        [-1, -4],
        [2.5, 2],
        ['2', '2'],
        [2n, 2n],
        [2, null],
        '22',
        4,
        null,
        true,
        {},
      ].filter((value) => value !== null),
      (value) => call({ ...good, shape: value }),
    ).map(([name, { run }]): [string, Provocation] => [`shape ${name}`, { run }]),
    ['shape NaN', { run: () => call({ ...good, shape: [Number.NaN, 2] }) }],
    ['data too short', { run: () => call({ data: int64(0, 1, 2), shape: [2, 2] }), message: /3/ }],
    ['data too long', { run: () => call({ data: int64(0, 1, 2, 3, 4), shape: [2, 2] }), message: /5/ }],
    ['data for no tokens', { run: () => call({ data: int64(0), shape: [0, 2] }) }],
    ['data for no slots', { run: () => call({ data: int64(0), shape: [2, 0] }) }],
    ['more axes than anybody has', { run: () => call({ ...good, shape: new Array(65).fill(1) }) }],
    ...[
      [6, 2, 1],
      [2, 1],
      [4, 2, 1, 1],
      [4.5, 2, 1],
      [-4, 2, 1],
    ].map((strides): [string, Provocation] => [
      `strides ${strides} of several axes`,
      {
        run: () => call({ data: new Int32Array(99), shape: [2, 2, 2], strides, offset: 40 }),
        value: strides,
        message: /topkIdx.strides is \[.*be read as one/,
      },
    ]),
    [
      'a stride that is no integer, of an axis of length 1',
      { run: () => call({ data: new Int32Array(8), shape: [1, 4, 2], strides: ['2', 2, 1] }) },
    ],
    [
      'several axes, column by column',
      { run: () => call({ data: new Int32Array(8), shape: [2, 2, 2], fortranOrder: true }), message: /\[1, 2, 4\]/ },
    ],
    ['strides beyond the end', { run: () => call({ ...good, strides: [3, 1] }) }],
    ['strides before the start', { run: () => call({ ...good, strides: [-2, 1] }) }],
    ['slot stride before the start', { run: () => call({ ...good, strides: [2, -1] }) }],
    ['an offset beyond the end', { run: () => call({ ...good, offset: 1 }) }],
    ['a negative offset', { run: () => call({ ...good, offset: -1 }) }],
    ['a negative offset under negative strides', { run: () => call({ ...good, strides: [-2, -1], offset: 2 }) }],
    [
      'strides whose reach is not exact',
      { run: () => call({ data: int64(0, 1), shape: [2, 1], strides: [2 ** 53, 1] }) },
    ],
    [
      'huge strides of both signs',
      { run: () => call({ data: int64(0, 1), shape: [2, 2], strides: [2 ** 52, -(2 ** 52)], offset: 0 }) },
    ],
    ['a huge offset', { run: () => call({ ...good, offset: 2 ** 52 }) }],
    ...forValues(['1', 1.5, Number.NaN, 1n, null, {}], (value) => call({ ...good, offset: value })).map(
      ([name, { run }]): [string, Provocation] => [`offset ${name}`, { run }],
    ),
    ...forValues([[1], [1, 2, 3], [Number.NaN, 1], ['2', 1], 'ab', 2, {}], (value) =>
      call({ ...good, strides: value }),
    ).map(([name, { run }]): [string, Provocation] => [`strides ${name}`, { run }]),
    ['ragged nested arrays', { run: () => call([[0, 1], [2]]), message: /topkIdx\[1\]/ }],
    ['longer second row', { run: () => call([[0], [2, 1]]), message: /topkIdx\[1\]/ }],
    ['an empty second row', { run: () => call([[0], []]), message: /topkIdx\[1\]/ }],
    ['a number among rows', { run: () => call([[0, 1], 2]), message: /topkIdx\[1\]/ }],
    ['a flat array', { run: () => call([0, 1, 2]), message: /topkIdx\[0\]/ }],
    ['null among rows', { run: () => call([[0, 1], null]), message: /topkIdx\[1\]/ }],
    // biome-ignore lint/suspicious/noSparseArray: that is the case
    ['a hole among rows', { run: () => call([[0, 1], , [2, 3]]), message: /topkIdx\[1\]/ }],
  ],
  DETACHED_BUFFER: () => [
    ['topkIdx', { run: () => call({ data: detached(int64(0, 1)), shape: [1, 2] }) }],
    ['topkIdx with strides', { run: () => call({ data: detached(int64(0, 1)), shape: [1, 2], strides: [2, 1] }) }],
    ['topkIdx of no tokens', { run: () => call({ data: detached(int64(0, 1)), shape: [0, 2] }) }],
    [
      'topkIdx sent to another thread',
      {
        run: () => {
          const { port1 } = new MessageChannel();
          const data = int64(0, 1);
          port1.postMessage(data, [data.buffer]);
          port1.close();
          return call({ data, shape: [1, 2] });
        },
      },
    ],
    ...outputNames.map((name): [string, Provocation] => [
      `out.${name}`,
      { run: () => call(good, 8, { out: outWith({ [name]: detached(freshOut()[name] as Int32Array) }) }) },
    ]),
  ],
  NUM_EXPERTS: () =>
    forValues(
      notCounts.filter((value) => value !== undefined),
      (value) => call(good, value),
    ),
  NUM_RANKS: () => [
    ...forValues(notCounts, (value) => call(good, 8, { numRanks: value })),
    [
      'no options of the function',
      { run: () => (getDispatchLayout as unknown as (ids: unknown, experts: number) => unknown)([[0]], 8) },
    ],
    ['null options of the function', { run: () => getDispatchLayout([[0]], 8, null as unknown as ExpertGroupOptions) }],
  ],
  NUM_RANKS_PER_NODE: () => [
    ...forValues(notNumbers, (value) => call(good, 8, { numRanksPerNode: value })),
    [
      'does not divide',
      { run: () => call(good, 12, { numRanks: 12, numRanksPerNode: 8 }), value: 8, message: /12.*8|8.*12/s },
    ],
    ['by default', { run: () => getDispatchLayout([[0]], 20, { numRanks: 20 }), value: 8, message: /20/ }],
  ],
  SENT: () => [
    ...forValues([undefined, null, 0, 'abc', true, {}, { numTokensPerRank: [1] }], (sent) => receive(sent)).map(
      ([name, { run }]): [string, Provocation] => [name, { run, message: /sent\.numTokensPerRank (is|has) / }],
    ),
    ['too few layouts', { run: () => receive([call(good)]), value: 1, message: /1 layouts.*4 ranks/ }],
    [
      'a negative count',
      {
        run: () => receive({ numTokensPerRank: Array(16).fill(-1), numTokensPerExpert: Array(32).fill(0) }),
        value: -1,
      },
    ],
    [
      'counts that contradict each other',
      {
        run: () => receive({ numTokensPerRank: Array(16).fill(1), numTokensPerExpert: Array(32).fill(0) }),
        value: 1,
        message: /rank 0 sends 1 tokens to rank 0, and 0 selections/,
      },
    ],
  ],
  UNEVEN_EXPERTS: () => [
    ['not divisible', { run: () => call(good, 10), value: 10, message: /10.*4/ }],
    ['fewer experts than ranks', { run: () => call([[0]], 3), value: 3, message: /3.*4/ }],
  ],
  PLACEMENT: () => [
    ...forValues([null, 0, 'abc', true, {}, [], () => 0], (placement) => call(good, 8, { placement })),
    ['too short', { run: () => call(good, 8, { placement: [0, 1, 2, 3] }), value: 4, message: /4.*8/s }],
    ['too long', { run: () => call(good, 8, { placement: new Int32Array(9) }), value: 9 }],
    [
      'a rank too large',
      { run: () => call(good, 8, { placement: [0, 1, 2, 3, 4, 0, 0, 0] }), value: 4, message: /placement\[4\]/ },
    ],
    [
      'a negative rank',
      { run: () => call(good, 8, { placement: [0, 1, -2, 3, 0, 0, 0, 0] }), value: -2, message: /placement\[2\]/ },
    ],
    [
      'a fraction',
      { run: () => call(good, 8, { placement: [0.5, 1, 1, 3, 0, 0, 0, 0] }), value: 0.5, message: /placement\[0\]/ },
    ],
    ['NaN', { run: () => call(good, 8, { placement: [0, 1, 1, 3, 0, 0, 0, Number.NaN] }), message: /placement\[7\]/ }],
    [
      'bigints',
      { run: () => call(good, 8, { placement: int64(0, 0, 0, 0, 0, 0, 0, 0) }), value: 0n, message: /placement\[0\]/ },
    ],
    ['strings', { run: () => call(good, 8, { placement: [...'01230123'] }), value: '0' }],
    ['a hole', { run: () => call(good, 8, { placement: new Array(8) }), message: /placement\[0\]/ }],
    [
      'null after a call with a table',
      {
        run: () => {
          call(good, 8, { placement: new Array(8).fill(0) });
          return call(good, 8, { placement: null });
        },
        value: null,
      },
    ],
  ],
  OUT: () => [
    ...forValues([null, 0, 'out', true, {}], (out) => call(good, 8, { out })).map(
      ([name, { run }]): [string, Provocation] => [`out ${name}`, { run }],
    ),
    ...Object.entries({
      numTokensPerRank: 4,
      numTokensPerRdmaRank: 2,
      numTokensPerExpert: 8,
    }).flatMap(([name, length]): [string, Provocation][] => [
      [
        `${name} too short`,
        {
          run: () => call(good, 8, { out: outWith({ [name]: new Int32Array(length - 1) }) }),
          value: length - 1,
          message: new RegExp(`${name}.*${length}`, 's'),
        },
      ],
      [
        `${name} too long`,
        { run: () => call(good, 8, { out: outWith({ [name]: new Int32Array(length + 1) }) }), value: length + 1 },
      ],
      [
        `${name} a Uint32Array`,
        {
          run: () => call(good, 8, { out: outWith({ [name]: new Uint32Array(length) }) }),
          message: new RegExp(`is a Uint32Array\\. It must be an Int32Array of length ${length}\\.`),
        },
      ],
      [`${name} a plain array`, { run: () => call(good, 8, { out: outWith({ [name]: new Array(length).fill(0) }) }) }],
      [`${name} null`, { run: () => call(good, 8, { out: outWith({ [name]: null }) }), value: null }],
      [`${name} missing`, { run: () => call(good, 8, { out: outWith({ [name]: undefined }) }) }],
    ]),
    [
      'isTokenInRank too short',
      {
        run: () => call(good, 8, { out: outWith({ isTokenInRank: new Uint8Array(7) }) }),
        value: 7,
        message: /isTokenInRank.*8/s,
      },
    ],
    [
      'isTokenInRank an Int8Array',
      {
        run: () => call(good, 8, { out: outWith({ isTokenInRank: new Int8Array(8) }) }),
        message: /is an Int8Array\. It must be a Uint8Array of length 8\./,
      },
    ],
    [
      'isTokenInRank a Uint8ClampedArray',
      { run: () => call(good, 8, { out: outWith({ isTokenInRank: new Uint8ClampedArray(8) }) }) },
    ],
    ['isTokenInRank null', { run: () => call(good, 8, { out: outWith({ isTokenInRank: null }) }) }],
    ['numTokensPerRdmaRank within one node', { run: () => call(good, 8, { numRanksPerNode: 4, out: outWith({}) }) }],
    [
      'one array twice',
      {
        run: () =>
          call([[0]], 4, {
            out: outWith({
              numTokensPerExpert: new Int32Array(buffer, 0, 4),
              numTokensPerRank: new Int32Array(buffer, 0, 4),
            }),
          }),
        message: /shares? memory/,
      },
    ],
    [
      'counts that overlap',
      {
        run: () =>
          call(good, 8, {
            out: outWith({
              numTokensPerExpert: new Int32Array(buffer, 0, 8),
              numTokensPerRank: new Int32Array(buffer, 28, 4),
            }),
          }),
      },
    ],
    [
      'rdma inside the mask',
      {
        run: () =>
          call(good, 8, {
            out: outWith({
              isTokenInRank: new Uint8Array(buffer, 0, 8),
              numTokensPerRdmaRank: new Int32Array(buffer, 4, 2),
            }),
          }),
      },
    ],
    [
      'the mask over topkIdx',
      {
        run: () =>
          call({ data: new BigInt64Array(buffer, 0, 4), shape: [2, 2] }, 8, {
            out: outWith({ isTokenInRank: new Uint8Array(buffer, 31, 8) }),
          }),
      },
    ],
    [
      'counts over topkIdx',
      {
        run: () =>
          call({ data: new BigInt64Array(buffer, 0, 4), shape: [2, 2] }, 8, {
            out: outWith({ numTokensPerExpert: new Int32Array(buffer, 0, 8) }),
          }),
      },
    ],
  ],
  OPTION: () => [
    ...forValues([-1, 1.5, Number.NaN, '2', 2n, null, {}, [1], Symbol('one')], (firstExpert) =>
      byExpert({ firstExpert }),
    ).map(([name, provocation]): [string, Provocation] => [
      `firstExpert ${name}`,
      { ...provocation, message: /^firstExpert is .* It must be an integer, 0 or more\.$/ },
    ]),
    [
      'firstExpert behind the last expert',
      {
        run: () => byExpert({ firstExpert: 9 }),
        value: 9,
        message: /^firstExpert is 9\. It must be at most numExperts, 8/,
      },
    ],
    ...forValues([-1, 1.5, '2', 2n, null, {}], (numLocalExperts) => byExpert({ numLocalExperts })).map(
      ([name, provocation]): [string, Provocation] => [
        `numLocalExperts ${name}`,
        { ...provocation, message: /^numLocalExperts is .* It must be an integer, 0 or more\.$/ },
      ],
    ),
    [
      'more local experts than there are',
      {
        run: () => byExpert({ firstExpert: 6, numLocalExperts: 3 }),
        value: 3,
        message: /^numLocalExperts is 3\. From expert 6 on there are 2: it must be at most that\.$/,
      },
    ],
    ...forValues([0, -1, 1.5, 2 ** 31, '2', 2n, null, {}], (alignment) => byExpert({ alignment })).map(
      ([name, provocation]): [string, Provocation] => [
        `alignment ${name}`,
        { ...provocation, message: /^alignment is .* It must be an integer from 1 to 2147483647\.$/ },
      ],
    ),
    ...forValues(['both', 'First', null, 0, true], (winner) => byRank({ winner })).map(
      ([name, provocation]): [string, Provocation] => [
        `winner ${name}`,
        { ...provocation, message: /^winner is .* It must be 'first' or 'last'\.$/ },
      ],
    ),
    ...(
      [
        [byExpert, 'winner', 'getRankPermutation'],
        [byExpert, 'mask', 'getDispatchLayout'],
        [byExpert, 'numRanks', 'groups of ranks'],
        [byExpert, 'placement', 'groups of ranks'],
        [byRank, 'alignment', 'getExpertPermutation'],
        [byRank, 'firstExpert', 'getExpertPermutation'],
        [byRank, 'numLocalExperts', 'getExpertPermutation'],
        [byRank, 'mask', 'getDispatchLayout'],
        [(options: object) => call(good, 8, options), 'alignment', 'getExpertPermutation'],
        [(options: object) => call(good, 8, options), 'winner', 'getRankPermutation'],
      ] as const
    ).map(([run, name, owner], i): [string, Provocation] => [
      `${name}, an option of ${owner} (${i})`,
      {
        run: () => run({ [name]: undefined }),
        value: name,
        message: new RegExp(`no option '${name}' here. It is an option of ${owner}\\. The options are `),
      },
    ]),
    ...forValues([undefined, null, 8, '8'], (shape) => maxRows(shape as MaxRowsShape)).map(
      ([name, provocation]): [string, Provocation] => [`maxRows of ${name}`, { ...provocation, message: /^shape is / }],
    ),
    ...forValues([-1, 1.5, '2', 2n, undefined], (numTopk) =>
      maxRows({ numTokens: 1, numTopk: numTopk as number, numLocalExperts: 8 }),
    ).map(([name, provocation]): [string, Provocation] => [`maxRows of ${name} slots`, provocation]),
    ...forValues([0, 1.5, 2 ** 31, '2', 2n], (alignment) =>
      maxRows({ numTokens: 1, numTopk: 2, numLocalExperts: 8, alignment: alignment as number }),
    ).map(([name, provocation]): [string, Provocation] => [`maxRows with alignment ${name}`, provocation]),
    ...forValues([undefined, null, 8, {}, { numTokensPerExpert: [1] }], (permutation) =>
      expertOfRow(permutation as ExpertPermutation),
    ).map(([name, provocation]): [string, Provocation] => [
      `expertOfRow of ${name}`,
      { ...provocation, message: /^permutation is .* Pass a result of getExpertPermutation/ },
    ]),
    ...forValues([0, 3, 1.5, '2', 2n, undefined], (blockSize) =>
      expertOfBlock(byExpert({ alignment: 4 }), blockSize as number),
    ).map(([name, provocation]): [string, Provocation] => [
      `blockSize ${name}`,
      { ...provocation, message: /^blockSize is .* It must divide the alignment of the rows, 4/ },
    ]),
    ['null options of getExpertPermutation', { run: () => byExpert(null as never), value: null }],
    ...forValues([1.5, Number.NaN, 2 ** 53, '8', null, {}], (emptyId) => call(good, 8, { emptyId })).map(
      ([name, provocation]): [string, Provocation] => [`emptyId ${name}`, provocation],
    ),
    ...forValues(['bit', true, null, 0], (mask) => call(good, 8, { mask })).map(
      ([name, provocation]): [string, Provocation] => [`mask ${name}`, provocation],
    ),
    ...(
      [
        ['asyncFinsh', 'asyncFinish'],
        ['emptyID', 'emptyId'],
        ['numRank', 'numRanks'],
        ['numranks', 'numRanks'],
        ['palcement', 'placement'],
      ] as const
    ).map(([name, meant]): [string, Provocation] => [
      `the mistyped option ${name}`,
      {
        run: () => call(good, 8, { [name]: undefined }),
        value: name,
        message: new RegExp(`no option '${name}' here. Did you mean ${meant}\\? The options are numRanks, .*, out,`),
      },
    ]),
    [
      'an option that is nothing like any',
      { run: () => call(good, 8, { verbose: true }), value: 'verbose', message: /'verbose' here. The options are / },
    ],
    [
      'an option of the group in a call',
      {
        run: () => new ExpertGroup({ numRanks: 4 }).getDispatchLayout(good, 8, { numRanks: 4 } as object),
        value: 'numRanks',
      },
    ],
    ['an option of a call in a group', { run: () => new ExpertGroup({ numRanks: 4, out: {} } as never), value: 'out' }],
    [
      'an unknown option of a workspace',
      {
        run: () =>
          new ExpertGroup({ numRanks: 4 }).createWorkspace({
            numExperts: 8,
            maxTokens: 4,
            numTopk: 2,
            idtype: 'int8',
          } as never),
        value: 'idtype',
        message: /Did you mean idType\?/,
      },
    ],
    [
      'an option with a long name',
      { run: () => call(good, 8, { ['x'.repeat(400)]: 0 }), message: /here\. The options/ },
    ],
    ...forValues(['ignored', 'THROW', true, false, null, 0, {}], (invalidExperts) => call(good, 8, { invalidExperts })),
    ...forValues(['yes', 1, 0, null, {}], (asyncFinish) => call(good, 8, { asyncFinish })).map(
      ([name, provocation]): [string, Provocation] => [`asyncFinish ${name}`, provocation],
    ),
    ...forValues(['yes', 1, 0, null], (allocateOnCommStream) => call(good, 8, { allocateOnCommStream })).map(
      ([name, provocation]): [string, Provocation] => [`allocateOnCommStream ${name}`, provocation],
    ),
    ...forValues(['gpu', 'WASM', '', 'constructor', '__proto__', null, 0, true, {}], (device) =>
      call(good, 8, { device }),
    ).map(([name, provocation]): [string, Provocation] => [
      `device ${name}`,
      { ...provocation, message: /auto.*cuda.*wasm.*js/ },
    ]),
    ['no options of the group', { run: () => new (ExpertGroup as unknown as new () => unknown)() }],
    ['null options of the group', { run: () => new ExpertGroup(null as unknown as ExpertGroupOptions) }],
    ['a number as options', { run: () => new ExpertGroup(8 as unknown as ExpertGroupOptions), value: 8 }],
    ...forValues(
      [undefined, { numExperts: 8, maxTokens: 1, numTopk: 2 }],
      (device) => new HandMade.Workspace(device),
    ).map(([name, provocation]): [string, Provocation] => [
      `new Workspace of ${name}`,
      { ...provocation, message: /the device of the workspace is .* Use group\.createWorkspace/ },
    ]),
    ...forValues(
      [undefined, {}, 8, 'event', { wait() {} }, { done: true, currentStreamWait() {} }],
      (handle) => new HandMade.EventOverlap(handle),
    ).map(([name, provocation]): [string, Provocation] => [
      `new EventOverlap of ${name}`,
      { ...provocation, message: /the handle of the event is .*group\.capture/ },
    ]),
    [
      'null options of the method',
      {
        run: () => new ExpertGroup({ numRanks: 4 }).getDispatchLayout([[0]], 8, null as unknown as LayoutOptions),
        value: null,
      },
    ],
  ],
  EVENT_FLAGS: () => [
    [
      'allocateOnCommStream alone',
      {
        run: () => call(good, 8, { allocateOnCommStream: true }),
        message: /previousEvent.*asyncFinish|asyncFinish.*previousEvent/s,
      },
    ],
    [
      'allocateOnCommStream without previousEvent',
      { run: () => call(good, 8, { allocateOnCommStream: true, asyncFinish: true }), message: /previousEvent/ },
    ],
    [
      'allocateOnCommStream without asyncFinish',
      {
        run: () =>
          call(good, 8, { allocateOnCommStream: true, previousEvent: new ExpertGroup({ numRanks: 1 }).capture() }),
        message: /asyncFinish/,
      },
    ],
    [
      'allocateOnCommStream with an event that was not recorded',
      {
        run: () => call(good, 8, { allocateOnCommStream: true, asyncFinish: true, previousEvent: call(good).event }),
        message: /recorded/,
      },
    ],
    ...forValues([null, 0, true, 'event', {}, { recorded: true }], (previousEvent) => call(good, 8, { previousEvent })),
  ],
  EVENT_NOT_RECORDED: () => [
    ['currentStreamWait', { run: () => call(good).event.currentStreamWait(), message: /asyncFinish/ }],
    ['an event of null', { run: () => new EventOverlap(null).currentStreamWait() }],
  ],
  TOO_LARGE: () => [
    [
      'more rows than int32 can number',
      {
        run: () => byExpert({ alignment: 2 ** 30 }),
        value: 2 ** 32,
        message:
          /^4 selections need up to 4294967296 rows\. int32 numbers at most 2147483647 rows: split the tokens, or lower the alignment of 1073741824\.$/,
      },
    ],
    [
      'maxRows of as many',
      { run: () => maxRows({ numTokens: 2, numTopk: 2, numLocalExperts: 8, alignment: 2 ** 30 }), value: 2 ** 32 },
    ],
    [
      'maxRows of 2^31 selections',
      { run: () => maxRows({ numTokens: 2 ** 28, numTopk: 8, numLocalExperts: 8 }), value: 2 ** 31 },
    ],
    [
      'a workspace with as many rows',
      {
        run: () =>
          new ExpertGroup(inTwoNodes).createWorkspace({
            numExperts: 8,
            maxTokens: 2,
            numTopk: 2,
            expertPermutation: { alignment: 2 ** 30 },
          }),
        value: 2 ** 32,
      },
    ],
    [
      '2^31 selections',
      {
        run: () => call({ data: int64(0), shape: [2 ** 31, 1], strides: [0, 0] }),
        value: 2 ** 31,
        message: /2147483647/,
      },
    ],
    [
      'nested',
      {
        run: () =>
          call(new Proxy([[0]], { get: (rows, key) => (key === 'length' ? 2 ** 31 : Reflect.get(rows, key)) })),
      },
    ],
  ],
  OUT_OF_MEMORY: () => [
    [
      'a mask of 2^41 bytes',
      {
        run: () => call({ data: int64(0), shape: [2 ** 31 - 1, 1], strides: [0, 0] }, 1024, { numRanks: 1024 }),
        message: /2147483647.*1024/,
      },
    ],
    [
      'more slots than WASM memory has room for',
      {
        run: () => {
          const group = new ExpertGroup({ numRanks: 4, device: 'wasm' });
          const layout = group.getDispatchLayout(good, 8);
          try {
            group.getDispatchLayout({ data: new Int8Array(1), shape: [1, 2 ** 30], strides: [0, 0] }, 8);
          } finally {
            // The group still works.
            assert.deepStrictEqual({ ...group.getDispatchLayout(good, 8) }, { ...layout });
          }
        },
        message: /WASM memory/,
      },
    ],
    ['2^40 tokens without slots', { run: () => call({ data: int64(), shape: [2 ** 40, 0] }) }],
  ],
  DEVICE_UNAVAILABLE: () =>
    hasCuda
      ? []
      : [
          [
            'cuda, where there is none',
            {
              run: () => call(good, 8, { device: 'cuda' }),
              value: 'cuda',
              message: /device 'cuda' is not available, because /,
            },
          ],
        ],
};

describe('error codes', () => {
  for (const [code, makeProvocations] of Object.entries(provocations)) {
    describe(code, () => {
      for (const [name, { run, ...expected }] of makeProvocations()) {
        it(name, () => {
          const error = expectError(run, { code, ...expected });
          // A message is one sentence about the problem, followed by the remedy. Neither may be empty.
          assert.isAbove(error.message.length - error.remedy.length, 8);
          assert.isBelow(error.message.length, 400);
        });
      }
    });
  }

  it('numExperts undefined is named in the error', () => {
    const withoutExperts = getDispatchLayout as unknown as (
      ids: unknown,
      experts: undefined,
      options: object,
    ) => unknown;
    expectError(() => withoutExperts([[0]], undefined, { numRanks: 4 }), { code: 'NUM_EXPERTS', value: undefined });
  });
});

describe('the error classes', () => {
  it('InvalidExpertError', () => {
    const error = expectError(() => call([[9]]), { code: 'INVALID_EXPERT' });
    assert.instanceOf(error, InvalidExpertError);
    assert.instanceOf(error, DispatchLayoutError);
    assert.strictEqual(error.name, 'InvalidExpertError');
    assert.match(error.stack ?? '', /^InvalidExpertError: topkIdx\[0\]\[0\] is 9, .*ignore/);
    assert.strictEqual(String(error), `InvalidExpertError: ${error.message}`);
    assert.isUndefined(error.cause);
  });

  it('DispatchLayoutError', () => {
    const error = expectError(() => call(good, 0), { code: 'NUM_EXPERTS' });
    assert.strictEqual(error.constructor, DispatchLayoutError);
    assert.strictEqual(error.name, 'DispatchLayoutError');
  });

  it('DeviceUnavailableError', function () {
    if (hasCuda) this.skip();
    const error = expectError(() => new ExpertGroup({ numRanks: 1, device: 'cuda' }), { code: 'DEVICE_UNAVAILABLE' });
    assert.instanceOf(error, DeviceUnavailableError);
    assert.strictEqual(error.name, 'DeviceUnavailableError');
    assert.strictEqual((error as DeviceUnavailableError).device, 'cuda');
  });

  it('OUT_OF_MEMORY has its cause', () => {
    const [[, { run }]] = provocations.OUT_OF_MEMORY();
    assert.instanceOf(expectError(run, { code: 'OUT_OF_MEMORY' }).cause, RangeError);
  });

  it('a message about a large or strange value stays short', () => {
    const cyclic: unknown[] = [];
    cyclic.push(cyclic, cyclic);
    for (const strange of [
      'x'.repeat(1e6),
      new Array(1e6).fill(0),
      Object.fromEntries(Array.from({ length: 1e4 }, (_, index) => [`property${index}`, index])),
      cyclic,
      Object.create(null),
      Symbol('a symbol'),
      new Proxy({}, {}),
      10n ** 300n,
      // These are arrays within arrays, with 8^5 elements in all.
      Array.from({ length: 5 }).reduce<unknown>((inner) => new Array(8).fill(inner), 'x'.repeat(30)),
    ]) {
      for (const run of [
        () => call(good, strange),
        () => call([[0, strange]]),
        () => call({ ...good, shape: strange }),
        () => call(good, 8, { device: strange }),
      ]) {
        let message = '';
        try {
          run();
        } catch (error) {
          if (!(error instanceof DispatchLayoutError)) throw error;
          message = error.message;
        }
        assert.isAbove(message.length, 20);
        assert.isBelow(message.length, 700, message.slice(0, 200));
      }
    }
  });
});

describeOnEachDevice('out is untouched by every error', (device) => {
  const rows = [
    [0, 1],
    [0, 1],
  ];
  const cases: Record<string, readonly [TopkIdxInput, number, LayoutOptions?]> = {
    INVALID_EXPERT: [[rows[0], [9, 1]], 8],
    TOPK_SHAPE: [[rows[0], [9]], 8],
    TOPK_TYPE: [[rows[0], [0, 1.5]], 8],
    UNEVEN_EXPERTS: [rows, 9],
    OUT: [rows, 16],
    EVENT_FLAGS: [rows, 8, { allocateOnCommStream: true }],
  };
  for (const [code, [topkIdx, numExperts, options]] of Object.entries(cases)) {
    it(code, () => {
      const out = freshOut();
      expectError(() => device.getDispatchLayout(topkIdx, numExperts, inTwoNodes, { out, ...options }), { code });
      expectUntouched(out);
    });
  }
});
