/**
 * Whole layouts and orders of rows in Python: with numpy and with PyTorch, as far as they are installed.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { LayoutArrays } from 'dispatch-layout';
import { outputNames } from '../../test/conformance/oracle.ts';
import type { OrderArrays, OrderKind } from '../variants/order.ts';
import type { Problem } from '../variants/variant.ts';

/**
 * The seconds per layout of each function in `python_layouts.py`, measured in a process of its own. That process fails
 * if a function does not compute the layout that is given here. The result is empty if there is no Python.
 */
export function timePythonLayout(problem: Problem, layout: LayoutArrays): Record<string, number> {
  return timePython(
    'python_layouts.py',
    [],
    problem,
    outputNames.map((name) => layout[name] ?? new Uint8Array()),
  );
}

/** The same for orders of rows and `python_orders.py`. */
export function timePythonOrder(kind: OrderKind, problem: Problem, order: OrderArrays): Record<string, number> {
  return timePython('python_orders.py', [kind], problem, order);
}

function timePython(
  script: string,
  parameters: readonly string[],
  { configuration, int64 }: Problem,
  expected: readonly (Int32Array | Uint8Array)[],
): Record<string, number> {
  const { numTokens, numTopk, numExperts, numRanks } = configuration;
  const sizes = [numTokens, numTopk, numExperts, numRanks].map(String);
  const { error, status, stdout, stderr } = spawnSync(
    'python3',
    [fileURLToPath(new URL(script, import.meta.url)), ...parameters, ...sizes],
    {
      input: Buffer.concat(
        [int64, ...expected].map(
          ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
        ),
      ),
      encoding: 'utf8',
    },
  );
  if (error !== undefined && 'code' in error && error.code === 'ENOENT') return {};
  if (status !== 0) throw new Error(`${script} failed with status ${status}: ${stderr}`, { cause: error });
  return JSON.parse(stdout) as Record<string, number>;
}
