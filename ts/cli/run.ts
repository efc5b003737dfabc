/**
 * The main command: reads routing, computes its layout, writes the layout to a file if one is named, and reports it.
 *
 * @module
 */
import { computeRoutingLayout } from './compute/layout.ts';
import type { MaskForm } from './library.ts';
import { checkPaths } from './read/check-paths.ts';
import { readPlacement } from './read/placement.ts';
import { openChosenRouting } from './read/routing.ts';
import { reasonOfChosenDevice } from './report/device-reason.ts';
import { formatLayoutJson } from './report/layout-json.ts';
import type { LayoutResult } from './report/layout-result.ts';
import { perLayer, total } from './report/layout-statistics.ts';
import { formatLayoutText } from './report/layout-text.ts';
import { printReport } from './report/print-report.ts';
import { requireFiles, requireNumExperts, requireNumRanks, type SharedFlags } from './shared-flags.ts';

/** The flags of the main command, parsed. */
export interface RunFlags extends SharedFlags {
  readonly ranksPerNode?: number;
  readonly mask: MaskForm;
}

/** @param files the routing files, of which one can be `-` for standard input. */
export async function run(files: readonly string[], flags: RunFlags): Promise<void> {
  const paths = requireFiles(files);
  const numExperts = requireNumExperts(flags);
  const numRanks = requireNumRanks(flags);
  const { device, invalidExperts, emptyId, mask, out } = flags;
  checkPaths(paths, flags);

  const routing = await openChosenRouting(paths, flags);
  const placement = await readPlacement(flags.placement, numExperts, numRanks);
  const layout = await computeRoutingLayout({
    routing,
    numExperts,
    groupOptions: { numRanks, numRanksPerNode: flags.ranksPerNode, placement: placement.option, device },
    invalidExperts,
    emptyId,
    mask,
    out,
  });

  const result: LayoutResult = {
    computed: layout,
    invalidExperts,
    placement,
    deviceReason: reasonOfChosenDevice(device),
    total: total(layout),
    perLayer: perLayer(layout),
  };
  await printReport(result, flags, formatLayoutText, formatLayoutJson);
}
