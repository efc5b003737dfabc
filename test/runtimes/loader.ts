/**
 * What the conformance suite takes from a machine that has neither an environment nor files. In the bundle of the
 * suite, this module replaces `../conformance/loader.ts`.
 *
 * @module
 */

const settings = new Map<string, string>();

/** Sets the values that `setting` returns. */
export function configure(values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) settings.set(name, value);
}

/** A setting of the test run, or undefined. */
export function setting(name: string): string | undefined {
  return settings.get(name);
}

/** There are no traces: they are beside the repository, where no other runtime can read them. */
export function readTrace(): null {
  return null;
}
