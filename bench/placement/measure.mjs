/**
 * Measures what the questions about placements take: ./build.sh bench --placement. Times of the command are the user and
 * system time of the fastest of several processes, from start to end, since they vary less than the clock does on a
 * machine that others use.
 *
 * With EPLB=path/to/eplb.py in the environment, the original of `rebalance` in PyTorch is measured, too, by the Python that
 * PYTHON names (default: python3).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const command = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const original = fileURLToPath(new URL('eplb_original.py', import.meta.url));
const { rebalance } = await import('../../dist/placement.mjs');
const folder = mkdtempSync(join(tmpdir(), 'dispatch-layout-bench-'));
const numRuns = 5;
/** So many that a report takes one pass: it repeats those of less than 0.15 s, to time them. */
const numTokens = 20_000_000;
const sizes = ['--num-experts', '256'];

/** The seconds of user and system time of the fastest of several runs of the command. */
function fastest(...args) {
  const report =
    "process.on('exit', () => { const { userCPUTime, systemCPUTime } = process.resourceUsage(); console.error((userCPUTime + systemCPUTime) / 1e6); })";
  const runs = Array.from({ length: numRuns }, () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      [`--import=data:text/javascript,${encodeURIComponent(report)}`, command, ...args],
      { encoding: 'utf8', cwd: folder },
    );
    if (status !== 0) throw new Error(`${args.join(' ')} failed: ${stderr}`);
    return Number(stderr.trim().split('\n').at(-1));
  });
  return Math.min(...runs);
}

function median(times) {
  return times.sort((left, right) => left - right)[times.length >> 1];
}

/** Loads of 61 layers of 256 experts, as uneven as those of a trace, and the same whenever they are made. */
function loadsOfLayers() {
  let state = 1;
  const random = () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
  return Array.from({ length: 61 }, () =>
    Array.from({ length: 256 }, () =>
      Math.floor(4096 * Math.exp(0.5 * Math.sqrt(-2 * Math.log(random())) * Math.cos(6.283 * random()))),
    ),
  );
}

try {
  const cores = cpus();
  const load = loadavg()[0].toFixed(2);
  console.log(
    `${cores[0].model.trim()}, ${cores.length} logical, Node.js ${process.versions.node}, load before ${load}\n`,
  );

  const file = 'trace.npy';
  const drawn = ['--num-tokens', String(numTokens), '--skew', '0.5'];
  execFileSync(process.execPath, [command, 'generate', file, ...drawn], { cwd: folder });
  writeFileSync(join(folder, 'tiny.json'), '[[0, 1], [1, 2]]');
  const several = ['--num-ranks', '8,16,24,32,40,64'];
  const one = ['--num-ranks', '32'];
  const report = fastest(file, ...sizes, ...one);
  const row = (name, seconds) => {
    const ratio = (seconds / report).toFixed(2);
    console.log(`${name.padEnd(48)} ${seconds.toFixed(2).padStart(6)} s ${ratio.padStart(7)} times the report`);
  };
  console.log(`${numTokens / 1e6} million tokens of int64, top-8, 256 experts`);
  row('report of one token', fastest('tiny.json', ...sizes, ...one));
  row('report, 32 ranks', report);
  row('report, 8,16,24,32,40,64 ranks', fastest(file, ...sizes, ...several));
  row('report --statistics, 32 ranks', fastest(file, ...sizes, ...one, '--statistics'));
  row('place, 32 ranks, 32 redundant', fastest('place', file, ...sizes, ...one, '--redundant', '32'));
  row('place, 8,16,24,32,40,64 ranks', fastest('place', file, ...sizes, ...several));

  const loads = loadsOfLayers();
  const shapes = [
    ['rebalance, 61 layers of 256 into 288, 32 ranks', { numPhysicalExperts: 288, numRanks: 32 }],
    ['  in 8 groups and 4 nodes', { numPhysicalExperts: 288, numRanks: 32, numGroups: 8, numNodes: 4 }],
  ];
  console.log();
  for (const [name, options] of shapes) {
    const times = Array.from({ length: 21 }, () => {
      const begin = performance.now();
      rebalance(loads, options);
      return performance.now() - begin;
    });
    const first = times[0];
    console.log(`${name.padEnd(48)} ${median(times).toFixed(1).padStart(6)} ms, the first call ${first.toFixed(1)} ms`);
    if (process.env.EPLB === undefined) continue;
    const { numPhysicalExperts, numRanks, numGroups = 1, numNodes = 1 } = options;
    const shape = [numPhysicalExperts, numGroups, numNodes, numRanks].map(String);
    const input = join(folder, 'loads.json');
    writeFileSync(input, JSON.stringify(loads));
    const args = [original, process.env.EPLB, input, ...shape];
    const { seconds, torch } = JSON.parse(execFileSync(process.env.PYTHON ?? 'python3', args, { encoding: 'utf8' }));
    console.log(`${`  EPLB's own, PyTorch ${torch}`.padEnd(48)} ${(1000 * seconds).toFixed(1).padStart(6)} ms`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
