/**
 * What the conformance suite takes from the machine, where there is neither an environment nor files: takes the place of
 * `../conformance/loader.ts` in the bundle of the suite.
 *
 * @module
 */

const settings = new Map<string, string>();

/** Sets what `setting` finds. */
export function configure(values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) settings.set(name, value);
}

/** A setting of the test run, or undefined. */
export function setting(name: string): string | undefined {
  return settings.get(name);
}

/** The traces lie beside the repository, where no other runtime sees them. */
export function readTrace(): null {
  return null;
}
