/**
 * What the benchmark ran on.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { arch, cpus, loadavg, release, totalmem, type } from 'node:os';

/** Name and value, of the machine and of the tools that take part. */
export function describeMachine(): Record<string, string> {
  const processors = cpus();
  const compiler = new URL('../build/bench/native-compiler.txt', import.meta.url);
  const libraries = JSON.parse(readFileSync(new URL('libraries/package.json', import.meta.url), 'utf8'));
  return {
    Processor: `${processors[0]?.model.trim() ?? 'unknown'}, ${processors.length} logical, ${arch()}`,
    Memory: `${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
    System: `${type()} ${release()}`,
    'Node.js': `${process.versions.node}, V8 ${process.versions.v8}`,
    Emscripten: firstLine('emcc', ['--version']) ?? 'none',
    'Native compiler': existsSync(compiler) ? readFileSync(compiler, 'utf8').trim() : 'none',
    numpy: firstLine('python3', ['-c', 'import numpy; print(numpy.__version__)']) ?? 'none',
    tfjs: libraries.dependencies['@tensorflow/tfjs'],
    'Load before the run': loadavg()[0].toFixed(2),
  };
}

function firstLine(command: string, settings: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(command, settings, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return status === 0 ? stdout.split('\n')[0] : undefined;
}
