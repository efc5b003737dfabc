/** What the library and the kernels must agree on: the plan of the WASM kernel, its limits, and the codes of id types. */
import { readFileSync } from 'node:fs';
import { assert } from 'chai';
import { planOf } from '../ts/devices/wasm/kernel.ts';
import {
  countSlackBytes,
  maxSmallTableExperts,
  numEmptyEntries,
  passing,
  placeBuffers,
  slackBytes,
} from '../ts/devices/wasm/memory.ts';
import { idTypes } from '../ts/values/id-types.ts';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const contract = read('wasm/dispatch_layout.h');

/** The value of a constant of the kernel. */
function constant(source: string, name: string): number {
  return Number(new RegExp(`constexpr \\w+ ${name} = (\\d+);`).exec(source)?.[1]);
}

describe('the contract of the kernels', () => {
  it('the plan begins with the fields that JavaScript writes, in the same order', () => {
    const struct = /struct Plan \{(.*?)\};/s.exec(contract)?.[1] ?? '';
    const fields = [...struct.matchAll(/\b(\w+);/g)].map(([, name]) => name);
    const group = { numRanks: 1, numRanksPerNode: 1, numRdmaRanks: 1 };
    const partition = { ...group, group, numExperts: 1, rankOfExpert: new Int32Array(1) };
    const written = Object.keys(planOf(partition, placeBuffers(0, partition, 1, passing)));
    assert.isAbove(written.length, 5);
    assert.deepStrictEqual(fields.slice(0, written.length), written);
  });

  it('the module that orders rows is so small that Chromium before 115 compiles it synchronously, too', () => {
    assert.isAtMost(readFileSync(new URL('../dist/order.wasm', import.meta.url)).length, 4096);
  });

  it('the limits in TypeScript are those of the kernel', () => {
    assert.strictEqual(constant(contract, 'kNumEmptyEntries'), numEmptyEntries);
    assert.strictEqual(constant(contract, 'kSlackBytes'), slackBytes);
    // kMaxSmallTableExperts is 0x10000 / sizeof(Entry) - kNumEmptyEntries
    assert.strictEqual(0x10000 / 16 - numEmptyEntries, maxSmallTableExperts);
    assert.isAtLeast(countSlackBytes, 4 * Math.max(63, numEmptyEntries));
  });

  it('the order of rows has the four addresses that JavaScript writes, in the same order', () => {
    const struct = /struct OrderRows \{(.*?)\};/s.exec(contract)?.[1] ?? '';
    const fields = [...struct.matchAll(/\b(\w+);/g)].map(([, name]) => name);
    assert.deepStrictEqual(fields, ['num_rows_of_key', 'first_row_of_key', 'of_row', 'row_of_selection']);
  });

  for (const path of ['wasm/dispatch_layout.h', 'cuda/kernel/expert_ids.h']) {
    it(`the id types are in the order of their codes in ${path}`, () => {
      const names = /enum class IdType[^{]*\{([^}]*)\}/.exec(read(path))?.[1].split(',') ?? [];
      assert.deepStrictEqual(
        names.map((name) => name.trim().replace(/^k/, '').toLowerCase()),
        Object.values(idTypes).map(({ name }) => name),
      );
      Object.values(idTypes).forEach(({ name, code, bytes, array, isSigned }, index) => {
        assert.strictEqual(code, index, name);
        assert.strictEqual(bytes, array.BYTES_PER_ELEMENT, name);
        assert.strictEqual(isSigned, !name.startsWith('u'), name);
      });
    });
  }
});
