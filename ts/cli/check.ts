/**
 * `dispatch-layout check`: says what is wrong or odd in routing files, what it does to figures, and which flag deals with
 * it.
 *
 * @module
 */

import type { Finding } from '../findings/finding.ts';
import { numExpertsIn } from '../findings/number-of-experts.ts';
import { fingerprint } from './compute/fingerprint.ts';
import { type Observation, observe } from './compute/observe.ts';
import { exitCodes } from './exit-codes.ts';
import { limits } from './flags.ts';
import { print } from './print.ts';
import { startProgress } from './progress.ts';
import { checkPaths } from './read/check-paths.ts';
import { type ChosenRouting, openChosenRouting, type RoutingFlags } from './read/routing.ts';
import { fact, factsOfFile } from './report/facts.ts';
import { linesOfFindings } from './report/findings-text.ts';
import { jsonOfFile } from './report/json-parts.ts';
import { headingIn } from './report/sections.ts';
import { requireFiles } from './shared-flags.ts';

/** The flags of `check`, parsed. */
export interface CheckFlags extends RoutingFlags {
  readonly numExperts?: number;
  readonly emptyId?: number | bigint;
  readonly fingerprint?: true;
  readonly json?: true;
}

/** What a check has found out. */
interface Checked {
  readonly routing: ChosenRouting;
  readonly numExperts: number;
  /** Where the number of experts comes from, as the rest of a sentence. */
  readonly numExpertsBecause: string;
  readonly observation: Observation;
  readonly idsSha256: string | null;
}

/** @param files the routing files, of which one can be `-` for standard input. */
export async function check(files: readonly string[], flags: CheckFlags): Promise<void> {
  const paths = requireFiles(files);
  checkPaths(paths, {});
  const routing = await openChosenRouting(paths, flags);
  const { numExperts, because } = await numberOfExperts(routing, flags);
  const observation = await observe(routing, numExperts, flags.emptyId);
  const idsSha256 = flags.fingerprint ? await fingerprint(routing, flags.emptyId) : null;
  const checked: Checked = { routing, numExperts, numExpertsBecause: because, observation, idsSha256 };
  await print(flags.json ? formatJson(checked) : formatText(checked));
  // What the format says of how it was read is no finding against the file.
  if (observation.findings.some(({ remedy }) => remedy !== null)) process.exitCode = exitCodes.finding;
}

async function numberOfExperts(
  routing: ChosenRouting,
  flags: CheckFlags,
): Promise<{ numExperts: number; because: string }> {
  if (flags.numExperts !== undefined) return { numExperts: flags.numExperts, because: '--num-experts says so' };
  const { numExperts } = routing.routing;
  if (numExperts !== null) return { numExperts, because: 'the file says so' };
  const progress = startProgress('looking for experts', routing.routing.tokens * routing.chosen.length, 'tokens');
  let numDone = 0;
  const onPiece = (numTokens: number): void => {
    numDone += numTokens;
    progress.update(numDone);
  };
  try {
    const found = await numExpertsIn(routing.routing, routing.chosen, limits.experts, onPiece);
    return { numExperts: found, because: 'one more than the largest id' };
  } finally {
    progress.stop();
  }
}

function formatText({ routing, numExperts, numExpertsBecause, observation, idsSha256 }: Checked): string {
  const heading = headingIn(process.stdout.isTTY && process.stdout.hasColors());
  const { findings } = observation;
  const lines = [
    ...factsOfFile(routing, routing.chosen.length),
    ...fact('experts', `${numExperts}: ${numExpertsBecause}`),
    ...(idsSha256 === null ? [] : fact('sha256', idsSha256)),
    '',
    ...(findings.length === 0 ? ['No findings'] : [heading('Findings', ''), ...linesOfFindings(findings)]),
  ];
  return `${lines.join('\n')}\n`;
}

function formatJson({ routing, numExperts, numExpertsBecause, observation, idsSha256 }: Checked): string {
  const { observer, findings } = observation;
  const { numbering, rank } = routing.routing;
  const report = {
    ...jsonOfFile(routing),
    numbering,
    rank,
    numExperts,
    numExpertsBecause,
    layers: observer.layers.map((layer, index) => ({
      layer: routing.layers?.[index] ?? null,
      numTokens: layer.numTokens,
      numExpertsChosen: layer.counts.filter((count) => count > 0).length,
      numTokensWithAnExpertTwice: layer.numTwice + layer.numOfOne + layer.numWrapped,
      numInvalidIds: layer.numInvalid,
    })),
    findings: findings satisfies readonly Finding[],
    ...(idsSha256 !== null && { idsSha256 }),
  };
  return `${JSON.stringify(report)}\n`;
}
