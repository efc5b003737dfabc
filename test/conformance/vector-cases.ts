/**
 * The language-neutral test vectors: their format, and the requests in them. The answers are those of the oracle.
 * `make-vectors.ts` writes them to `vectors.json`, and the suite checks that the file is what this module gives.
 *
 * @module
 */
import { Random } from '../support/random.ts';
import { type IdType, idArray, idRange, idTypeNames, type TopkStorage } from '../support/topk-storage.ts';
import { answer, type ExpectedLayout, rowsOf } from './oracle.ts';
import {
  type ExpectedExpertOrder,
  type ExpectedRankOrder,
  expertOrder,
  type OrderAnswer,
  rankOrder,
} from './permutation-oracle.ts';

/** An integer in a form that JSON holds exactly: beyond 2^53 it is a decimal string. */
export type JsonInteger = number | string;

export interface Vector {
  readonly name: string;
  readonly dtype: IdType;
  /** The elements in memory order. */
  readonly data: readonly JsonInteger[];
  readonly shape: readonly number[];
  /** Axes whose product is the number of tokens. A shape of these axes and numTopk must give the same answer. */
  readonly leadingAxes?: readonly number[];
  /** In elements; both absent for contiguous rows. */
  readonly strides?: readonly number[];
  readonly offset?: number;
  readonly numExperts: number;
  readonly numRanks: number;
  readonly numRanksPerNode: number;
  readonly placement?: readonly number[];
  /** A name for the table in `placement`. It must give the same answer. */
  readonly placementName?: 'linear' | 'round_robin';
  readonly invalidExperts: 'throw' | 'ignore';
  /** The id that stands for an empty slot beside -1. */
  readonly emptyId?: JsonInteger;
  /** The form of `isTokenInRank`; absent for bytes. */
  readonly mask?: 'bits';
  /** Exactly one of the following two is there. */
  readonly expected?: Omit<ExpectedLayout, 'isTokenInRank'> & {
    /** For each token a string of `0` and `1`, rank 0 first, or the bytes that its bits are packed in. */
    readonly isTokenInRank: readonly string[] | readonly (readonly number[])[];
  };
  readonly expectedError?: {
    readonly code: string;
    readonly token?: number;
    readonly slot?: number;
    readonly value?: JsonInteger;
  };
}

/** An order of rows of the ids of a vector. */
export interface OrderVector {
  /** The name of the vector. All that it asks, but for nodes and masks, is asked here, too. */
  readonly vector: string;
  readonly function: 'getExpertPermutation' | 'getRankPermutation';
  /** The options of an order by expert. */
  readonly firstExpert?: number;
  readonly numLocalExperts?: number;
  readonly alignment?: number;
  /** The option of an order by rank. */
  readonly winner?: 'first' | 'last';
  /** Exactly one of the following two is there. */
  readonly expected?: ExpectedExpertOrder | ExpectedRankOrder;
  readonly expectedError?: Vector['expectedError'];
}

export interface VectorFile {
  readonly format: 1;
  readonly vectors: readonly Vector[];
  readonly orders: readonly OrderVector[];
}

/** What a vector asks, before the oracle has answered it. */
interface VectorRequest
  extends Pick<
    Vector,
    'name' | 'dtype' | 'leadingAxes' | 'offset' | 'numExperts' | 'numRanks' | 'placement' | 'placementName' | 'mask'
  > {
  readonly data: readonly (number | bigint)[];
  readonly shape: readonly [number, number];
  readonly strides?: readonly [number, number];
  readonly numRanksPerNode?: number;
  readonly invalidExperts?: 'throw' | 'ignore';
  readonly emptyId?: number | bigint;
}

function toJson(value: number | bigint): JsonInteger {
  return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
}

/** The mask that a vector expects. */
export function maskOf({ isTokenInRank }: NonNullable<Vector['expected']>): Uint8Array {
  return Uint8Array.from(isTokenInRank.flatMap((row) => [...row].map(Number)));
}

