/**
 * Runs the conformance suite as users run the library: it packs the library, installs the tarball in an empty project,
 * and runs the suite from there in every runtime and as the bundlers build it, with one row of the table for each.
 * `./build.sh runtimes [WORD]...` runs the rows whose names contain one of the words. A runtime that is not available
 * is skipped; with `--complete`, that is a failure.
 *
 * @module
 */
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageChecks } from './package-checks.mjs';
import { bundlerRows, policyRows, rawRows } from './pages.mjs';
import { addSuite, makeProject, packLibrary } from './project.mjs';
import { failedCell, Report } from './report.mjs';
import { nodeBundleRows, serverRows } from './servers.mjs';
import { Site } from './site.mjs';
import { sizeRows } from './sizes.mjs';
import { workerdRow } from './workerd.mjs';

/** The number of rows that run at the same time. */
const numLanes = 2;

const options = {
  expectedDevice: 'wasm',
  // `./build.sh test` runs many random requests. This run is about the runtimes, so fewer are enough.
  settings: { DISPATCH_LAYOUT_TEST_RUNS: process.env.DISPATCH_LAYOUT_TEST_RUNS || '0.1' },
};

const flag = '--complete';
const isComplete = process.argv.includes(flag);
const words = process.argv.slice(2).flatMap((word) => (word === flag ? [] : word.toLowerCase()));
const folder = await realpath(await mkdtemp(join(tmpdir(), 'dispatch-layout-runtimes-')));
const site = await new Site().start();
const report = new Report();
try {
  const tarball = await packLibrary(folder);
  const project = join(folder, 'project');
  await makeProject(project, tarball);
  await addSuite(project);
  const rows = [
    ...Object.entries(packageChecks(project, folder, tarball)).map(([name, check]) => ({ name, check })),
    ...sizeRows(project, folder),
    ...serverRows(project, options),
    ...nodeBundleRows(project, folder, options),
    workerdRow(project, folder, options),
    ...(await rawRows(project, site, options)),
    ...bundlerRows(project, folder, site, options),
    ...policyRows(project, folder, site, options),
  ].filter(({ name }) => words.length === 0 || words.some((word) => name.toLowerCase().includes(word)));
  if (rows.length === 0) throw new Error(`no row is called ${words.join(' or ')}`);

  const outcomes = rows.map(() => undefined);
  const waiting = rows.entries();
  const lane = async () => {
    for (const [index, row] of waiting) {
      console.error(`  ${row.name}`);
      outcomes[index] = await outcomeOf(row);
    }
  };
  await Promise.all(Array.from({ length: numLanes }, lane));

  for (const [index, { name }] of rows.entries()) {
    const { results, cell, seconds } = outcomes[index];
    if (results !== undefined) report.addResults(name, results, seconds);
    else report.addRow(name, cell, seconds);
  }
} finally {
  site.stop();
  await rm(folder, { recursive: true, force: true });
}
console.log(report.toString());
console.log(`\n${report.count('passed')} passed, ${report.count('failed')} failed, ${report.count('skipped')} skipped`);
process.exitCode = report.count('failed') > 0 ? 1 : 0;

/** Runs one row. Returns the results of its suite, or one cell for the whole row, and the time that it took. */
async function outcomeOf({ missing, run, measure, check }) {
  if (missing !== undefined)
    return { cell: isComplete ? failedCell(missing) : { outcome: 'skipped', reason: missing } };
  const started = performance.now();
  const since = () => (performance.now() - started) / 1000;
  try {
    if (run !== undefined) return { results: await run(), seconds: since() };
    if (measure !== undefined) return { cell: { outcome: 'passed', detail: await measure() }, seconds: since() };
    await check();
    return { cell: { outcome: 'passed', detail: 'passed' }, seconds: since() };
  } catch (error) {
    return { cell: failedCell(error), seconds: since() };
  }
}
