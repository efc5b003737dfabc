/**
 * The form of vllm-ascend's expert map: for each layer and device, the list of its experts.
 *
 * @module
 */
import { createPlan, rankOfSlot, wrongPlan } from '../plan.ts';
import { isRecord, listAt, numbersAt } from './arrays.ts';
import { formatJson, type PlanFormat } from './format.ts';

export const vllmAscend: PlanFormat = {
  matches: (content) => isRecord(content) && 'layer_list' in content,

  read(content, options) {
    const { layer_list: list, moe_layer_count: count } = content as Readonly<Record<string, unknown>>;
    const layers = listAt('layer_list', list).map((layer, index) => {
      const { layer_id = index, device_list, device_count } = Object(layer) as Readonly<Record<string, unknown>>;
      return { id: layer_id as number, devices: devicesOf(`layer ${layer_id}`, device_list, device_count) };
    });
    if (count !== undefined && count !== layers.length) {
      throw wrongPlan(
        `moe_layer_count is ${count}, but there are ${layers.length} layers`,
        count,
        'Correct one of them.',
      );
    }
    const numRanks = options.numRanks ?? layers[0]?.devices.length;
    for (const { id, devices } of layers) {
      if (devices.length === numRanks) continue;
      const problem = `layer ${id} has ${devices.length} devices, not ${numRanks}`;
      throw wrongPlan(problem, devices.length, 'All layers must be on the same ranks.');
    }
    // A rank with fewer experts than another has empty slots
    const slotsPerRank = Math.max(0, ...layers.flatMap(({ devices }) => devices.map((experts) => experts.length)));
    const rows = layers.map(({ devices }) =>
      devices.flatMap((experts) => [...experts, ...new Array<number>(slotsPerRank - experts.length).fill(-1)]),
    );
    const layerIds = layers.map(({ id }) => id);
    return createPlan(rows, { numRanks, numExperts: options.numExperts, layerIds });
  },

  write(plan) {
    const layers = plan.physicalToLogical.map((slots, layer) => ({
      layer_id: plan.layerIds[layer],
      device_count: plan.numRanks,
      device_list: Array.from({ length: plan.numRanks }, (_, rank) => ({
        device_id: rank,
        device_expert: [...slots].filter((expert, slot) => expert >= 0 && rankOfSlot(slot, plan) === rank),
      })),
    }));
    return formatJson({ moe_layer_count: plan.numLayers, layer_list: layers });
  },
};

/** The experts of each device of a layer, in the order of devices. */
function devicesOf(place: string, list: unknown, count: unknown): number[][] {
  const devices: number[][] = [];
  for (const [index, device] of listAt(`${place}, device_list`, list).entries()) {
    const { device_id: id = index, device_expert: experts } = Object(device) as Readonly<Record<string, unknown>>;
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) in devices) {
      throw wrongPlan(
        `${place} has a second device ${id}, or ${id} is no number of a device`,
        id,
        'Correct device_id.',
      );
    }
    devices[id as number] = Array.from(numbersAt(`${place}, device_expert of device ${id}`, experts));
  }
  const missing = Array.from(devices).indexOf(undefined as never);
  if (missing >= 0) throw wrongPlan(`${place} lacks device ${missing}`, missing, 'Devices are numbered from 0.');
  if (count === undefined || count === devices.length) return devices;
  const problem = `${place}: device_count is ${count}, but there are ${devices.length} devices`;
  throw wrongPlan(problem, count, 'Correct one of them.');
}
