/**
 * The example of an MoE layer: its output is that of the dense computation, whatever the routing, and a wrong order of
 * rows would be noticed. It is skipped if its packages (`./build.sh examples`) are missing.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { assert } from 'chai';
import { type ExpertPermutation, getExpertPermutation } from 'dispatch-layout';
import { root } from './support/root.ts';

const examples = join(root, 'examples');
const folder = join(examples, 'moe-layer');

/** The part of ONNX Runtime's tensors that is used here. The package is installed only with the examples. */
interface Tensor<Data> {
  readonly data: Data;
  readonly dims: readonly number[];
}
type Floats = Tensor<Float32Array>;
type Ids = Tensor<BigInt64Array>;

interface Runtime {
  readonly Tensor: new <Data>(type: string, data: Data, dims: readonly number[]) => Tensor<Data>;
}

interface Weights {
  readonly router: Floats;
  readonly experts: readonly { readonly up: Floats; readonly down: Floats }[];
}

interface Example {
  moeLayer(
    hidden: Floats,
    weights: Weights,
    numTopk: number,
    alignment?: number,
  ): Promise<{ output: Floats; gates: Floats; experts: Ids; order: ExpertPermutation }>;
  gather(hidden: Floats, order: ExpertPermutation): Floats;
  runExperts(rows: Floats, experts: Weights['experts'], order: ExpertPermutation): Promise<Floats>;
  combine(results: Floats, order: ExpertPermutation, gates: Floats): Floats;
  denseLayer(hidden: Floats, weights: Weights, gates: Floats, experts: Ids): Float64Array;
  largestDifference(output: Floats, dense: Float64Array): number;
  readonly tolerance: number;
  randomLayer(shape: Record<string, number>): { hidden: Floats; weights: Weights };
}

const numExperts = 8;
const hiddenSize = 16;
const shape = { hiddenSize, innerSize: 24, numExperts, seed: 7 };

/** What the experts of each token are, in tests of the layer behind the router. */
const routings: Record<string, number[][]> = {
  'every expert': [0, 2, 4, 6].map((expert) => [expert, expert + 1]),
  'experts without rows: the first, the last, and several in a row': [
    [6, 1],
    [1, 5],
    [5, 6],
  ],
  'one expert alone': [[3], [3], [3]],
  'the same expert twice in a token': [
    [2, 2],
    [2, 5],
  ],
  'empty slots': [
    [-1, 4],
    [0, -1],
    [4, 0],
  ],
  'tokens without experts': [
    [-1, -1],
    [7, 1],
    [-1, -1],
    [1, 7],
    [-1, -1],
  ],
  'no selection at all': [
    [-1, -1],
    [-1, -1],
  ],
};

