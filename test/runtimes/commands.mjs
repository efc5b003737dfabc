/**
 * Runs commands to their end. If one fails, the error has what it printed.
 *
 * @module
 */
import { execFile } from 'node:child_process';

/**
 * What a command printed to standard output. The promise rejects with all output if the command fails or takes too
 * long.
 */
export function run(file, args, { cwd, env = {}, timeout = 600_000 }) {
  return new Promise((resolve, reject) => {
    const options = { cwd, timeout, maxBuffer: 2 ** 26, env: { ...process.env, ...env } };
    const child = execFile(file, args, options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else
        reject(new Error(`${error.message.split('\n')[0]} ${error.killed ? '(timed out)' : ''}\n${stdout}\n${stderr}`));
    });
    child.stdin.end();
  });
}
