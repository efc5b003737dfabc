/** The table of `dispatch-layout FILE --num-ranks 8,16,…`, against the layouts of each number of ranks by itself. */
import { assert } from 'chai';
import { percentile } from 'dispatch-layout/placement';
import { Random } from '../support/random.ts';
import { dispatchLayout, expectRefusal, succeed, temporaryFolder } from './command.ts';
import { plainForm, writeNpy } from './npy-writer.ts';

interface JsonSweep {
  readonly numDenseLayers: number;
  readonly sweep: readonly {
    readonly numRanks: number;
    readonly numNodes: number;
    readonly layers: Readonly<Record<string, { p50: number; p95: number; worst: number }>>;
    readonly meanRanksPerToken: number;
    readonly meanNodesPerToken: number | null;
    readonly numTokensBetweenNodes: number;
    readonly bytesBetweenNodes: number | null;
  }[];
}

describe('several numbers of ranks', () => {
  const folder = temporaryFolder();
  const random = new Random(12);
  const row = (): number[] => [random.below(24), random.below(1 + random.below(24)), random.between(-1, 23)];
  const layers = Array.from({ length: 3 }, () => Array.from({ length: 200 }, row));
  let path = '';
  before(() => {
    path = folder.write('trace.npy', writeNpy(layers.flat(2).map(BigInt), [3, 200, 3], { ...plainForm, size: 2 }));
  });
  const flags = ['--num-experts', '24', '--axes', 'layers,tokens,topk', '--ranks-per-node', '4'];

  it('gives for each number what its own report gives', async () => {
    for (const placement of ['linear', 'round_robin']) {
      const args = [path, ...flags, '--placement', placement, '--json'];
      const sizes = ['--num-ranks', '4,8,20,16', '--hidden-size', '7168', '--bytes-per-element', '1'];
      const { sweep }: JsonSweep = JSON.parse(await succeed([...args, ...sizes]));
      assert.deepStrictEqual(
        sweep.map(({ numRanks, numNodes }) => [numRanks, numNodes]),
        [
          [4, 1],
          [8, 2],
          [20, 5],
          [16, 4],
        ],
      );
      for (const line of sweep) {
        const report = JSON.parse(await succeed([...args, '--num-ranks', String(line.numRanks)]));
        const ratios = report.layers.map(({ rankImbalance }: { rankImbalance: number }) => rankImbalance);
        assert.closeTo(line.layers['max/mean'].p95, percentile(ratios, 95), 1e-9);
        assert.closeTo(line.layers['max/mean'].worst, Math.max(...ratios), 1e-9);
        assert.closeTo(line.meanRanksPerToken, report.total.meanRanksPerToken, 1e-9);
        assert.strictEqual(line.meanNodesPerToken === null, line.numNodes === 1);
        if (line.numNodes > 1) assert.closeTo(line.meanNodesPerToken as number, report.total.meanNodesPerToken, 1e-9);
        // Of tokens that are dealt out evenly, all but one of numNodes come from another node
        const ofNodes: number[] = report.total.numTokensPerRdmaRank ?? [0];
        const between = (ofNodes.reduce((all, count) => all + count, 0) * (line.numNodes - 1)) / line.numNodes;
        assert.closeTo(line.numTokensBetweenNodes, between, 1e-6);
        assert.closeTo(line.bytesBetweenNodes as number, between * 7168, 1e-3);
      }
    }
  });

  it('knows the node that sends, where the file names its rank', async () => {
    const lines = layers[0].map((ids, token) => ({
      ...{ step: token, stage: 0, block: 0, layer: 0, rank: 5, num_tokens: 1, topk: 3 },
      top_indices: [ids.map((id) => Math.max(id, 0))],
    }));
    const file = folder.write('router_trace_rank5.jsonl', lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const args = [file, '--num-experts', '24', '--ranks-per-node', '4', '--json'];
    const { sweep }: JsonSweep = JSON.parse(await succeed([...args, '--num-ranks', '8,12']));
    for (const { numRanks, numTokensBetweenNodes } of sweep) {
      const report = JSON.parse(await succeed([...args, '--num-ranks', String(numRanks)]));
      const others = report.total.numTokensPerRdmaRank.filter((_: number, node: number) => node !== 1);
      assert.strictEqual(
        numTokensBetweenNodes,
        others.reduce((all: number, count: number) => all + count, 0),
      );
    }
  });

  it('prints a table of 80 columns, and leaves dense layers out', async () => {
    const dense = new Array<number[]>(200).fill([0, 0, 0]);
    const ids = [dense, ...layers].flat(2).map(BigInt);
    const file = folder.write('dense.npy', writeNpy(ids, [4, 200, 3], { ...plainForm, size: 2 }));
    const args = [file, ...flags, '--num-ranks', '8,24'];
    const text = await succeed([...args, '--hidden-size', '1000000']);
    for (const line of text.split('\n').filter((each) => !each.startsWith('file'))) assert.isAtMost(line.length, 80);
    assert.match(text, /^dense {5}1 layer holds one expert only; it is in no figure$/m);
    assert.match(text, /ranks\/token {2}nodes\/token +MB between\n/);
    assert.match(text, /^ {5}24 +6 +\d\.\d\d +\d\.\d\d +\d\.\d\d +\d\.\d\d +\d\.\d\d +[\d,]+$/m);
    const { sweep, numDenseLayers }: JsonSweep = JSON.parse(await succeed([...args, '--json']));
    const without: JsonSweep = JSON.parse(await succeed([path, ...flags, '--num-ranks', '8,24', '--json']));
    assert.strictEqual(numDenseLayers, 1);
    assert.deepStrictEqual(sweep, without.sweep);
    const kept: JsonSweep = JSON.parse(await succeed([...args, '--json', '--keep-dense']));
    assert.strictEqual(kept.sweep[0].layers['max/mean'].worst, 8);
  });

  it('refuses what is for one number of ranks', async () => {
    const several = ['--num-ranks', '8,16'];
    const cases: [string[], RegExp][] = [
      [[path, ...flags, '--num-ranks', '8,,16'], /Give a whole number from 1/],
      [[path, ...flags, '--num-ranks', '8,10'], /--num-ranks 10 is more than one node of 4 ranks/],
      [[path, ...flags, ...several, '--out', folder.path('none.npz')], /--out is for one number of ranks/],
      [[path, ...flags, ...several, '--mask', 'bits'], /--mask is for one number of ranks/],
      [[path, ...flags, ...several, '--replica-rule', 'hash'], /--replica-rule is for one number of ranks/],
      [[path, ...flags, ...several, '--bytes-per-element', '1'], /--bytes-per-element is for --hidden-size/],
      [[path, ...flags, ...several, '--fail-above', 'max/mean=2'], /--fail-above is for one number of ranks/],
      [[path, ...flags, ...several, '--placement', 'plan.json'], /--placement plan\.json is for one number of ranks/],
      [
        [path, '--num-experts', '20', ...flags.slice(2), ...several],
        /trace\.npy, layer 0, token \d+, slot \d: 2\d is not an expert/,
      ],
    ];
    for (const [args, message] of cases) expectRefusal(await dispatchLayout(args), message, args.join(' '));
  });
});
