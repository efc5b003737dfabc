/**
 * What `dispatch-layout FILE` computes, prints and writes. The expected numbers come from the oracle of the conformance
 * suite.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import fc from 'fast-check';
import { unzipSync, zipSync } from 'fflate';
import { answer, type ExpectedLayout, type Question } from '../conformance/oracle.ts';
import { commandPath, dispatchLayout, expectRefusal, forEachInPairs, succeed, temporaryFolder } from './command.ts';
import { npyOf, plainForm, writeNpy } from './npy-writer.ts';

/** The JSON document, as `docs/command-line.md` describes it. */
interface JsonReport {
  readonly file: string;
  readonly format: string;
  readonly producer: string | null;
  readonly idType: string;
  readonly dtype: string;
  readonly axes: string;
  readonly axesBecause: string;
  readonly tokens: number;
  readonly topk: number;
  readonly numLayersInFile: number | null;
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numRanks: number;
  readonly numRanksPerNode: number;
  readonly numRdmaRanks: number;
  readonly placement: 'contiguous' | 'table' | 'linear' | 'round_robin';
  readonly invalidExperts: 'throw' | 'ignore';
  readonly device: { readonly name: string; readonly reason: string };
  readonly timing: { seconds: number; tokensPerSecond: number | null; numPasses: number; warm: boolean };
  readonly findings: readonly { readonly code: string }[];
  readonly traffic: object;
  readonly total: JsonStatistics;
  readonly layers: readonly (JsonStatistics & { readonly layer: number | null })[];
}

interface JsonStatistics {
  readonly numTokensPerRank: readonly number[];
  readonly numTokensPerRdmaRank: readonly number[] | null;
  readonly numTokensPerExpert: readonly number[];
  readonly rankImbalance: number | null;
  readonly rdmaRankImbalance: number | null;
  readonly expertImbalance: number | null;
  readonly meanRanksPerToken: number | null;
  readonly meanNodesPerToken: number | null;
  readonly numEmptySlots: number;
}

type Rows = readonly (readonly number[])[];

async function report(args: readonly string[], stdin?: string | Uint8Array): Promise<JsonReport> {
  return JSON.parse(await succeed([...args, '--json'], stdin)) as JsonReport;
}

function oracle(rows: Rows, question: Omit<Question, 'rows'>): ExpectedLayout {
  const expected = answer({ ...question, rows: rows.map((row) => row.map(BigInt)) });
  return 'layout' in expected ? expected.layout : assert.fail(`the oracle answers ${expected.error.code}`);
}

function expectCounts(actual: JsonStatistics, expected: ExpectedLayout): void {
  assert.deepEqual(actual.numTokensPerRank, expected.numTokensPerRank);
  assert.deepEqual(actual.numTokensPerRdmaRank, expected.numTokensPerRdmaRank);
  assert.deepEqual(actual.numTokensPerExpert, expected.numTokensPerExpert);
}

const sumOf = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0);
const imbalanceOf = (counts: readonly number[]): number => Math.max(...counts) / (sumOf(counts) / counts.length);

/** Rows for all tests, in which some experts are selected twice and some slots are empty. */
function someRows(numTokens: number, numTopk: number, numExperts: number, seed: number): number[][] {
  const id = fc.integer({ min: -1, max: numExperts - 1 });
  const rows = fc.array(fc.array(id, { minLength: numTopk, maxLength: numTopk }), {
    minLength: numTokens,
    maxLength: numTokens,
  });
  return fc.sample(rows, { numRuns: 1, seed })[0];
}

