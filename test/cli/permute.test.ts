/**
 * What `dispatch-layout permute` computes, prints and writes. The expected numbers are written by hand, or come from the
 * oracle of the conformance suite or from numpy.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { assert } from 'chai';
import { unzipSync } from 'fflate';
import type { Question } from '../conformance/oracle.ts';
import { expertOrder, type OrderAnswer, rankOrder } from '../conformance/permutation-oracle.ts';
import {
  dispatchLayout,
  expectRefusal,
  forEachInPairs,
  python,
  requirePython,
  succeed,
  temporaryFolder,
} from './command.ts';
import { npyOf, writeNpy } from './npy-writer.ts';

/** The JSON document, as `docs/command-line.md` describes it. */
interface JsonReport {
  readonly by: 'expert' | 'rank';
  readonly timing: { seconds: number; numPasses: number };
  readonly device: { readonly name: string; readonly reason: string };
  readonly total: JsonStatistics;
  readonly layers: readonly (JsonStatistics & { readonly layer: number | null })[];
}

interface JsonStatistics {
  readonly numTokensPerExpert?: readonly number[];
  readonly expertImbalance?: number | null;
  readonly numTokensPerRank?: readonly number[];
  readonly rankImbalance?: number | null;
  readonly numRows: number;
  readonly numPaddingRows?: number;
}

interface NpyArray {
  readonly type: string;
  readonly shape: string;
  readonly values: readonly number[];
}

/** The arrays of a file, in their order. */
function arraysIn(path: string): Record<string, NpyArray> {
  const files = Object.entries(unzipSync(readFileSync(path)));
  return Object.fromEntries(
    files.map(([name, bytes]) => {
      const begin = 10 + Buffer.from(bytes).readUInt16LE(8);
      const header = Buffer.from(bytes.subarray(10, begin)).toString('latin1');
      const [, type, shape] = /'descr':'(.*?)','fortran_order':False,'shape':(\(.*?\))/.exec(header) ?? [];
      const data = bytes.slice(begin).buffer;
      const values = type === '<i8' ? Array.from(new BigInt64Array(data), Number) : [...new Int32Array(data)];
      return [name.replace(/\.npy$/, ''), { type, shape, values }];
    }),
  );
}

const int32 = (shape: string, ...values: number[]): NpyArray => ({ type: '<i4', shape, values });
const int64 = (shape: string, ...values: number[]): NpyArray => ({ type: '<i8', shape, values });

function orderOf<Order>(answer: OrderAnswer<Order>): Order {
  return 'order' in answer ? answer.order : assert.fail(`the oracle answers ${answer.error.code}`);
}

const snakeCase = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** The values that a file must have for orders of the oracle. */
function valuesOf(orders: readonly object[]): Record<string, number[]> {
  const values: Record<string, number[]> = {};
  for (const order of orders) {
    for (const [name, array] of Object.entries(order)) {
      values[snakeCase(name)] = [...(values[snakeCase(name)] ?? []), ...[array as number | number[]].flat()];
    }
  }
  return values;
}

