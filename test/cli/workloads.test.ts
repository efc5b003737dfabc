/** Workloads have what they promise: their balance, their hot experts, their bytes. */
import { createHash } from 'node:crypto';
import { assert } from 'chai';
import fc from 'fast-check';
import { UsageError } from '../../ts/cli/fail.ts';
import { Random } from '../../ts/cli/generate/random.ts';
import { geometricParts, unit, wholeShares } from '../../ts/cli/workloads/shares.ts';
import {
  LayerOfTokens,
  raggedTokens,
  usualWorkload,
  type Workload,
  workloadNames,
} from '../../ts/cli/workloads/workload.ts';

const usual: Workload = { ...usualWorkload, name: 'balanced', seed: 1, numExperts: 64, numTopk: 8, numRanks: 8 };
const numTokens = 40_000;

function draw(changes: Partial<Workload>, layer = 0, sourceRank = 0, count = numTokens): Int32Array {
  const workload = { ...usual, ...changes };
  const ids = new Int32Array(count * workload.numTopk);
  new LayerOfTokens(workload, layer, sourceRank).draw(ids);
  return ids;
}

function countsOf(ids: Int32Array, numExperts = usual.numExperts): number[] {
  const counts = new Array<number>(numExperts).fill(0);
  for (const id of ids) if (id >= 0) counts[id]++;
  return counts;
}

const sum = (values: ArrayLike<number>) => Array.from(values).reduce((total, value) => total + value, 0);
const maxOverMean = (counts: readonly number[]) => Math.max(...counts) / (sum(counts) / counts.length);
const ofRanks = (counts: readonly number[], numRanks = usual.numRanks) =>
  Array.from({ length: numRanks }, (_, rank) =>
    sum(counts.slice((rank * counts.length) / numRanks, ((rank + 1) * counts.length) / numRanks)),
  );

/** The experts that are selected far more often than the median expert. */
function hotOf(ids: Int32Array): number[] {
  const counts = countsOf(ids);
  const median = [...counts].sort((left, right) => left - right)[counts.length >> 1];
  return counts.flatMap((count, expert) => (count > 2 * median ? [expert] : []));
}

const tokensOf = (ids: Int32Array, from: number, to: number) => ids.subarray(from * usual.numTopk, to * usual.numTopk);

