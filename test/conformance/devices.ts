/**
 * The one table of devices that the conformance suite runs on. A line of the table adds a device, or the same device in
 * another build. `DISPATCH_LAYOUT_TEST_DEVICES=wasm,js` selects devices of the table; a device that is named there and
 * cannot be used fails, instead of being skipped.
 *
 * @module
 */
import {
  type DeviceName,
  type DispatchLayout,
  describeDevices,
  ExpertGroup,
  type ExpertGroupOptions,
  type ExpertPermutation,
  type ExpertPermutationOptions,
  type LayoutOptions,
  type MaskForm,
  type RankPermutation,
  type RankPermutationOptions,
  type TopkIdxInput,
} from 'dispatch-layout';
import { setting } from './loader.ts';
import { WorkspaceGroup } from './workspace-group.ts';

/** What the suite needs of a group. */
export interface TestGroup {
  getDispatchLayout<Mask extends MaskForm = 'bytes'>(
    topkIdx: TopkIdxInput,
    numExperts: number,
    options?: LayoutOptions<Mask>,
  ): DispatchLayout<Mask>;
  getExpertPermutation(
    topkIdx: TopkIdxInput,
    numExperts: number,
    options?: ExpertPermutationOptions,
  ): ExpertPermutation;
  getRankPermutation(topkIdx: TopkIdxInput, numExperts: number, options?: RankPermutationOptions): RankPermutation;
}

export type GroupOptions = Omit<ExpertGroupOptions, 'device'>;

interface TableEntry {
  /** The name of the device in the layouts that it returns. */
  readonly device: DeviceName;
  /** Whether the suite passes on a machine where the device is not available. */
  readonly optional: boolean;
  /**
   * Whether this is the device of another line, used in another way. Tests that would only be repeated on it, such as those
   * of the objects of the library, leave it out.
   */
  readonly isVariant: boolean;
  createGroup(options: GroupOptions): TestGroup;
}

/** A line of the table for a device of the library itself. */
function libraryDevice(device: DeviceName, optional: boolean): TableEntry {
  return { device, optional, isVariant: false, createGroup: (options) => new ExpertGroup({ ...options, device }) };
}

/** A line of the table for the workspaces of a device. */
function workspaceDevice(device: 'wasm' | 'js'): TableEntry {
  return { device, optional: false, isVariant: true, createGroup: (options) => new WorkspaceGroup(options, device) };
}

const table: Record<string, TableEntry> = {
  wasm: libraryDevice('wasm', false),
  js: libraryDevice('js', false),
  cuda: libraryDevice('cuda', true),
  'wasm-workspace': workspaceDevice('wasm'),
  'js-workspace': workspaceDevice('js'),
};

/** A device under test. */
export interface TestDevice extends TableEntry {
  /** The device's name in the table. */
  readonly name: string;
  /** Why it cannot be used here, or null. */
  readonly unavailable: string | null;
  /** One layout of a group of its own. */
  getDispatchLayout<Mask extends MaskForm = 'bytes'>(
    topkIdx: TopkIdxInput,
    numExperts: number,
    groupOptions: GroupOptions,
    layoutOptions?: LayoutOptions<Mask>,
  ): DispatchLayout<Mask>;
}

function whyUnavailable(device: DeviceName): string | null {
  const description = describeDevices().find((candidate) => candidate.device === device);
  if (description === undefined) return 'describeDevices() does not know it';
  return description.available ? null : description.reason;
}

/**
 * The devices to test: those that `DISPATCH_LAYOUT_TEST_DEVICES` names, none of which is optional; or all, if it is not
 * set.
 */
export function testDevices(): TestDevice[] {
  const names = setting('DISPATCH_LAYOUT_TEST_DEVICES')?.split(',');
  return (names ?? Object.keys(table)).map((text) => {
    const name = text.trim();
    const entry = Object.hasOwn(table, name) ? table[name] : undefined;
    if (entry === undefined) {
      throw new Error(`DISPATCH_LAYOUT_TEST_DEVICES names '${name}'; the table has ${Object.keys(table).join(', ')}`);
    }
    return {
      ...entry,
      name,
      optional: entry.optional && names === undefined,
      unavailable: whyUnavailable(entry.device),
      getDispatchLayout: (topkIdx, numExperts, groupOptions, layoutOptions) =>
        entry.createGroup(groupOptions).getDispatchLayout(topkIdx, numExperts, layoutOptions),
    };
  });
}
