/**
 * A group that computes layouts in workspaces. It does so for every request that a workspace can take: ids in a typed array
 * with a shape, without `out` and without events. It passes all other requests to an ordinary group.
 *
 * @module
 */
import {
  type DispatchLayout,
  ExpertGroup,
  type ExpertPermutation,
  type ExpertPermutationOptions,
  type LayoutOptions,
  type MaskForm,
  type RankPermutation,
  type RankPermutationOptions,
  type TopkIdxInput,
  type Workspace,
  type WorkspaceOptions,
} from 'dispatch-layout';
import { type IdType, idTypeNames, idTypes, type TopkStorage } from '../support/topk-storage.ts';
import type { GroupOptions, TestGroup } from './devices.ts';

/** The number of tokens for which a workspace has more room than its first request needs. */
const spareTokens = 3;

/** Options of any call. */
interface AnyOptions {
  readonly invalidExperts?: 'throw' | 'ignore' | undefined;
  readonly emptyId?: number | bigint | undefined;
}

/** What a workspace is kept for. */
type RunOptions = Pick<WorkspaceOptions<IdType, MaskForm>, 'mask' | 'expertPermutation' | 'rankPermutation'>;

export class WorkspaceGroup implements TestGroup {
  readonly #group: ExpertGroup;
  /** A group for orders by expert, since a workspace of the group is an error if its experts are uneven. */
  readonly #alone: ExpertGroup;
  readonly #workspaces = new Map<string, { readonly key: string; readonly workspace: Workspace }>();

  constructor(options: GroupOptions, device: 'wasm' | 'js') {
    this.#group = new ExpertGroup({ ...options, device });
    this.#alone = new ExpertGroup({ numRanks: 1, device });
  }

  getDispatchLayout<Mask extends MaskForm = 'bytes'>(
    topkIdx: TopkIdxInput,
    numExperts: number,
    options: LayoutOptions<Mask> = {},
  ): DispatchLayout<Mask> {
    if (!isPlain(topkIdx, options)) return this.#group.getDispatchLayout(topkIdx, numExperts, options);
    const workspace = this.#workspaceWith(topkIdx, numExperts, options, { mask: options.mask });
    return copyOf(workspace.run(topkIdx.shape[0])) as DispatchLayout<Mask>;
  }

  getExpertPermutation(
    topkIdx: TopkIdxInput,
    numExperts: number,
    options: ExpertPermutationOptions = {},
  ): ExpertPermutation {
    if (!isPlain(topkIdx, options)) return this.#group.getExpertPermutation(topkIdx, numExperts, options);
    const { firstExpert, numLocalExperts, alignment } = options;
    const expertPermutation = { firstExpert, numLocalExperts, alignment };
    // The other order has arrays of its own
    const run = { expertPermutation, rankPermutation: true } as const;
    const workspace = this.#workspaceWith(topkIdx, numExperts, options, run);
    return copyOf(workspace.runExpertPermutation(topkIdx.shape[0]));
  }

  getRankPermutation(topkIdx: TopkIdxInput, numExperts: number, options: RankPermutationOptions = {}): RankPermutation {
    if (!isPlain(topkIdx, options)) return this.#group.getRankPermutation(topkIdx, numExperts, options);
    const run = { rankPermutation: { winner: options.winner } };
    return copyOf(this.#workspaceWith(topkIdx, numExperts, options, run).runRankPermutation(topkIdx.shape[0]));
  }

  /** A workspace that holds the ids: the last one of this kind, if it has room for them. */
  #workspaceWith(
    topkIdx: TopkStorage,
    numExperts: number,
    { invalidExperts, emptyId }: AnyOptions,
    run: RunOptions,
  ): Workspace {
    const [numTokens, numTopk] = topkIdx.shape;
    const idType = idTypeOf(topkIdx);
    const options = { numExperts, numTopk, idType, invalidExperts, emptyId, ...run };
    const key = JSON.stringify(options, (_, value) => (typeof value === 'bigint' ? `${value}n` : value));
    const kind = run.expertPermutation !== undefined ? 'by expert' : run.rankPermutation ? 'by rank' : 'layout';
    let known = this.#workspaces.get(kind);
    if (known?.key !== key || numTokens > known.workspace.maxTokens) {
      const group = run.expertPermutation === undefined ? this.#group : this.#alone;
      known = { key, workspace: group.createWorkspace({ ...options, maxTokens: numTokens + spareTokens }) };
      this.#workspaces.set(kind, known);
    }
    const { topkIdx: ids } = known.workspace;
    // The ids after the tokens of a run must not matter, even if they are not experts.
    ids.fill((ids instanceof BigInt64Array || ids instanceof BigUint64Array ? 99999n : 99) as never);
    ids.set(topkIdx.data as never);
    return known.workspace;
  }
}

/** The result with arrays of its own, which later runs do not change. */
function copyOf<Result extends object>(result: Result): Result {
  const copies = Object.entries(result).map(([name, value]) => [
    name,
    ArrayBuffer.isView(value) ? (value as Int32Array).slice() : value,
  ]);
  const { numRows } = result as { numRows?: number };
  return { ...Object.fromEntries(copies), ...(numRows !== undefined && { numRows }) };
}

function idTypeOf({ data }: TopkStorage): IdType {
  return idTypeNames.find((type) => data instanceof idTypes[type]) as IdType;
}

/** Whether a workspace can take a request. */
function isPlain(
  topkIdx: TopkIdxInput,
  options: Pick<LayoutOptions, 'previousEvent' | 'asyncFinish' | 'allocateOnCommStream'> & { readonly out?: unknown },
): topkIdx is TopkStorage & TopkIdxInput {
  const { out, previousEvent, asyncFinish, allocateOnCommStream } = options;
  if ([out, previousEvent, asyncFinish, allocateOnCommStream].some((option) => option !== undefined)) return false;
  return isStorage(topkIdx) && idTypeOf(topkIdx) !== undefined;
}

/** Whether the ids are in the form that most requests of the suite have, and not in one of the forms that it tests. */
function isStorage(topkIdx: TopkIdxInput): topkIdx is TopkStorage & TopkIdxInput {
  if (Array.isArray(topkIdx) || typeof topkIdx !== 'object' || topkIdx === null) return false;
  const { data, shape, strides, offset, fortranOrder, ...others } = topkIdx as Partial<TopkStorage>;
  if (Object.keys(others).length > 0 || strides !== undefined || offset !== undefined || fortranOrder) return false;
  return ArrayBuffer.isView(data) && Array.isArray(shape) && shape.length === 2 && data.length === shape[0] * shape[1];
}