/** The ids of a vector in a typed array. */
export function storageOfVector(vector: Pick<Vector, 'dtype' | 'data' | 'shape' | 'strides' | 'offset'>): TopkStorage {
  const [numTokens, numTopk] = vector.shape;
  return {
    data: idArray(vector.dtype, vector.data.map(BigInt)),
    shape: [numTokens, numTopk],
    ...(vector.strides && { strides: [vector.strides[0], vector.strides[1]] as const }),
    ...(vector.offset !== undefined && { offset: vector.offset }),
  };
}

function answered(request: VectorRequest): Vector {
  const {
    name,
    dtype,
    shape,
    leadingAxes,
    strides,
    offset,
    numExperts,
    numRanks,
    placement,
    placementName,
    emptyId,
    mask,
  } = request;
  const question = {
    numExperts,
    numRanks,
    numRanksPerNode: request.numRanksPerNode ?? 8,
    ...(placement && { placement }),
    invalidExperts: request.invalidExperts ?? 'throw',
  };
  const vector = {
    name,
    dtype,
    data: request.data.map(toJson),
    shape,
    ...(leadingAxes && { leadingAxes }),
    ...(strides && { strides }),
    ...(offset !== undefined && { offset }),
    ...question,
    ...(placementName && { placementName }),
    ...(emptyId !== undefined && { emptyId: toJson(emptyId) }),
    ...(mask && { mask }),
  };
  const result = answer({ ...question, emptyId, mask, rows: rowsOf(storageOfVector(vector)) });
  if ('error' in result) {
    const { code, offender } = result.error;
    return { ...vector, expectedError: { code, ...(offender && { ...offender, value: toJson(offender.value) }) } };
  }
  const { isTokenInRank, ...counts } = result.layout;
  const width = isTokenInRank.length / shape[0];
  const rows = Array.from({ length: shape[0] }, (_, token) => [
    ...isTokenInRank.subarray(token * width, (token + 1) * width),
  ]);
  return { ...vector, expected: { ...counts, isTokenInRank: mask ? rows : rows.map((row) => row.join('')) } };
}

/** The request in strict mode and with invalid ids ignored. */
function inBothModes(request: VectorRequest): VectorRequest[] {
  return (['throw', 'ignore'] as const).map((invalidExperts) => ({
    ...request,
    name: `${request.name} (${invalidExperts})`,
    invalidExperts,
  }));
}

const twoNodes = { numExperts: 8, numRanks: 4, numRanksPerNode: 2 };

