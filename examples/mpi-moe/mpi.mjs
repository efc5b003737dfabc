// The ranks of an MPI job, as the layer needs them. Importing this module waits until all ranks have started; only the
// main thread of a process can do so. As everywhere in MPI, all ranks must call the functions in the same order.
import { createRequire } from 'node:module';
import { setImmediate, setTimeout } from 'node:timers/promises';

const mpi = createRequire(import.meta.url)('./build/Release/mpi.node');

/** Which rank of the job this process is, and how many there are. */
export const { rank, numRanks } = mpi;

/**
 * Sends rows to all ranks, and resolves to the rows that come from them, in an array of the same type. Rows have
 * `width` elements. Those for rank r are from row sentOffsets[r] to sentOffsets[r + 1], and those from it will be from
 * row receivedOffsets[r] to receivedOffsets[r + 1]. The offsets are Int32Arrays. What fails in MPI rejects with its
 * message. Ranks must agree on the numbers of rows: Open MPI fails if more rows come than fit, but MPICH does not.
 */
export async function sendRows(rows, width, sentOffsets, receivedOffsets) {
  const received = new rows.constructor(receivedOffsets[numRanks] * width);
  const bytesPerRow = width * rows.BYTES_PER_ELEMENT;
  const id = mpi.startAllToAll(rows, sentOffsets, received, receivedOffsets, bytesPerRow);
  // MPI gets on with its work only when it is called, so this asks in every turn of the event loop
  while (!mpi.isDone(id)) await setImmediate();
  return received;
}

/**
 * The engine of `group.exchange`: `bytes` has a piece of `bytesPerRank` bytes for each rank, and what it resolves to
 * has the pieces that have come from all ranks. Ranks that disagree about the number of experts send pieces of other
 * lengths, so a first round tells everyone the lengths. `group.exchange` then gets whole pieces on every rank, and can
 * say what the ranks disagree about. In one round, pieces would be cut off, or there would be gaps.
 */
export async function allToAll(bytes, bytesPerRank) {
  const one = new Int32Array(numRanks).fill(1);
  const lengths = new Int32Array(numRanks).fill(bytesPerRank);
  const receivedLengths = await sendRows(lengths, 1, offsetsOf(one), offsetsOf(one));
  return sendRows(bytes, 1, offsetsOf(lengths), offsetsOf(receivedLengths));
}

/** Where each of several pieces begins that lie one after the other, and where the last one ends. */
function offsetsOf(lengths) {
  const offsets = new Int32Array(lengths.length + 1);
  for (const [index, length] of lengths.entries()) offsets[index + 1] = offsets[index] + length;
  return offsets;
}

/**
 * Runs what this rank has to do, and then ends MPI. If that fails, it prints the error and ends the whole job, because
 * other ranks may wait for this one. Ranks that fail at the same time have a second to say why.
 */
export async function runRank(program) {
  try {
    await program();
  } catch (error) {
    console.error(`rank ${rank}: ${error.stack}`);
    await setTimeout(1000);
    mpi.abort();
  }
  mpi.finalize();
}
