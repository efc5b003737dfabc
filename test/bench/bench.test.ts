/** The arithmetic of the benchmark. Also checks that its document is the one that follows from its results. */
import { readFileSync } from 'node:fs';
import { assert } from 'chai';
import { getDispatchLayout, getExpertPermutation, getRankPermutation } from 'dispatch-layout';
import { type CheckedLists, checkExpectations, type Expectations, expectationsOf } from '../../bench/check.ts';
import { configurations, listNames, lists, titleOf } from '../../bench/configurations.ts';
import expectations from '../../bench/expectations.json' with { type: 'json' };
import { timePythonLayout, timePythonOrder } from '../../bench/libraries/python.ts';
import type { Measurements } from '../../bench/measure.ts';
import { pythonNotes, report } from '../../bench/report.ts';
import results from '../../bench/results/benchmarks.json' with { type: 'json' };
import { combine, type Results } from '../../bench/results.ts';
import { makeRouting } from '../../bench/routing.ts';
import { median, medianRatio, spread } from '../../bench/statistics.ts';
import { names } from '../../bench/variants/names.ts';
import { arraysOf, orderNames } from '../../bench/variants/order.ts';
import { hasPython, requirePython } from '../cli/command.ts';
import { outputNames } from '../conformance/oracle.ts';

const committed = results as unknown as Results;
const docs = new URL('../../docs/', import.meta.url);