describe('command line: orders', function () {
  this.timeout(60_000);
  const folder = temporaryFolder();
  // The example of docs/permutations.md
  const rows = [
    [0, 5],
    [6, -1],
    [1, 0],
  ];
  const layers = [
    rows,
    [
      [3, 3],
      [-1, -1],
      [7, 4],
    ],
  ];
  const file = folder.write('rows.npy', npyOf(rows));
  const layersPath = folder.write('layers.npy', npyOf(layers));
  const layersFile = [layersPath, '--axes', 'layers,tokens,topk'];
  const sizes = ['--num-experts', '8'];
  const byRank = [...sizes, '--by', 'rank', '--num-ranks', '4'];

  async function report(args: readonly string[], stdin?: string | Uint8Array): Promise<JsonReport> {
    return JSON.parse(await succeed(['permute', ...args, '--json'], stdin)) as JsonReport;
  }

  /** The arrays that a command writes. */
  async function written(args: readonly string[], stdin?: string | Uint8Array): Promise<Record<string, NpyArray>> {
    const out = folder.path('written.npz');
    await succeed(['permute', ...args, '--out', out], stdin);
    return arraysIn(out);
  }

  async function expectWritten(args: readonly string[], orders: readonly object[], stdin?: string): Promise<void> {
    const arrays = Object.entries(await written(args, stdin));
    const values = Object.fromEntries(arrays.map(([name, array]) => [name, array.values]));
    assert.deepStrictEqual(values, valuesOf(orders), args.join(' '));
  }

  const questionOf = (each: readonly (readonly number[])[], numExperts = 8): Pick<Question, 'rows' | 'numExperts'> => ({
    rows: each.map((row) => row.map(BigInt)),
    numExperts,
  });

  describe('by expert', () => {
    it('writes the arrays of one [tokens, topk]', async () => {
      const expected = {
        num_tokens_per_expert: int32('(8,)', 2, 1, 0, 0, 0, 1, 1, 0),
        expert_offsets: int32('(9,)', 0, 2, 3, 3, 3, 3, 4, 5, 5),
        selection_of_row: int32('(6,)', 0, 5, 4, 1, 2, -1),
        row_of_selection: int32('(6,)', 0, 3, 4, -1, 2, 1),
        num_rows: int64('()', 5),
      };
      const arrays = await written([file, ...sizes]);
      assert.deepStrictEqual(arrays, expected);
      assert.deepStrictEqual(Object.keys(arrays), Object.keys(expected), 'the order in the file');
      assert.deepStrictEqual(await written([file, ...sizes, '--by', 'expert']), expected);
    });

    it('pads with --alignment', async () => {
      assert.deepStrictEqual(await written([file, ...sizes, '--alignment', '2']), {
        num_tokens_per_expert: int32('(8,)', 2, 1, 0, 0, 0, 1, 1, 0),
        expert_offsets: int32('(9,)', 0, 2, 4, 4, 4, 4, 6, 8, 8),
        selection_of_row: int32('(12,)', 0, 5, 4, -1, 1, -1, 2, -1, -1, -1, -1, -1),
        row_of_selection: int32('(6,)', 0, 4, 6, -1, 2, 1),
        num_rows: int64('()', 8),
      });
    });

    it('keeps the selections of local experts alone', async () => {
      const local = ['--first-expert', '4', '--num-local-experts', '2'];
      assert.deepStrictEqual(await written([file, ...sizes, ...local, '--alignment', '4']), {
        num_tokens_per_expert: int32('(2,)', 0, 1),
        expert_offsets: int32('(3,)', 0, 0, 4),
        selection_of_row: int32('(12,)', 1, ...new Array<number>(11).fill(-1)),
        row_of_selection: int32('(6,)', -1, 0, -1, -1, -1, -1),
        num_rows: int64('()', 4),
      });
      const { numTokensPerExpert } = (await report([file, ...sizes, '--first-expert', '5'])).total;
      assert.deepStrictEqual(numTokensPerExpert, [1, 1, 0]);
    });

    it('writes every layer with a leading axis, or one layer without it', async () => {
      const all = await written([...layersFile, ...sizes]);
      assert.deepStrictEqual(all, {
        num_tokens_per_expert: int32('(2,8)', 2, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 2, 1, 0, 0, 1),
        expert_offsets: int32('(2,9)', 0, 2, 3, 3, 3, 3, 4, 5, 5, 0, 0, 0, 0, 2, 3, 3, 3, 4),
        selection_of_row: int32('(2,6)', 0, 5, 4, 1, 2, -1, 0, 1, 5, 4, -1, -1),
        row_of_selection: int32('(2,6)', 0, 3, 4, -1, 2, 1, 0, 1, -1, -1, 3, 2),
        num_rows: int64('(2,)', 5, 4),
      });
      assert.deepStrictEqual(await written([...layersFile, ...sizes, '--layer', 'all']), all);
      assert.deepStrictEqual(await written([...layersFile, ...sizes, '--layer', '0']), await written([file, ...sizes]));
      // A file of one layer has the axis, too, if it is known for one of layers. A batch of one is not
      const layer = JSON.stringify([rows]);
      const single = await written(['-', ...sizes, '--axes', 'layers,tokens,topk'], layer);
      assert.strictEqual(single.selection_of_row.shape, '(1,6)');
      assert.strictEqual(single.num_rows.shape, '(1,)');
      assert.deepStrictEqual(await written(['-', ...sizes], layer), await written([file, ...sizes]));
    });

    it('is that of the oracle, with every reading flag and on every device', async () => {
      const odd = [
        [0, 99],
        [8, 7],
        [-3, 2 ** 32 + 1],
      ];
      const json = JSON.stringify(odd);
      const ignored = { ...questionOf(odd), invalidExperts: 'ignore' as const };
      await expectWritten(['-', ...sizes, '--invalid-experts', 'ignore'], [orderOf(expertOrder(ignored))], json);
      const emptyId = { ...ignored, emptyId: 7 };
      await expectWritten(
        ['-', ...sizes, '--invalid-experts', 'ignore', '--empty-id', '7'],
        [orderOf(expertOrder(emptyId))],
        json,
      );
      const both = layers.map((each) => orderOf(expertOrder({ ...questionOf(each), alignment: 3 })));
      for (const device of ['js', 'wasm']) {
        await expectWritten([...layersFile, ...sizes, '--alignment', '3', '--device', device], both);
        assert.strictEqual((await report([...layersFile, ...sizes, '--device', device])).device.name, device);
      }
      const tokensFirst = JSON.stringify(rows.map((_, token) => layers.map((layer) => layer[token])));
      await expectWritten(['-', ...sizes, '--alignment', '3', '--axes', 'tokens,layers,topk'], both, tokensFirst);
    });

    it('accepts files without tokens and without slots', async () => {
      for (const shape of [
        [0, 8],
        [5, 0],
        [2, 0, 4],
        [2, 3, 0],
      ]) {
        const none = writeNpy([], shape);
        const axes = shape.length === 3 ? ['--axes', 'layers,tokens,topk'] : [];
        for (const flags of [
          [...sizes, '--alignment', '8', ...axes],
          [...byRank, ...axes],
        ]) {
          const { total } = await report(['-', ...flags], none);
          assert.strictEqual(total.numRows, 0);
          assert.isNull('rankImbalance' in total ? total.rankImbalance : total.expertImbalance);
          assert.match(await succeed(['permute', '-', ...flags], none), /no rows/);
          const arrays = await written(['-', ...flags], none);
          assert.isEmpty(arrays.row_of_selection.values);
          assert.deepStrictEqual(arrays.num_rows.values, shape.length === 3 ? [0, 0] : [0]);
        }
      }
    });
  });

  describe('by rank', () => {
    it('writes the arrays of one [tokens, topk], and of every layer', async () => {
      const expected = {
        num_tokens_per_rank: int32('(4,)', 2, 0, 1, 1),
        rank_offsets: int32('(5,)', 0, 2, 2, 3, 4),
        token_of_row: int32('(6,)', 0, 2, 0, 1, -1, -1),
        row_of_selection: int32('(6,)', 0, 2, 3, -1, 1, -1),
        num_rows: int64('()', 4),
      };
      const arrays = await written([file, ...byRank]);
      assert.deepStrictEqual(arrays, expected);
      assert.deepStrictEqual(Object.keys(arrays), Object.keys(expected), 'the order in the file');
      assert.deepStrictEqual(await written([...layersFile, ...byRank, '--layer', '0']), expected);
      const all = await written([...layersFile, ...byRank]);
      assert.deepStrictEqual(all.token_of_row, int32('(2,6)', 0, 2, 0, 1, -1, -1, 0, 2, 2, -1, -1, -1));
      assert.deepStrictEqual(all.num_rows, int64('(2,)', 4, 3));
    });

    it('gives the row to the last slot with --winner last', async () => {
      const last = await written([file, ...byRank, '--winner', 'last']);
      assert.deepStrictEqual(last.row_of_selection, int32('(6,)', 0, 2, 3, -1, -1, 1));
      const first = await written([file, ...byRank, '--winner', 'first']);
      assert.deepStrictEqual(first, await written([file, ...byRank]));
      assert.deepStrictEqual({ ...last, row_of_selection: null }, { ...first, row_of_selection: null });
    });

    it('takes a placement, by name and by file, and any number of ranks', async () => {
      const table = [0, -1, 2, 1, 0, 1, 2, 2];
      const tableFile = folder.write('placement.json', JSON.stringify(table));
      const cases = [
        ['linear', 3, 'linear'],
        ['round_robin', 3, 'round_robin'],
        [tableFile, 3, table],
        // More than one node of the default size, and no multiple of it
        ['linear', 11, 'linear'],
      ] as const;
      for (const [placement, numRanks, expected] of cases) {
        const order = rankOrder({ ...questionOf(rows), numRanks, numRanksPerNode: numRanks, placement: expected });
        const flags = [...sizes, '--by', 'rank', '--num-ranks', String(numRanks), '--placement', placement];
        await expectWritten([file, ...flags], [orderOf(order)]);
      }
    });
  });

  describe('the report', () => {
    it('has every number, as JSON', async () => {
      const {
        timing,
        device,
        total,
        layers: perLayer,
        ...facts
      } = await report([...layersFile, ...sizes, '--alignment', '2']);
      assert.deepStrictEqual<object>(facts, {
        file: layersPath,
        format: 'npy',
        producer: null,
        idType: 'int64',
        dtype: 'int64',
        axes: 'layers,tokens,topk',
        axesBecause: '--axes layers,tokens,topk says so',
        numLayersInFile: 2,
        tokens: 3,
        topk: 2,
        numTokens: 3,
        numTopk: 2,
        numExperts: 8,
        by: 'expert',
        firstExpert: 0,
        numLocalExperts: 8,
        alignment: 2,
        invalidExperts: 'throw',
      });
      assert.deepStrictEqual(total, {
        numTokensPerExpert: [2, 1, 0, 2, 1, 1, 1, 1],
        expertImbalance: 2 / (9 / 8),
        numRows: 14,
        numPaddingRows: 5,
      });
      assert.deepStrictEqual(perLayer, [
        {
          layer: 0,
          numTokensPerExpert: [2, 1, 0, 0, 0, 1, 1, 0],
          expertImbalance: 2 / (5 / 8),
          numRows: 8,
          numPaddingRows: 3,
        },
        {
          layer: 1,
          numTokensPerExpert: [0, 0, 0, 2, 1, 0, 0, 1],
          expertImbalance: 2 / (4 / 8),
          numRows: 6,
          numPaddingRows: 2,
        },
      ]);
      assert.isAbove(timing.seconds, 0);
      assert.isNotEmpty(device.reason);

      const ranks = await report([file, ...byRank]);
      assert.deepInclude<object>(ranks, { by: 'rank', numRanks: 4, placement: 'contiguous', winner: 'first' });
      assert.deepStrictEqual(ranks.total, { numTokensPerRank: [2, 0, 1, 1], rankImbalance: 2, numRows: 4 });
      assert.deepStrictEqual(ranks.layers, [{ layer: null, ...ranks.total }]);
    });

    it('has the numbers that a user needs, as text', async () => {
      const out = folder.path('report.npz');
      const expert = await succeed(['permute', ...layersFile, ...sizes, '--alignment', '2', '--out', out]);
      for (const line of [
        /^topk_idx +int64 \[2 layers, 3 tokens, top-2\]$/m,
        /^slots +12, 9 have a row$/m,
        /^experts +8, all local$/m,
        /^rows +14, of which 5 are padding \(35\.71 %\) to multiples of 2$/m,
        /^device +(cuda|wasm|js): \S/m,
        /^compute +[\d.]+ (µs|ms|s) for 6 tokens, .* tokens\/s$/m,
        /median of \d+ warm passes over 2 layers, without reading the file/,
        /^Tokens per expert +all layers together, mean 1, max\/mean 1\.78$/m,
        /^ {2}expert 0 {2}2 +1\.78x/m,
        /^Layers +max\/mean in each, up to 4\.00x in layer 1$/m,
        /^ {6}1 +4\.00x {2}expert 3 +6 +2$/m,
        /^wrote .*report\.npz$/m,
      ]) {
        assert.match(expert, line);
      }
      const local = await succeed(['permute', file, ...sizes, '--first-expert', '5', '--num-local-experts', '2']);
      assert.match(local, /^experts +8, of which 2 are local, from expert 5 on$/m);
      assert.match(local, /^rows +2, not padded$/m);
      assert.match(local, /^ {2}expert 5 +1 +1\.00x +expert 6/m);
      const rank = await succeed(['permute', file, ...byRank, '--winner', 'last']);
      for (const line of [
        /^experts +8, in equal blocks, rank by rank$/m,
        /^ranks +4; the last slot of a token for a rank has the row$/m,
        /^rows +4, 1\.33 per token$/m,
        /over the order, without reading the file/,
        /^Tokens per rank +mean 1, max\/mean 2\.00$/m,
        /^ {2}rank 3 {2}█+ +1 +1\.00x$/m,
      ]) {
        assert.match(rank, line);
      }
    });

    it('fits 80 columns and shows no control characters, at any size', async () => {
      const large = ['--num-experts', '1000000', '--alignment', '100', '--first-expert', '999000'];
      const ids = JSON.stringify(Array.from({ length: 40 }, (_, layer) => [[999_000 + layer, 999_001]]));
      for (const flags of [large, ['--num-experts', '1000000', '--by', 'rank', '--num-ranks', '1000']]) {
        const text = await succeed(['permute', '-', '--axes', 'layers,tokens,topk', ...flags], ids);
        for (const line of text.split('\n')) assert.isAtMost([...line].length, 80, line);
        // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that must not be printed.
        assert.notMatch(text, /[\x00-\x09\x0b-\x1f]|NaN|undefined|Infinity|null/);
        assert.match(text, /the 32 least even of 40/);
      }
    });
  });

  it('answers wrong flags with one line', async () => {
    const cases: (readonly [string[], RegExp])[] = [
      [[], /no FILE given/],
      [[file], /--num-experts E is missing/],
      [[file, ...sizes, '--by', 'rank'], /--num-ranks R is missing/],
      [[file, ...sizes, '--by', 'token'], /--by.*Allowed choices are expert, rank/],
      [
        [file, ...sizes, '--num-ranks', '4'],
        /--num-ranks is a flag of the order by rank; pass --by rank, or leave it out/,
      ],
      [[file, ...sizes, '--placement', 'linear'], /--placement is a flag of the order by rank/],
      [[file, ...sizes, '--winner', 'first'], /--winner is a flag of the order by rank/],
      [[file, ...byRank, '--alignment', '1'], /--alignment is a flag of the order by expert; .* leave out --by rank/],
      [[file, ...byRank, '--first-expert', '0'], /--first-expert is a flag of the order by expert/],
      [[file, ...byRank, '--num-local-experts', '8'], /--num-local-experts is a flag of the order by expert/],
      [[file, ...byRank, '--winner', 'second'], /--winner.*Allowed choices are first, last/],
      [[file, ...sizes, '--alignment', '0'], /--alignment.*whole number from 1 to 1048576/],
      [[file, ...sizes, '--first-expert', '8'], /--first-expert 8 is not an expert in \[0, 8\)/],
      [[file, ...sizes, '--first-expert', '-1'], /--first-expert.*whole number/],
      [[file, ...sizes, '--num-local-experts', '0'], /--num-local-experts.*whole number from 1/],
      [
        [file, ...sizes, '--first-expert', '6', '--num-local-experts', '3'],
        /--num-local-experts 3 is too many: from expert 6 on there are 2 of --num-experts 8/,
      ],
      [[file, ...sizes, '--by', 'rank', '--num-ranks', '3'], /8 experts do not divide evenly among 3 ranks/],
      [[file, ...sizes, '--mask', 'bits'], /unknown option '--mask'/],
      [[file, ...sizes, '--layer', '0'], /--layer is for routing of several layers/],
      [[...layersFile, ...sizes, '--layer', '2'], /--layer 2 is not in .*, which has layers 0 to 1/],
      [[file, '--num-experts', '6'], /rows.npy, token 1, slot 0: 6 is not an expert in \[0, 6\); pass --empty-id 6/],
      [[...layersFile, '--num-experts', '7'], /layers.npy, layer 1, token 2, slot 0: 7 is not an expert/],
      [['-', ...byRank, '--placement', '-'], /cannot both be standard input/],
      [[file, ...sizes, '--out', '-'], /--out takes the name of a file/],
      [[file, ...sizes, '--out', file], /would overwrite the input/],
      [[file, ...sizes, '--out', folder.path('no/order.npz')], /cannot write .*: no such file or directory/],
    ];
    await forEachInPairs(cases, async ([args, message]) => {
      expectRefusal(await dispatchLayout(['permute', ...args]), message, args.join(' '));
    });
    assert.isTrue(readFileSync(file).equals(npyOf(rows)));
  });

  it('refuses an order of more rows than int32 can number, and says how to make it smaller', async () => {
    const ids = JSON.stringify([Array.from({ length: 2048 }, (_, expert) => expert)]);
    const flags = ['--num-experts', '2048', '--alignment', '1048576'];
    const message =
      /standard input has 2147483648 rows in a layer, more than int32 can number; split it by tokens, or lower --alignment/;
    expectRefusal(await dispatchLayout(['permute', '-', ...flags], ids), message, 'one');
  });

  it('writes the same bytes again and on every device, and replaces only whole files', async () => {
    const out = folder.path('again.npz');
    const bytes: Buffer[] = [];
    for (const device of ['auto', 'auto', 'js', 'wasm']) {
      await succeed(['permute', ...layersFile, ...sizes, '--device', device, '--out', out]);
      bytes.push(readFileSync(out));
    }
    for (const other of bytes.slice(1)) assert.isTrue(other.equals(bytes[0]));

    writeFileSync(out, 'precious');
    expectRefusal(
      await dispatchLayout(['permute', '-', ...sizes, '--out', out], '[[99]]'),
      /not an expert/,
      'a bad id',
    );
    assert.strictEqual(readFileSync(out, 'utf8'), 'precious');
    const none = folder.path('none.npz');
    expectRefusal(await dispatchLayout(['permute', '-', ...sizes, '--out', none], '[[0], [99]]'), /not an exp/, 'bad');
    assert.isFalse(existsSync(none));
    assert.isEmpty(readdirSync(folder.path('.')).filter((name) => name.endsWith('.tmp')));
  });
});