describe('an MoE layer', function () {
  this.timeout(60_000);
  let example: Example;
  let runtime: Runtime;

  before(async function () {
    if (!existsSync(join(folder, 'node_modules', 'dispatch-layout'))) {
      console.log('    SKIPPED: its packages are not installed, ./build.sh examples does that');
      this.skip();
    }
    const modules = ['moe-layer', 'dense', 'random'].map((name) => pathToFileURL(join(folder, `${name}.mjs`)).href);
    example = Object.assign({}, ...(await Promise.all(modules.map((module) => import(module)))));
    runtime = createRequire(join(folder, 'package.json'))('onnxruntime-node');
  });

  /** A case with a routing: its gates differ from selection to selection. */
  function routed(rows: number[][]) {
    const dims = [rows.length, rows[0].length];
    const ids = BigInt64Array.from(rows.flat(), BigInt);
    const gates = Float32Array.from(ids, (_, selection) => 1 / (selection + 2));
    return {
      ...example.randomLayer({ ...shape, numTokens: rows.length }),
      experts: new runtime.Tensor('int64', ids, dims),
      gates: new runtime.Tensor('float32', gates, dims),
    };
  }

  /** How much the layer behind the router differs from the dense computation, with an order of rows. */
  async function differenceWith(
    order: ExpertPermutation,
    { hidden, weights, experts, gates }: ReturnType<typeof routed>,
  ) {
    const results = await example.runExperts(example.gather(hidden, order), weights.experts, order);
    const output = example.combine(results, order, gates);
    assert.deepStrictEqual([...output.dims], [...hidden.dims]);
    return example.largestDifference(output, example.denseLayer(hidden, weights, gates, experts));
  }

  for (const alignment of [1, 2, 3, 16]) {
    describe(`with rows in multiples of ${alignment}, equals the dense computation`, () => {
      it('with what the router selects', async () => {
        const { hidden, weights } = example.randomLayer({ ...shape, numTokens: 33 });
        const { output, gates, experts, order } = await example.moeLayer(hidden, weights, 3, alignment);
        assert.strictEqual(order.alignment, alignment);
        const dense = example.denseLayer(hidden, weights, gates, experts);
        assert.isBelow(example.largestDifference(output, dense), example.tolerance);
        assert.isAbove(Math.max(...dense.map(Math.abs)), 0.1, 'the outputs are not all small');
      });

      it('with no tokens', async () => {
        const { hidden, weights } = example.randomLayer({ ...shape, numTokens: 0 });
        const { output, gates, experts } = await example.moeLayer(hidden, weights, 3, alignment);
        assert.deepStrictEqual(
          [output.dims, gates.dims, experts.dims],
          [
            [0, hiddenSize],
            [0, 3],
            [0, 3],
          ],
        );
        assert.lengthOf(output.data, 0);
      });

      for (const [name, rows] of Object.entries(routings)) {
        it(`with ${name}`, async () => {
          const routing = routed(rows);
          const order = getExpertPermutation(routing.experts, numExperts, { alignment });
          assert.isBelow(await differenceWith(order, routing), example.tolerance);
        });
      }
    });
  }

  it('selects the experts and gates that follow from the weights of the router', async () => {
    const { hidden, weights } = example.randomLayer({ ...shape, numTokens: 5 });
    const { gates, experts } = await example.moeLayer(hidden, weights, 3);
    const selected = Array.from({ length: 5 }, (_, token) => {
      const exponentials = Array.from({ length: numExperts }, (_, expert) => {
        let logit = 0;
        for (let i = 0; i < hiddenSize; i++) {
          logit += hidden.data[token * hiddenSize + i] * weights.router.data[i * numExperts + expert];
        }
        return { expert, value: Math.exp(logit) };
      });
      const sum = exponentials.reduce((total, { value }) => total + value, 0);
      const sorted = exponentials.sort((a, b) => b.value - a.value).slice(0, 3);
      return sorted.map(({ expert, value }) => ({ expert, gate: value / sum }));
    }).flat();
    assert.deepStrictEqual(
      [...experts.data],
      selected.map(({ expert }) => BigInt(expert)),
    );
    for (const [selection, { gate }] of selected.entries()) assert.closeTo(gates.data[selection], gate, 1e-6);
  });

  it('differs from the dense computation if the rows of two tokens are swapped', async () => {
    const routing = routed([
      [6, 1],
      [1, 5],
      [5, 6],
    ]);
    const order = getExpertPermutation(routing.experts, numExperts, { alignment: 3 });
    const { numTopk, numTokens, numRows, expertOffsets, rowOfSelection } = order;
    const tokenOf = (row: number) => Math.floor(order.selectionOfRow[row] / numTopk); // -1 in padding
    let swaps = 0;
    for (let a = 0; a < numRows; a++) {
      for (let b = 0; b < a; b++) {
        if (tokenOf(a) === tokenOf(b)) continue;
        const selectionOfRow = order.selectionOfRow.slice();
        [selectionOfRow[a], selectionOfRow[b]] = [selectionOfRow[b], selectionOfRow[a]];
        const swapped = { numTopk, numTokens, numRows, expertOffsets, rowOfSelection, selectionOfRow };
        const difference = await differenceWith(swapped as ExpertPermutation, routing);
        assert.isAbove(difference, 100 * example.tolerance, `rows ${b} and ${a}`);
        swaps++;
      }
    }
    assert.strictEqual(swaps, 36 - 3 * 2, 'all pairs of 9 rows, but for those of one token, and of padding');
  });

  it('prints what its README shows, and succeeds', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, 'run.mjs')], { encoding: 'utf8' });
    assert.strictEqual(status, 0, stderr);
    const [, shown] = /^```text\n(.*?)^```$/ms.exec(readFileSync(join(folder, 'README.md'), 'utf8')) ?? [];
    const withoutDifference = (text: string) => text.replace(/[\d.]+e-\d+/, '#');
    assert.strictEqual(withoutDifference(stdout), withoutDifference(shown));
  });

  it('fails if its rows are in the wrong order', () => {
    const copy = mkdtempSync(join(tmpdir(), 'dispatch-layout-moe-layer-'));
    try {
      const isCopied = (path: string) => !path.endsWith('node_modules');
      cpSync(examples, copy, { recursive: true, filter: isCopied });
      symlinkSync(join(folder, 'node_modules'), join(copy, 'moe-layer', 'node_modules'), 'dir');
      const module = join(copy, 'moe-layer', 'moe-layer.mjs');
      const code = readFileSync(module, 'utf8');
      const planted = code.replace('const rows = ', 'order.selectionOfRow.subarray(0, 2).reverse();\n  const rows = ');
      assert.notStrictEqual(planted, code);
      writeFileSync(module, planted);
      const run = join(copy, 'moe-layer', 'run.mjs');
      const { status, stderr } = spawnSync(process.execPath, [run], { encoding: 'utf8' });
      assert.strictEqual(stderr, 'The difference must be less than 0.00001.\n');
      assert.strictEqual(status, 1);
    } finally {
      rmSync(copy, { recursive: true });
    }
  });
});
