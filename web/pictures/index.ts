/**
 * The table of all pictures, in the order of the page.
 *
 * @module
 */
import { beforeAndAfter } from './before-and-after.ts';
import { coverage } from './coverage.ts';
import { layersByExperts } from './layers-by-experts.ts';
import { layersByRanks } from './layers-by-ranks.ts';
import { balanceOverRanks, fanOutOverRanks } from './numbers-of-ranks.ts';
import { fanOut, nodesOfLayer, ranksOfLayer } from './one-layer.ts';
import type { Picture } from './picture.ts';
import { trafficBetweenNodes, trafficBetweenRanks } from './traffic.ts';
import { windows } from './windows.ts';

export const pictures: readonly Picture[] = [
  layersByExperts,
  layersByRanks,
  beforeAndAfter,
  windows,
  ranksOfLayer,
  nodesOfLayer,
  fanOut,
  coverage,
  balanceOverRanks,
  fanOutOverRanks,
  trafficBetweenRanks,
  trafficBetweenNodes,
];