/** Checks orders that were written by expert against numpy's own stable sort. */
const checkByExpert = `
import sys, numpy as np
ids, out = np.load(sys.argv[1]), np.load(sys.argv[2])
num_experts, first, num_local, alignment = map(int, sys.argv[3:])
assert out.files == ['num_tokens_per_expert', 'expert_offsets', 'selection_of_row', 'row_of_selection', 'num_rows']
for layer in range(len(ids)):
    flat = ids[layer].astype(np.int64).ravel() - first
    kept = np.flatnonzero((flat >= 0) & (flat < num_local))
    counts = np.bincount(flat[kept], minlength=num_local)
    offsets = np.concatenate([[0], np.cumsum(-(-counts // alignment) * alignment)])
    sorted_selections = kept[np.argsort(flat[kept], kind='stable')]
    experts = flat[sorted_selections]
    rows = offsets[experts] + np.arange(len(experts)) - (np.cumsum(counts) - counts)[experts]
    max_rows = flat.size + min(flat.size, num_local) * (alignment - 1)
    selection_of_row = np.full(max_rows - max_rows % alignment, -1)
    selection_of_row[rows] = sorted_selections
    row_of_selection = np.full(flat.size, -1)
    row_of_selection[sorted_selections] = rows
    if alignment == 1:
        assert (out['selection_of_row'][layer, :len(kept)] == sorted_selections).all()
    expected = dict(num_tokens_per_expert=counts, expert_offsets=offsets, selection_of_row=selection_of_row,
                    row_of_selection=row_of_selection, num_rows=offsets[-1])
    for name, value in expected.items():
        assert out[name].dtype == (np.int64 if name == 'num_rows' else np.int32), (name, out[name].dtype)
        assert out[name][layer].shape == value.shape, (name, out[name].shape, value.shape)
        assert (out[name][layer] == value).all(), (name, layer)
print('equal')
`;

