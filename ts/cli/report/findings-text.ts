/**
 * Findings for people. Their lines have at most 80 columns.
 *
 * @module
 */
import type { Finding } from '../../findings/finding.ts';
import { wrap } from './wrap.ts';

/** The lines of findings: what each is, what it does to figures, and what to do. */
export function linesOfFindings(findings: readonly Finding[]): string[] {
  return findings.flatMap(({ what, effect, remedy }) => [
    ...wrap('  - ', `${capitalised(what)}.`.split(' ')),
    ...(effect === null ? [] : wrap('    ', `${capitalised(effect)}.`.split(' '))),
    ...(remedy === null ? [] : wrap('    ', `${capitalised(remedy)}.`.split(' '))),
  ]);
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
