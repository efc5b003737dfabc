/**
 * The main command: reads routing, computes its layout, writes the layout to a file if one is named, and reports it.
 *
 * @module
 */
import { realpathSync } from 'node:fs';
import { computeRoutingLayout } from './compute.ts';
import { fail, withMemory } from './fail.ts';
import { type axesChoices, type InvalidExperts, isPlacementName } from './flags.ts';
import { type DeviceOption, describeDevices, type MaskForm } from './library.ts';
import { print } from './print.ts';
import { routingContent } from './read/content.ts';
import { readPlacement } from './read/placement.ts';
import { readArray } from './read/read-array.ts';
import { displayName } from './read/read-bytes.ts';
import { asRouting } from './read/routing.ts';
import { deviceReason } from './report/device-reason.ts';
import { formatJsonReport } from './report/json-report.ts';
import type { RunResult } from './report/run-result.ts';
import { perLayer, total } from './report/statistics.ts';
import { formatReport } from './report/text-report.ts';
import { writeLayoutFile } from './write/layout-file.ts';

/** The flags of the main command, parsed. */
export interface RunFlags {
  readonly numExperts?: number;
  readonly numRanks?: number;
  readonly ranksPerNode?: number;
  readonly layer?: number | 'all';
  readonly axes: (typeof axesChoices)[number];
  readonly array?: string;
  readonly placement?: string;
  readonly device: DeviceOption;
  readonly invalidExperts: InvalidExperts;
  readonly emptyId?: number | bigint;
  readonly mask: MaskForm;
  readonly out?: string;
  readonly json?: true;
}

/** @param path the routing file, or `-` for standard input. */
export async function run(path: string | undefined, flags: RunFlags): Promise<void> {
  const { numExperts, numRanks, out } = flags;
  if (path === undefined) fail('no FILE given; see dispatch-layout --help');
  if (numExperts === undefined) fail('--num-experts E is missing: the number of experts over all ranks');
  if (numRanks === undefined) fail('--num-ranks R is missing: the number of ranks that share the experts');
  if (path === '-' && flags.placement === '-') fail('FILE and --placement cannot both be standard input');
  if (out !== undefined) checkOut(out, path, flags.placement);

  const name = displayName(path);
  const array = await readArray(path, routingContent, flags.array);
  const routing = asRouting(array, flags.layer, flags.axes === 'tokens,layers,topk', name);
  const placement =
    flags.placement === undefined || isPlacementName(flags.placement)
      ? flags.placement
      : await readPlacement(flags.placement, numExperts, numRanks);
  const layout = computeRoutingLayout({
    routing,
    name,
    numExperts,
    groupOptions: { numRanks, numRanksPerNode: flags.ranksPerNode, placement, device: flags.device },
    invalidExperts: flags.invalidExperts,
    emptyId: flags.emptyId,
    mask: flags.mask,
    keepRows: out !== undefined,
  });
  if (out !== undefined) writeLayoutFile(out, layout, routing.layers !== null && typeof flags.layer !== 'number');

  const devices = describeDevices(flags.device);
  const chosen = devices.find((device) => device.chosen);
  const result: RunResult = {
    name,
    routing,
    layout,
    invalidExperts: flags.invalidExperts,
    placement: placement === undefined ? 'contiguous' : typeof placement === 'string' ? placement : 'table',
    placementName: flags.placement === undefined ? null : placementInWords(flags.placement),
    deviceReason: chosen === undefined ? '' : deviceReason(chosen, devices, flags.device),
    statistics: total(layout),
    perLayer: perLayer(layout),
  };
  const written = out === undefined ? '' : `\nwrote ${out}\n`;
  // hasColors also reads the environment variables NO_COLOR, FORCE_COLOR, TERM and CI.
  const colour = process.stdout.isTTY && process.stdout.hasColors();
  const report = withMemory(`the report of ${routing.views.length} layers`, 'choose one with --layer', () =>
    flags.json ? formatJsonReport(result) : `${formatReport(result, colour)}${written}`,
  );
  await print(report);
}

/** Refuses an `--out` that would overwrite an input. */
function checkOut(out: string, path: string, placement: string | undefined): void {
  if (out === '-') fail('--out takes the name of a file; the report goes to standard output');
  for (const input of [path, placement]) {
    if (input !== undefined && input !== '-' && isSameFile(out, input)) {
      fail(`--out ${out} would overwrite the input; choose another name`);
    }
  }
}

function isSameFile(left: string, right: string): boolean {
  const resolve = (path: string): string | null => {
    try {
      return realpathSync(path);
    } catch {
      // A file that is missing or cannot be reached is taken for a different one. If it is needed, reading or writing
      // it fails and says why.
      return null;
    }
  };
  const resolved = resolve(left);
  return resolved !== null && resolved === resolve(right);
}

function placementInWords(placement: string): string {
  return isPlacementName(placement) ? `placed ${placement}` : `placed by ${displayName(placement)}`;
}
