/** What `dispatch-layout receive` computes, prints and writes, against the oracle of what ranks receive. */
import { existsSync, readFileSync } from 'node:fs';
import { assert } from 'chai';
import { unzipSync } from 'fflate';
import { dispatchOf, type GroupQuestion } from '../receive/oracle.ts';
import { Random } from '../support/random.ts';
import { dispatchLayout, expectRefusal, python, requirePython, succeed, temporaryFolder } from './command.ts';
import { plainForm, writeNpy } from './npy-writer.ts';

/** The numbers of an array of a file, and its shape as numpy writes it. */
function arraysIn(path: string): Record<string, { readonly shape: string; readonly values: number[] }> {
  return Object.fromEntries(
    Object.entries(unzipSync(readFileSync(path))).map(([name, bytes]) => {
      const begin = 10 + Buffer.from(bytes).readUInt16LE(8);
      const [, type, shape] =
        /'descr': ?'(.*?)'.*'shape': ?(\(.*?\))/.exec(Buffer.from(bytes.subarray(10, begin)).toString('latin1')) ?? [];
      const data = bytes.slice(begin).buffer;
      const values = type === '<i8' ? Array.from(new BigInt64Array(data), Number) : [...new Int32Array(data)];
      return [name.replace(/\.npy$/, ''), { shape, values }];
    }),
  );
}

interface JsonCounts {
  readonly numTokensBetweenRanks: number[][];
  readonly numTokensBetweenNodes: number[][];
  readonly numTokensPerExpert: number[];
  readonly numTokensPerRank: number[];
  readonly numSelectionsPerRank: number[];
  readonly numRowsPerRank: number[];
}

/** A random group of several layers. Ranks have different numbers of tokens, and rank 1 has none. */
function layersOf(numRanks: number, numLayers: number, numExperts: number): GroupQuestion[] {
  const random = new Random(numRanks);
  return Array.from({ length: numLayers }, () => ({
    rowsOfRanks: Array.from({ length: numRanks }, (_, rank) =>
      Array.from({ length: rank === 1 ? 0 : 5 + rank }, () =>
        Array.from({ length: 3 }, () => random.between(-1, numExperts - 1)),
      ),
    ),
    numTopk: 3,
    numExperts,
    numRanksPerNode: 2,
    alignment: 4,
  }));
}

