/**
 * What plans must be, computed in another way than in the library: lists of items instead of typed arrays, and no code
 * in common.
 *
 * @module
 */
import type { PlacementPlan, RebalanceOptions, ReplicaRule } from 'dispatch-layout/placement';

const float = Math.fround;

interface Item {
  readonly weight: number;
  readonly index: number;
}

/** Packs items, and returns those of each pack, in the order in which they were put there. */
function pack(items: readonly Item[], numPacks: number): Item[][] {
  const room = items.length / numPacks;
  const packs = Array.from({ length: numPacks }, () => ({ items: [] as Item[], weight: 0 }));
  const sorted = room === 1 ? items : [...items].sort((a, b) => b.weight - a.weight);
  sorted.forEach((item, index) => {
    const open = packs.filter((each) => each.items.length < room);
    const lightest = Math.min(...open.map((each) => each.weight));
    const target = room === 1 ? packs[index] : open.filter((each) => each.weight === lightest)[0];
    target.items.push(item);
    target.weight = float(target.weight + item.weight);
  });
  return packs.map((each) => each.items);
}

/** EPLB, for loads whose sums are exact. */
export function rebalanceOracle(
  loads: readonly number[],
  { numPhysicalExperts, numGroups = 1, numNodes = 1, numRanks }: RebalanceOptions,
): { readonly physicalToLogical: number[]; readonly logicalToPhysical: number[][] } {
  const groups = numGroups % numNodes === 0 ? numGroups : 1;
  const nodes = numGroups % numNodes === 0 ? numNodes : 1;
  const size = loads.length / groups;
  const groupItems = Array.from({ length: groups }, (_, index) => ({
    index,
    weight: loads.slice(index * size, (index + 1) * size).reduce((sum, load) => sum + load, 0),
  }));
  const logicalToPhysical: number[][] = loads.map(() => []);
  const physicalToLogical = pack(groupItems, nodes).flatMap((node, nodeIndex) => {
    const experts = node.flatMap(({ index }) =>
      loads.map((_, expert) => expert).slice(index * size, (index + 1) * size),
    );
    const replicas = [...experts];
    const count = (expert: number) => replicas.filter((each) => each === expert).length;
    while (replicas.length < numPhysicalExperts / nodes) {
      const shares = experts.map((expert) => float(loads[expert] / count(expert)));
      replicas.push(experts[shares.indexOf(Math.max(...shares))]);
    }
    const items = replicas.map((expert, index) => ({ index, weight: float(loads[expert] / count(expert)) }));
    const packed = pack(items, numRanks / nodes).flat();
    const first = (nodeIndex * numPhysicalExperts) / nodes;
    packed.forEach(({ index }, slot) => {
      const expert = replicas[index];
      const number = replicas.slice(0, index).filter((each) => each === expert).length;
      logicalToPhysical[expert][number] = first + slot;
    });
    return packed.map(({ index }) => replicas[index]);
  });
  return { physicalToLogical, logicalToPhysical };
}

/** The slot to which a token's selection of an expert goes; -1 if the expert has no replica. */
export function replicaOracle(
  plan: PlacementPlan,
  layer: number,
  expert: number,
  token: number,
  rule: ReplicaRule,
  sourceRank: number,
  numRanksPerNode: number,
): number {
  const all = [...plan.logicalToPhysical[layer][expert]];
  const rankOf = (slot: number) => Math.floor((slot * plan.numRanks) / plan.numPhysicalExperts);
  const nodeOf = (rank: number) => Math.floor(rank / numRanksPerNode);
  const near = [
    all.filter((slot) => rankOf(slot) === sourceRank),
    all.filter((slot) => nodeOf(rankOf(slot)) === nodeOf(sourceRank)),
    all,
  ];
  const candidates = rule === 'nearest' ? (near.find((slots) => slots.length > 0) ?? []) : all;
  if (candidates.length === 0) return -1;
  const number = rule === 'hash' ? (BigInt(token) * 2654435769n) % 2n ** 32n : BigInt(token);
  return candidates[Number(number % BigInt(candidates.length))];
}
