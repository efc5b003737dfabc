/** What `--statistics` counts of experts, against counting that takes one token after the other. */
import { assert } from 'chai';
import { percentile } from 'dispatch-layout/placement';
import { Random } from '../support/random.ts';
import { dispatchLayout, expectRefusal, succeed, temporaryFolder } from './command.ts';
import { plainForm, writeNpy } from './npy-writer.ts';

interface JsonUnique {
  readonly numWindows: number;
  readonly least: number;
  readonly p50: number;
  readonly p95: number;
  readonly most: number;
}

interface JsonLayer {
  readonly layer: number | null;
  readonly uniqueExperts: JsonUnique | null;
  readonly coverage: readonly { top: number; share: number }[] | null;
  readonly pairs: readonly { experts: [number, number]; numTokens: number; lift: number }[];
}

interface JsonExperts extends Omit<JsonLayer, 'layer' | 'pairs'> {
  readonly window: number;
  readonly layers: readonly JsonLayer[];
}

type Rows = readonly (readonly number[])[];

/** The experts of a token, each once. Other ids are left out. */
function expertsOf(row: readonly number[], numExperts: number, emptyId = -1): number[] {
  return [...new Set(row.filter((id) => id >= 0 && id < numExperts && id !== emptyId))];
}

function uniqueInWindows(rows: Rows, numExperts: number, window: number, emptyId?: number): number[] {
  const numWindows = Math.max(1, Math.floor(rows.length / window));
  return Array.from({ length: numWindows }, (_, index) => {
    const tokens = rows.slice(index * window, (index + 1) * window);
    return new Set(tokens.flatMap((row) => expertsOf(row, numExperts, emptyId))).size;
  }).filter((count) => count > 0);
}

function checkUnique(actual: JsonUnique | null, expected: readonly number[], what: string): void {
  assert.isNotNull(actual, what);
  const { numWindows, least, p50, p95, most } = actual as JsonUnique;
  assert.deepStrictEqual([numWindows, least, most], [expected.length, Math.min(...expected), Math.max(...expected)]);
  assert.closeTo(p50, percentile(expected, 50), 1e-9, what);
  assert.closeTo(p95, percentile(expected, 95), 1e-9, what);
}

function sharesOf(rows: Rows, numExperts: number, emptyId = -1): [number, number][] {
  const ids = rows.flat().filter((id) => id >= 0 && id < numExperts && id !== emptyId);
  const counts = new Array<number>(numExperts).fill(0);
  for (const id of ids) counts[id]++;
  counts.sort((left, right) => right - left);
  const tops = [1, 2, 4, 8, 16, 32, 64].filter((top) => top < numExperts);
  return [...tops, numExperts].map((top) => [
    top,
    counts.slice(0, top).reduce((sum, count) => sum + count, 0) / ids.length,
  ]);
}

/** The top pairs, as `[first, second, tokens, lift]`. */
function pairsOf(rows: Rows, numExperts: number, emptyId?: number): number[][] {
  const selected = rows.map((row) => expertsOf(row, numExperts, emptyId)).filter((experts) => experts.length > 0);
  const ofExpert = new Array<number>(numExperts).fill(0);
  const ofPair = new Map<number, number>();
  for (const experts of selected) {
    experts.sort((left, right) => left - right);
    for (const [index, first] of experts.entries()) {
      ofExpert[first]++;
      for (const second of experts.slice(index + 1)) {
        const pair = first * numExperts + second;
        ofPair.set(pair, (ofPair.get(pair) ?? 0) + 1);
      }
    }
  }
  return [...ofPair]
    .sort(([left, leftCount], [right, rightCount]) => rightCount - leftCount || left - right)
    .slice(0, 16)
    .map(([pair, count]) => {
      const [first, second] = [Math.floor(pair / numExperts), pair % numExperts];
      return [first, second, count, (count * selected.length) / (ofExpert[first] * ofExpert[second])];
    });
}

