/** `dispatch-layout/routing`, as users import it: sources of every kind, descriptions, pieces and errors. */
import { createReadStream } from 'node:fs';
import { assert } from 'chai';
import { ExpertGroup } from 'dispatch-layout';
import { openRouting, openRoutingOrCounts, type Routing, RoutingError } from 'dispatch-layout/routing';
import { zipSync } from 'fflate';
import { temporaryFolder } from '../cli/command.ts';
import { npyOf, writeNpy } from '../cli/npy-writer.ts';
import { bundle } from '../support/bundle.ts';
import { printedBy } from '../support/run-script.ts';

const layers = Array.from({ length: 3 }, (_, layer) =>
  Array.from({ length: 300 }, (__, token) => [(token + layer) % 8, (token * 3 + layer + 1) % 8]),
);
const bytes = npyOf(layers);

/** All ids, `[layers][tokens][topk]`, read in small pieces. */
async function idsOf(routing: Routing): Promise<number[][][]> {
  const result = routing.layers.map((): number[][] => []);
  for await (const { layer, firstToken, numTokens, ids } of routing.pieces({ into: new BigInt64Array(14) })) {
    assert.strictEqual(result[layer].length, firstToken);
    assert.strictEqual(ids.length, numTokens * routing.topk);
    for (let token = 0; token < numTokens; token++) {
      result[layer].push(Array.from(ids.slice(2 * token, 2 * token + 2) as ArrayLike<number | bigint>, Number));
    }
  }
  return result;
}

/** The error with which something is refused. */
async function refusal(work: () => Promise<unknown>): Promise<RoutingError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof RoutingError) return error;
    throw error;
  }
  return assert.fail('it was accepted');
}

