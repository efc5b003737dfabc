/** `dispatch-layout check`, the findings of the report, and fingerprints. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { assert } from 'chai';
import { zipSync } from 'fflate';
import { hasSample, sampleFacts, samplePath } from '../routing/samples.ts';
import { Random } from '../support/random.ts';
import { commandPath, dispatchLayout, expectRefusal, succeed, temporaryFolder } from './command.ts';
import { npyOf, plainForm, writeNpy } from './npy-writer.ts';

/** A finding, as `docs/command-line.md` describes it. */
interface JsonFinding {
  readonly code: string;
  readonly what: string;
  readonly layers: readonly number[] | null;
  readonly count: number;
  readonly effect: string | null;
  readonly remedy: string | null;
}

interface JsonCheck {
  readonly format: string;
  readonly producer: string | null;
  readonly layers: readonly { readonly layer: number | null }[];
  readonly tokens: number;
  readonly topk: number;
  readonly idType: string;
  readonly axes: string;
  readonly axesBecause: string;
  readonly numExperts: number;
  readonly numExpertsBecause: string;
  readonly findings: readonly JsonFinding[];
  readonly idsSha256?: string;
}

type Layers = readonly (readonly (readonly number[])[])[];

/** Runs a check. Its exit code must be 1 if there are findings, and else 0. */
async function check(args: readonly string[], stdin?: string | Uint8Array): Promise<JsonCheck> {
  const { code, stdout, stderr } = await dispatchLayout(['check', ...args, '--json'], stdin);
  assert.strictEqual(stderr, '', args.join(' '));
  const report = JSON.parse(stdout.toString()) as JsonCheck;
  assert.strictEqual(code, report.findings.some(({ remedy }) => remedy !== null) ? 1 : 0);
  return report;
}

const codesOf = ({ findings }: JsonCheck): string[] => findings.map(({ code }) => code);

function finding({ findings }: JsonCheck, code: string): JsonFinding {
  return findings.find((each) => each.code === code) ?? assert.fail(`no ${code} in ${JSON.stringify(findings)}`);
}

/** Layers of tokens that select different experts, of which each layer prefers some. */
function routing(numLayers: number, numTokens: number, numTopk: number, numExperts: number, seed = 1): number[][][] {
  const random = new Random(seed);
  return Array.from({ length: numLayers }, (_, layer) =>
    Array.from({ length: numTokens }, () => {
      const row = new Set<number>();
      while (row.size < numTopk) row.add((layer * 7 + random.below(1 + random.below(numExperts))) % numExperts);
      return [...row];
    }),
  );
}

const layersFirst = ['--axes', 'layers,tokens,topk'];
const flat = (layers: Layers): bigint[] => layers.flat(2).map(BigInt);

