/** The arithmetic of the benchmark. Also checks that its document is the one that follows from its results. */
import { readFileSync } from 'node:fs';
import { assert } from 'chai';
import { getDispatchLayout } from 'dispatch-layout';
import { checkExpectations, expectationsOf } from '../../bench/check.ts';
import { configurations, titleOf } from '../../bench/configurations.ts';
import expectations from '../../bench/expectations.json' with { type: 'json' };
import { timePython } from '../../bench/libraries/python-layouts.ts';
import { pythonNotes, report } from '../../bench/report.ts';
import results from '../../bench/results/benchmarks.json' with { type: 'json' };
import { combine, type Entry, type Results } from '../../bench/results.ts';
import { makeRouting } from '../../bench/routing.ts';
import { median, medianRatio, spread } from '../../bench/statistics.ts';
import { names } from '../../bench/variants/names.ts';
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

  it('combines the results of processes, also of those that measured layouts only', () => {
    const variants = { a: 'one' };
    const all = {
      layouts: [{ a: 1 }],
      overTokens: [{ a: 3 }],
      overRanks: [],
      overExperts: [],
      inPython: [{ a: 7 }],
      variants,
    };
    const some = { layouts: [{ a: 2 }], overTokens: [], overRanks: [], overExperts: [], inPython: [], variants };
    const combined = combine([all, some]);
    assert.deepStrictEqual(combined.layouts, [{ configuration: configurations[0], seconds: { a: [1, 2] } }]);
    assert.deepStrictEqual(combined.overTokens[0].seconds, { a: [3] });
    assert.deepStrictEqual(combined.inPython[0].seconds, { a: [7] });
  });

  it('finds variants that have become slower, and only those', () => {
    const layouts = (kernelSeconds: number): Entry[] => [
      {
        configuration: configurations[0],
        seconds: { [names.plain]: [20, 22, 18], [names.kernel]: [kernelSeconds, 1.1, 0.9] },
      },
    ];
    const stored = expectationsOf(layouts(1), 0.25);
    assert.deepStrictEqual(stored.ratios, [
      { configuration: titleOf(configurations[0]), faster: names.kernel, than: names.plain, ratio: 20 },
    ]);
    const slower = (factor: number): Entry[] =>
      layouts(1).map((entry) => ({
        ...entry,
        seconds: { ...entry.seconds, [names.kernel]: [factor, 1.1 * factor, 0.9 * factor] },
      }));
    assert.deepStrictEqual(
      [1, 1.3, 1.4].map((factor) => checkExpectations(stored, slower(factor))[0].isMet),
      [true, true, false],
    );
    assert.throws(() => checkExpectations(stored, []), /is not measured/);
  });

  it('has expectations only of configurations that are measured', () => {
    const titles = configurations.map(titleOf);
    assert.isAbove(expectations.ratios.length, 20);
    for (const { configuration } of expectations.ratios) assert.include(titles, configuration);
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
    const ways = Object.entries(timePython({ configuration, int32, int64 }, layout));
    assert.strictEqual(
      ways.some(([way]) => way.startsWith('PyTorch')),
      hasPython('torch'),
    );
    for (const [way, seconds] of ways) assert.isTrue(seconds > 1e-6 && seconds < 1, way);
    for (const name of outputNames) {
      const wrong = { ...layout, [name]: layout[name]?.map((value, index) => (index === 1 ? value ^ 1 : value)) };
      assert.throws(
        () => timePython({ configuration, int32, int64 }, wrong),
        /failed with status 1: 'numpy' computes a wrong layout/,
        name,
      );
    }
  });

  it('without Python there are no ways in Python, and the document says so', () => {
    const { PATH } = process.env;
    process.env.PATH = '';
    try {
      const [configuration] = configurations;
      const layout = getDispatchLayout([[0]], 8, { numRanks: 8 });
      const problem = { configuration, int32: Int32Array.of(0), int64: BigInt64Array.of(0n) };
      assert.deepStrictEqual(timePython(problem, layout), {});
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
