/**
 * The `js` device is the plain reference. It runs where WebAssembly is missing or forbidden, and it is the semantics in
 * executable form: the other devices must give the same bits.
 *
 * @module
 */
import { InvalidExpertError, isInvalidExpert } from '../errors/errors.ts';
import { noRank } from '../input/partition.ts';
import type { EmptyId } from '../input/topk-idx.ts';
import { finishedHandle } from '../layout/event-overlap.ts';
import type { LayoutRequest } from '../layout/layout-request.ts';
import { outputs } from '../layout/outputs.ts';
import type { Device } from './device.ts';
import { engineVersions } from './engine-versions.ts';

/** The plain JavaScript device. */
export const jsDevice: Device = {
  name: 'js',
  probe: () => ({ isAvailable: true, reason: 'plain JavaScript runs everywhere', versions: engineVersions() }),
  fromSelections: 0,
  submit(request) {
    if (request.isStrict) checkExperts(request);
    countTokens(request);
    return finishedHandle;
  },
};

function checkExperts({ topkIdx, numTokens, numTopk, numExperts }: LayoutRequest): void {
  const { data, offset, tokenStride, slotStride, emptyId } = topkIdx;
  for (let token = 0; token < numTokens; token++) {
    for (let slot = 0; slot < numTopk; slot++) {
      const id = data[offset + token * tokenStride + slot * slotStride];
      if (isInvalidExpert(id, numExperts) && !isEmpty(id, emptyId)) {
        throw InvalidExpertError.at(token * numTopk + slot, topkIdx, numExperts);
      }
    }
  }
}

/** Whether an id is the one that stands for an empty slot beside -1. */
function isEmpty(id: number | bigint, emptyId: EmptyId): boolean {
  return id === emptyId || Number(id) === emptyId;
}

function countTokens({ topkIdx, numTokens, numTopk, partition, mask, out }: LayoutRequest): void {
  const { data, offset, tokenStride, slotStride, emptyId } = topkIdx;
  const { numExperts, numRanks, numRanksPerNode, numRdmaRanks, rankOfExpert } = partition;
  const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = out;
  numTokensPerRank.fill(0);
  numTokensPerRdmaRank?.fill(0);
  numTokensPerExpert.fill(0);
  isTokenInRank?.fill(0);
  const rowBytes = outputs.isTokenInRank.width({ ...partition, mask }) ?? 0;
  const lastTokenOfRank = new Int32Array(numRanks).fill(-1);
  const lastTokenOfRdmaRank = new Int32Array(numRdmaRanks).fill(-1);

  for (let token = 0; token < numTokens; token++) {
    for (let slot = 0; slot < numTopk; slot++) {
      const id = data[offset + token * tokenStride + slot * slotStride];
      const expert = Number(id);
      if (expert < 0 || expert >= numExperts || isEmpty(id, emptyId)) continue;
      numTokensPerExpert[expert]++;

      const rank = rankOfExpert[expert];
      if (rank === noRank || lastTokenOfRank[rank] === token) continue;
      lastTokenOfRank[rank] = token;
      numTokensPerRank[rank]++;
      if (isTokenInRank !== null) {
        if (mask === 'bits') isTokenInRank[token * rowBytes + (rank >> 3)] |= 1 << (rank & 7);
        else isTokenInRank[token * rowBytes + rank] = 1;
      }

      const rdmaRank = Math.floor(rank / numRanksPerNode);
      if (numTokensPerRdmaRank === null || lastTokenOfRdmaRank[rdmaRank] === token) continue;
      lastTokenOfRdmaRank[rdmaRank] = token;
      numTokensPerRdmaRank[rdmaRank]++;
    }
  }
}
