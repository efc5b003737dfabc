/**
 * The whole layout in Python: with numpy and with PyTorch, as far as they are installed.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { LayoutArrays } from 'dispatch-layout';
import { outputNames } from '../../test/conformance/oracle.ts';
import type { Problem } from '../variants/variant.ts';

const script = fileURLToPath(new URL('python_layouts.py', import.meta.url));

/**
 * The seconds per layout of each function in `python_layouts.py`, measured in a process of its own. That process fails
 * if a function does not compute the layout that is given here. The result is empty if there is no Python.
 */
export function timePython({ configuration, int64 }: Problem, layout: LayoutArrays): Record<string, number> {
  const { numTokens, numTopk, numExperts, numRanks } = configuration;
  const arrays = [int64, ...outputNames.map((name) => layout[name] ?? new Uint8Array())];
  const { error, status, stdout, stderr } = spawnSync(
    'python3',
    [script, ...[numTokens, numTopk, numExperts, numRanks].map(String)],
    {
      input: Buffer.concat(
        arrays.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength)),
      ),
      encoding: 'utf8',
    },
  );
  if (error !== undefined && 'code' in error && error.code === 'ENOENT') return {};
  if (status !== 0) throw new Error(`python_layouts.py failed with status ${status}: ${stderr}`, { cause: error });
  return JSON.parse(stdout) as Record<string, number>;
}