describe('workloads', () => {
  it('select different experts for each token, all of them valid', () => {
    const cases = fc.record({
      name: fc.constantFrom(...workloadNames),
      numTopk: fc.integer({ min: 1, max: 8 }),
      seed: fc.nat(),
      layer: fc.nat(65_535),
    });
    fc.assert(
      fc.property(cases, ({ layer, ...changes }) => {
        // A small part for the hot experts, so that also one slot is enough for it
        const ids = draw({ ...changes, hotShare: 0.3, period: 32, burst: 8 }, layer, 0, 100);
        for (let first = 0; first < ids.length; first += changes.numTopk) {
          const row = ids.subarray(first, first + changes.numTopk);
          assert.strictEqual(new Set(row).size, changes.numTopk);
          assert.isTrue(row.every((id) => id >= 0 && id < 64));
        }
      }),
      { numRuns: 100 },
    );
  });

  it('are the same bytes on every machine', () => {
    const hashes = workloadNames.map((name) => {
      const ids = draw(
        { name, seed: 2 ** 53 - 1, duplicates: 0.1, emptyShare: 0.1, period: 100, burst: 20 },
        3,
        5,
        1000,
      );
      return `${name} ${createHash('sha256').update(Buffer.from(ids.buffer)).digest('hex').slice(0, 12)}`;
    });
    assert.deepStrictEqual(hashes, [
      'balanced 780ea6a29538',
      'k-hot abff026f18cb',
      'hot-rank 2bf2e088a53e',
      'log-normal d21af5e12d2b',
      'rotating c1117114e2b0',
      'burst cd2b81229303',
      'uneven-ranks 22f95cdc341a',
    ]);
  });

  it('do not depend on how many tokens are drawn at a time, and differ by layer, source rank and seed', () => {
    for (const name of workloadNames) {
      const workload = { ...usual, name, period: 50, burst: 10 };
      const whole = draw(workload, 0, 0, 300);
      const layer = new LayerOfTokens(workload, 0);
      const pieces = [7, 93, 200].flatMap((count) => {
        const ids = new Int32Array(count * 8);
        layer.draw(ids);
        return [...ids];
      });
      assert.deepStrictEqual(pieces, [...whole], name);
      for (const other of [
        draw(workload, 1, 0, 300),
        draw(workload, 0, 1, 300),
        draw({ ...workload, seed: 2 }, 0, 0, 300),
      ]) {
        assert.notDeepEqual([...other], [...whole], name);
      }
    }
  });

  it('have the same hot experts on all source ranks, and others in other layers', () => {
    const hot = hotOf(draw({ name: 'k-hot' }));
    assert.deepStrictEqual(hotOf(draw({ name: 'k-hot' }, 0, 7)), hot);
    assert.notDeepEqual(hotOf(draw({ name: 'k-hot' }, 1)), hot);
  });

  it('balanced: counts never differ by more than one', () => {
    for (const [numExperts, numTopk] of [
      [64, 8],
      [60, 8],
      [7, 3],
      [5, 5],
      [256, 1],
    ]) {
      const ids = draw({ numExperts, numTopk }, 0, 0, 500);
      for (const count of [1, 13, 32, 64, 499, 500]) {
        const counts = countsOf(ids.subarray(0, count * numTopk), numExperts);
        assert.isAtMost(Math.max(...counts) - Math.min(...counts), 1, `${count} tokens`);
      }
    }
  });

  it('k-hot: so many experts have their part of all selections, each about as many', () => {
    for (const [numHot, hotShare] of [
      [8, 0.5],
      [4, 0.3],
      [16, 0.9],
    ]) {
      const ids = draw({ name: 'k-hot', numHot, hotShare });
      const hot = hotOf(ids);
      assert.lengthOf(hot, numHot);
      const counts = countsOf(ids);
      assert.closeTo(sum(hot.map((expert) => counts[expert])) / ids.length, hotShare, 0.005);
      assert.isBelow(maxOverMean(hot.map((expert) => counts[expert])), 1.05);
    }
  });

  it('hot-rank: the rank has so many times the average, and the others are alike', () => {
    for (const [hotRank, factor] of [
      [0, 2],
      [7, 3],
      [3, 1.2],
    ]) {
      const ranks = ofRanks(countsOf(draw({ name: 'hot-rank', hotRank, maxOverMean: factor })));
      assert.closeTo(maxOverMean(ranks), factor, 0.02);
      assert.strictEqual(ranks.indexOf(Math.max(...ranks)), hotRank);
      assert.isBelow(maxOverMean(ranks.filter((_, rank) => rank !== hotRank)), 1.03);
    }
  });

  it('uneven-ranks: max/mean is what was asked for, in every layer on another rank', () => {
    for (const target of [1, 1.1, 1.5, 2.5, 4]) {
      const ranks = ofRanks(countsOf(draw({ name: 'uneven-ranks', maxOverMean: target })));
      assert.closeTo(maxOverMean(ranks), target, 0.02);
    }
    const busiest = Array.from({ length: 12 }, (_, layer) => {
      const ranks = ofRanks(countsOf(draw({ name: 'uneven-ranks' }, layer, 0, 1000)));
      return ranks.indexOf(Math.max(...ranks));
    });
    assert.isAbove(new Set(busiest).size, 3);
  });

  it('log-normal: the logarithms have the standard deviation, and no skewness', () => {
    for (const sigma of [0.25, 0.5, 1]) {
      const logs = countsOf(draw({ name: 'log-normal', sigma, numExperts: 256, numTopk: 8 }), 256).map(Math.log);
      const mean = sum(logs) / 256;
      const deviation = Math.sqrt(sum(logs.map((log) => (log - mean) ** 2)) / 256);
      assert.closeTo(deviation, sigma, 0.02 + 0.02 * sigma);
      assert.closeTo(sum(logs.map((log) => ((log - mean) / deviation) ** 3)) / 256, 0, 0.25);
      // Of a normal distribution, 68.3 % lie within one standard deviation
      assert.closeTo(logs.filter((log) => Math.abs(log - mean) < deviation).length / 256, 0.683, 0.03);
    }
  });

  it('rotating: the hot experts change after every period, and only then', () => {
    const period = 5000;
    const ids = draw({ name: 'rotating', period });
    const sets = Array.from({ length: 8 }, (_, index) =>
      hotOf(tokensOf(ids, index * period, (index + 1) * period)).join(),
    );
    for (const set of sets) assert.lengthOf(set.split(','), 8);
    assert.strictEqual(new Set(sets).size, 8);
    assert.strictEqual(hotOf(tokensOf(ids, 0, period / 2)).join(), hotOf(tokensOf(ids, period / 2, period)).join());
  });

  it('burst: hot experts for the first tokens of a period, and none for the others', () => {
    const [period, burst] = [10_000, 4000];
    const ids = draw({ name: 'burst', period, burst });
    for (let begin = 0; begin < numTokens; begin += period) {
      assert.lengthOf(hotOf(tokensOf(ids, begin, begin + burst)), 8);
      assert.isBelow(maxOverMean(countsOf(tokensOf(ids, begin + burst, begin + period))), 1.2);
    }
  });

  it('have duplicates and empty slots where they are asked for, and keep the shares of experts', () => {
    const changes = { name: 'k-hot', hotShare: 0.3 } as const;
    const repeated = draw({ ...changes, duplicates: 0.25 });
    let more = 0;
    for (let first = 0; first < repeated.length; first += 8)
      more += 8 - new Set(repeated.subarray(first, first + 8)).size;
    assert.closeTo(more / (numTokens * 7), 0.25, 0.005);
    const hot = hotOf(draw(changes));
    assert.closeTo(sum(hot.map((expert) => countsOf(repeated)[expert])) / repeated.length, 0.3, 0.01);
    const empty = draw({ ...changes, emptyShare: 0.1 }).filter((id) => id === -1).length;
    assert.closeTo(empty / (numTokens * 8), 0.1, 0.005);
  });

  it('ragged: the tokens of the ranks add up, and the busiest has so many times the average', () => {
    for (const [total, numRanks, target] of [
      [100_000, 16, 1],
      [100_000, 16, 2],
      [100_000, 16, 8],
      [100_000, 16, 16],
      [10, 4, 1.5],
      [0, 3, 2],
      [7, 1, 1],
    ]) {
      const counts = raggedTokens(total, numRanks, target, 5);
      assert.lengthOf(counts, numRanks);
      assert.strictEqual(sum(counts), total);
      if (total > 1000) assert.closeTo(Math.max(...counts) / (total / numRanks), target, 0.01);
    }
    assert.deepStrictEqual(raggedTokens(1000, 8, 2, 5), raggedTokens(1000, 8, 2, 5));
    assert.notDeepEqual(raggedTokens(1000, 8, 2, 5), raggedTokens(1000, 8, 2, 6));
  });

  it('refuse what cannot be', () => {
    for (const [changes, message] of [
      [{ numTopk: 65 }, /cannot select 65 different experts of 64/],
      [{ name: 'k-hot', numHot: 2, hotShare: 0.9 }, /an expert would be selected 3\.60 times by each token/],
      [{ name: 'k-hot', numHot: 65 }, /cannot be 65 hot experts among 64/],
      [{ name: 'rotating', numHot: 64 }, /all 64 experts are hot/],
      [{ name: 'burst', period: 100, burst: 100 }, /a burst of 100 tokens does not fit/],
      [{ name: 'hot-rank', numRanks: 7 }, /64 experts do not divide evenly among 7 ranks/],
      [{ name: 'hot-rank', hotRank: 8 }, /there is no rank 8 among 8/],
      [{ name: 'hot-rank', numRanks: 1, maxOverMean: 1 }, /with one rank/],
      [{ name: 'uneven-ranks', maxOverMean: 9 }, /1 to 8 times the average, not 9/],
      [{ name: 'log-normal', sigma: 4 }, /make the workload less uneven/],
    ] as const) {
      assert.throws(() => draw(changes, 0, 0, 10), UsageError, message);
    }
    assert.throws(() => draw({}, 65_536, 0, 1), UsageError, /at most 65536 layers/);
    assert.throws(() => raggedTokens(10, 4, 5, 0), UsageError, /1 to 4 times/);
  });
});