describe('command line: layouts', function () {
  this.timeout(30_000);
  const folder = temporaryFolder();
  const rows = someRows(40, 3, 32, 1);
  const layers = [rows, someRows(40, 3, 32, 2), someRows(40, 3, 32, 3)];
  const file = folder.write('rows.npy', npyOf(rows));
  const layersFile = [folder.write('layers.npy', npyOf(layers)), '--axes', 'layers,tokens,topk'];
  const sizes = ['--num-experts', '32', '--num-ranks', '16'];
  const question = { numExperts: 32, numRanks: 16 };

  it('reads one [tokens, topk], and reports every number', async () => {
    const result = await report([file, ...sizes]);
    const expected = oracle(rows, question);
    expectCounts(result.total, expected);
    const { layers: perLayer, total, timing, device, findings, traffic, ...facts } = result;
    assert.deepEqual(
      findings.map(({ code }) => code),
      ['EXPERT_TWICE'],
    );
    assert.deepEqual(facts, {
      file,
      format: 'npy',
      producer: null,
      idType: 'int64',
      dtype: 'int64',
      axes: 'tokens,topk',
      axesBecause: 'it has two dimensions',
      numLayersInFile: null,
      tokens: 40,
      topk: 3,
      numTokens: 40,
      numTopk: 3,
      numExperts: 32,
      numRanks: 16,
      numRanksPerNode: 8,
      numRdmaRanks: 2,
      placement: 'contiguous',
      invalidExperts: 'throw',
    });
    assert.deepEqual(perLayer, [{ layer: null, ...total }]);
    assert.closeTo(total.rankImbalance ?? 0, imbalanceOf(expected.numTokensPerRank), 1e-12);
    assert.closeTo(total.rdmaRankImbalance ?? 0, imbalanceOf(expected.numTokensPerRdmaRank ?? []), 1e-12);
    assert.closeTo(total.expertImbalance ?? 0, imbalanceOf(expected.numTokensPerExpert), 1e-12);
    assert.closeTo(total.meanRanksPerToken ?? 0, sumOf(expected.numTokensPerRank) / 40, 1e-12);
    assert.closeTo(total.meanNodesPerToken ?? 0, sumOf(expected.numTokensPerRdmaRank ?? []) / 40, 1e-12);
    assert.strictEqual(total.numEmptySlots, rows.flat().filter((id) => id === -1).length);
    assert.isAbove(timing.seconds, 0);
    assert.closeTo((timing.tokensPerSecond ?? 0) * timing.seconds, 40, 1e-6);
    assert.isTrue(timing.warm);
    assert.include(['cuda', 'wasm', 'js'], device.name);
    assert.isNotEmpty(device.reason);
  });

  it('reads the same from a file, standard input, .npz and JSON, whatever the name of the file is', async () => {
    const expected = oracle(rows, question);
    const npz = zipSync({ 'ids.npy': npyOf(rows), 'other.npy': npyOf([[1]]) });
    const inputs: (readonly [string[], (string | Uint8Array)?])[] = [
      [['-'], npyOf(rows)],
      [['-'], JSON.stringify(rows)],
      [['-', '--array', 'ids'], npz],
      [[folder.write('named.json', npyOf(rows))]],
      [[folder.write('named.txt', JSON.stringify(rows, null, 1))]],
      [[folder.write('named.npy', npz), '--array', 'ids']],
      [[folder.write('fortran.npy', writeNpy(rows.flat().map(BigInt), [40, 3], { ...plainForm, fortranOrder: true }))]],
      [
        [
          folder.write(
            'big.npy',
            writeNpy(rows.flat().map(BigInt), [40, 3], { ...plainForm, size: 2, bigEndian: true }),
          ),
        ],
      ],
    ];
    await forEachInPairs(inputs, async ([args, stdin]) => {
      const result = await report([...args, ...sizes], stdin);
      expectCounts(result.total, expected);
      assert.strictEqual(result.file, args[0] === '-' ? 'standard input' : args[0]);
    });
  });

  it('computes all layers of [layers, tokens, topk], or one', async () => {
    const all = await report([...layersFile, ...sizes]);
    assert.strictEqual(all.numLayersInFile, 3);
    assert.deepEqual(
      all.layers.map((layer) => layer.layer),
      [0, 1, 2],
    );
    for (const [index, layer] of all.layers.entries()) expectCounts(layer, oracle(layers[index], question));
    expectCounts(all.total, oracle(layers.flat(), question));
    assert.deepEqual(await report([...layersFile, ...sizes, '--layer', 'all']).then(({ total }) => total), all.total);

    const one = await report([...layersFile, ...sizes, '--layer', '2']);
    assert.deepEqual(one.layers, [{ ...all.layers[2] }]);
    expectCounts(one.total, oracle(layers[2], question));
  });

  it('reads [tokens, layers, topk] with --axes tokens,layers,topk, in both orders', async () => {
    const tokensFirst = rows.map((_, token) => layers.map((layer) => layer[token]));
    const all = await report([...layersFile, ...sizes]);
    const values = tokensFirst.flat(2).map(BigInt);
    for (const fortranOrder of [false, true]) {
      const input = writeNpy(values, [40, 3, 3], { ...plainForm, size: 1, fortranOrder });
      const result = await report(['-', ...sizes, '--axes', 'tokens,layers,topk'], input);
      assert.deepEqual(result.layers, all.layers);
    }
  });

  it('accepts nodes of any size, any placement, and every device', async () => {
    const placement = Array.from({ length: 32 }, (_, expert) => (expert * 7) % 5);
    const asJson = folder.write('placement.json', JSON.stringify(placement));
    const asNpy = folder.write('placement.npy', writeNpy(placement.map(BigInt), [32]));
    const cases: (readonly [string[], Omit<Question, 'rows'>])[] = [
      [['--num-ranks', '16', '--ranks-per-node', '4'], { numExperts: 32, numRanks: 16, numRanksPerNode: 4 }],
      [['--num-ranks', '8'], { numExperts: 32, numRanks: 8 }],
      [['--num-ranks', '5', '--placement', asJson], { numExperts: 32, numRanks: 5, placement }],
      [['--num-ranks', '5', '--placement', asNpy], { numExperts: 32, numRanks: 5, placement }],
      [['--num-ranks', '16', '--device', 'js'], question],
      [['--num-ranks', '16', '--device', 'wasm'], question],
      [['--num-ranks', '5', '--invalid-experts', 'ignore'], { numExperts: 32, numRanks: 5, invalidExperts: 'ignore' }],
    ];
    await forEachInPairs(cases, async ([args, each]) => {
      const result = await report([file, '--num-experts', '32', ...args]);
      expectCounts(result.total, oracle(rows, each));
      const device = args[args.indexOf('--device') + 1];
      if (args.includes('--device')) assert.strictEqual(result.device.name, device);
      assert.strictEqual(result.placement, args.includes('--placement') ? 'table' : 'contiguous');
    });
  });

  it('skips ids that are not experts with --invalid-experts ignore, and never truncates', async () => {
    const odd = [
      [0, 2 ** 32 + 1],
      [99, -7],
    ];
    const result = await report(
      ['-', '--num-experts', '8', '--num-ranks', '4', '--invalid-experts', 'ignore'],
      JSON.stringify(odd),
    );
    assert.deepEqual(result.total.numTokensPerRank, [1, 0, 0, 0]);
    assert.strictEqual(result.total.numEmptySlots, 3);
    assert.strictEqual(result.invalidExperts, 'ignore');
  });

  it('places experts by name, and takes an id for an empty slot', async () => {
    const rows = [
      [0, 5],
      [8, 1],
      [9, -1],
    ];
    const input = JSON.stringify(rows);
    for (const placement of ['linear', 'round_robin'] as const) {
      const result = await report(
        ['-', '--num-experts', '10', '--num-ranks', '4', '--placement', placement, '--empty-id', '8'],
        input,
      );
      expectCounts(result.total, oracle(rows, { numExperts: 10, numRanks: 4, placement, emptyId: 8 }));
      assert.strictEqual(result.placement, placement);
      assert.strictEqual(result.total.numEmptySlots, 2);
    }
    const text = await succeed(['-', '--num-experts', '10', '--num-ranks', '4', '--placement', 'linear'], input);
    assert.match(text, /10, placed linear/);
    const largest = writeNpy([-1n, 3n, (1n << 63n) - 1n, 0n], [2, 2]);
    const sizes = ['--num-experts', '8', '--num-ranks', '4'];
    const { total } = await report(['-', ...sizes, '--empty-id', String((1n << 63n) - 1n)], largest);
    assert.strictEqual(total.numEmptySlots, 2);
  });

  it('leaves the mask out of the file with --mask none', async () => {
    const out = folder.path('counts.npz');
    await succeed(['-', '--num-experts', '8', '--num-ranks', '4', '--mask', 'none', '--out', out], '[[0, 5], [6, -1]]');
    const names = Object.keys(unzipSync(readFileSync(out)));
    assert.deepStrictEqual(names, ['num_tokens_per_rank.npy', 'num_tokens_per_expert.npy']);
  });

  it('refuses flags that would change nothing', async () => {
    const cases: [string[], RegExp][] = [
      [['--mask', 'bits'], /--mask is for the file of --out; pass it, too/],
      [['--bytes-per-element', '4'], /--bytes-per-element is for --hidden-size; pass it, too/],
      [['--source-rank', '1', '--replica-rule', 'nearest'], /--replica-rule is for a plan with replicas; name one/],
      [['--source-rank', '1', '--placement', 'linear'], /--source-rank is for a plan with replicas; name one/],
    ];
    for (const [args, message] of cases) {
      const finished = await dispatchLayout(['-', '--num-experts', '8', '--num-ranks', '4', ...args], '[[0, 5]]');
      expectRefusal(finished, message, args.join(' '));
    }
  });

  it('packs the mask with --mask bits, and reports the same', async () => {
    const [bytes, bits] = [folder.path('bytes.npz'), folder.path('bits.npz')];
    const args = ['-', '--num-experts', '10', '--num-ranks', '10', '--ranks-per-node', '5'];
    const input = '[[0, 5], [6, -1], [9, 8]]';
    const { timing: _, ...expected } = await report([...args, '--out', bytes], input);
    const { timing, ...packed } = await report([...args, '--mask', 'bits', '--out', bits], input);
    assert.isAbove(timing.numPasses, 0);
    assert.deepStrictEqual(packed, expected);
    const arrays = unzipSync(readFileSync(bits));
    const mask = Buffer.from(arrays['is_token_in_rank.npy']);
    assert.include(mask.toString('latin1'), "{'descr':'|u1','fortran_order':False,'shape':(3,2)}");
    assert.deepStrictEqual([...mask.subarray(-6)], [0b100001, 0, 0b1000000, 0, 0, 0b11]);
    const { 'is_token_in_rank.npy': __, ...counts } = unzipSync(readFileSync(bytes));
    for (const [name, file] of Object.entries(counts)) assert.deepStrictEqual(arrays[name], file, name);
  });

  it('accepts files without tokens and without slots', async () => {
    const none = await report(['-', '--num-experts', '8', '--num-ranks', '4'], '[]');
    assert.strictEqual(none.numTokens, 0);
    assert.deepEqual(none.total.numTokensPerRank, [0, 0, 0, 0]);
    assert.isNull(none.total.rankImbalance);
    assert.isNull(none.total.meanRanksPerToken);
    for (const shape of [
      [0, 8],
      [5, 0],
      [2, 0, 4],
      [2, 3, 0],
    ]) {
      const axes = shape.length === 3 ? ['--axes', 'layers,tokens,topk'] : [];
      const args = ['-', '--num-experts', '8', '--num-ranks', '4', ...axes];
      assert.deepEqual((await report(args, writeNpy([], shape))).total.numTokensPerExpert, new Array(8).fill(0));
      await succeed(args, writeNpy([], shape));
    }
    await succeed(
      ['-', '--num-experts', '8', '--num-ranks', '4', '--axes', 'tokens,layers,topk'],
      writeNpy([], [0, 3, 4]),
    );
  });

  describe('the report', () => {
    it('has all numbers that a user needs', async () => {
      const text = await succeed([...layersFile, ...sizes]);
      for (const line of [
        /^topk_idx +int64 \[3 layers, 40 tokens, top-3\]$/m,
        /^slots +360, \d+ empty \(\d+\.\d\d %\)$/m,
        /^ranks +16 in 2 nodes of 8$/m,
        /^device +(cuda|wasm|js): \S/m,
        /^compute +[\d.]+ (µs|ms|s) for 120 tokens, .* tokens\/s$/m,
        /median of \d+ warm passes over 3 layers, without reading the file/,
        /^Tokens per rank +all layers together, mean \d+, max\/mean \d\.\d\d$/m,
        /^ {2}rank 15 {2}[█▏▎▍▌▋▊▉]+ +\d+ +\d\.\d\dx$/m,
        /^ {2}node 1 /m,
        /hottest +coldest/,
        /a token goes to \d\.\d\d ranks on average, of at most 3/,
        /and to \d\.\d\d nodes, of at most 2/,
        /^ {6}2 +\d\.\d\dx {2}rank \d+/m,
      ]) {
        assert.match(text, line);
      }
    });

    it('fits 80 columns and shows no control characters, at any size', async () => {
      const cases: string[][] = [
        [file, ...sizes],
        [...layersFile, ...sizes],
        [...layersFile, '--num-experts', '3200', '--num-ranks', '320'],
        [file, '--num-experts', '1000000', '--num-ranks', '1'],
        [file, '--num-experts', '32', '--num-ranks', '1'],
        ['-', '--num-experts', '65536', '--num-ranks', '65536'],
      ];
      await forEachInPairs(cases, async (args) => {
        const text = await succeed(args, args[0] === '-' ? '[[65535]]' : '');
        for (const line of text.split('\n')) {
          // A path is printed as it is, however long it is.
          if (!line.startsWith('file')) assert.isAtMost([...line].length, 80, line);
        }
        // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that must not be printed.
        assert.notMatch(text, /[\x00-\x09\x0b-\x1f]|NaN|undefined|Infinity|null/);
        assert.isBelow(text.split('\n').length, 100);
      });
    });

    it('says how the dimensions were read and why, and refuses them with both readings where nothing tells', async () => {
      const args = ['-', '--num-experts', '8', '--num-ranks', '4'];
      const many = JSON.stringify(Array.from({ length: 300 }, (_, token) => [[token % 8], [(token + 1) % 8]]));
      assert.match(
        (await succeed(args, many)).replace(/\s+/g, ' '),
        /axes tokens,layers,topk: the second dimension is that of the layers: /,
      );
      const few = JSON.stringify([[[0]], [[1]], [[2]]]);
      expectRefusal(
        await dispatchLayout(args, few),
        /is \[3, 1, 1\], and nothing in it says which dimension is that of the layers; say it with --axes layers,tokens,topk \(3 layers of 1 tokens\) or --axes tokens,layers,topk \(1 layers of 3 tokens\)/,
        'few',
      );
      const told = await succeed([...args, '--axes', 'tokens,layers,topk'], few);
      assert.match(told, /^axes +tokens,layers,topk: --axes tokens,layers,topk says so$/m);
    });

    it('ends quietly when its reader has seen enough', async () => {
      for (const args of [
        [...layersFile, ...sizes],
        ['generate', '-', '--num-tokens', '300000', '--num-experts', '8'],
      ]) {
        const child = spawn(process.execPath, [commandPath, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
        child.stdout.destroy();
        let stderr = '';
        child.stderr.on('data', (chunk: Buffer) => {
          stderr += chunk;
        });
        const code = await new Promise((resolve) => child.on('close', resolve));
        assert.strictEqual(stderr, '');
        assert.strictEqual(code, 0);
      }
    });
  });

  describe('--out', () => {
    it('writes one layer in the form of DeepEP, and all layers with a leading axis', async () => {
      const out = folder.path('layers.npz');
      const text = await succeed([...layersFile, ...sizes, '--out', out]);
      assert.match(text, /^wrote .*layers\.npz$/m);
      const arrays = unzipSync(readFileSync(out));
      assert.sameMembers(Object.keys(arrays), [
        'num_tokens_per_rank.npy',
        'num_tokens_per_rdma_rank.npy',
        'num_tokens_per_expert.npy',
        'is_token_in_rank.npy',
      ]);
      const header = (bytes: Uint8Array): string =>
        Buffer.from(bytes.subarray(10, 128)).toString('latin1').split('}')[0];
      assert.match(header(arrays['is_token_in_rank.npy']), /'descr':'.b1'.*'shape':\(3,40,16\)/);
      assert.match(header(arrays['num_tokens_per_rdma_rank.npy']), /'descr':'<i4'.*'shape':\(3,2\)/);
      const mask = Buffer.from(arrays['is_token_in_rank.npy'].subarray(-3 * 40 * 16));
      assert.isTrue(mask.equals(Buffer.concat(layers.map((layer) => oracle(layer, question).isTokenInRank))));

      const single = folder.path('single.npz');
      const result = await report([
        ...layersFile,
        '--num-experts',
        '32',
        '--num-ranks',
        '8',
        '--layer',
        '1',
        '--out',
        single,
      ]);
      expectCounts(result.total, oracle(layers[1], { numExperts: 32, numRanks: 8 }));
      const oneNode = unzipSync(readFileSync(single));
      assert.notProperty(oneNode, 'num_tokens_per_rdma_rank.npy');
      assert.match(header(oneNode['is_token_in_rank.npy']), /'shape':\(40,8\)/);
      assert.match(header(oneNode['num_tokens_per_rank.npy']), /'shape':\(8,\)/);
    });

    it('writes the same bytes again, and replaces only whole files', async () => {
      const out = folder.path('again.npz');
      await succeed([file, ...sizes, '--out', out]);
      const first = readFileSync(out);
      await succeed([file, ...sizes, '--out', out]);
      assert.isTrue(readFileSync(out).equals(first));

      const link = folder.path('link.npz');
      symlinkSync(out, link);
      await succeed([...layersFile, ...sizes, '--out', link]);
      assert.isAbove(statSync(out).size, first.length, 'the file behind the link is replaced, not the link');

      writeFileSync(out, 'precious');
      expectRefusal(await dispatchLayout(['-', ...sizes, '--out', out], '[[99]]'), /not an expert/, 'a bad id');
      assert.strictEqual(readFileSync(out, 'utf8'), 'precious');
      assert.isEmpty(readdirSync(folder.path('.')).filter((name) => name.endsWith('.tmp')));
    });

    it('refuses to overwrite its input, and names that cannot be written', async () => {
      mkdirSync(folder.path('directory'), { recursive: true });
      const cases: (readonly [string, RegExp])[] = [
        [file, /would overwrite the input/],
        [folder.path('no/such/folder.npz'), /cannot write .*: no such file or directory/],
        [folder.path('directory'), /cannot write .*: it is a directory/],
        ['-', /--out takes the name of a file/],
      ];
      await forEachInPairs(cases, async ([out, message]) => {
        expectRefusal(await dispatchLayout([file, ...sizes, '--out', out]), message, out);
      });
      assert.isTrue(readFileSync(file).equals(npyOf(rows)));
    });

    it('writes directly to a device', async function () {
      if (!existsSync('/dev/null')) this.skip();
      await succeed([file, ...sizes, '--out', '/dev/null']);
      assert.isFalse(statSync('/dev/null').isFile());
    });
  });

  describe('real routing of DeepSeek-V2-Lite', () => {
    const trace = fileURLToPath(new URL('../../../shared/traces/deepseek-v2-lite_law.npy', import.meta.url));
    for (const numRanks of [8, 32]) {
      it(`has the layout of the oracle at ${numRanks} ranks (skipped if the file is missing)`, async function () {
        if (!existsSync(trace)) this.skip();
        const result = await report([trace, '--num-experts', '64', '--num-ranks', String(numRanks)]);
        assert.strictEqual(result.dtype, 'uint8');
        const ids = readFileSync(trace).subarray(-26 * 8327 * 6);
        for (const layer of [0, 23, 25]) {
          const rowsOfLayer = Array.from({ length: 8327 }, (_, token) => [
            ...ids.subarray((layer * 8327 + token) * 6, (layer * 8327 + token + 1) * 6),
          ]);
          expectCounts(result.layers[layer], oracle(rowsOfLayer, { numExperts: 64, numRanks }));
        }
      });
    }
  });
});
