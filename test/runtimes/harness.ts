/**
 * `describe`, `it` and `it.skip` for runtimes that have no test runner.
 *
 * @module
 */

type Body = () => unknown;

interface Test {
  readonly title: string;
  /** The test itself, or undefined if it is skipped. */
  readonly body: Body | undefined;
}

/** The results of one top-level `describe`. */
export interface GroupResult {
  readonly name: string;
  readonly passed: number;
  /** The titles of skipped tests. */
  readonly skipped: readonly string[];
  /** The titles and stacks of failed tests. */
  readonly failed: readonly string[];
}

/** Runs the tests that `declare` declares, in order, and returns one result for each top-level `describe`. */
export async function run(declare: () => void): Promise<GroupResult[]> {
  const groups = new Map<string, Test[]>();
  const path: string[] = [];
  const add = (title: string, body: Body | undefined): void => {
    const [group = '', ...rest] = path;
    const tests = groups.get(group) ?? [];
    groups.set(group, tests);
    tests.push({ title: [...rest, title].join(' › '), body });
  };
  const describe = (title: string, body: () => void): void => {
    path.push(title);
    body();
    path.pop();
  };
  const it = Object.assign(add, { skip: (title: string) => add(title, undefined) });
  Object.assign(globalThis, { describe, it });
  declare();

  const results: GroupResult[] = [];
  for (const [name, tests] of groups) results.push(await runGroup(name, tests));
  return results;
}

async function runGroup(name: string, tests: readonly Test[]): Promise<GroupResult> {
  const skipped: string[] = [];
  const failed: string[] = [];
  let passed = 0;
  for (const { title, body } of tests) {
    if (body === undefined) {
      skipped.push(title);
      continue;
    }
    try {
      await body();
      passed += 1;
    } catch (error) {
      failed.push(`${title}\n${textOf(error)}`);
    }
  }
  return { name, passed, skipped, failed };
}

function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const text = `${error.message}\n${error.stack}`;
  return error.cause === undefined ? text : `${text}\ncaused by ${textOf(error.cause)}`;
}