describe('shares', () => {
  it('are whole numbers with the exact sum', () => {
    const cases = fc.record({
      numExperts: fc.integer({ min: 1, max: 40 }),
      numTopk: fc.integer({ min: 1, max: 8 }),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(cases, ({ numExperts, numTopk, seed }) => {
        fc.pre(numTopk < numExperts);
        const random = new Random(seed, 0);
        const weights = Float64Array.from({ length: numExperts }, () => 1 + random.uniform());
        const shares = weights.map((weight) => (numTopk * weight) / sum(weights));
        fc.pre(Math.max(...shares) <= 1);
        const whole = wholeShares(shares, { numExperts, numTopk });
        assert.strictEqual(sum(whole), numTopk * unit);
        for (const [expert, share] of shares.entries()) assert.closeTo(whole[expert] / unit, share, 2 / unit);
      }),
    );
  });

  it('of a geometric series have the largest part that was asked for', () => {
    for (const [length, target] of [
      [8, 1],
      [8, 1.001],
      [8, 3],
      [8, 8],
      [1, 1],
      [256, 100],
    ]) {
      const parts = geometricParts(length, target);
      assert.closeTo(sum(parts), 1, 1e-12);
      assert.closeTo(parts[0] * length, target, 1e-9 * target);
      for (let index = 1; index < length; index++) assert.isAtMost(parts[index], parts[index - 1]);
    }
  });
});
