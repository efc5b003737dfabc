/**
 * Requests and results in shared memory, and the workers that compute them.
 *
 * @module
 */
import { assert } from 'chai';
import { type DispatchLayout, ExpertGroup, type ExpertGroupOptions, type LayoutArrays } from 'dispatch-layout';
import { threadedLayouts } from '../../dist/platform/node.js';
import { type Pool, workerPool } from '../../dist/threads/pool.js';
import type { Random } from './random.ts';

export interface SharedRequest {
  readonly data: BigInt64Array | Int32Array;
  readonly shape: readonly [number, number];
}

/** Random valid ids, over a SharedArrayBuffer. */
export function sharedIds(random: Random, numTokens: number, numTopk: number, numExperts: number): SharedRequest {
  const length = numTokens * numTopk;
  const shape = [numTokens, numTopk] as const;
  if (random.chance(0.5)) {
    const data = new Int32Array(new SharedArrayBuffer(4 * length));
    return { data: fill(data, () => random.between(-1, numExperts - 1)), shape };
  }
  const data = new BigInt64Array(new SharedArrayBuffer(8 * length));
  return { data: fill(data, () => BigInt(random.between(-1, numExperts - 1))), shape };
}

function fill<Elements extends BigInt64Array | Int32Array>(data: Elements, next: () => Elements[number]): Elements {
  for (let index = 0; index < data.length; index++) data[index] = next();
  return data;
}

/** Result arrays over SharedArrayBuffers, every byte 0x55. */
export function sharedOut(numTokens: number, numExperts: number, group: ExpertGroup): LayoutArrays {
  const counts = (length: number) => new Int32Array(new SharedArrayBuffer(4 * length)).fill(0x55555555);
  return {
    numTokensPerRank: counts(group.numRanks),
    numTokensPerRdmaRank: group.numRdmaRanks === 1 ? null : counts(group.numRdmaRanks),
    numTokensPerExpert: counts(numExperts),
    isTokenInRank: new Uint8Array(new SharedArrayBuffer(numTokens * group.numRanks)).fill(0x55),
  };
}

/** Nothing was written to them. */
export function expectUntouched(out: LayoutArrays): void {
  for (const array of [out.numTokensPerRank, out.numTokensPerRdmaRank, out.numTokensPerExpert]) {
    assert.isTrue(array?.every((value) => value === 0x55555555) ?? true);
  }
  assert.isTrue(out.isTokenInRank.every((value) => value === 0x55));
}

/** The layout is the one that the plain reference computes. */
export function expectAsReference(
  layout: DispatchLayout,
  request: SharedRequest,
  options: ExpertGroupOptions,
  invalidExperts: 'throw' | 'ignore' = 'throw',
): void {
  const reference = new ExpertGroup({ ...options, device: 'js', threads: 1 });
  const expected = reference.getDispatchLayout(request, layout.numExperts, { invalidExperts });
  assert.deepEqual([...layout.numTokensPerRank], [...expected.numTokensPerRank]);
  assert.deepEqual([...(layout.numTokensPerRdmaRank ?? [])], [...(expected.numTokensPerRdmaRank ?? [])]);
  assert.deepEqual([...layout.numTokensPerExpert], [...expected.numTokensPerExpert]);
  assert.strictEqual(Buffer.compare(layout.isTokenInRank, expected.isTokenInRank), 0, 'isTokenInRank');
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}

/** The workers of this thread. */
export function threadPool(): Pool | undefined {
  threadedLayouts();
  return workerPool();
}

/** Resolves when so many workers have been started and at least one has nothing to do. */
export async function untilIdle(numWorkers: number): Promise<void> {
  const pool = threadPool();
  if (pool === undefined) assert.fail('there are no workers here');
  for (let polls = 0; !pool.hasIdle(numWorkers, true); polls++) {
    if (polls > 2000) assert.fail('no worker gets ready');
    await sleep(5);
  }
}

/** How many chunks of the last split call a worker has claimed. */
export function numChunksOfWorkers(numChunks: number): number {
  const block = threadPool()?.block;
  if (block === undefined) assert.fail('there are no workers here');
  let count = 0;
  for (let chunk = 0; chunk < numChunks; chunk++) if (block.words[block.addOf(chunk)] > 1) count++;
  return count;
}