function checkLayer(actual: JsonLayer, rows: Rows, numExperts: number, window: number, emptyId?: number): void {
  checkUnique(actual.uniqueExperts, uniqueInWindows(rows, numExperts, window, emptyId), `layer ${actual.layer}`);
  const shares = sharesOf(rows, numExperts, emptyId);
  assert.deepStrictEqual(
    actual.coverage?.map(({ top }) => top),
    shares.map(([top]) => top),
  );
  for (const [index, [, share]] of shares.entries()) assert.closeTo(actual.coverage?.[index].share ?? 0, share, 1e-9);
  const pairs = pairsOf(rows, numExperts, emptyId);
  assert.deepStrictEqual(
    actual.pairs.map(({ experts, numTokens }) => [...experts, numTokens]),
    pairs.map((pair) => pair.slice(0, 3)),
  );
  for (const [index, pair] of pairs.entries()) assert.closeTo(actual.pairs[index].lift, pair[3], 1e-9);
}

describe('--statistics', () => {
  const folder = temporaryFolder();

  async function statistics(args: readonly string[]): Promise<JsonExperts> {
    return JSON.parse(await succeed([...args, '--num-ranks', '2', '--statistics', '--json'])).experts;
  }

  it('counts experts of windows, coverage and pairs of a case that can be counted by hand', async () => {
    const file = folder.write('hand.json', '[[0, 1], [1, 0], [0, 2], [3, -1], [0, 1], [-1, -1], [2, 2]]');
    const { layers, ...overAll } = await statistics([file, '--num-experts', '4', '--window', '2']);
    assert.deepStrictEqual(layers, [
      {
        layer: null,
        // The windows have the experts 0 1, 0 2 3 and 0 1; the last token does not fill one
        uniqueExperts: { numWindows: 3, least: 2, p50: 2, p95: 2.9, most: 3 },
        coverage: [
          { top: 1, share: 4 / 11 },
          { top: 2, share: 7 / 11 },
          { top: 4, share: 1 },
        ],
        // Of 6 tokens with experts, 4 select expert 0, 3 select 1 and 2 select 2
        pairs: [
          { experts: [0, 1], numTokens: 3, lift: (3 * 6) / (4 * 3) },
          { experts: [0, 2], numTokens: 1, lift: (1 * 6) / (4 * 2) },
        ],
      },
    ]);
    const { uniqueExperts, coverage } = layers[0];
    assert.deepStrictEqual(overAll, { window: 2, uniqueExperts, coverage });
  });

  it('counts what one token after the other gives, however the ids lie and whatever their type', async () => {
    const random = new Random(31);
    const numExperts = 40;
    const row = (numTopk: number): number[] =>
      Array.from({ length: numTopk }, () => (random.chance(0.05) ? -1 : random.below(1 + random.below(numExperts))));
    const [numTokens, numTopk] = [18_000, 8];
    const layers = [0, 1].map(() => Array.from({ length: numTokens }, () => row(numTopk)));
    for (const [axes, size, window] of [
      ['layers,tokens,topk', 8, 5000],
      ['tokens,layers,topk', 8, 700],
      ['layers,tokens,topk', 2, 20_000],
      ['tokens,layers,topk', 1, 1],
    ] as const) {
      const isTokensFirst = axes.startsWith('tokens');
      const ids = isTokensFirst ? layers[0].map((_, token) => layers.map((rows) => rows[token])) : layers;
      const shape = isTokensFirst ? [numTokens, 2, numTopk] : [2, numTokens, numTopk];
      const path = folder.write('ids.npy', writeNpy(ids.flat(2).map(BigInt), shape, { ...plainForm, size }));
      const flags = ['--num-experts', String(numExperts), '--axes', axes, '--window', String(window)];
      const report = await statistics([path, ...flags]);
      assert.strictEqual(report.window, window);
      for (const [index, rows] of layers.entries()) checkLayer(report.layers[index], rows, numExperts, window);
      const unique = layers.flatMap((rows) => uniqueInWindows(rows, numExperts, window));
      checkUnique(report.uniqueExperts, unique, 'over all layers');
      const ofLayers = layers.map((rows) => sharesOf(rows, numExperts));
      for (const [index, { top, share }] of (report.coverage ?? []).entries()) {
        assert.strictEqual(top, ofLayers[0][index][0]);
        assert.closeTo(share, (ofLayers[0][index][1] + ofLayers[1][index][1]) / 2, 1e-9);
      }
    }
  });

  it('leaves out ids that are no experts, ids that stand for empty slots, and dense layers', async () => {
    const random = new Random(5);
    const rows = Array.from({ length: 300 }, () => Array.from({ length: 3 }, () => random.below(12)));
    const wide = rows.map((row) =>
      row.map((id) => (id === 11 ? 2n ** 32n + 3n : id === 10 ? -(2n ** 33n) : BigInt(id))),
    );
    const path = folder.write('wide.npy', writeNpy(wide.flat(), [300, 3], plainForm));
    const flags = ['--num-experts', '10', '--invalid-experts', 'ignore', '--empty-id', '7', '--window', '50'];
    const report = await statistics([path, ...flags]);
    checkLayer(report.layers[0], rows, 10, 50, 7);

    const dense = [rows.map(() => [0, 0, 0]), rows].flat(2).map(BigInt);
    const withDense = folder.write('dense.npy', writeNpy(dense, [2, 300, 3], { ...plainForm, size: 2 }));
    const axes = ['--num-experts', '12', '--axes', 'layers,tokens,topk'];
    const { layers } = await statistics([withDense, ...axes]);
    assert.deepStrictEqual(
      layers.map(({ layer }) => layer),
      [1],
    );
    checkLayer(layers[0], rows, 12, 4096);
    assert.lengthOf((await statistics([withDense, ...axes, '--keep-dense'])).layers, 2);
    const nothing = await statistics([folder.write('nothing.json', '[[-1, -1]]'), '--num-experts', '4']);
    assert.deepInclude(nothing.layers[0], { uniqueExperts: null, coverage: null, pairs: [] });
  });

  it('is printed for people, in 80 columns', async () => {
    const text = await succeed(
      ['-', '--num-experts', '4', '--num-ranks', '2', '--statistics'],
      '[[0, 1], [1, 0], [2, 3]]',
    );
    const section = text.slice(text.indexOf('Experts together'));
    assert.strictEqual(
      section,
      [
        'Experts together',
        '  different ones in 1 window of 4,096 tokens:',
        '    p50 4, p95 4, from 4 to 4',
        '  share of the selections of the top experts:',
        '    1: 33.3 %, 2: 66.7 %, 4: 100.0 %',
        '  most often together: 0 and 1',
        '    2 tokens, lift 1.50',
        '',
      ].join('\n'),
    );
    const plain = await succeed(['-', '--num-experts', '4', '--num-ranks', '2'], '[[0, 1], [1, 0], [2, 3]]');
    assert.notInclude(plain, 'together');
  });

  it('refuses pairs that do not fit memory, and windows without statistics', async () => {
    const flags = ['--num-ranks', '2', '--statistics'];
    const cases: [string[], RegExp][] = [
      [['-', '--num-experts', '8192', ...flags], /pairs of experts, too many of 8192 experts in 1 layer; leave it out/],
      [['-', '--num-experts', '8', '--num-ranks', '2', '--window', '8'], /--window is for --statistics/],
      [['-', '--num-experts', '8', '--num-ranks', '2,4', '--statistics'], /--statistics is for one number of ranks/],
    ];
    for (const [args, message] of cases) {
      expectRefusal(await dispatchLayout(args, '[[0, 1]]'), message, args.join(' '));
    }
  });
});
