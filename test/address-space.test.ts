/**
 * Processes in which the engine can make only one instance of the kernel, or none: it reserves up to 10 GB of addresses
 * for each.
 */
import { assert } from 'chai';
import { jsonOf, runWithAddresses } from './support/run-script.ts';

/** Uses everything that gets an instance of its own if there are enough addresses, and prints the results as JSON. */
const useInstances = `
  const { ExpertGroup, getDispatchLayout, prepare } = await import('dispatch-layout');
  const prepared = await prepare();
  const equal = (one, other) => JSON.stringify(one) === JSON.stringify(other);
  const codeOf = (run) => { try { run(); } catch ({ code, message }) { return code + ': ' + message; } };

  const group = new ExpertGroup({ numRanks: 16 });
  const workspaces = ['int64', 'uint8'].map((idType) => {
    const workspace = group.createWorkspace({ numExperts: 64, maxTokens: 128, numTopk: 2, idType });
    for (let i = 0; i < 256; i++) workspace.topkIdx[i] = idType === 'int64' ? BigInt(i * 37 % 64) : i * 5 % 64;
    return workspace;
  });
  const areRight = workspaces.map((workspace) => [128, 3, 128].every((numTokens) => {
    const data = workspace.topkIdx.slice(0, numTokens * 2);
    return equal(workspace.run(numTokens), group.getDispatchLayout({ data, shape: [numTokens, 2] }, 64));
  }));
  const before = JSON.stringify(workspaces[1].run(5));
  workspaces[1].topkIdx[7] = 200;
  const error = codeOf(() => workspaces[1].run(5));
  workspaces[1].topkIdx[7] = 35;
  const after = JSON.stringify(workspaces[1].run(5));

  // These are more ids than the shared instance locates at once, and the arrays are ones that an error must not touch.
  const many = { data: new Int32Array(2 ** 20), shape: [2 ** 17, 8] };
  const out = group.getDispatchLayout(many, 64);
  group.getDispatchLayout(many, 64, { out });
  const large = new ExpertGroup({ numRanks: 1024 });
  const rankOfExpert = large.getDispatchLayout([[2 ** 20 - 1]], 2 ** 20).isTokenInRank.indexOf(1);
  const enormous = { numExperts: 2 ** 20, maxTokens: 2 ** 31 - 1, numTopk: 1, idType: 'uint8' };
  const tooLarge = codeOf(() => new ExpertGroup({ numRanks: 2 ** 20 }).createWorkspace(enormous));
  console.log(JSON.stringify({
    prepared, device: workspaces[0].device, areRight, error, isUntouched: before === after,
    count: out.numTokensPerRank[0], rankOfExpert, tooLarge,
  }));`;

function expectRight(found: Record<string, unknown>): void {
  const { prepared, device, tooLarge, ...results } = found;
  assert.strictEqual(device, prepared);
  assert.deepStrictEqual(results, {
    areRight: [true, true],
    error:
      'INVALID_EXPERT: topkIdx[3][1] is 200, not an expert in [0, 64). ' +
      "Use -1 for an empty slot, correct numExperts, or pass invalidExperts: 'ignore' to skip such ids.",
    isUntouched: true,
    count: 2 ** 17,
    rankOfExpert: 1023,
  });
  const message = `a workspace of 2147483647 tokens x 1 slots on device '${device}' does not fit in memory`;
  assert.strictEqual(tooLarge, `OUT_OF_MEMORY: ${message}. Lower maxTokens, and add up the counts.`);
}

describe('instances of the kernel', () => {
  it('the first one computes everything if a second one cannot be made', () => {
    const script = `
      let numInstances = 0;
      let numRefused = 0;
      WebAssembly.Instance = new Proxy(WebAssembly.Instance, {
        construct(Instance, values) {
          if (numInstances === 1) {
            numRefused++;
            throw new RangeError('WebAssembly.Instance(): Out of memory');
          }
          numInstances++;
          return new Instance(...values);
        },
      });
      ${useInstances}`;
    const found = jsonOf(script) as Record<string, unknown>;
    assert.strictEqual(found.prepared, 'wasm');
    expectRight(found);
  });

  it('the one for large layouts is requested only once', () => {
    const script = `
      const { ExpertGroup } = await import('dispatch-layout');
      const group = new ExpertGroup({ numRanks: 8, device: 'wasm' });
      const ids = { data: new Int32Array(2 ** 20), shape: [2 ** 17, 8] };
      const out = group.getDispatchLayout(ids, 64);
      let numAsked = 0;
      WebAssembly.Instance = new Proxy(WebAssembly.Instance, {
        construct() { numAsked++; throw new RangeError('WebAssembly.Instance(): Out of memory'); },
      });
      group.getDispatchLayout(ids, 64, { out });
      const numAskedFirst = numAsked;
      group.getDispatchLayout(ids, 64, { out });
      console.log(JSON.stringify(numAskedFirst > 0 && numAsked === numAskedFirst));`;
    assert.isTrue(jsonOf(script));
  });

  describe('under ulimit -v', () => {
    // The first limit leaves room for the process and, on Node.js 20, for one instance; the second leaves room for none.
    for (const kibibytes of [16_000_000, 4_000_000]) {
      it(`${kibibytes} KiB`, function () {
        if (process.platform !== 'linux') this.skip();
        const { status, stdout, stderr } = runWithAddresses(kibibytes, ['--input-type=module', '--eval', useInstances]);
        assert.strictEqual(status, 0, stderr);
        expectRight(JSON.parse(stdout));
      });
    }
  });
});
