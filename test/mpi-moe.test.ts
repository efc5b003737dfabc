/**
 * The example of an MoE layer over the ranks of an MPI job: on every rank, its output is that of the dense computation,
 * and a rank that fails ends the job. It is skipped if there is no MPI, or if `./build.sh examples` has not built it.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import { root } from './support/root.ts';
import type { Outcome } from './support/run-script.ts';

const examples = join(root, 'examples');
const folder = join(examples, 'mpi-moe');
const mpirun = `mpirun${process.env.MPI_EXECUTABLE_SUFFIX ?? ''}`;

/** Runs Node.js on every rank of a job. A job that hangs is ended, and has no status. */
function runJob(numRanks: number, ...args: string[]): Outcome {
  return spawnSync(mpirun, ['-n', `${numRanks}`, process.execPath, ...args], {
    cwd: root,
    encoding: 'utf8',
    timeout: 60_000,
    env: {
      ...process.env,
      NODE_V8_COVERAGE: '',
      // Open MPI wants to be told that it may run as root, and on fewer cores than ranks
      OMPI_ALLOW_RUN_AS_ROOT: '1',
      OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
      OMPI_MCA_rmaps_base_oversubscribe: '1',
    },
  });
}

/** Runs a program on each of four ranks. It can use what mpi.mjs exports, and `offsets`, of one row for each rank. */
function runRanks(program: string, imports = ''): Outcome {
  const script = `
    import { setTimeout } from 'node:timers/promises';
    import { allToAll, numRanks, rank, runRank, sendRows } from './examples/mpi-moe/mpi.mjs';
    ${imports}
    const offsets = Int32Array.from({ length: numRanks + 1 }, (_, row) => row);
    await runRank(async () => {${program}});`;
  return runJob(4, '--input-type=module', '--eval', script);
}

/** What a program returns on each rank, as JSON. Ranks write it to files, because `mpirun` mixes long lines. */
function jsonOfRanks<Value>(program: string, imports = ''): Value[] {
  const results = mkdtempSync(join(tmpdir(), 'dispatch-layout-mpi-moe-'));
  try {
    const { status, stderr } = runRanks(
      `const result = await (async () => {${program}})();
       writeFileSync(${JSON.stringify(results)} + '/' + rank, JSON.stringify(result));`,
      `import { writeFileSync } from 'node:fs'; ${imports}`,
    );
    assert.strictEqual(status, 0, stderr);
    return [0, 1, 2, 3].map((rank) => JSON.parse(readFileSync(join(results, `${rank}`), 'utf8')));
  } finally {
    rmSync(results, { recursive: true });
  }
}

/** The experts of each token of each of four ranks, which have two experts each. */
const routings: Record<string, number[][][]> = {
  'tokens for every rank, of which each rank has another number': [
    [
      [0, 7],
      [1, 6],
      [2, 5],
      [3, 4],
      [4, 0],
    ],
    [
      [5, 1],
      [6, 2],
    ],
    [
      [7, 3],
      [0, 1],
      [2, 6],
    ],
    [[3, 0]],
  ],
  'ranks without tokens': [
    [],
    [
      [0, 3],
      [7, 4],
    ],
    [],
    [[5, 2]],
  ],
  'no tokens at all': [[], [], [], []],
  'empty slots, and tokens without experts': [
    [
      [-1, 4],
      [-1, -1],
    ],
    [[-1, -1]],
    [
      [0, -1],
      [7, 6],
      [-1, -1],
    ],
    [[3, -1]],
  ],
  'no selection at all': [[[-1, -1]], [], [[-1, -1]], [[-1, -1]]],
  'the same expert twice in a token, and two experts of one rank': [
    [[2, 2]],
    [
      [6, 7],
      [7, 7],
    ],
    [[4, 5]],
    [[1, 0]],
  ],
  'one expert alone, on one rank': [
    [
      [5, -1],
      [5, -1],
    ],
    [[-1, 5]],
    [[5, -1]],
    [
      [-1, 5],
      [5, -1],
    ],
  ],
};
const numLocalExperts = 2;
const alignments = [1, 4];

