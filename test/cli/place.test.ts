/** What `dispatch-layout place` plans, judges, prints and writes, against the oracles of plans and of replicas. */
import { existsSync, readFileSync } from 'node:fs';
import { assert } from 'chai';
import { createPlan, type PlacementPlan, percentile, type ReplicaRule, readPlan } from 'dispatch-layout/placement';
import { unzipSync, zipSync } from 'fflate';
import { rebalanceOracle, replicaOracle } from '../placement/oracle.ts';
import * as p from '../support/pickle-writer.ts';
import { Random } from '../support/random.ts';
import { writeTorchFile } from '../support/torch-writer.ts';
import { dispatchLayout, expectRefusal, succeed, temporaryFolder } from './command.ts';
import { plainForm, writeNpy } from './npy-writer.ts';

type Rows = readonly (readonly number[])[];

interface Figures {
  readonly 'max/mean': number;
  readonly 'mean/max': number;
  readonly '(max-mean)/mean': number;
}

type Spreads = Readonly<Record<keyof Figures, { p50: number; p95: number; worst: number }>> | null;

interface JsonPlaced {
  readonly loads: number[];
  readonly balance: Figures | null;
  readonly windows: Spreads;
  readonly numWindows: number;
}

/** The JSON document, as `docs/command-line.md` describes it. */
interface JsonPlace {
  readonly numPhysicalExperts: number;
  readonly placement: string;
  readonly judgedOn: string;
  readonly tokens: number | null;
  readonly window: number | null;
  readonly replicaRule: string | null;
  readonly before: { readonly layers: Spreads; readonly windows: Spreads; readonly findings: { message: string }[] };
  readonly plan: { readonly layers: Spreads; readonly windows: Spreads; readonly findings: { message: string }[] };
  readonly bound: Spreads;
  readonly layers: readonly {
    readonly layer: number | null;
    readonly numTokensPlaced: number | null;
    readonly numTokensJudged: number | null;
    readonly before: JsonPlaced;
    readonly plan: JsonPlaced;
    readonly bound: Figures | null;
    readonly physicalToLogical: number[];
  }[];
}

const sumOf = (loads: readonly number[]): number => loads.reduce((sum, load) => sum + load, 0);

function overload(loads: readonly number[]): number {
  return Math.max(...loads) / (sumOf(loads) / loads.length);
}

/** Skewed rows with some empty slots. */
function randomRows(random: Random, numTokens: number, numTopk: number, numExperts: number): number[][] {
  const id = (): number => (random.chance(0.1) ? -1 : random.below(1 + random.below(1 + random.below(numExperts))));
  return Array.from({ length: numTokens }, () => Array.from({ length: numTopk }, id));
}

/** How often each expert is selected. */
function loadsOf(rows: Rows, numExperts: number): number[] {
  return Array.from({ length: numExperts }, (_, expert) => rows.flat().filter((id) => id === expert).length);
}

/** The selections of each rank, of tokens from `first` to before `end`. */
function ranksOf(
  rows: Rows,
  [first, end]: readonly [number, number],
  plan: PlacementPlan,
  layer: number,
  rule: ReplicaRule = 'round_robin',
  sourceRank = 0,
  numRanksPerNode = 8,
): number[] {
  const loads = new Array<number>(plan.numRanks).fill(0);
  for (let token = first; token < end; token++) {
    for (const expert of rows[token]) {
      if (expert === -1) continue;
      const slot = replicaOracle(plan, layer, expert, token, rule, sourceRank, numRanksPerNode);
      if (slot >= 0) loads[Math.floor((slot * plan.numRanks) / plan.numPhysicalExperts)]++;
    }
  }
  return loads;
}

