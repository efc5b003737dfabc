// Runs the same program as an ES module and as CommonJS, with flags of Node.js that change modules and globals.
import { spawnSync } from 'node:child_process';

const wasm = '1 0 1 1 on wasm, wasm: AVAILABLE\n';
const expected = {
  '--no-experimental-require-module': wasm,
  '--frozen-intrinsics': wasm,
  '--disable-proto=throw': wasm,
  '--disallow-code-generation-from-strings': wasm,
  // Programs set these conditions for other packages, to choose their builds for edge runtimes and browsers.
  '--conditions=workerd': wasm,
  '--conditions=edge-light': wasm,
  '--conditions=browser': wasm,
  // Without a compiler, V8 has no WebAssembly.
  '--jitless': '1 0 1 1 on js, wasm: NO_WEBASSEMBLY\n',
};

for (const [flag, layout] of Object.entries(expected)) {
  for (const [program, output] of Object.entries({ 'import.mjs': layout, 'require.cjs': layout, 'both.mjs': '' })) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [flag, program], { encoding: 'utf8' });
    if (status === 0 && stdout === output) continue;
    console.log(`FAILED: node ${flag} ${program}: exit code ${status}, expected ${output}\n${stdout}${stderr}`);
    process.exitCode = 1;
  }
}
