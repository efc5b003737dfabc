/**
 * A group that computes layouts in workspaces. It does so for every request that a workspace can take: ids in a typed array
 * with a shape, without `out` and without events. It passes all other requests to an ordinary group.
 *
 * @module
 */
import {
  type DispatchLayout,
  ExpertGroup,
  type LayoutOptions,
  type MaskForm,
  type TopkIdxInput,
  type Workspace,
} from 'dispatch-layout';
import { idTypes, type TopkStorage } from '../support/topk-storage.ts';
import type { GroupOptions, TestGroup } from './devices.ts';
import { forOutputs } from './oracle.ts';

/** The number of tokens for which a workspace has more room than its first request needs. */
const spareTokens = 3;

export class WorkspaceGroup implements TestGroup {
  readonly #group: ExpertGroup;
  #key = '';
  #workspace: Workspace | undefined;

  constructor(options: GroupOptions, device: 'wasm' | 'js') {
    this.#group = new ExpertGroup({ ...options, device });
  }

  getDispatchLayout<Mask extends MaskForm = 'bytes'>(
    topkIdx: TopkIdxInput,
    numExperts: number,
    options: LayoutOptions<Mask> = {},
  ): DispatchLayout<Mask> {
    const { out, previousEvent, asyncFinish, allocateOnCommStream, invalidExperts, emptyId, mask } = options;
    const isPlain = [out, previousEvent, asyncFinish, allocateOnCommStream].every((option) => option === undefined);
    if (!isPlain || !isStorage(topkIdx)) return this.#group.getDispatchLayout(topkIdx, numExperts, options);
    const [numTokens, numTopk] = topkIdx.shape;
    const idType = (Object.keys(idTypes) as (keyof typeof idTypes)[]).find(
      (type) => topkIdx.data instanceof idTypes[type],
    );
    if (idType === undefined) return this.#group.getDispatchLayout(topkIdx, numExperts, options);

    const key = [numExperts, numTopk, idType, invalidExperts, emptyId, mask].join();
    if (this.#workspace === undefined || key !== this.#key || numTokens > this.#workspace.maxTokens) {
      const maxTokens = numTokens + spareTokens;
      this.#workspace = this.#group.createWorkspace({
        numExperts,
        maxTokens,
        numTopk,
        idType,
        invalidExperts,
        emptyId,
        mask,
      });
      this.#key = key;
    }
    const { topkIdx: ids } = this.#workspace;
    // The ids after the tokens of a run must not matter, even if they are not experts.
    ids.fill((ids instanceof BigInt64Array || ids instanceof BigUint64Array ? 99999n : 99) as never);
    ids.set(topkIdx.data as never);
    const layout = this.#workspace.run(numTokens);
    return { ...layout, ...forOutputs((name) => layout[name]?.slice() ?? null) } as DispatchLayout<Mask>;
  }
}

/** Whether the ids are in the form that most requests of the suite have, and not in one of the forms that it tests. */
function isStorage(topkIdx: TopkIdxInput): topkIdx is TopkStorage & TopkIdxInput {
  if (Array.isArray(topkIdx) || typeof topkIdx !== 'object' || topkIdx === null) return false;
  const { data, shape, strides, offset, fortranOrder, ...others } = topkIdx as Partial<TopkStorage>;
  if (Object.keys(others).length > 0 || strides !== undefined || offset !== undefined || fortranOrder) return false;
  return ArrayBuffer.isView(data) && Array.isArray(shape) && shape.length === 2 && data.length === shape[0] * shape[1];
}
