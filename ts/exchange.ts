/**
 * The exchange of counts among the ranks of a group, by whatever engine the program has.
 *
 * @module
 */
import type { ComputingGroup } from './computing-group.ts';
import type { DeviceDispatchLayout } from './devices/cuda/device-layout.ts';
import type { DeviceTensor } from './devices/cuda/device-tensor.ts';
import { wrongValue } from './errors/checks.ts';
import { EventOverlap } from './layout/event-overlap.ts';
import type { MaskForm } from './layout/outputs.ts';
import { isGpuTensor } from './layout/tensors.ts';
import { readPieces, writePieces } from './receive/pieces.ts';
import { type ReceiveLayout, receiveLayoutOf } from './receive/receive-layout.ts';
import { numCountsIn, type SentCounts } from './receive/sent.ts';
import { type ReceiveOptions, readReceiveOptions } from './receive-options.ts';

/**
 * Moves bytes between ranks, as `MPI_Alltoall` does. The program gives this function: over MPI, sockets, NCCL by way of
 * the host, or `torch.distributed`.
 *
 * If ranks disagree on the shape of the group, they may pass different numbers of bytes. An engine that also moves these
 * (by `MPI_Alltoallv`, after the lengths) lets every rank see the difference.
 *
 * @param bytes a piece of `bytesPerRank` bytes for each rank, in the order of ranks.
 * @returns the pieces that all ranks have sent to this one, in the order of ranks.
 */
export type AllToAll = (bytes: Uint8Array, bytesPerRank: number) => Promise<Uint8Array>;

/** A layout of which the counts are exchanged: that of `getDispatchLayout`, in host arrays or in tensors. */
export type ExchangedLayout = SentCounts | DeviceDispatchLayout<MaskForm>;

/** The code of `ExpertGroup.exchange`. */
export async function exchangeCounts(
  group: ComputingGroup,
  layout: ExchangedLayout,
  allToAll: AllToAll,
  options: ReceiveOptions,
): Promise<ReceiveLayout> {
  const { alignment, isStrict } = readReceiveOptions(options);
  if (typeof allToAll !== 'function') {
    throw wrongValue('OPTION', 'allToAll', allToAll, 'Pass a function that moves bytes between the ranks.');
  }
  const counts = await countsOnHost(layout);
  const numExperts = numCountsIn(counts.numTokensPerExpert, 'layout.numTokensPerExpert');
  if (typeof numExperts !== 'number') {
    throw wrongValue('SENT', 'layout', layout, 'Pass what getDispatchLayout returns for the tokens of this rank.');
  }
  const agreement = { partition: group.partitionFor(numExperts, isStrict, true), alignment };
  const { bytes, bytesPerRank } = writePieces(counts, agreement);
  const received = await allToAll(bytes, bytesPerRank);
  return receiveLayoutOf(readPieces(received, agreement, bytesPerRank));
}

/** The counts of a finished layout in host arrays. Those of tensors are copied, which waits for their layout. */
async function countsOnHost(layout: ExchangedLayout): Promise<SentCounts> {
  const { numTokensPerRank, numTokensPerExpert, event } = Object(layout) as ExchangedLayout;
  // With asyncFinish, the layout runs on another stream than the copies of its tensors
  if (event instanceof EventOverlap && event.recorded) await event.wait();
  if (IS_NODE && isGpuTensor(numTokensPerRank) && isGpuTensor(numTokensPerExpert)) {
    const [perRank, perExpert] = await Promise.all(
      [numTokensPerRank, numTokensPerExpert].map((tensor) => (tensor as DeviceTensor<'int32'>).toTypedArrayAsync()),
    );
    return { numTokensPerRank: perRank, numTokensPerExpert: perExpert };
  }
  return { numTokensPerRank, numTokensPerExpert } as SentCounts;
}