/** One or more cases for each row of the contract's table, under the name of the row. */
function cornerRequests(): VectorRequest[] {
  const small = { dtype: 'int64', shape: [3, 2], ...twoNodes } as const;
  const hostile = [
    2n ** 32n + 5n,
    2n ** 32n - 1n,
    -(2n ** 32n),
    -(2n ** 32n) + 5n,
    2n ** 63n - 1n,
    -(2n ** 63n),
    2n ** 31n,
    -2n,
    8n,
    2n ** 53n + 1n,
  ];
  return [
    { ...small, name: 'ordinary', data: [0, 1, 2, 7, 5, 4] },
    { ...small, name: 'the same expert twice in a row', data: [5, 5, 0, 1, 3, 3] },
    ...inBothModes({ ...small, name: '-1', data: [-1, 3, -1, -1, 6, -1] }),
    ...hostile.flatMap((id) =>
      inBothModes({ ...small, name: `other negative, or >= numExperts: ${id}`, data: [0, 1, 2, id, id, 4] }),
    ),
    ...inBothModes({ ...small, name: 'uint64 2^64 - 1', dtype: 'uint64', data: [0, 1, 2n ** 64n - 1n, 3, 4, 5] }),
    ...inBothModes({ ...small, name: 'uint32 2^32 - 1', dtype: 'uint32', data: [0, 1, 2, 3, 2 ** 32 - 1, 5] }),
    ...inBothModes({ ...small, name: 'uint8 255', dtype: 'uint8', data: [0, 255, 2, 3, 4, 5] }),
    ...inBothModes({ ...small, name: 'numExperts % numRanks != 0', numExperts: 10, data: [0, 9, 8, 9, 7, 2] }),
    {
      ...small,
      name: 'numExperts % numRanks != 0, with a placement',
      numExperts: 10,
      placement: [3, 3, 3, 3, 3, 1, 1, 1, 0, 1],
      data: [0, 9, 8, 9, 7, 2],
    },
    ...inBothModes({ ...small, name: 'numExperts < numRanks', numExperts: 3, data: [0, 2, 1, 1, -1, 0] }),
    {
      ...small,
      name: 'numExperts < numRanks, with a placement',
      numExperts: 3,
      placement: [3, 0, 2],
      data: [0, 2, 1, 1, -1, 0],
    },
    {
      ...small,
      name: 'numRanks over one node: not divisible',
      numExperts: 12,
      numRanks: 12,
      numRanksPerNode: 8,
      data: [0, 1, 2, 3, 4, 5],
    },
    {
      ...small,
      name: 'numRanks over one node: 12 of 4',
      numExperts: 12,
      numRanks: 12,
      numRanksPerNode: 4,
      data: [0, 1, 2, 11, 4, 5],
    },
    { ...small, name: 'numRanks <= numRanksPerNode', numRanksPerNode: 8, data: [0, 1, 2, 7, 5, 4] },
    { ...small, name: 'numTokens = 0', shape: [0, 2], data: [] },
    { ...small, name: 'numTopk = 0', shape: [3, 0], data: [] },
    { ...small, name: 'numTokens = 0 and numTopk = 0', shape: [0, 0], data: [] },
    ...idTypeNames.map((dtype) => ({ ...small, name: `id type ${dtype}`, dtype, data: [0, 1, 2, 7, 5, 4] })),
    { ...small, name: 'row stride', data: [0, 1, 99, 2, 7, 99, 5, 4], strides: [3, 1] },
    { ...small, name: 'rows backwards', data: [5, 4, 2, 7, 0, 1], strides: [-2, 1], offset: 4 },
    { ...small, name: 'Fortran order', data: [0, 2, 5, 1, 7, 4], strides: [1, 3] },
    { ...small, name: 'row stride zero', data: [99, 3, 6], strides: [0, 1], offset: 1 },
    { ...small, name: 'the first offender in rows, not in memory', data: [0, 2, 70, 1, 80, 4], strides: [1, 3] },
    ...optionRequests(),
    ...bitsRequests(),
  ];
}