describe('benchmark', () => {
  it('computes medians, ratios and spread', () => {
    assert.strictEqual(median([3, 1, 2]), 2);
    assert.strictEqual(median([4, 1, 2, 3]), 2.5);
    assert.throws(() => median([]), RangeError);
    // One variant is twice as fast in each process, although one process was slow as a whole.
    assert.strictEqual(medianRatio([2, 20, 2], [1, 10, 1]), 2);
    assert.throws(() => medianRatio([1, 2], [1]), RangeError);
    assert.closeTo(spread([9, 10, 11]), 0.1, 1e-12);
  });

  it('combines the results of processes, also of those that measured some lists only', () => {
    const measurements = (of: Partial<Measurements>): Measurements => {
      const empty = Object.fromEntries(listNames.map((list) => [list, []])) as unknown as Measurements;
      return { ...empty, variants: { a: 'one' }, orderVariants: { a: 'two' }, ...of };
    };
    const all = measurements({ layouts: [{ a: 1 }], overTokens: [{ a: 3 }], byExpert: [{ a: 5 }] });
    const some = measurements({ layouts: [{ a: 2 }], byExpert: [{ a: 6 }] });
    const combined = combine([all, some]);
    assert.deepStrictEqual(combined.layouts, [{ configuration: configurations[0], seconds: { a: [1, 2] } }]);
    assert.deepStrictEqual(combined.overTokens[0].seconds, { a: [3] });
    assert.deepStrictEqual(combined.byExpert, [{ configuration: lists.byExpert[0], seconds: { a: [5, 6] } }]);
    assert.isEmpty(combined.inPython);
    assert.deepStrictEqual(combined.orderVariants, { a: 'two' });
  });

  it('finds variants that have become slower, and only those', () => {
    /** The kernel takes `factor` seconds for a layout, and twice as long for an order. */
    const measured = (factor: number): CheckedLists => {
      const kernelSeconds = [1, 1.1, 0.9].map((seconds) => seconds * factor);
      const twice = kernelSeconds.map((seconds) => 2 * seconds);
      const [layout, order] = [configurations[0], lists.byExpert[3]];
      return {
        layouts: [{ configuration: layout, seconds: { [names.plain]: [20, 22, 18], [names.kernel]: kernelSeconds } }],
        byExpert: [{ configuration: order, seconds: { [names.layoutKernel]: [1, 1.1, 0.9], [names.kernel]: twice } }],
        byRank: [],
      };
    };
    const stored = expectationsOf(measured(1), 0.25);
    const [layout, order] = [configurations[0], lists.byExpert[3]].map(titleOf);
    assert.deepStrictEqual(stored.ratios, [
      { list: 'layouts', configuration: layout, faster: names.kernel, than: names.plain, ratio: 20 },
      { list: 'byExpert', configuration: order, faster: names.kernel, than: names.layoutKernel, ratio: 0.5 },
    ]);
    assert.deepStrictEqual(
      [1, 1.3, 1.4].map((factor) => checkExpectations(stored, measured(factor)).map(({ isMet }) => isMet)),
      [
        [true, true],
        [true, true],
        [false, false],
      ],
    );
    const withoutOrders = { ...measured(1), byExpert: [] };
    assert.lengthOf(checkExpectations(stored, withoutOrders), 1, 'a list that was not measured is left out');
    const other = [{ ...measured(1).layouts[0], configuration: configurations[1] }];
    assert.throws(() => checkExpectations(stored, { ...withoutOrders, layouts: other }), /is not measured/);
  });

  it('has expectations only of configurations that are measured', () => {
    assert.isAbove(expectations.ratios.length, 100);
    for (const { list, configuration } of (expectations as Expectations).ratios) {
      assert.include(lists[list].map(titleOf), configuration);
    }
  });

  it('draws distinct experts for a token, sends 44 % of skewed routing to an eighth of them, and leaves half of half-empty routing empty', () => {
    const share = (ids: Int32Array, is: (id: number) => boolean) => ids.filter(is).length / ids.length;
    for (const routing of ['uniform', 'skewed'] as const) {
      const ids = makeRouting(routing, 500, 8, 256);
      for (let token = 0; token < 500; token++) {
        assert.strictEqual(new Set(ids.subarray(8 * token, 8 * token + 8)).size, 8);
      }
      assert.closeTo(
        share(ids, (id) => id < 32),
        routing === 'skewed' ? 0.44 : 0.125,
        0.02,
      );
    }
    assert.closeTo(
      share(makeRouting('half empty', 500, 8, 256), (id) => id === -1),
      0.5,
      0.05,
    );
  });

  it('times whole layouts in Python, and fails where they are not those of the library', function () {
    requirePython(this, 'numpy');
    const numRanks = 16;
    const configuration = { numTokens: 64, numTopk: 8, numExperts: 64, numRanks, routing: 'half empty' } as const;
    const int32 = makeRouting('half empty', 64, 8, 64);
    const int64 = BigInt64Array.from(int32, BigInt);
    const layout = getDispatchLayout({ data: int64, shape: [64, 8] }, 64, { numRanks });
    const ways = Object.entries(timePythonLayout({ configuration, int32, int64 }, layout));
    assert.strictEqual(
      ways.some(([way]) => way.startsWith('PyTorch')),
      hasPython('torch'),
    );
    for (const [way, seconds] of ways) assert.isTrue(seconds > 1e-6 && seconds < 1, way);
    for (const name of outputNames) {
      const wrong = { ...layout, [name]: layout[name]?.map((value, index) => (index === 1 ? value ^ 1 : value)) };
      assert.throws(
        () => timePythonLayout({ configuration, int32, int64 }, wrong),
        /failed with status 1: 'numpy' computes a wrong result/,
        name,
      );
    }
  });

  it('times orders of rows in Python, and fails where they are not those of the library', function () {
    requirePython(this, 'numpy');
    const configuration = { numTokens: 64, numTopk: 8, numExperts: 64, numRanks: 16, routing: 'half empty' } as const;
    const int32 = makeRouting('half empty', 64, 8, 64);
    const int64 = BigInt64Array.from(int32, BigInt);
    const problem = { configuration, int32, int64 };
    const topkIdx = { data: int64, shape: [64, 8] };
    const orders = {
      byExpert: getExpertPermutation(topkIdx, 64),
      byRank: getRankPermutation(topkIdx, 64, { numRanks: 16 }),
    };
    for (const kind of ['byExpert', 'byRank'] as const) {
      const arrays = arraysOf<Int32Array>(kind, orders[kind]);
      const ways = Object.keys(timePythonOrder(kind, problem, arrays));
      assert.include(ways, 'numpy');
      assert.strictEqual(ways.includes('PyTorch'), hasPython('torch'));
      for (const [i, name] of orderNames[kind].entries()) {
        const flip = (value: number, index: number) => (index === 1 ? value ^ 1 : value);
        const wrong = arrays.map((array, other) => (other === i ? array.map(flip) : array));
        assert.throws(() => timePythonOrder(kind, problem, wrong), /'numpy' computes a wrong result/, name);
      }
    }
  });

  it('without Python there are no ways in Python, and the document says so', () => {
    const { PATH } = process.env;
    process.env.PATH = '';
    try {
      const [configuration] = configurations;
      const layout = getDispatchLayout([[0]], 8, { numRanks: 8 });
      const problem = { configuration, int32: Int32Array.of(0), int64: BigInt64Array.of(0n) };
      assert.deepStrictEqual(timePythonLayout(problem, layout), {});
    } finally {
      process.env.PATH = PATH;
    }
    const notes = (...ways: string[]) =>
      pythonNotes([
        {
          configuration: configurations[0],
          seconds: Object.fromEntries([...ways, names.call].map((way) => [way, [1]])),
        },
      ]);
    assert.match(notes(), /numpy\*\* is not installed here.*\n.*PyTorch\*\* is not installed here/);
    assert.match(notes('numpy'), /numpy\*\*: vectorised.*\n.*PyTorch\*\* is not installed here/);
    assert.notMatch(notes('numpy', 'PyTorch'), /not installed/);
  });

  it('has a docs/benchmarks.md that is made from the results, and its plots', () => {
    const document = readFileSync(new URL('benchmarks.md', docs), 'utf8');
    assert.strictEqual(document, report(committed));
    const plots = [...document.matchAll(/!\[[^\]]+\]\(([^)]+)\)/g)].map(([, name]) => name);
    assert.lengthOf(plots, 3);
    for (const name of plots) assert.match(readFileSync(new URL(name, docs), 'utf8'), /^<svg[^>]*>.*<\/svg>\n$/s);
  });
});
