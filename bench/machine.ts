/**
 * What the benchmark ran on.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { arch, cpus, loadavg, release, totalmem, type } from 'node:os';

/** Names and values: the machine, and the tools that take part. */
export function describeMachine(): Record<string, string> {
  const processors = cpus();
  const compiler = new URL('../build/bench/native-compiler.txt', import.meta.url);
  return {
    Processor: `${processors[0]?.model.trim() ?? 'unknown'}, ${processors.length} logical, ${arch()}`,
    Memory: `${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
    System: `${type()} ${release()}`,
    'Node.js': `${process.versions.node}, V8 ${process.versions.v8}`,
    Emscripten: firstLine('emcc', ['-dumpversion']) ?? 'none',
    'Native compiler': existsSync(compiler) ? readFileSync(compiler, 'utf8').trim() : 'none',
    Python: firstLine('python3', ['-c', 'import platform; print(platform.python_version())']) ?? 'none',
    numpy: pythonModule('numpy'),
    PyTorch: pythonModule('torch'),
    'Load before the run': loadavg()[0].toFixed(2),
  };
}

function pythonModule(name: string): string {
  return firstLine('python3', ['-c', `import ${name}; print(${name}.__version__)`]) ?? 'none';
}

function firstLine(command: string, settings: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync(command, settings, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return status === 0 ? stdout.split('\n')[0] : undefined;
}
