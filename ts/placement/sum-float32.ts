/**
 * Sums of 32-bit floating-point numbers in the order in which PyTorch adds them on processors with AVX2 and AVX-512.
 * Where a sum is not exact, which loads beyond 2^24 make likely, another order gives other bits, and with them other
 * plans.
 *
 * @module
 */

/** The numbers that PyTorch adds at once, in the lanes of a register; it has four such registers. */
const numLanes = 8;
const numRegisters = 4;

/** After so many additions to a register, PyTorch begins a new sum, so that errors grow slowly. */
const runLength = 16;

/** The sum of `values[begin]` to `values[end - 1]`. The order is PyTorch's for up to 2^24 of them. */
export function sumFloat32(values: Float32Array, begin: number, end: number): number {
  const length = end - begin;
  if (length < numLanes) return sumOfLane(values, begin, 1, length);
  const perLane = Math.floor(length / numLanes);
  let sum = 0;
  for (let index = begin + perLane * numLanes; index < end; index++) sum = Math.fround(sum + values[index]);
  for (let lane = 0; lane < numLanes; lane++) {
    sum = Math.fround(sum + sumOfLane(values, begin + lane, numLanes, perLane));
  }
  return sum;
}

/** The sum of `count` values, `stride` apart: of the same lane of the four registers, and of the rest. */
function sumOfLane(values: Float32Array, begin: number, stride: number, count: number): number {
  const perRegister = Math.floor(count / numRegisters);
  let sum = sumInLevels(values, begin, stride * numRegisters, perRegister);
  for (let index = perRegister * numRegisters; index < count; index++) {
    sum = Math.fround(sum + values[begin + index * stride]);
  }
  for (let register = 1; register < numRegisters; register++) {
    const first = begin + register * stride;
    sum = Math.fround(sum + sumInLevels(values, first, stride * numRegisters, perRegister));
  }
  return sum;
}

/** Adds runs of 16 values, then 16 sums of such runs, and so on. */
function sumInLevels(values: Float32Array, begin: number, stride: number, count: number): number {
  const levels = [0, 0, 0, 0];
  for (let index = 0; index < count; ) {
    levels[0] = Math.fround(levels[0] + values[begin + index * stride]);
    index++;
    for (let level = 1, run = runLength; level < levels.length && index % run === 0; level++, run *= runLength) {
      levels[level] = Math.fround(levels[level] + levels[level - 1]);
      levels[level - 1] = 0;
    }
  }
  return Math.fround(Math.fround(Math.fround(levels[0] + levels[1]) + levels[2]) + levels[3]);
}
