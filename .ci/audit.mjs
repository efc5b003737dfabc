/**
 * Fails on known vulnerabilities of the packages in every lockfile: of run-time dependencies from "moderate" on, of all
 * others (which no user installs) from "high" on. Where the registry does not answer, nothing is known, and nothing fails.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { dirname } from 'node:path';

const lockfiles = execFileSync('git', ['ls-files', '*package-lock.json'], { encoding: 'utf8' }).trim().split('\n');
const audits = [
  { what: 'run-time dependencies', folder: '.', flags: ['--omit=dev', '--audit-level=moderate'] },
  ...lockfiles.map((lockfile) => ({ what: lockfile, folder: dirname(lockfile), flags: ['--audit-level=high'] })),
];

let isVulnerable = false;
for (const { what, folder, flags } of audits) {
  const args = ['audit', '--json', '--package-lock-only', '--fetch-retries=1', '--prefix', folder, ...flags];
  const { status, stdout, stderr } = spawnSync('npm', args, { encoding: 'utf8' });
  const report = parse(stdout);
  if (report?.vulnerabilities === undefined) {
    console.log(`audit: skipped: ${what}: ${report?.message ?? (stderr.trim() || 'npm printed nothing')}`);
    continue;
  }
  const found = Object.values(report.vulnerabilities).map(({ name, severity, via }) => {
    const titles = via.map((cause) => (typeof cause === 'string' ? `by ${cause}` : `${cause.title} (${cause.url})`));
    return `${name}, ${severity}: ${titles.join('; ')}`;
  });
  const isFailure = status !== 0;
  isVulnerable ||= isFailure;
  console.log(`audit: ${isFailure ? 'FAILED' : 'passed'}: ${what}, ${found.length} known vulnerabilities`);
  for (const line of found) console.log(`  ${line}`);
}
process.exitCode = isVulnerable ? 1 : 0;

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
