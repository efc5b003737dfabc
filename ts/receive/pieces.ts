/**
 * The bytes of an exchange. Each rank sends a piece to every rank: the counts for it, behind a head that says what the
 * sender believes of the group, so that ranks that disagree find out. All numbers are little-endian and of 32 bits.
 *
 * @module
 */
import { allocateInt32 } from '../errors/allocate.ts';
import { checkAttached } from '../errors/checks.ts';
import { DispatchLayoutError } from '../errors/errors.ts';
import { expertsByRank, type Partition } from '../input/partition.ts';
import { describe } from '../values/describe.ts';
import { bufferOf, byteLengthOf, byteOffsetOf, typedArrayName } from '../values/typed-array.ts';
import { type Arrivals, collectArrivals } from './receive-layout.ts';
import { countAt, readSentCounts, type SentCounts } from './sent.ts';

/** `DLX` and a byte of its own, by which a piece is recognised. */
const magic = 0xd7584c44;

/** It changes whenever the form of the pieces does. */
const version = 1;

/** The number of words, at the beginning, that are the same in every version. */
const commonWords = 3;

/** The words of the head. */
const word = {
  magic: 0,
  version: 1,
  /** The number of bytes of the piece, head included. */
  byteLength: 2,
  /** The rank that the piece is for. */
  destination: 3,
  numRanks: 4,
  numRanksPerNode: 5,
  numExperts: 6,
  alignment: 7,
  placement: 8,
  placementRest: 9,
  numTokens: 10,
} as const;

/** The number of words before the counts of the destination's experts. */
const headWords = 11;

/** What must be the same on all ranks, and what it is called in messages. The placement is compared by a digest. */
const agreed = ['numRanks', 'numRanksPerNode', 'numExperts', 'alignment'] as const;

/** What all ranks of an exchange must agree on. */
export interface Agreement {
  readonly partition: Partition;
  readonly alignment: number;
}

/** The pieces of one rank, one after the other. */
export interface Pieces {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly bytesPerRank: number;
}

/**
 * Writes what a rank sends, all pieces with the same length: that of the rank with the most experts.
 *
 * @param layout the counts of this rank.
 * @throws DispatchLayoutError `SENT`, `DETACHED_BUFFER`, `OUT_OF_MEMORY`
 */
export function writePieces(layout: SentCounts, { partition, alignment }: Agreement): Pieces {
  const { numRanks, numRanksPerNode, numExperts, rankOfExpert } = partition;
  const { perRank, perExpert } = readSentCounts(layout, numRanks, numExperts, 'layout.');
  const { offsets, experts } = expertsByRank(partition);
  let mostExperts = 0;
  for (let rank = 0; rank < numRanks; rank++) mostExperts = Math.max(mostExperts, offsets[rank + 1] - offsets[rank]);
  const wordsPerRank = headWords + mostExperts;
  const what = `a buffer for ${numRanks} pieces with the counts of ${mostExperts} experts`;
  const words = allocateInt32(numRanks * wordsPerRank, what, 'Spread the experts over the ranks.');
  const bytes = new Uint8Array(words.buffer);
  const bytesPerRank = wordsPerRank * 4;
  const [placement, placementRest] = digestOf(rankOfExpert);
  const head = { magic, version, byteLength: bytesPerRank, numRanks, numRanksPerNode, numExperts, alignment };
  for (let rank = 0; rank < numRanks; rank++) {
    const piece = new DataView(bytes.buffer, rank * bytesPerRank, bytesPerRank);
    const numTokens = countAt(perRank, rank);
    const values = { ...head, destination: rank, placement, placementRest, numTokens };
    for (const [name, index] of Object.entries(word)) {
      piece.setUint32(index * 4, values[name as keyof typeof word], true);
    }
    for (let expert = offsets[rank], index = headWords; expert < offsets[rank + 1]; expert++, index++) {
      piece.setUint32(index * 4, countAt(perExpert, experts[expert]), true);
    }
  }
  return { bytes, bytesPerRank };
}

/**
 * Reads the pieces that a rank has received.
 *
 * @throws DispatchLayoutError `EXCHANGE`, `DETACHED_BUFFER`
 */
export function readPieces(received: Uint8Array, { partition, alignment }: Agreement, bytesPerRank: number): Arrivals {
  const { numRanks, numExperts } = partition;
  const pieces = splitPieces(received, numRanks, bytesPerRank);
  checkAgreement(pieces, { partition, alignment });
  if (pieces.length !== numRanks) {
    throw wrongBytes(received, `${pieces.length} pieces, and the group has ${numRanks} ranks`);
  }
  const rank = pieces[0].getUint32(word.destination * 4, true);
  if (rank >= numRanks || pieces.some((piece) => piece.byteLength !== bytesPerRank)) {
    throw wrongBytes(received, `no pieces of ${bytesPerRank} bytes for a rank of this group`);
  }
  const countAtWord = (source: number, index: number): number => {
    const count = pieces[source].getInt32(index * 4, true);
    if (count < 0) throw wrongBytes(received, `no counts: rank ${source} has a negative one`);
    return count;
  };
  const { offsets, experts } = expertsByRank(partition);
  const localExperts = experts.subarray(offsets[rank], offsets[rank + 1]);
  return collectArrivals({ rank, numRanks, numExperts, alignment }, localExperts, (source) => ({
    tokens: () => countAtWord(source, word.numTokens),
    selections: (local) => countAtWord(source, headWords + local),
  }));
}