describe('dispatch-layout place', () => {
  const folder = temporaryFolder();

  function npyFile(name: string, layers: readonly Rows[]): string {
    const shape = [layers.length, layers[0].length, layers[0][0].length];
    const ids = layers.flat(2).map(BigInt);
    return folder.write(name, writeNpy(ids, layers.length === 1 ? shape.slice(1) : shape, { ...plainForm, size: 4 }));
  }

  async function json(args: readonly string[]): Promise<JsonPlace> {
    return JSON.parse(await succeed(['place', ...args, '--json'])) as JsonPlace;
  }

  it('places on the first half and judges on the second, for a case that can be counted by hand', async () => {
    // In the first half, expert 0 is selected as often as all others. In the second, expert 3 is
    const rows = [[0], [0], [0], [1], [2], [3], [3], [3], [3], [0], [1], [2]];
    const path = npyFile('hand.npy', [rows]);
    const report = await json([path, '--num-experts', '4', '--num-ranks', '2', '--redundant', '2', '--window', '3']);
    assert.strictEqual(report.judgedOn, 'second half');
    const [layer] = report.layers;
    // The loads 3 1 1 1 in 6 slots: expert 0 gets two more replicas, of load 1 each. All are equal, and dealt in turns:
    // the replicas of 0 are the slots 0, 2 and 5
    assert.deepStrictEqual(layer.physicalToLogical, [0, 2, 0, 1, 3, 0]);
    assert.deepStrictEqual([layer.numTokensPlaced, layer.numTokensJudged], [6, 6]);
    assert.deepStrictEqual(layer.before.loads, [2, 4]);
    assert.deepStrictEqual(layer.before.balance, { 'max/mean': 4 / 3, 'mean/max': 3 / 4, '(max-mean)/mean': 1 / 3 });
    // Expert 3 is on rank 1, thrice. Token 9 takes replica 0 of expert 0, on rank 0. Expert 1 is on rank 1, 2 on rank 0
    assert.deepStrictEqual(layer.plan.loads, [2, 4]);
    assert.strictEqual(layer.plan.numWindows, 2);
    // The windows have the loads 0 3 and 2 1
    const spread = layer.plan.windows?.['max/mean'];
    assert.closeTo(spread?.p50 as number, 5 / 3, 1e-9);
    assert.closeTo(spread?.p95 as number, 2 - 0.05 * (2 / 3), 1e-9);
    assert.strictEqual(spread?.worst, 2);
    // Six selections in two ranks: 3 each, and expert 3 can be split
    assert.deepStrictEqual(layer.bound, { 'max/mean': 1, 'mean/max': 1, '(max-mean)/mean': 0 });
  });

  it('gives the plans of EPLB, and the loads of ranks and windows that the oracle counts', async () => {
    const random = new Random(17);
    for (const [numTokens, numTopk, numExperts, numRanks, redundant, groups, perNode, window, rule] of [
      [101, 3, 12, 4, 4, 1, 4, 7, 'round_robin'],
      [64, 2, 12, 8, 4, 4, 4, 32, 'hash'],
      [90, 4, 9, 3, 6, 1, 3, 1000, 'nearest'],
      [40_001, 1, 8, 2, 2, 2, 1, 4096, 'nearest'],
      [35, 2, 10, 5, 0, 5, 5, 1, 'round_robin'],
    ] as const) {
      const layers = [0, 1].map(() => randomRows(random, numTokens, numTopk, numExperts));
      const path = npyFile('random.npy', layers);
      const numNodes = numRanks / perNode;
      const source = rule === 'nearest' ? ['--source-rank', String(numRanks - 1)] : [];
      const flags = Object.entries({ 'num-experts': numExperts, 'num-ranks': numRanks, redundant, groups, window });
      const report = await json([
        path,
        ...flags.flatMap(([name, value]) => [`--${name}`, String(value)]),
        ...['--ranks-per-node', String(perNode), '--axes', 'layers,tokens,topk', '--replica-rule', rule, ...source],
      ]);
      const half = Math.floor(numTokens / 2);
      const numPhysicalExperts = numExperts + redundant;
      const shape = { numPhysicalExperts, numGroups: groups, numNodes, numRanks };
      const overloads: number[] = [];
      for (const [index, rows] of layers.entries()) {
        const what = `${numTokens} tokens, layer ${index}`;
        const expected = rebalanceOracle(loadsOf(rows.slice(0, half), numExperts), shape);
        const layer = report.layers[index];
        assert.deepStrictEqual(layer.physicalToLogical, expected.physicalToLogical, what);
        const plan = createPlan([expected.physicalToLogical], {
          numRanks,
          numExperts,
          logicalToPhysical: [expected.logicalToPhysical],
        });
        const loads = (first: number, end: number): number[] =>
          ranksOf(rows, [first, end], plan, 0, rule, numRanks - 1, perNode);
        assert.deepStrictEqual(layer.plan.loads, loads(half, numTokens), what);
        const before = new Array<number>(numRanks).fill(0);
        const numUneven = numExperts % numRanks;
        const rankOf = (expert: number): number => {
          const even = Math.floor(numExperts / numRanks);
          const inLarger = numUneven * (even + 1);
          return expert < inLarger
            ? Math.floor(expert / (even + 1))
            : numUneven + Math.floor((expert - inLarger) / even);
        };
        for (const expert of rows.slice(half).flat()) if (expert >= 0) before[rankOf(expert)]++;
        assert.deepStrictEqual(layer.before.loads, before, what);

        const numWindows = Math.max(1, Math.floor((numTokens - half) / window));
        const ofWindows = Array.from({ length: numWindows }, (_, each) => {
          const first = half + each * window;
          return loads(first, Math.min(numTokens, first + window));
        })
          .filter((each) => sumOf(each) > 0)
          .map(overload);
        overloads.push(...ofWindows);
        assert.strictEqual(layer.plan.numWindows, numWindows, what);
        assert.closeTo(layer.plan.windows?.['max/mean'].p95 as number, percentile(ofWindows, 95), 1e-9, what);
        assert.closeTo(layer.plan.windows?.['mean/max'].worst as number, 1 / Math.max(...ofWindows), 1e-9, what);
        assert.closeTo(layer.plan.balance?.['max/mean'] as number, overload(loads(half, numTokens)), 1e-9, what);

        const judged = loadsOf(rows.slice(half), numExperts);
        const mean = sumOf(judged) / numRanks;
        // The largest share of an expert, if each replica went where it helps most, found by trying every share
        const shares = judged.flatMap((load) =>
          Array.from({ length: numPhysicalExperts }, (_, more) => load / (more + 1)),
        );
        const slotsFor = (most: number): number =>
          sumOf(judged.map((load) => Math.max(1, Math.ceil(load / most - 1e-9))));
        const least = Math.min(...shares.filter((share) => share > 0 && slotsFor(share) <= numPhysicalExperts));
        assert.closeTo(layer.bound?.['max/mean'] as number, Math.max(mean, least) / mean, 1e-9, what);
      }
      assert.closeTo(report.plan.windows?.['max/mean'].p50 as number, percentile(overloads, 50), 1e-9);
      assert.strictEqual(
        report.plan.layers?.['max/mean'].worst,
        Math.max(...report.layers.map(({ plan }) => plan.balance?.['max/mean'] as number)),
      );
    }
  });

  it('places and judges on all tokens', async () => {
    const rows = randomRows(new Random(3), 77, 3, 8);
    const path = npyFile('all.npy', [rows]);
    const flags = ['--num-experts', '8', '--num-ranks', '4', '--redundant', '4'];
    const report = await json([path, ...flags, '--all']);
    assert.strictEqual(report.judgedOn, 'all');
    const expected = rebalanceOracle(loadsOf(rows, 8), { numPhysicalExperts: 12, numRanks: 4 });
    assert.deepStrictEqual(report.layers[0].physicalToLogical, expected.physicalToLogical);
    const plan = createPlan([expected.physicalToLogical], {
      numRanks: 4,
      logicalToPhysical: [expected.logicalToPhysical],
    });
    assert.deepStrictEqual(report.layers[0].plan.loads, ranksOf(rows, [0, 77], plan, 0));
    assert.match(
      await succeed(['place', path, ...flags, '--all']),
      /placed on all and judged on the same, which flatters/,
    );
  });

  it('writes a plan in every form, and reads it as the placement before', async () => {
    const layers = [0, 1].map((seed) => randomRows(new Random(seed), 60, 2, 8));
    const path = npyFile('written.npy', layers);
    const flags = ['--num-experts', '8', '--num-ranks', '4', '--axes', 'layers,tokens,topk'];
    for (const format of ['sglang', 'tensorrt-llm', 'vllm', 'vllm-ascend', 'eplb', 'ranks']) {
      const redundant = ['--redundant', format === 'ranks' ? '0' : '4'];
      const out = folder.path(`plan-${format}`);
      const made = await json([path, ...flags, ...redundant, '-o', out, '--format', format]);
      const read = readPlan(readFileSync(out, 'utf8'), { numRanks: 4, numExperts: 8 });
      assert.strictEqual(read.numPhysicalExperts, made.numPhysicalExperts);
      const again = await json([path, ...flags, ...redundant, '--placement', out]);
      assert.strictEqual(again.placement, 'plan');
      for (const [index, rows] of layers.entries()) {
        if (format !== 'ranks') {
          assert.deepStrictEqual([...read.physicalToLogical[index]], made.layers[index].physicalToLogical);
        }
        assert.deepStrictEqual(again.layers[index].before.loads, ranksOf(rows, [30, 60], read, index), format);
      }
    }
  });

  it('takes placements in all the forms that there are', async () => {
    const rows = randomRows(new Random(9), 50, 2, 6);
    const path = npyFile('forms.npy', [rows]);
    const flags = [path, '--num-experts', '6', '--num-ranks', '2'];
    const cases: [string, PlacementPlan][] = [
      ['round_robin', createPlan([[0, 2, 4, 1, 3, 5]], { numRanks: 2 })],
      [
        folder.write('table.json', '[1, 0, 1, 0, 1, -1]'),
        createPlan([[1, 3, -1, 0, 2, 4]], { numRanks: 2, numExperts: 6 }),
      ],
      [
        folder.write('table.npy', writeNpy([1n, 0n, 1n, 0n, 1n, 0n], [6])),
        createPlan([[1, 3, 5, 0, 2, 4]], { numRanks: 2 }),
      ],
      [
        folder.write('plan.yaml', 'num_slots: 8\ninitial_global_assignments:\n  0: [0, 1, 2, 3, 4, 5, 0, 0]\n'),
        createPlan([[0, 1, 2, 3, 4, 5, 0, 0]], { numRanks: 2 }),
      ],
    ];
    for (const [placement, plan] of cases) {
      const report = await json([...flags, '--placement', placement]);
      assert.deepStrictEqual(report.layers[0].before.loads, ranksOf(rows, [25, 50], plan, 0), placement);
    }
    const lost = await json([...flags, '--placement', cases[1][0]]);
    assert.deepStrictEqual(
      lost.before.findings.map(({ message }) => message),
      ['layer 0: expert 5 is on no rank'],
    );
    const text = await succeed(['place', ...flags, '--placement', cases[3][0]]);
    assert.include(text, 'layer 0, rank 1: expert 0 has another replica there, in slot 7');
  });

  it('prints lines of 80 columns, and says on what it judges', async () => {
    const layers = [0, 1, 2].map((seed) => randomRows(new Random(seed), 40, 2, 16));
    const out = folder.path('printed.json');
    const text = await succeed([
      ...['place', npyFile('printed.npy', layers), '--num-experts', '16', '--num-ranks', '16'],
      ...['--redundant', '16', '--groups', '8', '--axes', 'layers,tokens,topk', '--window', '10', '-o', out],
    ]);
    for (const line of text.split('\n').filter((each) => !/^(file|wrote) /.test(each))) {
      assert.isAtMost(line.length, 80, line);
    }
    assert.match(text, /^tokens {4}placed on the first half of each layer \(20\), judged on the second half$/m);
    assert.match(text, /^plan {6}EPLB, 32 slots, 16 redundant, 8 groups, each in one node$/m);
    assert.match(text, /^Loads in windows {10}over 6 of 10 tokens$/m);
    assert.match(text, / before {2}max\/mean +\d\.\d\d +\d\.\d\d +\d\.\d\d$/m);
    assert.match(text, /^ +p95 of windows\n +layer +before +plan +bound +before +plan$/m);
    assert.match(text, /\nwrote .*printed\.json\n$/);
  });

  it('refuses what it cannot place, and writes nothing then', async () => {
    const layers = [0, 1].map((seed) => randomRows(new Random(seed), 20, 2, 8));
    const path = npyFile('refused.npy', layers);
    const invalid = npyFile('invalid.npy', [[...new Array<number[]>(20).fill([0, 1]), [0, 9]]]);
    const short = npyFile('short.npy', [[[0, 1]]]);
    const plan = folder.write('other.json', '{"physical_to_logical_map": [[0, 1, 2, 3, 4, 5, 6, 8]]}');
    const later = folder.write(
      'later.yaml',
      'num_slots: 8\ninitial_global_assignments: {3: [0, 1, 2, 3, 4, 5, 6, 7], 5: [7, 6, 5, 4, 3, 2, 1, 0]}',
    );
    const broken = folder.write('broken.json', '{"physical_to_logical_map": [[0, 1');
    const out = folder.path('never.json');
    const axes = ['--axes', 'layers,tokens,topk'];
    const sizes = ['--num-experts', '8', '--num-ranks', '4'];
    const cases: [string[], RegExp][] = [
      [[path, '--num-ranks', '4'], /--num-experts E is missing/],
      [[path, '--num-experts', '8'], /--num-ranks R is missing/],
      [
        [path, '--num-experts', '8', '--num-ranks', '3'],
        /8 slots, which do not divide evenly among 3 ranks; pass --redundant 1$/m,
      ],
      [[path, ...sizes, '--redundant', '5'], /13 slots, .* pass --redundant 4 or 8/],
      [[path, ...sizes, ...axes, '--groups', '3'], /must be a multiple of --groups, 3/],
      [[path, ...sizes, ...axes, '--replica-rule', 'nearest'], /pass --source-rank S/],
      [[path, ...sizes, ...axes, '--source-rank', '1'], /--source-rank is for --replica-rule nearest/],
      [[path, ...sizes, ...axes, '--replica-rule', 'nearest', '--source-rank', '4'], /--source-rank is 4.*\[0, 4\)/],
      [[invalid, ...sizes], /invalid\.npy, token 20, slot 1: 9 is not an expert in \[0, 8\)/],
      [[short, ...sizes], /too few tokens \(1\) .*; pass --all/],
      [
        [path, ...sizes, ...axes, '--placement', plan],
        /other\.json: layer 0, physical expert 7 \(rank 3\) is 8, not an expert/,
      ],
      [
        [path, ...sizes, ...axes, '--placement', later],
        /later\.yaml, which has no layer 0 of .*refused\.npy, but 3, 5/,
      ],
      [[path, ...sizes, ...axes, '--placement', broken], /broken\.json: the content is no valid JSON/],
      [[path, ...sizes, ...axes, '--placement', path], /has shape \[2, 20, 2\]; a placement has shape \[experts\], or/],
      [[path, ...sizes, ...axes, '--layer', '1'], /layer 1 is the plan's layer 0, and the form of SGLang/],
      [[path, ...sizes, '--format', 'toml'], /toml.*sglang, tensorrt-llm/],
    ];
    for (const [args, message] of cases) {
      expectRefusal(await dispatchLayout(['place', ...args, '-o', out]), message, args.join(' '));
    }
    expectRefusal(
      await dispatchLayout(['place', path, ...sizes, '--format', 'eplb']),
      /--format is for the file of --out/,
      'no file',
    );
    expectRefusal(
      await dispatchLayout(['place', path, ...sizes, '-o', path]),
      /would overwrite the input/,
      'overwrite',
    );
    assert.isFalse(existsSync(out));
  });
});

describe('dispatch-layout place with counts', () => {
  const folder = temporaryFolder();

  it('takes them as loads, and judges on the same by equal shares of replicas', async () => {
    const random = new Random(8);
    const counts = [3, 5, 6].map(() => Array.from({ length: 12 }, () => random.below(1 + random.below(1000))));
    const csv = counts.flatMap((row, index) =>
      row.flatMap((count, expert) => (count === 0 ? [] : [`${[3, 5, 6][index]},${expert},${count}`])),
    );
    const files = [
      folder.write('counts.csv', `layer_id,expert_id,count\n${csv.join('\n')}\n`),
      folder.write('counts.json', JSON.stringify({ logical_count: counts })),
      folder.write('counts.npy', writeNpy(counts.flat().map(BigInt), [3, 12])),
    ];
    const shape = { numPhysicalExperts: 16, numGroups: 1, numNodes: 2, numRanks: 4 };
    const flags = ['--num-experts', '12', '--num-ranks', '4', '--ranks-per-node', '2', '--redundant', '4'];
    for (const [index, file] of files.entries()) {
      const axes = file.endsWith('.npy') ? ['--axes', 'layers,experts'] : [];
      const out = folder.path('plan.yaml');
      const args = ['place', file, ...flags, ...axes, '-o', out, '--format', 'tensorrt-llm'];
      const report: JsonPlace = JSON.parse(await succeed([...args, '--json']));
      assert.deepInclude(report, { judgedOn: 'counts', window: null, tokens: null, replicaRule: null }, file);
      assert.strictEqual(report.plan.windows, null);
      const layerIds = index === 0 ? [3, 5, 6] : [0, 1, 2];
      assert.deepStrictEqual(
        report.layers.map(({ layer }) => layer),
        layerIds,
      );
      const written = readPlan(readFileSync(out, 'utf8'), { numRanks: 4 });
      for (const [layer, row] of counts.entries()) {
        const expected = rebalanceOracle(row, shape);
        assert.deepStrictEqual(report.layers[layer].physicalToLogical, expected.physicalToLogical, file);
        assert.deepStrictEqual([...written.physicalToLogical[layer]], expected.physicalToLogical, file);
        const loads = new Array<number>(4).fill(0);
        for (const [slot, expert] of expected.physicalToLogical.entries()) {
          loads[Math.floor(slot / 4)] += row[expert] / expected.logicalToPhysical[expert].length;
        }
        for (const [rank, load] of report.layers[layer].plan.loads.entries()) assert.closeTo(load, loads[rank], 1e-9);
        const before = [0, 1, 2, 3].map((rank) => sumOf(row.slice(3 * rank, 3 * rank + 3)));
        assert.deepStrictEqual(report.layers[layer].before.loads, before);
        assert.deepInclude(report.layers[layer], { numTokensPlaced: null, numTokensJudged: null });
      }
      const text = await succeed(args);
      assert.match(text, /^counts {4}\[3 layers, 12 experts\], without tokens$/m);
      assert.match(text, /^loads {5}placed on all counts and judged on the same, which flatters the plan;$/m);
      assert.notMatch(text, /window(?!s$)/m);
      for (const line of text.split('\n').filter((each) => !/^(file|before|wrote) /.test(each))) {
        assert.isAtMost(line.length, 80, line);
      }
    }
    const [layer] = (JSON.parse(await succeed(['place', files[0], ...flags, '--layer', '5', '--json'])) as JsonPlace)
      .layers;
    assert.strictEqual(layer.layer, 5);
    assert.strictEqual(sumOf(layer.before.loads), sumOf(counts[1]));
  });

  it('leaves layers without counts out of the figures, and keeps limits', async () => {
    const file = folder.write(
      'dense.json',
      JSON.stringify({
        logical_count: [
          [0, 0, 0, 0],
          [8, 0, 0, 0],
          [3, 3, 1, 1],
        ],
      }),
    );
    const args = ['place', file, '--num-experts', '4', '--num-ranks', '2'];
    const report = JSON.parse(await succeed([...args, '--json']));
    assert.deepStrictEqual(
      report.layers.map(({ isDense }: { isDense: boolean }) => isDense),
      [true, true, false],
    );
    assert.closeTo(report.before.layers['max/mean'].worst, 3 / 2, 1e-9);
    assert.deepStrictEqual(
      report.layers.map(({ coverage }: { coverage: unknown }) => coverage),
      [
        null,
        [
          { top: 1, share: 1 },
          { top: 2, share: 1 },
          { top: 4, share: 1 },
        ],
        [
          { top: 1, share: 3 / 8 },
          { top: 2, share: 6 / 8 },
          { top: 4, share: 1 },
        ],
      ],
    );
    assert.strictEqual((await dispatchLayout([...args, '--fail-above', 'max/mean=1.1'])).code, 0);
    const gated = await dispatchLayout([...args, '--fail-above', 'max/mean=0.9']);
    assert.strictEqual(gated.code, 1);
    assert.match(gated.stdout.toString(), /EXCEEDED, 1\.000: layer 2 \(1\.000\)/);
  });

  it('prints 80 columns also for many layers', async () => {
    const counts = Array.from({ length: 120 }, (_, layer) => [1000, layer, 1, 2]);
    const file = folder.write('many.json', JSON.stringify({ logical_count: counts }));
    const text = await succeed(['place', file, '--num-experts', '4', '--num-ranks', '4']);
    for (const line of text.split('\n')) if (!line.startsWith('file')) assert.isAtMost(line.length, 80, line);
    assert.match(text, /^Layers {20}the 32 least even of 120, up to 3\.99x by the plan$/m);
  });

  it('refuses what needs tokens, and counts that are not of these experts', async () => {
    const file = folder.write('few.json', JSON.stringify({ logical_count: [[1, 2, 3, 4]] }));
    const ids = folder.write('ids.json', '[[0, 1], [2, 3]]');
    const slots = p.tensor({ key: '0', numElements: 4, shape: [1, 4], strides: [4, 1] });
    const records = p.list(p.dict({ rank: p.int(0), global_physical_count: slots }));
    const ofSlots = folder.write('slots.pt', writeTorchFile(p.pickle(p.dict({ records })), { 0: new Uint8Array(16) }));
    const sizes = ['--num-experts', '4', '--num-ranks', '2'];
    const cases: [string[], RegExp][] = [
      [
        ['place', file, '--num-experts', '3', '--num-ranks', '1'],
        /layer 0 has counts of 4 experts, but --num-experts is 3/,
      ],
      [
        ['place', file, ...sizes, '--replica-rule', 'hash'],
        /--replica-rule is for tokens, and .*few\.json has only counts/,
      ],
      [['place', file, ...sizes, '--window', '64'], /--window is for tokens/],
      [['place', file, ...sizes, '--num-ranks', '1,2', '--empty-id', '3'], /--empty-id is for tokens/],
      [['place', file, ...sizes, '--fail-above', 'windows:max/mean=2'], /counts have no tokens, and so no windows/],
      [['place', file, ...sizes, '--layer', '1'], /--layer 1 is not in .*few\.json, which has one layer, 0/],
      [['place', ofSlots, ...sizes], /slots\.pt has counts of physical experts, which are the slots of some placement/],
      [['place', file, ids, ...sizes], /few\.json holds counts of experts, and .*ids\.json holds ids/],
      [['place', ids, ...sizes, '--axes', 'layers,tokens,experts'], /is \[2, 2\], and cannot be read with --axes/],
      [
        [file, ...sizes],
        /holds counts of 4 experts in 1 layer, and no tokens; .*; dispatch-layout place FILE --num-experts E --num-ranks R takes/,
      ],
    ];
    for (const [args, message] of cases) expectRefusal(await dispatchLayout(args), message, args.join(' '));
  });
});

describe('dispatch-layout place with several numbers of ranks', () => {
  const folder = temporaryFolder();
  const layers = [0, 1, 2].map((seed) => randomRows(new Random(seed), 400, 3, 12));
  let path = '';
  before(() => {
    path = folder.write('trace.npy', writeNpy(layers.flat(2).map(BigInt), [3, 400, 3], { ...plainForm, size: 2 }));
  });
  const flags = ['--num-experts', '12', '--ranks-per-node', '4', '--window', '64', '--axes', 'layers,tokens,topk'];

  it('gives for each number what its own report gives', async () => {
    for (const more of [[], ['--placement', 'round_robin', '--replica-rule', 'hash', '--all'], ['--groups', '2']]) {
      const args = ['place', path, ...flags, ...more, '--json'];
      const { sweep } = JSON.parse(
        await succeed([...args, '--num-ranks', '4,5,8', '--redundant', '3', '--ranks-per-node', '8']),
      );
      // 15 slots, or as many more as divide evenly
      const slots = [16, 15, 16];
      for (const [index, line] of sweep.entries()) {
        assert.strictEqual(line.numPhysicalExperts, slots[index]);
        const numRanks = ['--num-ranks', String(line.numRanks), '--ranks-per-node', '8'];
        const alone = JSON.parse(await succeed([...args, ...numRanks, '--redundant', String(slots[index] - 12)]));
        for (const name of ['before', 'plan']) {
          assert.deepStrictEqual(line[name], { layers: alone[name].layers, windows: alone[name].windows });
        }
        for (const name of ['bound', 'numNodes', 'numRanksPerNode']) assert.deepStrictEqual(line[name], alone[name]);
      }
    }
  });

  it('prints tables of 80 columns, and takes counts', async () => {
    const text = await succeed(['place', path, ...flags, '--num-ranks', '4,8']);
    for (const line of text.split('\n').filter((each) => !each.startsWith('file'))) assert.isAtMost(line.length, 80);
    assert.match(text, /^plans {5}EPLB, 12 slots, or as many more as divide evenly among the ranks$/m);
    assert.match(text, /^ {2}ranks {2}nodes {2}slots( +p50 +p95 +worst){2} +bound\n {6}4 {6}1 {5}12( +\d\.\d\d){7}\n/m);
    assert.match(
      text,
      /^Loads in windows {10}max\/mean over windows of 64 tokens\n.*\n.*\n {6}4 .*\n {6}8 {6}2 {5}16/m,
    );
    const counts = JSON.stringify({ logical_count: layers.map((rows) => loadsOf(rows, 12)) });
    const file = folder.write('counts.json', counts);
    const args = ['place', file, '--num-experts', '12', '--json'];
    const { sweep, judgedOn } = JSON.parse(await succeed([...args, '--num-ranks', '3,4']));
    assert.strictEqual(judgedOn, 'counts');
    const alone = JSON.parse(await succeed([...args, '--num-ranks', '4']));
    assert.deepStrictEqual(sweep[1].plan, { layers: alone.plan.layers, windows: null });
    const onCounts = await succeed(['place', file, '--num-experts', '12', '--num-ranks', '3,4']);
    assert.notInclude(onCounts, 'Loads in windows');
  });

  it('refuses what is for one number of ranks', async () => {
    const plan = folder.write('plan.json', '{"physical_to_logical_map": [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]]}');
    const cases: [string[], RegExp][] = [
      [['-o', folder.path('none.json')], /--out is for one number of ranks/],
      [['--format', 'eplb'], /--format is for one number of ranks/],
      [['--fail-above', 'max/mean=2'], /--fail-above is for one number of ranks/],
      [['--placement', plan], /--placement .*plan\.json is for one number of ranks; pass linear or round_robin/],
      [['--replica-rule', 'nearest'], /--replica-rule nearest is for one number of ranks/],
    ];
    for (const [more, message] of cases) {
      const finished = await dispatchLayout(['place', path, ...flags, ...more, '--num-ranks', '4,8']);
      expectRefusal(finished, message, more.join(' '));
    }
    assert.isFalse(existsSync(folder.path('none.json')));
  });
});

describe('a plan as the placement of a layout', () => {
  const folder = temporaryFolder();

  function npyFile(name: string, layers: readonly Rows[]): string {
    const shape = [layers.length, layers[0].length, layers[0][0].length];
    return folder.write(name, writeNpy(layers.flat(2).map(BigInt), shape, { ...plainForm, size: 4 }));
  }

  it('is read from .pt files of SGLang and of EPLB, too', async () => {
    const slots = [0, 1, 2, 3, 4, 5, 0, 0];
    const bytes = new Uint8Array(Int32Array.from(slots).buffer);
    const map = p.tensor({ key: '0', numElements: 8, shape: [1, 8], strides: [8, 1] });
    const table = p.tensor({ key: '0', numElements: 8, shape: [6], strides: [1] });
    const routing = npyFile('for-pt.npy', [randomRows(new Random(6), 50, 3, 6)]);
    const flags = [routing, '--num-experts', '6', '--axes', 'layers,tokens,topk', '--json'];
    const layout = async (plan: string, numRanks: string): Promise<unknown> => {
      const { timing, ...rest } = JSON.parse(await succeed([...flags, '--num-ranks', numRanks, '--placement', plan]));
      return rest;
    };
    const json = folder.write('map.json', JSON.stringify({ physical_to_logical_map: [slots] }));
    for (const name of ['physical_to_logical_map', 'phy2log']) {
      const file = folder.write(`${name}.pt`, writeTorchFile(p.pickle(p.dict({ [name]: map })), { 0: bytes }));
      assert.deepStrictEqual(await layout(file, '4'), await layout(json, '4'), name);
    }
    const ranks = folder.write('ranks.pt', writeTorchFile(p.pickle(table), { 0: bytes }));
    const list = folder.write('ranks.json', JSON.stringify(slots.slice(0, 6)));
    assert.deepStrictEqual(await layout(ranks, '6'), await layout(list, '6'));
  });

  it('says in flags what readPlan and writePlan refuse', async () => {
    const maps = { Main: { physical_to_logical_map: [[0, 1]] }, Drafter: { physical_to_logical_map: [[1, 0]] } };
    const models = { version: 2, format: 'vllm_offline_eplb_physical_to_logical_by_model', model_maps: maps };
    const several = folder.write('models.json', JSON.stringify(models));
    const loads = folder.write('loads.json', '{"logical_count": [[1, 2]]}');
    const routing = npyFile('refused-plans.npy', [randomRows(new Random(7), 50, 2, 2)]);
    const flags = ['place', routing, '--num-experts', '2', '--num-ranks', '2', '--axes', 'layers,tokens,topk'];
    const cases: [string[], RegExp][] = [
      [['--placement', several], /plans of 2 models\. Keep one of them in it: Main, Drafter$/m],
      [['--placement', loads], /make one from them with dispatch-layout place FILE$/m],
      [['--redundant', '2', '-o', folder.path('plan'), '--format', 'ranks'], /Pass a --format that has replicas$/m],
    ];
    for (const [more, message] of cases) {
      expectRefusal(await dispatchLayout([...flags, ...more]), message, more.join(' '));
    }
  });

  it('gives the layout of the slots that tokens take, with the counts of experts', async () => {
    const random = new Random(5);
    const layers = [0, 1].map(() => randomRows(random, 300, 3, 6));
    const slots = [
      [0, 1, 2, 3, 4, 5, 0, 0],
      [5, 5, 4, 3, 2, 1, 1, 2],
    ];
    const file = folder.write('plan.json', JSON.stringify({ physical_to_logical_map: slots }));
    const plan = createPlan(slots, { numRanks: 4, numExperts: 6 });
    const axes = ['--axes', 'layers,tokens,topk', '--ranks-per-node', '2', '--num-ranks', '4'];
    for (const rule of ['round_robin', 'hash', 'nearest'] as const) {
      const source = rule === 'nearest' ? ['--source-rank', '3'] : [];
      const physical = layers.map((rows, layer) =>
        rows.map((row, token) =>
          row.map((expert) => (expert < 0 ? -1 : replicaOracle(plan, layer, expert, token, rule, 3, 2))),
        ),
      );
      const [planned, mapped] = [folder.path('planned.npz'), folder.path('mapped.npz')];
      const logicalFile = npyFile('logical.npy', layers);
      const flags = ['--num-experts', '6', ...axes, '--placement', file, '--replica-rule', rule, ...source];
      const report = JSON.parse(await succeed([logicalFile, ...flags, '--out', planned, '--json']));
      const physicalFile = npyFile('physical.npy', physical);
      const expected = JSON.parse(
        await succeed([physicalFile, '--num-experts', '8', ...axes, '--out', mapped, '--json']),
      );
      assert.strictEqual(report.placement, 'plan');
      for (const [index, rows] of layers.entries()) {
        for (const name of ['numTokensPerRank', 'numTokensPerRdmaRank', 'meanRanksPerToken', 'meanNodesPerToken']) {
          assert.deepStrictEqual(report.layers[index][name], expected.layers[index][name], `${rule}, ${name}`);
        }
        assert.deepStrictEqual(report.layers[index].numTokensPerExpert, loadsOf(rows, 6));
      }
      const [ours, theirs] = [planned, mapped].map((path) => unzipSync(readFileSync(path)));
      for (const name of ['is_token_in_rank', 'num_tokens_per_rank', 'num_tokens_per_rdma_rank']) {
        assert.deepStrictEqual(ours[`${name}.npy`], theirs[`${name}.npy`], `${rule}, ${name}`);
      }
      assert.deepStrictEqual(
        report.planFindings.map(({ message }: { message: string }) => message),
        [
          'layer 0, rank 3: expert 0 has another replica there, in slot 7',
          'layer 1, rank 0: expert 5 has another replica there, in slot 1',
          'layer 1: expert 0 is on no rank',
        ],
      );
    }
    const text = await succeed([folder.path('logical.npy'), '--num-experts', '6', ...axes, '--placement', file]);
    assert.match(text, /^experts {3}6, placed by \S+plan\.json in 8 slots$/m);
    assert.match(text, /^The plan {18}3 findings$/m);
    assert.include(text, '\n  layer 1: expert 0 is on no rank\n');
  });

  it('takes a table of each layer, and arrays by the names of EPLB', async () => {
    const layers = [0, 1].map((seed) => randomRows(new Random(seed), 60, 2, 4));
    const path = npyFile('tables.npy', layers);
    const flags = [path, '--num-experts', '4', '--num-ranks', '2', '--axes', 'layers,tokens,topk', '--json'];
    const tables = [
      [0, 1, 1, 0],
      [1, -1, 0, 0],
    ];
    const eplb = { phy2log: [[0, 3, 1, 2, 3, 3]], logcnt: [[1, 1, 1, 3]] };
    const npz = zipSync({
      'phy2log.npy': writeNpy(eplb.phy2log.flat().map(BigInt), [1, 6]),
      'logcnt.npy': writeNpy(eplb.logcnt.flat().map(BigInt), [1, 4]),
    });
    const cases: [string, PlacementPlan][] = [
      [folder.write('tables.json', JSON.stringify(tables)), readPlan(tables, { numRanks: 2 })],
      [
        folder.write('tables-of-layers.npy', writeNpy(tables.flat().map(BigInt), [2, 4])),
        readPlan(tables, { numRanks: 2 }),
      ],
      [folder.write('eplb.npz', npz), readPlan(eplb, { numRanks: 2 })],
    ];
    for (const [file, plan] of cases) {
      const report = JSON.parse(await succeed([...flags, '--placement', file]));
      for (const [index, rows] of layers.entries()) {
        const goesTo = (rank: number): number =>
          rows.filter((row, token) =>
            row.some((expert) => {
              if (expert < 0) return false;
              const slot = replicaOracle(plan, plan.numLayers === 1 ? 0 : index, expert, token, 'round_robin', 0, 8);
              return slot >= 0 && Math.floor((slot * 2) / plan.numPhysicalExperts) === rank;
            }),
          ).length;
        assert.deepStrictEqual(report.layers[index].numTokensPerRank, [goesTo(0), goesTo(1)], file);
      }
    }
  });

  it('refuses plans that do not fit', async () => {
    const path = npyFile('unfit.npy', [randomRows(new Random(1), 20, 2, 4)]);
    const two = folder.write('two.json', '{"physical_to_logical_map": [[0, 1, 2, 3], [0, 1, 2, 3]]}');
    const uneven = folder.write('uneven.json', '{"physical_to_logical_map": [[0, 1, 2, 3, 0]]}');
    const flat = folder.write('flat.json', JSON.stringify([[0, 1]]));
    const sizes = ['--num-experts', '4', '--num-ranks', '2'];
    const cases: [string[], RegExp][] = [
      [[flat, ...sizes, '--placement', two], /two\.json, for 2 layers, and .*flat\.json has one/],
      [[path, ...sizes, '--placement', uneven], /uneven\.json: 5 physical experts do not divide evenly among 2 ranks/],
      [[path, ...sizes, '--placement', two, '--replica-rule', 'nearest'], /pass --source-rank S/],
      [[path, ...sizes, '--placement', folder.path('none.json')], /cannot read .*none\.json: no such file/],
    ];
    for (const [args, message] of cases) expectRefusal(await dispatchLayout(args), message, args.join(' '));
  });
});

describe('--fail-above', () => {
  const folder = temporaryFolder();
  // Tokens of ranks 0 and 1: 2 and 2 in layer 0, 3 and 1 in layer 1, 4 and 0 in layer 2
  const layers = [
    [[0], [2], [1], [3]],
    [[0], [1], [0], [2]],
    [[0], [1], [1], [0]],
  ];
  let path = '';
  before(() => {
    path = folder.write('trace.npy', writeNpy(layers.flat(2).map(BigInt), [3, 4, 1], { ...plainForm, size: 4 }));
  });
  const sizes = ['--num-experts', '4', '--num-ranks', '2', '--axes', 'layers,tokens,topk'];

  async function outcome(
    args: readonly string[],
  ): Promise<{ readonly code: number | null; readonly limits: { value: number; layers: { layer: number }[] }[] }> {
    const { code, stdout, stderr } = await dispatchLayout([...args, '--json']);
    assert.strictEqual(stderr, '');
    return { code, limits: JSON.parse(stdout.toString()).limits };
  }

  it('ends with exit code 1 and names the layers, worst first', async () => {
    const cases: [string, number, number, number[]][] = [
      ['max/mean=2', 0, 2, []],
      ['max/mean=1.99', 1, 2, [2]],
      ['max/mean=1.4', 1, 2, [2, 1]],
      ['(max-mean)/mean=0.99', 1, 1, [2]],
      ['p50:max/mean=1.5', 0, 1.5, []],
      ['p50:max/mean=1.49', 1, 1.5, [2, 1]],
      ['p95:max/mean=1.96', 0, 1.95, []],
      ['ranks:p95:max/mean=1.94', 1, 1.95, [2]],
      ['nodes:max/mean=1.9', 1, 2, [2]],
      ['experts:worst:max/mean=1.9', 1, 2, [1, 2]],
    ];
    for (const [limit, code, value, named] of cases) {
      const found = await outcome([path, ...sizes, '--ranks-per-node', '1', '--fail-above', limit]);
      assert.strictEqual(found.code, code, limit);
      assert.closeTo(found.limits[0].value, value, 1e-9, limit);
      assert.deepStrictEqual(
        found.limits[0].layers.map(({ layer }) => layer),
        named,
        limit,
      );
    }
    const several = [...sizes, '--fail-above', 'max/mean=3', '--fail-above', 'p95:max/mean=1.2'];
    const { code, stdout } = await dispatchLayout([path, ...several]);
    assert.strictEqual(code, 1);
    assert.include(
      stdout.toString(),
      '\nLimits                    1 of 2 exceeded\n  max/mean=3  is 2.000\n  p95:max/mean=1.2  EXCEEDED, 1.950: layer 2 (2.000), layer 1 (1.500)\n',
    );
    assert.isUndefined((await outcome([path, ...sizes])).limits);
  });

  it('judges the plan of place, by layers and by windows', async () => {
    const rows = randomRows(new Random(8), 400, 2, 8);
    const trace = folder.write('place.npy', writeNpy(rows.flat().map(BigInt), [400, 2], { ...plainForm, size: 4 }));
    const flags = ['place', trace, '--num-experts', '8', '--num-ranks', '4', '--window', '20'];
    const {
      layers: [layer],
    } = JSON.parse(await succeed([...flags, '--json'])) as JsonPlace;
    const figures: [string, number][] = [
      ['max/mean', layer.plan.balance?.['max/mean'] as number],
      ['(max-mean)/mean', layer.plan.balance?.['(max-mean)/mean'] as number],
      ['windows:p95:max/mean', layer.plan.windows?.['max/mean'].p95 as number],
      ['windows:max/mean', layer.plan.windows?.['max/mean'].worst as number],
    ];
    for (const [name, value] of figures) {
      for (const [limit, code] of [
        [value + 0.001, 0],
        [value - 0.001, 1],
      ]) {
        const found = await outcome([...flags, '--fail-above', `${name}=${limit.toFixed(6)}`]);
        assert.strictEqual(found.code, code, `${name}=${limit}`);
        assert.strictEqual(found.limits[0].value, value);
        assert.lengthOf(found.limits[0].layers, code);
      }
    }
  });

  it('leaves dense layers out of the figures of place', async () => {
    const dense = new Array<number[]>(40).fill([0, 0]);
    const rows = randomRows(new Random(4), 40, 2, 4).map((row) => row.map((id) => Math.max(id, 0)));
    const trace = [dense, rows];
    const both = folder.write('dense.npy', writeNpy(trace.flat(2).map(BigInt), [2, 40, 2], { ...plainForm, size: 4 }));
    const report = JSON.parse(await succeed(['place', both, ...sizes, '--json']));
    assert.deepStrictEqual(
      report.layers.map(({ isDense }: { isDense: boolean }) => isDense),
      [true, false],
    );
    assert.isNull(report.layers[0].plan.balance);
    assert.deepStrictEqual(report.plan.layers['max/mean'].worst, report.layers[1].plan.balance['max/mean']);
    assert.deepStrictEqual(report.bound['max/mean'].worst, report.layers[1].bound['max/mean']);
    assert.lengthOf(report.layers[0].physicalToLogical, 4);
    assert.match(
      await succeed(['place', both, ...sizes]),
      /^dense {5}1 layer holds one expert only; it is in no figure$/m,
    );
  });

  it('refuses what is no limit', async () => {
    const cases: [string[], RegExp][] = [
      [[path, ...sizes, '--fail-above', 'max/mean'], /Give a figure and a limit, such as max\/mean=1\.5/],
      [[path, ...sizes, '--fail-above', 'min/mean=1'], /figures are max\/mean, mean\/max, \(max-mean\)\/mean/],
      [[path, ...sizes, '--fail-above', 'max/mean=1e3'], /Give a figure and a limit/],
      [[path, ...sizes, '--fail-above', 'mean/max=0.8'], /better where it is larger; pass max\/mean=1\.25/],
      [[path, ...sizes, '--fail-above', 'p99:max/mean=2'], /'p99' is none of windows, p50, p95, worst, ranks/],
      [[path, ...sizes, '--fail-above', 'windows:max/mean=2'], /only place computes figures of windows/],
      [[path, ...sizes, '--fail-above', 'nodes:max/mean=2'], /all ranks are in one node/],
      [['place', path, ...sizes, '--fail-above', 'experts:max/mean=2'], /place judges ranks only/],
    ];
    for (const [args, message] of cases) expectRefusal(await dispatchLayout(args), message, args.join(' '));
  });
});
