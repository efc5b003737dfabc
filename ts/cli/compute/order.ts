/**
 * Computes an order of rows for all chosen layers, and writes it to a file if one is named.
 *
 * @module
 */
import { fail, failOnLibraryError } from '../fail.ts';
import type { InvalidExperts } from '../flags.ts';
import {
  ExpertGroup,
  type ExpertGroupOptions,
  type ExpertOrder,
  type OutputShape,
  type RankOrder,
  type WorkspaceOrders,
} from '../library.ts';
import type { ChosenRouting } from '../read/routing.ts';
import { createOrderFile, type OrderOfLayers, type PieceOrder } from '../write/order-file.ts';
import { addTo } from './computed-layers.ts';
import { createWorkspace, type Pass, type RoutingWorkspace, runPass, timePasses } from './pass.ts';
import { createSlotWorkspace, type PlannedPlacement } from './slot-workspace.ts';

/** What is to be computed, and how. */
export interface OrderJob {
  readonly routing: ChosenRouting;
  readonly numExperts: number;
  readonly order: ExpertOrder | RankOrder;
  readonly groupOptions: ExpertGroupOptions;
  /** Where the experts are, if it is not the placement of the group; only of an order by rank. */
  readonly planned: PlannedPlacement | null;
  readonly invalidExperts: InvalidExperts;
  /** The id that stands for an empty slot, beside -1. */
  readonly emptyId: number | bigint | undefined;
  /** The file to write the orders to. */
  readonly out: string | undefined;
}

/** Computes the order of every layer of the routing. */
export async function computeRoutingOrder(job: OrderJob): Promise<OrderOfLayers> {
  const { routing, numExperts, order, groupOptions, planned, invalidExperts, emptyId, out } = job;
  try {
    const group = new ExpertGroup(groupOptions);
    const { numRanks, numRdmaRanks, device } = group;
    const { tokens: numTokens, topk: numTopk } = routing.routing;
    const shape: OutputShape = { numTokens, numTopk, numExperts, numRanks, numRdmaRanks, computation: order };
    const isByExpert = order.kind === 'byExpert';
    const numGroups = isByExpert ? order.numLocalExperts : numRanks;
    const alignment = isByExpert ? order.alignment : 1;
    const counts = routing.chosen.map(() => new Float64Array(numGroups));
    const options = { invalidExperts, emptyId, mask: 'none' } as const;
    const orders: WorkspaceOrders = isByExpert
      ? // The rows of a layer are padded where the pieces are put together.
        { expertPermutation: { firstExpert: order.firstExpert, numLocalExperts: order.numLocalExperts } }
      : { rankPermutation: { winner: order.winner } };
    const mapped =
      planned === null
        ? null
        : await createSlotWorkspace({ routing, numExperts, groupOptions, options, orders, planned });
    const workspace = mapped?.workspace ?? createWorkspace({ routing, group, numExperts, options, orders });
    const pass: Pass<PieceOrder> = {
      routing,
      workspace,
      numExperts,
      compute(count, piece) {
        mapped?.map(count, piece);
        return orderOfPiece(mapped?.slots ?? workspace, isByExpert, count);
      },
      receive: (piece, { layer }) => addTo(counts[layer], piece.counts),
    };
    const timing = await timePasses(pass);
    const offsets = counts.map((ofLayer) => offsetsOf(ofLayer, alignment));
    const numRows = offsets.map((ofLayer) => ofLayer[numGroups]);
    const mostRows = Math.max(0, ...numRows);
    if (mostRows > maxRows) {
      const remedy = alignment > 1 ? 'split it by tokens, or lower --alignment' : 'split it by tokens';
      fail(`${routing.name} has ${mostRows} rows in a layer, more than int32 can number; ${remedy}`);
    }
    const result = { ...shape, routing, device, computation: order, numLayers: counts.length, counts, numRows, timing };
    if (out === undefined) return result;
    const file = createOrderFile(out, result, offsets);
    try {
      await runPass({ ...pass, receive: (piece, place) => file.writePiece(piece, place) });
      file.finish();
    } finally {
      file.discard();
    }
    return result;
  } catch (error) {
    return failOnLibraryError(routing.name, numExperts, error);
  }
}

const maxRows = 2 ** 31 - 1;

function orderOfPiece(workspace: RoutingWorkspace, isByExpert: boolean, numTokens: number): PieceOrder {
  if (isByExpert) {
    const { numTokensPerExpert, selectionOfRow, rowOfSelection } = workspace.runExpertPermutation(numTokens);
    return { counts: numTokensPerExpert, contentOfRow: selectionOfRow, rowOfSelection };
  }
  const { numTokensPerRank, tokenOfRow, rowOfSelection } = workspace.runRankPermutation(numTokens);
  return { counts: numTokensPerRank, contentOfRow: tokenOfRow, rowOfSelection };
}

/** The first row of each group, and last the number of rows. The rows of a group are padded to a multiple of `alignment`. */
function offsetsOf(counts: Float64Array, alignment: number): Float64Array {
  const offsets = new Float64Array(counts.length + 1);
  counts.forEach((count, group) => {
    offsets[group + 1] = offsets[group] + Math.ceil(count / alignment) * alignment;
  });
  return offsets;
}
