/** Plans as the placement of `permute` and `receive`, against what the commands make of ids that were mapped before. */
import { readFileSync } from 'node:fs';
import { assert } from 'chai';
import { createPlan, type PlacementPlan, type ReplicaRule } from 'dispatch-layout/placement';
import { unzipSync } from 'fflate';
import { replicaOracle } from '../placement/oracle.ts';
import { Random } from '../support/random.ts';
import { dispatchLayout, expectRefusal, succeed, temporaryFolder } from './command.ts';
import { plainForm, writeNpy } from './npy-writer.ts';

type Rows = readonly (readonly number[])[];

const [numExperts, numRanks, numTopk] = [6, 4, 3];
/** Replicas share a rank in layer 0, and expert 0 is on no rank in layer 1. */
const slots = [
  [0, 1, 2, 3, 4, 5, 0, 0],
  [5, 5, 4, 3, 2, 1, 1, 2],
];
const plan: PlacementPlan = createPlan(slots, { numRanks, numExperts });

/** The slots that tokens take. */
function mapped(layers: readonly Rows[], rule: ReplicaRule, sourceRank: number): number[][][] {
  return layers.map((rows, layer) =>
    rows.map((row, token) =>
      row.map((expert) => (expert < 0 ? -1 : replicaOracle(plan, layer, expert, token, rule, sourceRank, 2))),
    ),
  );
}

