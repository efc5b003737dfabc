/**
 * Measures how fast the command reads and computes routing files from the page cache, beside numpy, which counts the
 * same: ./build.sh bench --files. Each number is the fastest of several processes, without the start of the process.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const command = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const numpyScript = fileURLToPath(new URL('numpy_counts.py', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'dispatch-layout-bench-'));
const numRuns = 5;
const numTokens = 20_000_000;
const [numTopk, numExperts, numRanks] = [8, 256, 64];
const sizes = ['--num-experts', String(numExperts)];
const ranks = ['--num-ranks', String(numRanks)];

/** The seconds and the most MiB of the fastest of several runs. */
function fastest(program, args) {
  const runs = Array.from({ length: numRuns }, () => {
    const start = performance.now();
    const report = "process.on('exit', () => console.error(process.resourceUsage().maxRSS))";
    const observed =
      program === process.execPath ? [`--import=data:text/javascript,${encodeURIComponent(report)}`] : [];
    const { status, stderr } = spawnSync(program, [...observed, ...args], { encoding: 'utf8', cwd: folder });
    if (status !== 0 && status !== 1) throw new Error(`${program} ${args.join(' ')} failed: ${stderr}`);
    return { seconds: (performance.now() - start) / 1000, mebibytes: Number(stderr.trim().split('\n').at(-1)) / 1024 };
  });
  return runs.reduce((best, run) => (run.seconds < best.seconds ? run : best));
}

function printRow(name, bytes, tokens, { seconds, mebibytes }, start) {
  const net = seconds - start;
  const rate = (tokens / net / 1e6).toFixed(1).padStart(7);
  const memory = Number.isNaN(mebibytes) ? '' : `${mebibytes.toFixed(0)} MiB`;
  const speed = (bytes / net / 1e9).toFixed(2);
  console.log(`${name.padEnd(44)} ${rate} million tokens/s  ${speed.padStart(5)} GB/s  ${memory}`);
}

/** Writes an `.npy` of int64 by repeating a piece that `generate` has made. */
function writeLarge(path) {
  const pieceTokens = 1_000_000;
  const piece = join(folder, 'piece.npy');
  const flags = ['--num-tokens', String(pieceTokens), '--num-topk', String(numTopk), ...sizes];
  execFileSync(process.execPath, [command, 'generate', piece, ...flags]);
  const bytes = readFileSync(piece);
  const offset = 10 + bytes.readUInt16LE(8);
  const dict = `{'descr': '<i8', 'fortran_order': False, 'shape': (${numTokens}, ${numTopk}), }`;
  const header = Buffer.from(`${dict.padEnd(117)}\n`);
  const file = openSync(path, 'w');
  writeSync(file, Buffer.concat([bytes.subarray(0, 8), Buffer.of(header.length & 255, header.length >> 8), header]));
  for (let token = 0; token < numTokens; token += pieceTokens) writeSync(file, bytes, offset);
  closeSync(file);
}

/** Writes the first tokens of a file in other formats. */
function writeOthers(source, tokens) {
  const script = `
import json, numpy
ids = numpy.load(${JSON.stringify(source)}, mmap_mode='r')[:${tokens}]
numpy.savez_compressed('deflated.npz', ids=ids)
with open('rows.json', 'w') as file: json.dump(ids.tolist(), file)
with open('trace.jsonl', 'w') as file:
    for step in range(0, ${tokens}, 1000):
        record = {'step': step // 1000, 'layer': 0, 'num_tokens': 1000, 'topk': ${numTopk}}
        file.write(json.dumps({**record, 'top_indices': ids[step:step + 1000].tolist()}) + '\\n')
numpy.save('tokens-first.npy', ids.reshape(-1, 20, ${numTopk}))
`;
  execFileSync('python3', ['-c', script], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
}

try {
  const large = join(folder, 'large.npy');
  writeLarge(large);
  const { size } = statSync(large);
  const tiny = join(folder, 'tiny.json');
  writeFileSync(tiny, '[[0, 1]]');
  const start = fastest(process.execPath, [command, tiny, ...sizes, ...ranks]).seconds;
  console.log(
    `int64 top-${numTopk}, ${numExperts} experts, ${numRanks} ranks, ${(size / 1e9).toFixed(2)} GB in the page cache`,
  );
  console.log(`the start of the process, ${start.toFixed(2)} s, is taken off\n`);
  const ours = (name, path, tokens, ...args) =>
    printRow(name, statSync(path).size, tokens, fastest(process.execPath, [command, ...args]), start);
  ours('report', large, numTokens, large, ...sizes, ...ranks);
  ours('report --json', large, numTokens, large, ...sizes, ...ranks, '--json');
  ours('check', large, numTokens, 'check', large, ...sizes);
  ours('report --out', large, numTokens, large, ...sizes, ...ranks, '--out', 'out.npz');
  ours('permute --out', large, numTokens, 'permute', large, ...sizes, '--out', 'order.npz');
  const made = fastest(process.execPath, [command, 'generate', 'generated.npy', '--num-tokens', '2000000']);
  printRow('generate', 2e6 * 64, 2e6, made, start);

  const hasNumpy = spawnSync('python3', ['-c', 'import numpy']).status === 0;
  if (hasNumpy) {
    const numpyStart = fastest('python3', ['-c', 'import numpy']).seconds;
    const args = [numpyScript, large, String(numExperts), String(numRanks)];
    printRow('numpy, memory-mapped, the same counts', size, numTokens, fastest('python3', args), numpyStart);
    const others = 2_000_000;
    writeOthers(large, others);
    const of = (name) => join(folder, name);
    const axes = ['--axes', 'tokens,layers,topk'];
    console.log();
    ours('tokens first, 20 layers', of('tokens-first.npy'), others, 'tokens-first.npy', ...sizes, ...ranks, ...axes);
    ours('deflated .npz', of('deflated.npz'), others, 'deflated.npz', ...sizes, ...ranks);
    ours('JSON', of('rows.json'), others, 'rows.json', ...sizes, ...ranks);
    ours('JSONL (Megatron-LM)', of('trace.jsonl'), others, 'trace.jsonl', ...sizes, ...ranks);
  }
} finally {
  rmSync(folder, { recursive: true });
}