/** Checks orders that were written by rank against the sorted, unique pairs of rank and token. */
const checkByRank = `
import sys, numpy as np
ids, out = np.load(sys.argv[1]), np.load(sys.argv[2])
num_experts, num_ranks, winner = int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
assert out.files == ['num_tokens_per_rank', 'rank_offsets', 'token_of_row', 'row_of_selection', 'num_rows']
for layer in range(len(ids)):
    num_tokens, num_topk = ids[layer].shape
    flat = ids[layer].astype(np.int64).ravel()
    kept = np.flatnonzero((flat >= 0) & (flat < num_experts))
    if winner == 'last':
        kept = kept[::-1]
    pairs = flat[kept] // (num_experts // num_ranks) * num_tokens + kept // num_topk
    unique, index = np.unique(pairs, return_index=True)
    counts = np.bincount(unique // num_tokens, minlength=num_ranks)
    token_of_row = np.full(num_tokens * min(num_topk, num_ranks), -1)
    token_of_row[:len(unique)] = unique % num_tokens
    row_of_selection = np.full(flat.size, -1)
    row_of_selection[kept[index]] = np.arange(len(unique))
    expected = dict(num_tokens_per_rank=counts, rank_offsets=np.concatenate([[0], np.cumsum(counts)]),
                    token_of_row=token_of_row, row_of_selection=row_of_selection, num_rows=np.int64(len(unique)))
    for name, value in expected.items():
        assert out[name].dtype == (np.int64 if name == 'num_rows' else np.int32), (name, out[name].dtype)
        assert out[name][layer].shape == value.shape, (name, out[name].shape, value.shape)
        assert (out[name][layer] == value).all(), (name, layer)
print('equal')
`;