/**
 * Splits what was received into pieces. If ranks disagree, their pieces can have different lengths, so each piece says
 * its own.
 */
function splitPieces(received: Uint8Array, numRanks: number, bytesPerRank: number): DataView[] {
  if (typedArrayName(received) !== 'Uint8Array') {
    const remedy = 'It must resolve to a Uint8Array with what all ranks have sent to this one.';
    throw new DispatchLayoutError('EXCHANGE', `allToAll resolved to ${describe(received)}`, {
      value: received,
      remedy,
    });
  }
  checkAttached(received, 'the result of allToAll');
  const size = byteLengthOf(received);
  const bytes = new DataView(bufferOf(received), byteOffsetOf(received), size);
  const isPieceAt = (begin: number): boolean =>
    begin + commonWords * 4 <= size && bytes.getUint32(begin + word.magic * 4, true) === magic;
  // An engine that always moves the same number of bytes has cut off, or filled up, the pieces of other lengths. The size
  // alone does not tell, since pieces of other lengths can add up to the same
  let isEven = size === numRanks * bytesPerRank;
  for (let begin = 0; isEven && begin < size; begin += bytesPerRank) isEven = isPieceAt(begin);
  const pieces: DataView[] = [];
  for (let begin = 0; begin < size; ) {
    if (!isPieceAt(begin)) throw wrongBytes(received, `no piece of an exchange at byte ${begin}`);
    const rest = new DataView(bytes.buffer, bytes.byteOffset + begin, size - begin);
    checkVersion(rest, pieces.length);
    const moved = isEven ? bytesPerRank : rest.getUint32(word.byteLength * 4, true);
    if (moved < headWords * 4 || moved > rest.byteLength) {
      throw wrongBytes(received, `only a part of the piece of rank ${pieces.length}`);
    }
    pieces.push(new DataView(rest.buffer, rest.byteOffset, moved));
    begin += moved;
  }
  return pieces;
}

function checkVersion(piece: DataView, source: number): void {
  const found = piece.getUint32(word.version * 4, true);
  if (found === version) return;
  throw new DispatchLayoutError(
    'EXCHANGE',
    `rank ${source} has version ${found} of the exchange, and this rank has ${version}`,
    { value: found, remedy: 'Install the same version of dispatch-layout on all ranks.' },
  );
}

/** Checks that all pieces are for the same rank, and that their senders believe the same of the group. */
function checkAgreement(pieces: readonly DataView[], { partition, alignment }: Agreement): void {
  const at = (source: number, index: number): number => pieces[source].getUint32(index * 4, true);
  if (pieces.length === 0) return;
  const { numRanks, numRanksPerNode, numExperts, rankOfExpert } = partition;
  const own = { numRanks, numRanksPerNode, numExperts, alignment };
  const [digest, digestRest] = digestOf(rankOfExpert);
  const rank = at(0, word.destination);
  const differences: string[] = [];
  for (let source = 0; source < pieces.length; source++) {
    if (at(source, word.destination) !== rank) {
      const problem = `allToAll resolved to pieces for rank ${rank} and for rank ${at(source, word.destination)}`;
      const remedy = 'It must resolve to the pieces that all ranks have sent to this one, in the order of ranks.';
      throw new DispatchLayoutError('EXCHANGE', problem, { value: at(source, word.destination), remedy });
    }
    const others = agreed.filter((name) => at(source, word[name]) !== own[name]);
    const named = others.map((name) => `${name} ${at(source, word[name])} instead of ${own[name]}`);
    const isSamePlacement = at(source, word.placement) === digest && at(source, word.placementRest) === digestRest;
    // Other numbers of experts or ranks imply another table
    if (!isSamePlacement && at(source, word.numExperts) === numExperts && at(source, word.numRanks) === numRanks) {
      named.push('another placement of experts');
    }
    if (named.length > 0) differences.push(`rank ${source} has ${named.join(' and ')}`);
  }
  if (differences.length === 0) return;
  const shown = differences.length > maxShown ? [...differences.slice(0, maxShown), '…'] : differences;
  throw new DispatchLayoutError('EXCHANGE', `this is rank ${rank}, and ${shown.join('; ')}`, {
    value: rank,
    remedy: 'All ranks must pass the same numExperts and alignment, and have made their groups with the same options.',
  });
}

/** The number of ranks that a message names. */
const maxShown = 8;

function wrongBytes(received: Uint8Array, found: string): DispatchLayoutError {
  const problem = `allToAll resolved to ${byteLengthOf(received)} bytes, which are ${found}`;
  const remedy = 'It must resolve to the pieces that all ranks have sent to this one, in the order of ranks.';
  return new DispatchLayoutError('EXCHANGE', problem, { value: received, remedy });
}

/**
 * Two hashes of a table. Tables that differ have the same ones with a probability of about 2^-64. The steps are those of
 * MurmurHash3, with another seed for each hash.
 */
function digestOf(table: Int32Array): readonly [number, number] {
  return [hash(table, 0x9747b28c), hash(table, 0x3c6ef372)];
}

function hash(table: Int32Array, seed: number): number {
  let state = seed;
  for (const entry of table) {
    const mixed = Math.imul(entry, 0xcc9e2d51);
    state ^= Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
    state = (Math.imul((state << 13) | (state >>> 19), 5) + 0xe6546b64) | 0;
  }
  state ^= state >>> 16;
  state = Math.imul(state, 0x85ebca6b);
  state ^= state >>> 13;
  state = Math.imul(state, 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}