/** What a rank found for one routing and alignment. */
interface Found {
  readonly difference: number;
  readonly largest: number;
  readonly received: Record<string, number[]>;
  readonly localOrder: Record<string, number[]>;
}

/** What a rank must receive. */
function expectedCounts(tokensOfRanks: number[][][], rank: number) {
  const experts = Array.from({ length: numLocalExperts }, (_, expert) => rank * numLocalExperts + expert);
  const selections = tokensOfRanks.map((tokens) =>
    experts.map((expert) => tokens.flat().filter((id) => id === expert).length),
  );
  return {
    numTokensPerSourceRank: tokensOfRanks.map(
      (tokens) => tokens.filter((ids) => ids.some((id) => experts.includes(id))).length,
    ),
    numTokensPerSourceRankAndExpert: selections.flat(),
    numTokensPerExpert: experts.map((_, index) => selections.reduce((sum, counts) => sum + counts[index], 0)),
  };
}

describe('an MoE layer over the ranks of an MPI job', function () {
  this.timeout(120_000);

  before(function () {
    if (spawnSync(mpirun, ['--version']).status !== 0) {
      console.log(`    SKIPPED: there is no ${mpirun} here`);
      this.skip();
    }
    if (!existsSync(join(folder, 'build', 'Release', 'mpi.node'))) {
      console.log('    SKIPPED: its addon is not built, ./build.sh examples does that');
      this.skip();
    }
  });

  describe('equals the dense computation, and receives what was announced', () => {
    let found: Found[][] = [];
    before(() => {
      const imports = `
        import { createRequire } from 'node:module';
        import { ExpertGroup } from 'dispatch-layout';
        import { denseLayer, largestDifference } from './examples/moe-layer/dense.mjs';
        import { randomLayer } from './examples/moe-layer/random.mjs';
        import { dispatchAndCombine } from './examples/mpi-moe/moe-layer.mjs';
        import { shareOf } from './examples/mpi-moe/share.mjs';
        const { Tensor } = createRequire(${JSON.stringify(`${folder}/`)})('onnxruntime-node');
        const listsOf = (object, names) => Object.fromEntries(names.map((name) => [name, [...object[name]]]));`;
      const program = `
        const group = new ExpertGroup({ numRanks });
        const found = [];
        for (const tokensOfRanks of ${JSON.stringify(Object.values(routings))}) {
          for (const alignment of ${JSON.stringify(alignments)}) {
            const numTokensPerRank = tokensOfRanks.map((tokens) => tokens.length);
            const numTokens = numTokensPerRank.reduce((sum, n) => sum + n);
            const shape = { hiddenSize: 16, innerSize: 24, numExperts: ${4 * numLocalExperts}, seed: 7 };
            const whole = randomLayer({ ...shape, numTokens });
            const { hidden, weights } = shareOf(whole, numTokensPerRank);
            const ids = BigInt64Array.from(tokensOfRanks[rank].flat(), BigInt);
            const gates = Float32Array.from(ids, (_, selection) => 1 / (selection + rank + 2));
            const dims = [numTokensPerRank[rank], 2];
            const routing = { experts: new Tensor('int64', ids, dims), gates: new Tensor('float32', gates, dims) };
            const layer = await dispatchAndCombine(group, hidden, routing, weights.experts, alignment);
            const dense = denseLayer(hidden, whole.weights, routing.gates, routing.experts);
            found.push({
              difference: largestDifference(layer.output, dense),
              largest: dense.reduce((largest, x) => Math.max(largest, Math.abs(x)), 0),
              received: listsOf(layer.received, [
                'numTokensPerSourceRank', 'numTokensPerSourceRankAndExpert', 'numTokensPerExpert', 'expertOffsets',
              ]),
              localOrder: listsOf(layer.localOrder, ['numTokensPerExpert', 'expertOffsets']),
            });
          }
        }
        return found;`;
      found = jsonOfRanks<Found[]>(program, imports);
    });

    for (const [index, [name, tokensOfRanks]] of Object.entries(routings).entries()) {
      for (const [place, alignment] of alignments.entries()) {
        it(`${name}, with rows in multiples of ${alignment}`, () => {
          for (const [rank, ofRank] of found.entries()) {
            const { difference, largest, received, localOrder } = ofRank[index * alignments.length + place];
            assert.isBelow(difference, 1e-5, `rank ${rank}`);
            const selects = tokensOfRanks[rank].flat().some((id) => id !== -1);
            assert.strictEqual(largest > 0.01, selects, 'the outputs are not all small');
            const { expertOffsets, ...counts } = received;
            assert.deepStrictEqual(counts, expectedCounts(tokensOfRanks, rank), `rank ${rank}`);
            assert.deepStrictEqual(localOrder, { numTokensPerExpert: counts.numTokensPerExpert, expertOffsets });
          }
        });
      }
    }
  });

  it('prints what its README shows, and succeeds', () => {
    const { status, stdout, stderr } = runJob(4, join(folder, 'run.mjs'));
    assert.strictEqual(status, 0, stderr);
    const [, shown] = /^```text\n(.*?)^```$/ms.exec(readFileSync(join(folder, 'README.md'), 'utf8')) ?? [];
    const linesOf = (text: string) =>
      text
        .trim()
        .replace(/\d\.\de-\d+/g, '#')
        .split('\n')
        .sort();
    assert.deepStrictEqual(linesOf(stdout), linesOf(shown));
  });

  for (const numRanks of [1, 3]) {
    it(`runs on ${numRanks} of ${numRanks} ranks`, () => {
      const { status, stdout, stderr } = runJob(numRanks, join(folder, 'run.mjs'));
      assert.strictEqual(status, 0, stderr);
      assert.lengthOf(stdout.trim().split('\n'), numRanks);
    });
  }

  it('fails if rows come back in the wrong order', () => {
    const copy = mkdtempSync(join(tmpdir(), 'dispatch-layout-mpi-moe-'));
    try {
      cpSync(examples, copy, { recursive: true, filter: (path) => !path.endsWith('node_modules') });
      for (const name of ['moe-layer', 'mpi-moe']) {
        symlinkSync(join(examples, name, 'node_modules'), join(copy, name, 'node_modules'), 'dir');
      }
      const module = join(copy, 'mpi-moe', 'moe-layer.mjs');
      const code = readFileSync(module, 'utf8');
      const planted = code.replace('  return { output:', '  returned.data.reverse();\n  return { output:');
      assert.notStrictEqual(planted, code);
      writeFileSync(module, planted);
      const { status, stderr } = runJob(4, join(copy, 'mpi-moe', 'run.mjs'));
      assert.strictEqual(status, 1, stderr);
      assert.include(stderr, 'Error: The difference must be less than 0.00001.');
    } finally {
      rmSync(copy, { recursive: true });
    }
  });

  describe('if ranks disagree, each of them says so, and none hangs', () => {
    const disagreements = {
      'the number of experts': ['{ numRanks }', 'rank === 2 ? 12 : 8', '1'],
      'the number of ranks of a node': ['{ numRanks, numRanksPerNode: rank === 2 ? 2 : 4 }', '8', '1'],
      'the alignment': ['{ numRanks }', '8', 'rank === 2 ? 16 : 1'],
    };
    for (const [name, [options, numExperts, alignment]] of Object.entries(disagreements)) {
      it(name, () => {
        const { status, stderr } = runRanks(
          `const group = new ExpertGroup(${options});
           const layout = group.getDispatchLayout([[0, 1]], ${numExperts});
           await group.exchange(layout, allToAll, { alignment: ${alignment} });`,
          `import { ExpertGroup } from 'dispatch-layout';`,
        );
        assert.strictEqual(status, 1, stderr);
        for (const rank of [0, 1, 2, 3]) {
          const [, message] = new RegExp(`^rank ${rank}: DispatchLayoutError: (.*)$`, 'm').exec(stderr) ?? [];
          assert.match(message, rank === 2 ? /\brank [013]\b/ : /\brank 2\b/, stderr);
        }
      });
    }
  });

  describe('the job ends, and fails, while other ranks wait for one that', () => {
    const waitFor2 = (program: string) =>
      runRanks(`if (rank === 2) {${program}} await sendRows(offsets, 1, offsets, offsets);`);

    it('throws', () => {
      const { status, stderr } = waitFor2("throw new Error('Out of tokens.');");
      assert.strictEqual(status, 1, stderr);
      assert.match(stderr, /^rank 2: Error: Out of tokens\.$/m);
    });
    it('throws where nobody catches it', () => {
      const { status, stderr } = waitFor2("queueMicrotask(() => { throw new Error('Out of tokens.'); });");
      assert.strictEqual(status, 1, stderr);
      assert.match(stderr, /^Error: Out of tokens\.$/m);
    });
    it('exits as if it had succeeded', () => {
      const { status, stderr } = waitFor2('process.exit(0);');
      assert.isAbove(status ?? 0, 0, stderr);
    });
    it('is killed', () => {
      const { status, stderr } = waitFor2("process.kill(process.pid, 'SIGKILL');");
      assert.isAbove(status ?? 0, 0, stderr);
    });
  });

  it("rejects with MPI's message if more rows come than were announced", function () {
    const isOpenMpi = spawnSync(mpirun, ['--version'], { encoding: 'utf8' }).stdout.includes('Open MPI');
    if (!isOpenMpi) {
      console.log('      SKIPPED: only Open MPI notices it');
      this.skip();
    }
    const { status, stderr } = runRanks(`
      const rowsForEach = rank === 0 ? 2 : 1;
      const sent = offsets.map((row) => row * rowsForEach);
      await sendRows(new Float64Array(sent[numRanks]), 1, sent, offsets);`);
    assert.strictEqual(status, 1, stderr);
    assert.match(stderr, /^rank [0-3]: Error: .*truncate/im);
  });

  it('moves pieces of any lengths, and the event loop goes on meanwhile', () => {
    const found = jsonOfRanks<{ bytes: number[]; numTicks: number }>(`
      let numTicks = 0;
      const timer = setInterval(() => numTicks++, 5);
      if (rank === 3) await setTimeout(500);
      const bytes = await allToAll(new Uint8Array(numRanks * (rank + 1)).map((_, i) => 10 * rank + i), rank + 1);
      clearInterval(timer);
      return { bytes: [...bytes], numTicks };`);
    for (const [rank, { bytes, numTicks }] of found.entries()) {
      const expected = [0, 1, 2, 3].flatMap((source) =>
        Array.from({ length: source + 1 }, (_, i) => 10 * source + rank * (source + 1) + i),
      );
      assert.deepStrictEqual(bytes, expected, `to rank ${rank}`);
      assert.isAbove(numTicks, 1, `on rank ${rank}`);
    }
  });

  it('refuses offsets and rows that are none, before anything is sent', () => {
    const [errors] = jsonOfRanks<string[]>(`
      const calls = [
        [new Uint8Array(3), 1, offsets, offsets],
        [new Uint8Array(4), 1, offsets.subarray(1), offsets],
        [new Uint8Array(4), 1, offsets.toReversed(), offsets],
        [new Uint8Array(4), 1, [...offsets], offsets],
        [new Array(4), 1, offsets, offsets],
        [new Uint8Array(4), 0, offsets, offsets],
        [new Uint8Array(4), 2 ** 31, new Int32Array(numRanks + 1), new Int32Array(numRanks + 1)],
      ];
      return Promise.all(calls.map((call) => sendRows(...call).catch(String)));`);
    const width = 'RangeError: a row must have at least one byte, and less than 2 GiB';
    assert.deepStrictEqual(errors, [
      'RangeError: the offsets of 4 ranks must ascend from 0 to at most 3 rows',
      'RangeError: the offsets of 4 ranks must ascend from 0 to at most 4 rows',
      'RangeError: the offsets of 4 ranks must ascend from 0 to at most 4 rows',
      'TypeError: the offsets of rows must be in an Int32Array',
      width, // an array that is not typed has no size of elements
      width,
      width,
    ]);
  });
});
