/**
 * Prints the report of a result, in the form that the flags ask for.
 *
 * @module
 */
import type { ComputedLayers } from '../compute/computed-layers.ts';
import { withMemory } from '../fail.ts';
import { print } from '../print.ts';
import type { SharedFlags } from '../shared-flags.ts';
import type { Result } from './result.ts';

/**
 * @param formatText makes the report for people. The terminal shows headings in bold if its argument is true.
 * @param formatJson makes the report for programs.
 */
export async function printReport<Reported extends Result<ComputedLayers, unknown>>(
  result: Reported,
  { json, out, html }: SharedFlags & { readonly html?: string },
  formatText: (result: Reported, colour: boolean) => string,
  formatJson: (result: Reported) => string,
): Promise<void> {
  const written = [out, html].flatMap((path) => (path === undefined ? [] : `\nwrote ${path}\n`)).join('');
  // hasColors also reads the environment variables NO_COLOR, FORCE_COLOR, TERM and CI.
  const colour = process.stdout.isTTY && process.stdout.hasColors();
  const report = withMemory(`the report of ${result.perLayer.length} layers`, 'choose one with --layer', () =>
    json ? formatJson(result) : `${formatText(result, colour)}${written}`,
  );
  await print(report);
}