describe('command line: check', function () {
  this.timeout(60_000);
  const folder = temporaryFolder();

  it('finds nothing in sound routing', async () => {
    const report = await check(['-'], npyOf(routing(6, 64, 4, 32)));
    assert.deepEqual(report.findings, []);
    const { format, producer, tokens, topk, idType, axes, numExperts } = report;
    assert.deepEqual(
      { format, producer, tokens, topk, idType, axes, numExperts },
      {
        format: 'npy',
        producer: null,
        tokens: 64,
        topk: 4,
        idType: 'int64',
        axes: 'layers,tokens,topk',
        numExperts: 32,
      },
    );
    assert.deepEqual(
      report.layers.map(({ layer }) => layer),
      [0, 1, 2, 3, 4, 5],
    );
    assert.match(await succeed(['check', '-'], npyOf(routing(6, 64, 4, 32))), /\n\nNo findings\n$/);
  });

  it('finds layers that hold one expert, which the report leaves out and --keep-dense counts', async () => {
    const captured = routing(6, 64, 4, 64);
    const layers = captured.map((layer, index) => (index < 3 ? layer.map((row) => row.map(() => 0)) : layer));
    const tokensFirst = layers[0].map((_, token) => layers.map((layer) => layer[token]));
    const file = folder.write('dense.npy', npyOf(tokensFirst));
    const dense = finding(await check([file, '--num-experts', '64']), 'DENSE_LAYERS');
    assert.deepEqual(dense.layers, [0, 1, 2]);
    assert.strictEqual(dense.what, '3 layers hold nothing but expert 0 (layers 0 to 2): dense, or not captured');

    const sizes = ['--num-experts', '64', '--num-ranks', '8'];
    const text = (await succeed([file, ...sizes])).replace(/\s+/g, ' ');
    assert.match(
      text,
      /Findings - 3 layers hold nothing but expert 0 .* Pass --keep-dense to count them\. Tokens per rank/,
    );
    assert.match(text, /\[3 of 6 layers, 64 tokens, top-4\]/);
    const numbersOf = async (...args: string[]) => {
      const { total, layers: each } = JSON.parse(await succeed([...args, ...sizes, '--json']));
      return { total, layers: each.map(({ layer }: { layer: number }) => layer) };
    };
    const alone = folder.write('alone.npy', npyOf(captured.slice(3)));
    const without = await numbersOf(file);
    assert.deepEqual(without.total, (await numbersOf(alone, ...layersFirst)).total);
    assert.deepEqual(without.layers, [3, 4, 5]);
    const kept = await numbersOf(file, '--keep-dense');
    assert.deepEqual(kept.layers, [0, 1, 2, 3, 4, 5]);
    assert.isAbove(kept.total.rankImbalance, 1.8);
  });

  it('finds tokens with an expert twice, padding, warm-up rows and equal layers, and says where', async () => {
    const layers = routing(5, 200, 4, 32);
    layers[1][7] = [3, 3, 4, 5];
    layers[1][9] = [6, 4, 6, 5];
    for (let token = 150; token < 160; token++) layers[2][token] = [9, 9, 9, 9];
    for (let token = 160; token < 165; token++) layers[2][token] = [-1, -1, -1, -1];
    for (let token = 0; token < 100; token++) layers[3][token] = [1, 2, 3, 4];
    layers[4] = layers[0];
    const report = await check(['-', '--num-experts', '32'], npyOf(layers));
    const twice = finding(report, 'EXPERT_TWICE');
    assert.deepEqual([twice.count, twice.layers], [2, [1]]);
    assert.deepEqual(
      report.findings.filter(({ code }) => code === 'PADDING').map(({ count, layers: where }) => [count, where]),
      [
        [10, [2]],
        [5, [2]],
      ],
    );
    const warmUp = finding(report, 'WARM_UP');
    assert.deepEqual([warmUp.count, warmUp.layers], [100, [3]]);
    assert.deepEqual(finding(report, 'EQUAL_LAYERS').layers, [4]);
    assert.isNull(finding(report, 'EQUAL_LAYERS').effect);
    // Those that change figures are above the figures of a report, and the others are not.
    const text = await succeed(['-', '--num-experts', '32', '--num-ranks', '4', ...layersFirst], npyOf(layers));
    assert.match(text, /2 tokens select an expert twice \(layer 1\)/);
    assert.notMatch(text, /same ids as another/);
  });

  it('finds sentinels, ids out of range, and the flag that deals with them', async () => {
    const rows = routing(1, 300, 4, 64)[0];
    const withEmpty = rows.map((row, token) => (token % 3 === 0 ? [row[0], row[1], 64, 64] : row));
    const report = await check(['-', '--num-experts', '64'], npyOf(withEmpty));
    assert.deepEqual(codesOf(report), ['SENTINEL']);
    assert.strictEqual(finding(report, 'SENTINEL').remedy, 'pass --empty-id 64');
    assert.strictEqual(finding(report, 'SENTINEL').count, 200);
    assert.deepEqual(codesOf(await check(['-', '--num-experts', '64', '--empty-id', '64'], npyOf(withEmpty))), []);

    const wrapped = rows.map((row, token) => (token % 3 === 0 ? [row[0], row[1], 255, 255] : row));
    const bytes = writeNpy(flat([wrapped]), [300, 4], { ...plainForm, size: 1, signed: false });
    const inBytes = finding(await check(['-', '--num-experts', '256'], bytes), 'SENTINEL');
    assert.match(inBytes.what, /^255 stands in several slots of 100 tokens: it is -1 written as uint8$/);
    assert.strictEqual(inBytes.remedy, 'pass --empty-id 255');

    const odd = rows.map((row, token) => (token === 5 ? [70, 99, -7, row[3]] : row));
    const outOfRange = finding(await check(['-', '--num-experts', '64'], npyOf(odd)), 'OUT_OF_RANGE');
    assert.strictEqual(outOfRange.count, 3);
    assert.match(outOfRange.what, /3 slots hold -7 to 99, neither an expert in \[0, 64\) nor -1/);
  });

  it('finds the same without --num-experts, whatever the ids are', async () => {
    const layers = routing(3, 60, 4, 64);
    const replaced = (id: number): number[][][] =>
      layers.map((rows) => rows.map((row, token) => (token % 9 === 4 ? [id, ...row.slice(1)] : row)));
    const max = (nested: Layers): number => nested.flat(2).reduce((most, id) => Math.max(most, id), 0);
    const cases: readonly (readonly [name: string, nested: Layers, numExperts: number])[] = [
      ['few experts', layers, max(layers) + 1],
      ['empty slots', replaced(-1), max(layers) + 1],
      ['an expert beyond those that are counted at first', replaced(5000), 5001],
      ['ids that no expert can have', replaced(2 ** 40), max(layers) + 1],
      ['many different ids beyond', layers.map((rows) => rows.map((row, token) => [...row, 9000 - token])), 9001],
      ['no tokens', [[], []], 1],
    ];
    for (const [name, nested, numExperts] of cases) {
      const bytes = name === 'no tokens' ? writeNpy([], [2, 0, 4], plainForm) : npyOf(nested);
      const { numExpertsBecause, ...unknown } = await check(['-', ...layersFirst], bytes);
      assert.strictEqual(numExpertsBecause, 'one more than the largest id');
      assert.strictEqual(unknown.numExperts, numExperts, name);
      const known = await check(['-', ...layersFirst, '--num-experts', `${numExperts}`], bytes);
      assert.deepEqual({ ...unknown, numExpertsBecause: known.numExpertsBecause }, known, name);
    }
    const bytes = writeNpy(flat(replaced(255)), [3, 60, 4], { ...plainForm, size: 1, signed: false });
    assert.strictEqual((await check(['-', ...layersFirst], bytes)).numExperts, max(layers) + 1);
  });

  it('finds counts that are taken for ids, and axes that are read in the wrong order', async () => {
    const random = new Random(3);
    const counts = Array.from({ length: 4 }, () =>
      Array.from({ length: 30 }, () => Array.from({ length: 16 }, () => random.below(12))),
    );
    assert.include(codesOf(await check(['-', ...layersFirst], npyOf(counts))), 'COUNTS');
    const layers = routing(20, 60, 4, 64);
    assert.notInclude(codesOf(await check(['-', ...layersFirst], npyOf(layers))), 'AXES');
    const swapped = await check(['-', '--axes', 'tokens,layers,topk'], npyOf(layers));
    assert.include(codesOf(swapped), 'AXES');
  });

  it('finds experts that are never and always chosen', async () => {
    const rows = routing(1, 2000, 4, 60)[0].map(([first, ...rest]) => [...rest.filter((id) => id !== 61), 61, first]);
    const report = await check(['-', '--num-experts', '64'], npyOf(rows));
    assert.include(finding(report, 'NEVER_CHOSEN').what, '3 experts of 64 are never chosen');
    assert.strictEqual(finding(report, 'ALWAYS_CHOSEN').what, 'every token selects expert 61');
  });

  it('takes one file for each rank, and several shards', async () => {
    const layers = routing(3, 40, 4, 32);
    const shard = (from: number, to: number): string =>
      folder.write(`shard-${from}.npy`, npyOf(layers.map((layer) => layer.slice(from, to))));
    const whole = folder.write('whole.npy', npyOf(layers));
    const flags = [...layersFirst, '--num-experts', '32', '--fingerprint'];
    const expected = await check([whole, ...flags]);
    const together = await check([shard(0, 10), shard(10, 11), shard(11, 40), ...flags]);
    assert.strictEqual(together.tokens, 40);
    assert.strictEqual(together.idsSha256, expected.idsSha256);
    const other = folder.write('other.npy', npyOf(routing(3, 4, 2, 32)));
    const refused = await dispatchLayout(['check', whole, other, ...layersFirst]);
    expectRefusal(refused, /other\.npy has 2 slots for each token, and .*whole\.npy has 4/, 'another model');
  });

  it('prints the same fingerprint for the same ids in every format and order', async () => {
    const layers = routing(3, 40, 4, 32);
    layers[1][3] = [-1, -1, 5, -1];
    const expected = createHash('sha256')
      .update(new Uint8Array(Int32Array.from(layers.flat(2)).buffer))
      .digest('hex');
    const tokensFirst = layers[0].map((_, token) => layers.map((layer) => layer[token]));
    const withoutEmpty = tokensFirst.map((token) => token.map((row) => row.map((id) => (id < 0 ? 255 : id))));
    const inputs: (readonly [string[], string | Uint8Array])[] = [
      [layersFirst, npyOf(layers)],
      [layersFirst, JSON.stringify(layers)],
      [['--axes', 'tokens,layers,topk'], npyOf(tokensFirst)],
      [['--axes', 'tokens,layers,topk'], zipSync({ 'ids.npy': npyOf(tokensFirst) })],
      [
        ['--axes', 'tokens,layers,topk', '--empty-id', '255'],
        writeNpy(flat(withoutEmpty), [40, 3, 4], { ...plainForm, size: 1, signed: false, fortranOrder: true }),
      ],
    ];
    for (const [flags, input] of inputs) {
      const report = await check(['-', '--num-experts', '32', '--fingerprint', ...flags], input);
      assert.strictEqual(report.idsSha256, expected, flags.join(' '));
    }
    const sizes = ['--num-experts', '32', '--num-ranks', '4', '--fingerprint', ...layersFirst];
    assert.strictEqual(JSON.parse(await succeed(['-', ...sizes, '--json'], npyOf(layers))).idsSha256, expected);
    assert.include(await succeed(['-', ...sizes], npyOf(layers)), expected);
  });

  it('reads samples as recorded (skipped if they are missing)', async function () {
    const facts =
      sampleFacts('facts_text.json')['csv/bigmoe_route_trace/qwen.route.csv'] ?? sampleFacts('facts_text.json');
    const path = samplePath('csv/bigmoe_route_trace/qwen.route.csv');
    if (!hasSample('csv/bigmoe_route_trace/qwen.route.csv')) this.skip();
    const report = await check([path, '--fingerprint']);
    assert.deepEqual([report.tokens, report.layers.length, report.topk], facts.dense_shape);
    assert.strictEqual(report.numExperts, facts.E);
    assert.strictEqual(report.producer, 'BigMoeOnEdge');
    const trace = samplePath('../traces/deepseek-v2-lite_law.npy');
    const sound = await check([trace, '--num-experts', '64']);
    assert.deepEqual(sound.findings, []);
    assert.strictEqual(sound.axes, 'layers,tokens,topk');
  });

  it('ends at once and leaves no file behind when it is interrupted', async function () {
    if (process.platform === 'win32') this.skip();
    const rank = folder.path('rank.npy');
    await succeed(['generate', rank, '--num-tokens', '20000', '--layers', '60', '--dtype', 'uint8']);
    const out = folder.path('interrupted');
    for (const args of [
      ['generate', out, '--num-tokens', '30000000'],
      ['receive', rank, rank, '--num-experts', '256', '--out', out],
    ]) {
      const child = spawn(process.execPath, [commandPath, ...args], { stdio: 'ignore' });
      const end = once(child, 'exit');
      const files = (): string[] => readdirSync(folder.path('.')).filter((name) => name.includes('interrupted'));
      while (files().length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
      child.kill('SIGINT');
      assert.deepEqual(await end, [null, 'SIGINT'], args[0]);
      assert.deepEqual(files(), [], args[0]);
    }
  });
});
