/**
 * Fails if packages in any lockfile have known vulnerabilities: "moderate" or worse for packages that `dist` contains,
 * because users get these, and "high" or worse for all others. If the registry does not answer, the check is skipped.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';

// The projects of test/projects use old tools on purpose, and run them on their own files only
const listed = execFileSync('git', ['ls-files', '*package-lock.json', ':!test/projects'], { encoding: 'utf8' });
const lockfiles = listed.trim().split('\n');
const notices = readFileSync('dist/THIRD-PARTY-NOTICES.txt', 'utf8');
const shipped = new Set([...notices.matchAll(/^(\S+)\n-+$/gm)].map(([, name]) => name));
const severities = ['info', 'low', 'moderate', 'high', 'critical'];

let isVulnerable = false;
for (const lockfile of lockfiles) {
  const args = ['audit', '--json', '--package-lock-only', '--fetch-retries=1', '--prefix', dirname(lockfile)];
  const { stdout, stderr } = spawnSync('npm', args, { encoding: 'utf8' });
  const report = parse(stdout);
  if (report?.vulnerabilities === undefined) {
    console.log(`audit: skipped: ${lockfile}: ${report?.message ?? (stderr.trim() || 'npm printed nothing')}`);
    continue;
  }
  let isFailure = false;
  const found = Object.values(report.vulnerabilities).map(({ name, severity, via }) => {
    const isShipped = lockfile === 'package-lock.json' && shipped.has(name);
    isFailure ||= severities.indexOf(severity) >= severities.indexOf(isShipped ? 'moderate' : 'high');
    const titles = via.map((cause) => (typeof cause === 'string' ? `by ${cause}` : `${cause.title} (${cause.url})`));
    return `${name}${isShipped ? ', which dist contains' : ''}, ${severity}: ${titles.join('; ')}`;
  });
  isVulnerable ||= isFailure;
  console.log(`audit: ${isFailure ? 'FAILED' : 'passed'}: ${lockfile}, ${found.length} known vulnerabilities`);
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
