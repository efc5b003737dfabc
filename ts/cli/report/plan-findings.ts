/**
 * Plans as placements, and what is odd about them, for reports.
 *
 * @module
 */
import { loadPlacement, type PlacementPlan, type PlanFinding } from '../library.ts';
import type { ChosenPlacement } from '../read/placement.ts';
import type { ChosenPlan } from '../read/plan.ts';
import { grouped } from './numbers.ts';
import type { Heading } from './sections.ts';
import { wrap } from './wrap.ts';

/** The most findings that are shown to people. */
const maxFindings = 8;

/** Replicas that share a rank, and experts that are on none. Empty slots are no fault: uneven experts leave some. */
export async function findInPlan(plan: PlacementPlan): Promise<readonly PlanFinding[]> {
  const { findingsOf } = await loadPlacement();
  return findingsOf(plan).filter(({ kind }) => kind !== 'empty-slot');
}

/** Where experts are, in the words of the report behind their number. */
export function describePlacement(placement: ChosenPlacement | ChosenPlan): string {
  return 'plan' in placement ? `${placement.inWords} in ${placement.plan.numPhysicalExperts} slots` : placement.inWords;
}

/** The section of the report for people; nothing where there are no findings. */
export function planFindingsSection(title: string, findings: readonly PlanFinding[], heading: Heading): string[] {
  if (findings.length === 0) return [];
  const rest = findings.length - maxFindings;
  return [
    '',
    heading(title, findings.length === 1 ? '1 finding' : `${grouped(findings.length)} findings`),
    ...findings.slice(0, maxFindings).flatMap(({ message }) => wrap('  ', message.split(' '))),
    ...(rest > 0 ? [`  and ${grouped(rest)} more; --json has all`] : []),
  ];
}
