/**
 * The groups that the free functions used last, and keep.
 *
 * @module
 */
import { ComputingGroup } from './computing-group.ts';
import type { DeviceOption } from './errors/availability.ts';
import type { ExpertGroupOptions } from './options.ts';

let last: { readonly group: ComputingGroup; readonly options: ExpertGroupOptions } | undefined;

/**
 * Returns a group with these options: the last one, or a new one.
 *
 * @param anyNodes whether the ranks may be in any nodes if `numRanksPerNode` is not given.
 */
export function groupOf(options: ExpertGroupOptions, anyNodes = false): ComputingGroup {
  const { numRanks, numRanksPerNode, placement, device } = options;
  // A getter in the placement may call this function, which then changes `last`
  const known = last;
  if (
    known !== undefined &&
    known.options.numRanks === numRanks &&
    (known.options.numRanksPerNode === numRanksPerNode || (anyNodes && numRanksPerNode === undefined)) &&
    known.options.device === device &&
    known.group.hasPlacement(placement)
  ) {
    return known.group;
  }
  // One node can have any number of ranks
  const perNode = anyNodes && numRanksPerNode === undefined ? numRanks : numRanksPerNode;
  const group = new ComputingGroup({ numRanks, numRanksPerNode: perNode, placement, device });
  last = { group, options: { numRanks, numRanksPerNode: perNode, device } };
  return group;
}

let alone: { readonly group: ComputingGroup; readonly device: DeviceOption | undefined } | undefined;

/** Returns a group for orders by expert, in which it does not matter on which ranks experts are. */
export function groupOfExperts(device: DeviceOption | undefined): ComputingGroup {
  if (alone === undefined || alone.device !== device) {
    alone = { group: new ComputingGroup({ numRanks: 1, device }), device };
  }
  return alone.group;
}

/** Makes the next calls create new groups, which choose their devices anew. */
export function forgetGroups(): void {
  last = undefined;
  alone = undefined;
}