/** Cases for what DeepEP does not have: more axes, empty ids other than -1, placements by name, experts on no rank. */
function optionRequests(): VectorRequest[] {
  const small = { dtype: 'int64', shape: [3, 2], ...twoNodes } as const;
  const folded = { ...small, shape: [4, 2], leadingAxes: [2, 2] } as const;
  const linear = { ...small, placementName: 'linear' } as const;
  const roundRobin = { ...small, placementName: 'round_robin' } as const;
  return [
    { ...folded, name: 'more than two axes', data: [0, 1, 2, 7, 5, 4, -1, 6] },
    {
      ...folded,
      name: 'more than two axes, with strides',
      data: [0, 1, 99, 2, 7, 99, 5, 4, 99, -1, 6],
      strides: [3, 1],
    },
    { ...folded, name: 'more than two axes, one of them 0', shape: [0, 2], leadingAxes: [5, 0], data: [] },
    ...inBothModes({ ...folded, name: 'more than two axes, an invalid id', data: [0, 1, 2, 7, 5, 8, 9, 6] }),
    ...inBothModes({ ...small, name: 'empty id: numExperts', emptyId: 8, data: [0, 8, -1, 7, 8, 8] }),
    ...inBothModes({ ...small, name: 'empty id: another id is invalid', emptyId: 8, data: [0, 8, 9, 7, -2, 8] }),
    { ...small, name: 'empty id: -2', emptyId: -2, data: [0, -2, -1, 7, -2, -2] },
    { ...small, name: 'empty id: an expert', emptyId: 5, data: [0, 5, 5, 5, 4, 5] },
    { ...small, name: 'empty id: expert 0', emptyId: 0, data: [0, 5, 0, 0, 4, 3] },
    { ...small, name: 'empty id: 2^63 - 1', emptyId: 2n ** 63n - 1n, data: [0, 2n ** 63n - 1n, 2, 7, 5, 4] },
    { ...small, name: 'empty id: 2^32 + 5 is not 5', emptyId: 2n ** 32n + 5n, data: [0, 5, 2n ** 32n + 5n, 5, 3, 4] },
    ...(
      [
        ['uint8', 255],
        ['uint16', 65535],
        ['uint32', 2 ** 32 - 1],
        ['uint64', 2n ** 64n - 1n],
      ] as const
    ).map(([dtype, id]) => ({
      ...small,
      name: `empty id: ${id} of ${dtype}`,
      dtype,
      emptyId: id,
      data: [0, id, 2, id, id, 7],
    })),
    { ...small, name: 'empty id: uint8 cannot hold 256', dtype: 'uint8', emptyId: 256, data: [0, 1, 2, 0, 5, 4] },
    ...inBothModes({
      ...small,
      name: 'empty id: uint8 cannot hold -1',
      dtype: 'uint8',
      emptyId: -1,
      data: [0, 255, 2, 3, 5, 4],
    }),
    {
      ...linear,
      name: 'placement linear',
      numExperts: 10,
      placement: [0, 0, 0, 1, 1, 1, 2, 2, 3, 3],
      data: [0, 9, 8, 9, 7, 2],
    },
    {
      ...linear,
      name: 'placement linear, fewer experts than ranks',
      numExperts: 3,
      placement: [0, 1, 2],
      data: [0, 2, 1, 1, -1, 0],
    },
    { ...linear, name: 'placement linear, even', placement: [0, 0, 1, 1, 2, 2, 3, 3], data: [0, 1, 2, 7, 5, 4] },
    {
      ...roundRobin,
      name: 'placement round_robin',
      numExperts: 10,
      placement: [0, 1, 2, 3, 0, 1, 2, 3, 0, 1],
      data: [0, 9, 8, 9, 7, 2],
    },
    {
      ...roundRobin,
      name: 'placement round_robin, fewer experts than ranks',
      numExperts: 3,
      placement: [0, 1, 2],
      data: [0, 2, 1, 1, -1, 0],
    },
    { ...small, name: '-1 in a placement', placement: [0, -1, 1, 1, -1, 3, 3, 2], data: [1, 0, 4, 1, 7, 4] },
    { ...small, name: 'nothing but -1 in a placement', placement: new Array(8).fill(-1), data: [1, 0, 4, 1, 7, 7] },
  ];
}

/** Cases of a mask of bits, with numbers of ranks around the ends of bytes. */
function bitsRequests(): VectorRequest[] {
  const bits = { dtype: 'int64', mask: 'bits' } as const;
  const data = [0, 1, 2, 7, 5, 4, -1, 6];
  return [
    { ...bits, ...twoNodes, name: 'bits', shape: [4, 2], data },
    { ...bits, ...twoNodes, name: 'bits, numTokens = 0', shape: [0, 2], data: [] },
    { ...bits, ...twoNodes, name: 'bits, numTopk = 0', shape: [3, 0], data: [] },
    ...inBothModes({
      ...bits,
      ...twoNodes,
      name: 'bits, an invalid id',
      shape: [4, 2],
      data: [0, 1, 2, 8, 5, 4, 9, 6],
    }),
    ...[1, 7, 8, 9, 16, 17, 63, 64, 65, 72, 128, 130].map((numRanks) => ({
      ...bits,
      name: `bits: ${numRanks} ranks`,
      shape: [3, 2] as const,
      numExperts: numRanks,
      numRanks,
      numRanksPerNode: numRanks % 8 === 0 ? 8 : numRanks,
      data: [0, numRanks - 1, numRanks >> 1, Math.min(7, numRanks - 1), Math.min(8, numRanks - 1), -1],
    })),
  ];
}