describe('plans as placements of permute and receive', () => {
  const folder = temporaryFolder();
  const random = new Random(19);
  const someLayers = (numTokens: number): number[][][] =>
    [0, 1].map(() =>
      Array.from({ length: numTokens }, () =>
        Array.from({ length: numTopk }, () => random.between(-1, numExperts - 1)),
      ),
    );
  const planFile = folder.write('plan.json', JSON.stringify({ physical_to_logical_map: slots }));
  const axes = ['--axes', 'layers,tokens,topk'];

  function npyFile(name: string, layers: readonly Rows[]): string {
    const shape = [layers.length, layers[0].length, numTopk];
    return folder.write(name, writeNpy(layers.flat(2).map(BigInt), shape, { ...plainForm, size: 4 }));
  }

  function sameArrays(ours: string, theirs: string, what: string): void {
    const [left, right] = [ours, theirs].map((path) => unzipSync(readFileSync(path)));
    assert.deepStrictEqual(Object.keys(left), Object.keys(right), what);
    for (const name of Object.keys(left)) assert.deepStrictEqual(left[name], right[name], `${what}, ${name}`);
  }

  it('gives permute the rows of the slots that tokens take', async () => {
    // More tokens than a piece has, so that replicas must be numbered on over pieces
    const layers = someLayers(90_000);
    const file = npyFile('ids.npy', layers);
    const ranks = ['permute', '--by', 'rank', '--num-ranks', String(numRanks), ...axes];
    for (const [rule, winner] of [
      ['round_robin', 'first'],
      ['hash', 'last'],
    ] as const) {
      const [ours, theirs] = [folder.path('planned.npz'), folder.path('mapped.npz')];
      const planned = ['--num-experts', '6', '--placement', planFile, '--replica-rule', rule];
      const report = JSON.parse(
        await succeed([...ranks, file, ...planned, '--winner', winner, '--out', ours, '--json']),
      );
      const physical = npyFile('physical.npy', mapped(layers, rule, 0));
      const expected = await succeed([
        ...[...ranks, physical, '--num-experts', '8', '--winner', winner],
        ...['--out', theirs, '--json'],
      ]);
      sameArrays(ours, theirs, rule);
      assert.deepStrictEqual(report.total, JSON.parse(expected).total);
      assert.deepInclude(report, { placement: 'plan', numExperts: 6 });
      assert.lengthOf(report.planFindings, 3);
    }
    const nearest = ['--replica-rule', 'nearest', '--source-rank', '3'];
    const small = someLayers(50);
    const report = JSON.parse(
      await succeed([
        ...[...ranks, npyFile('small.npy', small), '--num-experts', '6', '--placement', planFile],
        ...[...nearest, '--json'],
      ]),
    );
    // Without --ranks-per-node, nodes do not matter to an order: all ranks are in one
    const ofNearest = small.map((rows, layer) =>
      rows.map((row, token) =>
        row.map((expert) => (expert < 0 ? -1 : replicaOracle(plan, layer, expert, token, 'nearest', 3, 8))),
      ),
    );
    const expected = await succeed([...ranks, npyFile('near.npy', ofNearest), '--num-experts', '8', '--json']);
    assert.deepStrictEqual(report.total, JSON.parse(expected).total);
  });

  it('gives receive the dispatch of the slots that tokens take, where each rank maps its own tokens', async () => {
    const ofRanks = [12, 30, 0, 7].map(someLayers);
    const files = ofRanks.map((layers, rank) => npyFile(`rank${rank}.npy`, layers));
    const flags = ['--ranks-per-node', '2', '--alignment', '4', ...axes, '--json'];
    for (const rule of ['round_robin', 'hash', 'nearest'] as const) {
      const physical = ofRanks.map((layers, rank) => npyFile(`physical${rank}.npy`, mapped(layers, rule, rank)));
      const [ours, theirs] = [folder.path('received.npz'), folder.path('expected.npz')];
      const planned = ['--num-experts', '6', '--placement', planFile, '--replica-rule', rule, '--out', ours];
      const report = JSON.parse(await succeed(['receive', ...files, ...planned, ...flags]));
      const expected = JSON.parse(
        await succeed(['receive', ...physical, '--num-experts', '8', ...flags, '--out', theirs]),
      );
      sameArrays(ours, theirs, rule);
      assert.deepInclude(report, { placement: 'plan', numExperts: 6, numPhysicalExperts: 8 });
      for (const name of Object.keys(expected.total).filter((each) => each !== 'numTokensPerExpert')) {
        assert.deepStrictEqual(report.total[name], expected.total[name], `${rule}, ${name}`);
      }
      for (const [layer, { numTokensPerExpert }] of report.layers.entries()) {
        const counts = new Array<number>(6).fill(0);
        for (const [slot, expert] of slots[layer].entries()) {
          counts[expert] += expected.layers[layer].numTokensPerExpert[slot];
        }
        assert.deepStrictEqual(numTokensPerExpert, counts);
      }
    }
    const text = await succeed([
      'receive',
      ...files,
      ...flags.slice(0, -1),
      '--num-experts',
      '6',
      '--placement',
      planFile,
    ]);
    assert.match(text, /^experts {3}6, placed by \S*plan\.json\s+in\s+8\s+slots$/m);
    assert.match(text, /^The plan {18}3 findings$/m);
    assert.include(text, 'layer 1: expert 0 is on no rank');
  });

  it('refuses plans of other ranks or layers, what is no placement, and rules without a source', async () => {
    const file = npyFile('refused.npy', someLayers(5));
    const order = ['permute', file, ...axes, '--by', 'rank'];
    const sizes = ['--num-experts', '6', '--num-ranks', '4'];
    const ofOne = folder.write('one.json', '{"physical_to_logical_map": [[0, 1, 2, 3, 4, 5, 0, 9]]}');
    const later = folder.write(
      'later.yaml',
      'num_slots: 8\ninitial_global_assignments: {1: [0, 1, 2, 3, 4, 5, 0, 0], 7: [0, 1, 2, 3, 4, 5, 0, 0]}',
    );
    const yaml = folder.write('six.yaml', 'num_slots: 6\ninitial_global_assignments: {0: [0, 1, 2, 3, 4, 5]}');
    const cases: [string[], RegExp][] = [
      [[...order, ...sizes, '--placement', ofOne], /one\.json: layer 0, physical expert 7 \(rank 3\) is 9/],
      [[...order, ...sizes, '--placement', later], /has no layer 0 of .*refused\.npy, but 1, 7/],
      [
        [...order, '--num-experts', '6', '--num-ranks', '4', '--placement', yaml],
        /6 .* do not divide evenly among 4 ranks/,
      ],
      [[...order, ...sizes, '--placement', planFile, '--replica-rule', 'nearest'], /pass --source-rank S/],
      [
        ['permute', file, ...axes, '--num-experts', '6', '--source-rank', '1'],
        /--source-rank is a flag of the order by rank/,
      ],
      [
        ['permute', file, ...axes, '--num-experts', '6', '--replica-rule', 'hash'],
        /--replica-rule is a flag of the order by rank/,
      ],
      [[...order, ...sizes.slice(0, 2), '--num-ranks', '2', '--source-rank', '1'], /--source-rank is for a plan with/],
      [
        [file, ...axes, '--num-experts', '6', '--num-ranks', '2', '--replica-rule', 'hash'],
        /is for a plan with replicas/,
      ],
      [['receive', file, file, ...axes, '--num-experts', '6', '--replica-rule', 'hash'], /is for a plan with replicas/],
      [
        ['receive', file, file, ...axes, '--num-experts', '6', '--placement', later],
        /has no layer 0 of .*refused\.npy, but 1, 7/,
      ],
      [
        ['receive', ...new Array<string>(4).fill(file), ...axes, '--num-experts', '5', '--placement', planFile],
        /plan\.json: layer 0, physical expert 5 \(rank 2\) is 5, not an expert in \[0, 5\)/,
      ],
    ];
    for (const [args, message] of cases) expectRefusal(await dispatchLayout(args), message, args.join(' '));
    const narrow = folder.write('narrow.json', '{"physical_to_logical_map": [[0, 1, 2, 3]]}');
    expectRefusal(
      await dispatchLayout([
        'receive',
        ...new Array<string>(4).fill(file),
        ...axes,
        '--num-experts',
        '4',
        '--placement',
        narrow,
      ]),
      /refused\.npy, layer 0, token \d+, slot \d: [45] is not an expert in \[0, 4\)/,
      'invalid id',
    );
  });
});
