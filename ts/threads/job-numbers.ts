/**
 * A job as numbers, for another thread: what is behind them, memory and tables, is sent to it once.
 *
 * @module
 */
import type { Partition } from '../partition.ts';
import { arrayClasses, type IdType, idsOver, stridedTopkIdx } from '../topk-idx.ts';
import { bufferOf, byteOffsetOf, lengthOf } from '../typed-array.ts';
import type { JobBlock } from './job-block.ts';
import type { SharedJob } from './participant.ts';

const idTypes = Object.keys(arrayClasses) as IdType[];

/** How many numbers {@link writeJob} writes. */
export const numJobNumbers = 13;

/** Writes everything but the block, the partition and the buffers. */
export function writeJob(job: SharedJob, numbers: Float64Array | number[]): void {
  const { topkIdx, isTokenInRank } = job;
  numbers[0] = idTypes.indexOf(topkIdx.idType);
  numbers[1] = byteOffsetOf(topkIdx.data);
  numbers[2] = lengthOf(topkIdx.data);
  numbers[3] = topkIdx.numTokens;
  numbers[4] = topkIdx.numTopk;
  numbers[5] = topkIdx.offset;
  numbers[6] = topkIdx.tokenStride;
  numbers[7] = topkIdx.slotStride;
  numbers[8] = byteOffsetOf(isTokenInRank);
  numbers[9] = lengthOf(isTokenInRank);
  numbers[10] = job.strict ? 1 : 0;
  numbers[11] = job.checkFirst ? 1 : 0;
  numbers[12] = job.numTokensPerChunk;
}

/** Reads a job that was written on another thread. */
export function readJob(
  numbers: ArrayLike<number>,
  block: JobBlock,
  partition: Partition,
  ids: SharedArrayBuffer,
  rows: SharedArrayBuffer,
): SharedJob {
  const idType = idTypes[numbers[0]];
  const data = idsOver(idType, ids, numbers[1], numbers[2]);
  return {
    block,
    partition,
    topkIdx: stridedTopkIdx(data, idType, numbers[3], numbers[4], numbers[5], numbers[6], numbers[7]),
    isTokenInRank: new Uint8Array(rows, numbers[8], numbers[9]),
    strict: numbers[10] === 1,
    checkFirst: numbers[11] === 1,
    numTokensPerChunk: numbers[12],
  };
}

/** The memory under a job, which other threads need to know. */
export function buffersOf(job: SharedJob): readonly [ids: SharedArrayBuffer, rows: SharedArrayBuffer] {
  return [bufferOf(job.topkIdx.data) as SharedArrayBuffer, bufferOf(job.isTokenInRank) as SharedArrayBuffer];
}
