/**
 * Two copies of the library in one process, as when a dependency tree has two versions of it, do not disturb each
 * other.
 */
import { cpSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import * as library from 'dispatch-layout';
import { fakeAddon } from './cuda/fake.ts';
import { rootUrl } from './support/root.ts';
import { printedBy } from './support/run-script.ts';

const rows = [
  [0, 1],
  [2, 7],
];
const options = { numRanks: 4, numRanksPerNode: 2 };
const packageUrl = new URL('build/copy/', rootUrl);
const copyUrl = new URL('dist/', packageUrl);

describe('two copies of the library', function () {
  this.timeout(120_000);
  let copy: typeof library;
  before(async () => {
    for (const path of ['dist', 'package.json']) {
      cpSync(fileURLToPath(new URL(path, rootUrl)), fileURLToPath(new URL(path, packageUrl)), { recursive: true });
    }
    copy = (await import(new URL('index.mjs', copyUrl).href)) as typeof library;
  });
  after(() => rmSync(packageUrl, { recursive: true, force: true }));

  it('have classes of their own', () => assert.notStrictEqual(copy.ExpertGroup, library.ExpertGroup));

  for (const device of ['wasm', 'js'] as const) {
    it(`compute in turns on ${device}, and accept each other's results as out`, () => {
      const groups = [library, copy].map(({ ExpertGroup }) => new ExpertGroup({ ...options, device }));
      const expected = { ...groups[0].getDispatchLayout(rows, 8), event: undefined };
      let out: library.DispatchLayout | undefined;
      for (let turn = 0; turn < 6; turn++) {
        out = groups[turn % 2].getDispatchLayout(rows, 8, { out });
        assert.deepStrictEqual({ ...out, event: undefined }, expected);
        const other = groups[turn % 2].getDispatchLayout([[turn]], 16);
        assert.strictEqual(other.numTokensPerExpert[turn], 1);
      }
    });
  }

  for (const device of ['wasm', 'js'] as const) {
    it(`order rows in turns on ${device}, and accept each other's results as out and in helpers`, () => {
      const groups = [library, copy].map(({ ExpertGroup }) => new ExpertGroup({ ...options, device }));
      const right = {
        byExpert: { ...groups[0].getExpertPermutation(rows, 8, { alignment: 2 }), event: undefined },
        byRank: { ...groups[0].getRankPermutation(rows, 8), event: undefined },
      };
      let byExpert: library.ExpertPermutation | undefined;
      let byRank: library.RankPermutation | undefined;
      for (let turn = 0; turn < 6; turn++) {
        byExpert = groups[turn % 2].getExpertPermutation(rows, 8, { alignment: 2, out: byExpert });
        byRank = groups[turn % 2].getRankPermutation(rows, 8, { out: byRank });
        assert.deepStrictEqual({ ...byExpert, event: undefined }, right.byExpert);
        assert.deepStrictEqual({ ...byRank, event: undefined }, right.byRank);
        const { expertOfRow } = [copy, library][turn % 2];
        assert.deepStrictEqual([...expertOfRow(byExpert)], [0, -1, 1, -1, 2, -1, 7, -1]);
        groups[turn % 2].getDispatchLayout([[turn]], 16);
      }
    });
  }

  it('throw errors with the same names and codes, each of its own classes', () => {
    for (const { DispatchLayoutError, getDispatchLayout, InvalidExpertError } of [library, copy]) {
      try {
        getDispatchLayout([[8]], 8, options);
        assert.fail('it passed');
      } catch (error) {
        assert.instanceOf(error, InvalidExpertError);
        assert.instanceOf(error, DispatchLayoutError);
        assert.strictEqual((error as library.DispatchLayoutError).code, 'INVALID_EXPERT');
      }
    }
    assert.throws(() => copy.getDispatchLayout([[8]], 8, options), Error, /topkIdx\[0\]\[0\] is 8/);
  });

  it("refuse each other's events", () => {
    const { event } = copy.getDispatchLayout(rows, 8, { ...options, asyncFinish: true });
    try {
      library.getDispatchLayout(rows, 8, { ...options, previousEvent: event as library.EventOverlap });
      assert.fail('it passed');
    } catch (error) {
      assert.strictEqual((error as library.DispatchLayoutError).code, 'EVENT_FLAGS');
    }
  });

  it('share the GPU: each accepts a tensor of the other as topkIdx, but not as out', () => {
    const printed = printedBy(
      `
      import { getDispatchLayout } from 'dispatch-layout';
      import { DeviceTensor } from 'dispatch-layout/cuda';
      const copy = await import('${new URL('index.mjs', copyUrl).href}');
      const { DeviceTensor: OtherTensor } = await import('${new URL('cuda.mjs', copyUrl).href}');
      const options = { numRanks: 4 };
      const other = OtherTensor.from(Int32Array.of(0, 1, 2, 7), [2, 2]);
      const out = copy.getDispatchLayout(other, 8, options);
      console.log(getDispatchLayout(other, 8, options).numTokensPerRank.toTypedArray().join());
      console.log(out.numTokensPerRank.toTypedArray().join());
      try {
        getDispatchLayout(DeviceTensor.from(Int32Array.of(0, 1), [1, 2]), 8, { ...options, out });
      } catch (error) {
        console.log(error.code);
      }`,
      { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon() },
    );
    assert.strictEqual(printed, '1,1,0,1\n1,1,0,1\nOUT');
  });
});