/** Pseudo-random cases over all types, shapes and options. */
function randomRequests(): VectorRequest[] {
  const random = new Random(2024);
  return Array.from({ length: 60 }, (_, index) => {
    const dtype = random.pick(idTypeNames);
    const numRanks = random.pick([1, 2, 4, 7, 8, 9, 16, 24, 33, 64, 72]);
    const divisors = [1, 2, 3, 4, 8, 72].filter((divisor) => numRanks <= divisor || numRanks % divisor === 0);
    const placed = random.chance(0.3);
    const numExperts = placed ? random.between(1, 90) : numRanks * random.between(1, 3);
    const [numTokens, numTopk] = [random.between(1, 12), random.between(1, 9)];
    const padding = random.pick([0, 0, 1, 3]);
    const [smallest, largest] = idRange[dtype];
    const hostile = [-2n, BigInt(numExperts), 127n, 255n, 65535n, 2n ** 32n + 1n, largest, smallest].filter(
      (id) => id >= smallest && id <= largest,
    );
    const hostileShare = random.pick([0, 0, 0.05]);
    const data = Array.from({ length: numTokens * (numTopk + padding) }, () => {
      if (random.chance(hostileShare)) return random.pick(hostile);
      return smallest < 0n && random.chance(0.15) ? -1 : random.below(Math.min(numExperts, Number(largest)));
    });
    return {
      name: `random ${index}`,
      dtype,
      data,
      shape: [numTokens, numTopk],
      ...(padding > 0 && { strides: [numTopk + padding, 1] as const }),
      numExperts,
      numRanks,
      numRanksPerNode: random.pick(divisors),
      ...(placed && { placement: Array.from({ length: numExperts }, () => random.below(numRanks)) }),
      invalidExperts: random.pick(['throw', 'ignore'] as const),
    };
  });
}

/** The orders of rows of a vector, with options that change from one to the next. */
function ordersOf(vector: Vector, index: number): OrderVector[] {
  const { name, numExperts, numRanks, placement, invalidExperts } = vector;
  const emptyId = typeof vector.emptyId === 'string' ? BigInt(vector.emptyId) : vector.emptyId;
  const rows = rowsOf(storageOfVector(vector));
  const firstExpert = Math.floor(numExperts / 4);
  const local = { firstExpert, numLocalExperts: Math.ceil((numExperts - firstExpert) / 2) };
  const byExpert = { ...(index % 3 === 2 && local), alignment: [1, 2, 4, 3][index % 4] };
  const byRank = { winner: index % 2 === 0 ? ('first' as const) : ('last' as const) };
  const question = { rows, numExperts, emptyId, invalidExperts };
  return [
    {
      vector: name,
      function: 'getExpertPermutation',
      ...byExpert,
      ...answerInJson(expertOrder({ ...question, ...byExpert })),
    },
    {
      vector: name,
      function: 'getRankPermutation',
      ...byRank,
      ...answerInJson(rankOrder({ ...question, numRanks, placement, ...byRank })),
    },
  ];
}

function answerInJson(
  answer: OrderAnswer<ExpectedExpertOrder | ExpectedRankOrder>,
): Pick<OrderVector, 'expected' | 'expectedError'> {
  if ('order' in answer) return { expected: answer.order };
  const { code, offender } = answer.error;
  return { expectedError: { code, ...(offender && { ...offender, value: toJson(offender.value) }) } };
}

/** The whole file. */
export function makeVectors(): VectorFile {
  const corners = cornerRequests().map(answered);
  const random = randomRequests().map(answered);
  // A mask of bits asks nothing else of an order
  const ordered = [...corners, ...random.slice(0, 20)].filter(({ mask }) => mask === undefined);
  return { format: 1, vectors: [...corners, ...random], orders: ordered.flatMap(ordersOf) };
}
