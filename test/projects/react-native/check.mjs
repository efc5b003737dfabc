// Runs the bundle that Metro has made on Hermes, the engine of React Native, which has no WebAssembly.
import assert from 'node:assert';
import { execFileSync } from 'node:child_process';
import { chmodSync } from 'node:fs';

// The compiler of this version of React Native must compile the bundle to bytecode.
const compiler = 'node_modules/hermes-compiler/hermesc/linux64-bin/hermesc';
chmodSync(compiler, 0o755);
execFileSync(compiler, ['-O', '-emit-binary', '-out', 'bundle.hbc', 'bundle.js'], { stdio: 'inherit' });

// The newest engine on npm with a command line is older than the compiler, so it runs the script, not the bytecode.
const engine = 'node_modules/hermes-engine-cli/linux64-bin/hermes';
chmodSync(engine, 0o755);
const output = execFileSync(engine, ['bundle.js'], { encoding: 'utf8' });
assert.deepStrictEqual(output.trim().split('\n'), [
  '1 0 1 1 on js, wasm: NO_WEBASSEMBLY',
  'true INVALID_EXPERT',
  'prepared js',
]);