describe('dispatch-layout/routing', function () {
  this.timeout(30_000);
  const folder = temporaryFolder();
  const path = folder.write('layers.npy', bytes);

  it('waits for the disk if it may, and attends to other events if not', async () => {
    for (const waits of [false, true]) {
      let hasTurned = false;
      const turn = setImmediate(() => {
        hasTurned = true;
      });
      const routing = await openRouting(path, { waits });
      assert.deepEqual(await idsOf(routing), layers);
      assert.strictEqual(hasTurned, !waits);
      routing.close();
      clearImmediate(turn);
    }
  });

  it('says how many bytes it reads', async () => {
    const text = new TextEncoder().encode(JSON.stringify(layers[0]));
    const sources = [path, new Blob([new Uint8Array(text)]), text, new Blob([new Uint8Array(text)]).stream()];
    for (const source of sources) {
      let numBytes = 0;
      const onRead = (length: number): void => {
        numBytes += length;
      };
      const routing = await openRouting(source, {
        axes: source === path ? 'layers,tokens,topk' : 'tokens,topk',
        onRead,
      });
      // JSON is read as a whole to open it, and .npy is not
      const numOpened = numBytes;
      if (source === path) assert.isBelow(numOpened, bytes.length);
      else assert.isAtLeast(numOpened, text.length);
      for await (const { numTokens } of routing.pieces()) assert.isAbove(numTokens, 0);
      if (source === path) assert.isAtLeast(numBytes, bytes.length);
      routing.close();
    }
  });

  it('opens a path, a Blob, bytes and a stream, describes them, and reads them piece by piece', async () => {
    const sources = [path, new Blob([new Uint8Array(bytes)]), new Uint8Array(bytes), createReadStream(path)];
    for (const source of sources) {
      const { pieces, close, ...description } = await openRouting(source);
      assert.deepEqual(description, {
        kind: 'ids',
        files: [typeof source === 'string' ? path : 'the routing'],
        format: 'npy',
        producer: null,
        layers: [0, 1, 2],
        tokens: 300,
        tokensOfLayer: null,
        topk: 2,
        idType: 'int64',
        axes: 'layers,tokens,topk',
        axesBecause: description.axesBecause,
        numbering: null,
        rank: null,
        numExperts: null,
        ranks: [null],
        notes: [],
      });
      assert.match(description.axesBecause, /^the first dimension is that of the layers: /);
      assert.deepEqual(await idsOf({ ...description, pieces, close }), layers);
      close();
    }
  });

  it('reads straight into a workspace', async () => {
    const group = new ExpertGroup({ numRanks: 4 });
    const routing = await openRouting(path);
    const workspace = group.createWorkspace({ numExperts: 8, maxTokens: 64, numTopk: routing.topk });
    const counts = routing.layers.map(() => new Array<number>(4).fill(0));
    for await (const { layer, numTokens } of routing.pieces({ into: workspace.topkIdx })) {
      const { numTokensPerRank } = workspace.run(numTokens);
      numTokensPerRank.forEach((count, rank) => {
        counts[layer][rank] += count;
      });
    }
    routing.close();
    const expected = layers.map((rows) => [...group.getDispatchLayout(rows, 8).numTokensPerRank]);
    assert.deepEqual(counts, expected);
  });

  it('puts several sources together, and reads the chosen layers', async () => {
    const parts = [layers.map((rows) => rows.slice(0, 100)), layers.map((rows) => rows.slice(100))];
    const routing = await openRouting(
      parts.map((part) => new Uint8Array(npyOf(part))),
      { axes: 'layers,tokens,topk' },
    );
    assert.deepEqual(await idsOf(routing), layers);
    const seen = new Set<number>();
    for await (const { layer } of routing.pieces({ layers: [0, 2] })) seen.add(layer);
    assert.deepEqual([...seen], [0, 2]);
  });

  it('says of which file each piece is, and of which rank each file', async () => {
    const line = (rank: number, layer: number, rows: readonly (readonly number[])[]): string =>
      `${JSON.stringify({ step: 0, layer, rank, num_tokens: rows.length, topk: 2, top_indices: rows })}\n`;
    // Rank 1 has no tokens of layer 1
    const ofRank1 = Buffer.from(line(1, 0, layers[0].slice(0, 2)));
    const ofRank0 = Buffer.from(line(0, 0, layers[0].slice(2, 5)) + line(0, 1, layers[1].slice(0, 4)));
    const routing = await openRouting([ofRank1, ofRank0]);
    assert.deepEqual(routing.ranks, [0, 1]);
    const found: [number, number | null, number, number][] = [];
    for await (const { layer, file, firstToken, numTokens } of routing.pieces()) {
      found.push([layer, file, firstToken, numTokens]);
    }
    assert.sameDeepMembers(found, [
      [0, 0, 0, 3],
      [0, 1, 3, 2],
      [1, 0, 0, 4],
      [1, null, 4, 1],
    ]);
    const alone = await openRouting(path);
    for await (const { file } of alone.pieces()) assert.strictEqual(file, 0);
  });

  it('refuses options that contradict the file, and takes those that agree with it', async () => {
    const { layers: numbers, topk, idType } = await openRouting(path);
    const right = { numLayers: numbers.length, numTopk: topk, idType };
    assert.strictEqual((await openRouting(path, right)).topk, topk);
    for (const [wrong, message] of [
      [{ numLayers: 61 }, /holds \d layers, and numLayers: 61 says otherwise/],
      [{ numTopk: 7 }, /holds \d ids of each token, and numTopk: 7 says otherwise/],
      [{ idType: 'uint8' }, /holds int\d+, and idType: uint8 says otherwise/],
    ] as const) {
      const error = await refusal(() => openRouting(path, wrong));
      assert.strictEqual(error.code, 'CHOICE');
      assert.match(error.message, message);
      assert.match(error.remedy ?? '', /^leave out \w+: \w+$/);
    }
  });

  it('opens routing, or counts of experts, of which it adds up those of several sources', async () => {
    const routing = await openRoutingOrCounts(path);
    if (routing.kind !== 'ids') return assert.fail('these are ids');
    assert.deepEqual(await idsOf(routing), layers);
    routing.close();

    const sglang = Buffer.from(
      JSON.stringify({
        logical_count: [
          [
            [1, 2, 3],
            [4, 5, 6],
          ],
          [
            [10, 0, 0],
            [0, 10, 0],
          ],
        ],
      }),
    );
    const csv = Buffer.from('layer_id,expert_id,count\n1,3,7\n4,0,2\n');
    const counts = await openRoutingOrCounts([sglang, csv]);
    if (counts.kind !== 'counts') return assert.fail('these are counts');
    const { counts: sums, ...description } = counts;
    assert.deepEqual(
      sums.map((row) => [...row]),
      [
        [11, 2, 3, 0],
        [4, 15, 6, 7],
        [2, 0, 0, 0],
      ],
    );
    assert.deepEqual(description, {
      kind: 'counts',
      files: ['the routing', 'the routing'],
      format: 'json',
      producer: 'SGLang',
      layers: [0, 1, 4],
      numExperts: 4,
      numbering: null,
      rank: null,
      notes: [],
    });
  });

  it('takes an array for counts if its axes say so', async () => {
    const values = Array.from({ length: 24 }, (_, index) => BigInt(index));
    const countsOf = async (shape: readonly number[], axes: string): Promise<number[][]> => {
      const opened = await openRoutingOrCounts(new Uint8Array(writeNpy(values, shape)), { axes });
      return opened.kind === 'counts' ? opened.counts.map((row) => [...row]) : assert.fail('these are counts');
    };
    const rows = [0, 1].map((layer) => Array.from({ length: 12 }, (_, expert) => 12 * layer + expert));
    assert.deepEqual(await countsOf([2, 12], 'layers,experts'), rows);
    assert.deepEqual(
      await countsOf([12, 2], 'experts, layers'),
      [0, 1].map((layer) => Array.from({ length: 12 }, (_, expert) => 2 * expert + layer)),
    );
    assert.deepEqual(await countsOf([3, 2, 4], 'steps,layers,experts'), [
      [0 + 8 + 16, 1 + 9 + 17, 2 + 10 + 18, 3 + 11 + 19],
      [4 + 12 + 20, 5 + 13 + 21, 6 + 14 + 22, 7 + 15 + 23],
    ]);
  });

  it('throws errors that name the file, the place and the remedy', async () => {
    const missing = await refusal(() => openRouting(folder.path('missing.npy')));
    assert.deepEqual([missing.code, missing.file], ['UNREADABLE', folder.path('missing.npy')]);
    assert.match(missing.remedy, /check the name of the file/);
    const unknown = await refusal(() => openRouting(new Uint8Array([1, 2, 3]), { name: 'upload' }));
    assert.deepEqual([unknown.code, unknown.file], ['UNKNOWN_FORMAT', 'upload']);
    assert.strictEqual((await refusal(() => openRouting([]))).code, 'CHOICE');
    assert.strictEqual((await refusal(() => openRouting(path, { axes: 'tokens,topk' }))).code, 'CHOICE');
    assert.strictEqual((await refusal(() => openRouting(path, { array: 'ids' }))).code, 'CHOICE');
    const counts = JSON.stringify({ logical_count: [[1, 2, 3, 4]] });
    assert.strictEqual((await refusal(() => openRouting(Buffer.from(counts)))).code, 'COUNTS');
    assert.strictEqual((await refusal(() => openRouting(path, { axes: 'steps,layers,experts' }))).code, 'COUNTS');
    for (const axes of ['layers,experts', 'steps,tokens,experts', 'layers,layers,experts', 'experts,steps,experts']) {
      assert.strictEqual((await refusal(() => openRoutingOrCounts(path, { axes }))).code, 'CHOICE', axes);
    }
    const mixed = await refusal(() => openRoutingOrCounts([path, Buffer.from(counts)], { name: 'counts.json' }));
    assert.match(
      mixed.message,
      /^counts\.json holds counts of experts, and .*layers\.npy holds ids; give files of one/,
    );
    const fixed = await refusal(() => openRoutingOrCounts(Buffer.from(counts), { axes: 'steps,experts' }));
    assert.match(fixed.message, /cannot be read with axes: 'steps,experts', since .* they are counts of experts/);
    const negative = new Uint8Array(writeNpy([1n, -1n], [1, 2]));
    assert.strictEqual(
      (await refusal(() => openRoutingOrCounts(negative, { axes: 'layers,experts' }))).code,
      'DAMAGED',
    );
    const routing = await openRouting(path);
    for (const options of [
      { into: new Int32Array(8) },
      { into: new BigInt64Array(1) },
      { layers: [2, 1] },
      { layers: [3] },
    ]) {
      const misuse = await refusal(async () => routing.pieces(options).next());
      assert.strictEqual(misuse.code, 'CHOICE', JSON.stringify(Object.keys(options)));
    }
    routing.close();
  });

  it('describes files with strange names in them without control characters', async () => {
    const archive = zipSync({ 'a\u001b[2J.routed_experts.npy': new Uint8Array(bytes) });
    const routing = await openRouting(archive);
    assert.strictEqual(routing.axesBecause, 'arrays named a\\u{1b}[2J.routed_experts have tokens first');
    routing.close();
  });

  it('can be required, and needs neither the library nor Node.js in a browser', async () => {
    const script = `const { openRouting } = require('dispatch-layout/routing');
      openRouting(new Uint8Array(${JSON.stringify([...bytes])})).then(({ tokens }) => console.log(tokens));`;
    assert.strictEqual(printedBy(script, {}, ['--input-type=commonjs', '--no-experimental-require-module']), '300');
    const { outputFiles, metafile } = await bundle("export * from 'dispatch-layout/routing';", { platform: 'browser' });
    assert.notMatch(outputFiles[0].text, /node:|getDispatchLayout/);
    const inputs = Object.keys(metafile.inputs).filter((name) => name.includes('dist/'));
    assert.deepEqual(inputs, ['dist/routing-browser.js']);
  });

  it('reads a Blob in a browser, packed and not, and refuses paths there', async () => {
    const { outputFiles } = await bundle("export * from 'dispatch-layout/routing';", { platform: 'browser' });
    const url = `data:text/javascript;base64,${Buffer.from(outputFiles[0].text).toString('base64')}`;
    const inBrowser = (await import(url)) as typeof import('dispatch-layout/routing');
    const { zipSync } = await import('fflate');
    for (const level of [0, 6] as const) {
      const blob = new Blob([new Uint8Array(zipSync({ 'ids.npy': bytes }, { level }))]);
      assert.deepEqual(await idsOf(await inBrowser.openRouting(blob)), layers);
    }
    const stream = new Blob([new Uint8Array(bytes)]).stream() as unknown as AsyncIterable<Uint8Array>;
    assert.deepEqual(await idsOf(await inBrowser.openRouting(stream)), layers);
    const error = await inBrowser.openRouting(path).catch((reason: unknown) => reason);
    assert.match(String(error), /is a path, which only Node\.js can open/);
  });
});