describe('dispatch-layout receive', () => {
  const folder = temporaryFolder();

  /** Writes a file, and returns its path. */
  function npyFile(name: string, ids: readonly number[], shape: readonly number[], size = 8): string {
    return folder.write(name, writeNpy(ids.map(BigInt), shape, { ...plainForm, size }));
  }

  /** Writes a file for each rank, and returns their paths. */
  function filesOf(layers: readonly GroupQuestion[], prefix: string): string[] {
    return layers[0].rowsOfRanks.map((_, rank) => {
      const tokens = layers[0].rowsOfRanks[rank].length;
      const ids = layers.flatMap(({ rowsOfRanks }) => rowsOfRanks[rank].flat());
      return npyFile(`${prefix}${rank}.npy`, ids, layers.length === 1 ? [tokens, 3] : [layers.length, tokens, 3], 4);
    });
  }

  it('counts what the oracle counts, in each layer and in all together, and writes what each rank receives', async () => {
    const layers = layersOf(4, 2, 8);
    const files = filesOf(layers, 'layers');
    const out = folder.path('layers.npz');
    const flags = ['--num-experts', '8', '--ranks-per-node', '2', '--alignment', '4', '--axes', 'layers,tokens,topk'];
    const report = JSON.parse(await succeed(['receive', ...files, ...flags, '--json', '--out', out]));
    const expected = layers.map(dispatchOf);
    assert.deepInclude(report, {
      numRanks: 4,
      numRdmaRanks: 2,
      topk: 3,
      alignment: 4,
      placement: 'contiguous',
      numLayersInFile: 2,
    });
    assert.deepStrictEqual(
      report.files.map(({ tokens }: { tokens: number }) => tokens),
      [5, 0, 7, 8],
    );
    for (const [index, dispatch] of expected.entries()) {
      const layer: JsonCounts = report.layers[index];
      assert.deepStrictEqual(layer.numTokensBetweenRanks.flat(), dispatch.numTokensBetweenRanks);
      assert.deepStrictEqual(layer.numTokensBetweenNodes.flat(), dispatch.numTokensBetweenNodes);
      assert.deepStrictEqual(
        layer.numTokensPerRank,
        dispatch.received.map(({ numTokens }) => numTokens),
      );
      assert.deepStrictEqual(
        layer.numRowsPerRank,
        dispatch.received.map(({ numRows }) => numRows),
      );
      assert.deepStrictEqual(
        layer.numTokensPerExpert,
        dispatch.received.flatMap((rank) => rank.numTokensPerExpert),
      );
    }
    const sums = report.layers[0].numTokensPerRank.map(
      (count: number, rank: number) => count + report.layers[1].numTokensPerRank[rank],
    );
    assert.deepStrictEqual(report.total.numTokensPerRank, sums);

    const arrays = arraysIn(out);
    const all = expected.flatMap(({ received }) => received);
    assert.deepStrictEqual(Object.keys(arrays), [
      'num_tokens_between_ranks',
      'num_tokens_between_nodes',
      'num_tokens_per_source_rank_and_expert',
      'num_rows',
      'received_offsets',
      'source_rank_of_row',
      'source_token_of_row',
      'topk_idx',
    ]);
    assert.strictEqual(arrays.num_tokens_between_ranks.shape, '(2,4,4)');
    assert.deepStrictEqual(
      arrays.num_tokens_between_ranks.values,
      expected.flatMap((each) => each.numTokensBetweenRanks),
    );
    assert.deepStrictEqual(
      arrays.num_rows.values,
      all.map(({ numRows }) => numRows),
    );
    assert.deepStrictEqual(
      arrays.source_rank_of_row.values,
      all.flatMap((rank) => rank.sourceRankOfRow),
    );
    assert.deepStrictEqual(
      arrays.source_token_of_row.values,
      all.flatMap((rank) => rank.sourceTokenOfRow),
    );
    assert.deepStrictEqual(
      arrays.topk_idx.values,
      all.flatMap((rank) => rank.topkIdx.flat()),
    );
    const counts = all.map(({ numTokens }) => numTokens);
    const ends = counts.map((_, index) => counts.slice(0, index + 1).reduce((sum, count) => sum + count, 0));
    assert.deepStrictEqual(arrays.received_offsets.values, [0, ...ends.slice(0, 4), ends[3], ...ends.slice(4)]);
    // Row s of the counts by source and expert has the sums over all ranks of what source s sends
    const ofSource = (source: number) =>
      expected[0].received.flatMap((rank) => rank.numTokensPerSourceRankAndExpert.slice(source * 2, source * 2 + 2));
    assert.deepStrictEqual(
      arrays.num_tokens_per_source_rank_and_expert.values.slice(0, 32),
      [0, 1, 2, 3].flatMap(ofSource),
    );
  });

  it('takes one layer, a placement and an empty id', async () => {
    const [layer] = layersOf(2, 1, 6);
    const files = filesOf([layer, layer], 'one');
    const flags = ['--num-experts', '6', '--axes', 'layers,tokens,topk', '--layer', '1'];
    const more = ['--placement', 'round_robin', '--empty-id', '5'];
    const report = JSON.parse(await succeed(['receive', ...files, ...flags, ...more, '--json']));
    const withoutFive = layer.rowsOfRanks.map((rows) => rows.map((ids) => ids.map((id) => (id === 5 ? -1 : id))));
    const expected = dispatchOf({ ...layer, rowsOfRanks: withoutFive, placement: 'round_robin' });
    assert.deepStrictEqual(report.total.numTokensBetweenRanks.flat(), expected.numTokensBetweenRanks);
    assert.lengthOf(report.layers, 1);
    assert.strictEqual(report.layers[0].layer, 1);
  });

  it('prints what each rank receives, and the traffic between ranks and nodes', async () => {
    const files = [
      [
        [0, 3],
        [1, 0],
      ],
      [[2, 0]],
    ].map((rows, rank) => {
      return npyFile(`small${rank}.npy`, rows.flat(), [rows.length, 2]);
    });
    const text = await succeed(['receive', ...files, '--num-experts', '4', '--ranks-per-node', '1']);
    assert.match(text, /^topk_idx {2}int64 \[1 to 2 tokens, top-2\] on each rank$/m);
    assert.match(text, /^ranks {5}2 in 2 nodes of 1$/m);
    assert.include(
      text,
      [
        '  rank  tokens  from others  sends to others  rows',
        '     0       3            1                1     4',
        '     1       2            1                1     2',
        '',
        'Tokens between ranks      5, 60.0 % stay on their rank',
        '               to 0  to 1',
        '  from rank 0     2     1',
        '  from rank 1     1     1',
        '',
        'Tokens between nodes      5, 60.0 % stay on their node',
      ].join('\n'),
    );
    for (const line of text.split('\n')) assert.isAtMost(line.length, 80, line);
  });

  it('shows the busiest ranks and pairs where there are many, in lines of 80 columns', async () => {
    const ids = Array.from({ length: 64 }, (_, id) => id);
    const path = npyFile('many.npy', ids, [64, 1], 2);
    for (const [numRanks, pattern] of [
      [16, /from rank 15( +4){9}\n +to 9( +to 1\d){6}\n {2}from rank 0 ( +4){7}\n/],
      [64, /the 10 busiest of 4,032 pairs; --json has all\n {2}from rank {2}to rank {2}tokens\n +0 +1 +1\n/],
    ] as const) {
      const text = await succeed(['receive', ...new Array(numRanks).fill(path), '--num-experts', '64']);
      assert.match(text, pattern);
      if (numRanks === 64) assert.include(text, '  and 32 more ranks, which receive fewer tokens');
      for (const line of text.split('\n')) if (!line.startsWith('files')) assert.isAtMost(line.length, 80, line);
    }
  });

  it('is what numpy reads', async function () {
    requirePython(this, 'numpy');
    const layers = layersOf(3, 1, 6);
    const out = folder.path('numpy.npz');
    await succeed(['receive', ...filesOf(layers, 'numpy'), '--num-experts', '6', '--out', out]);
    const code = `import numpy, sys
r = numpy.load(sys.argv[1])
b = r['received_offsets']
print(all((numpy.bincount(r['source_rank_of_row'][b[i]:b[i+1]], minlength=3) == r['num_tokens_between_ranks'][:, i]).all() for i in range(3)))`;
    assert.strictEqual(python(code, out).trim(), 'True');
  });

  it('refuses what is no group', async () => {
    const layers = layersOf(2, 2, 8);
    const files = filesOf(layers, 'wrong');
    const flat = filesOf(layersOf(2, 1, 8), 'flat');
    const axes = ['--axes', 'layers,tokens,topk'];
    const out = folder.path('refused.npz');
    const wide = npyFile('wide.npy', [0, 1, 2, 3], [1, 4]);
    const cases: [string[], RegExp][] = [
      [['--num-experts', '8'], /no FILE given/],
      [[...flat], /--num-experts E is missing/],
      [
        [files[0], ...filesOf(layersOf(2, 3, 8), 'more').slice(0, 1), '--num-experts', '8', ...axes],
        /more0\.npy has layers 0, 1, 2, and .*wrong0\.npy has layers 0, 1; give one file for each rank/,
      ],
      [
        [...files, '--num-experts', '4', ...axes, '--out', out],
        /wrong\d\.npy, layer 0, token \d+, slot \d: \d is not an expert in \[0, 4\)/,
      ],
      [[...flat, '--num-experts', '7'], /7 experts do not divide evenly/],
      [[...flat, '--num-experts', '8', '--num-ranks', '2'], /unknown option '--num-ranks'/],
      [
        [...flat, flat[0], '--num-experts', '9', '--ranks-per-node', '2'],
        /3 files are 3 ranks, which do not fill nodes of 2/,
      ],
      [[...flat, '--num-experts', '8', '--out', flat[0]], /would overwrite the input/],
      [[flat[0], wide, '--num-experts', '8'], /rank 1 is \[1, 4\], and that of rank 0 has 3 slots/],
    ];
    for (const [args, message] of cases) {
      expectRefusal(await dispatchLayout(['receive', ...args]), message, args.join(' '));
    }
    assert.isFalse(existsSync(out));
  });
});