describe('command line: orders with numpy', function () {
  this.timeout(60_000);
  const folder = temporaryFolder();
  // In ids of uint8, 255 is what -1 becomes
  const types = ['int64', 'int32', 'uint8'];
  before(function () {
    requirePython(this, 'numpy');
    const writeInputs = `
import sys, numpy as np
ids = np.random.default_rng(0).integers(-1, 64, (3, 500, 6))
for dtype in ['int64', 'int32', 'uint8']:
    np.save(f'{sys.argv[1]}/{dtype}.npy', ids.astype(dtype))
`;
    python(writeInputs, folder.path('.'));
  });

  it('equal its stable argsort, whatever the type, the padding and the local experts are', async () => {
    const shapes = [
      [0, 64, 1],
      [0, 64, 16],
      [24, 8, 1],
      [24, 8, 7],
    ];
    await forEachInPairs(
      types.flatMap((type) => shapes.map((shape) => ({ type, shape }))),
      async ({ type, shape: [first, numLocal, alignment] }) => {
        const [ids, out] = [folder.path(`${type}.npy`), folder.path(`${type}-${first}-${alignment}.npz`)];
        const range = ['--first-expert', String(first), '--num-local-experts', String(numLocal)];
        const flags = ['--num-experts', '64', ...range, '--alignment', String(alignment), '--empty-id', '255'];
        await succeed(['permute', ids, ...flags, '--out', out]);
        const printed = python(checkByExpert, ids, out, '64', String(first), String(numLocal), String(alignment));
        assert.strictEqual(printed, 'equal\n', `${type} ${first} ${alignment}`);
      },
    );
  });

  it('equal its sorted pairs of rank and token', async () => {
    await forEachInPairs(
      types.flatMap((type) => ['first', 'last'].map((winner) => ({ type, winner }))),
      async ({ type, winner }) => {
        const [ids, out] = [folder.path(`${type}.npy`), folder.path(`${type}-${winner}.npz`)];
        const flags = ['--num-experts', '64', '--by', 'rank', '--num-ranks', '16', '--winner', winner];
        await succeed(['permute', ids, ...flags, '--empty-id', '255', '--out', out]);
        assert.strictEqual(python(checkByRank, ids, out, '64', '16', winner), 'equal\n', `${type} ${winner}`);
      },
    );
  });

  it('are numbers of rows that numpy reads as a scalar, for one layer', async () => {
    const out = folder.path('scalar.npz');
    await succeed(['permute', folder.path('int64.npy'), '--num-experts', '64', '--layer', '1', '--out', out]);
    const script = `
import sys, numpy as np
rows = np.load(sys.argv[1])['num_rows']
print(rows.dtype, rows.shape, int(rows) == (np.load(sys.argv[2])[1] >= 0).sum())
`;
    assert.strictEqual(python(script, out, folder.path('int64.npy')), 'int64 () True\n');
  });
});
