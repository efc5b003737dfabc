/**
 * Servers that are a command.
 *
 * @module
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Starts a server, passes the address that it prints to `use`, and ends the server when `use` is done. */
export async function withServer(command, args, use) {
  const server = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(server, 'exit');
  try {
    const address = new Promise((resolve) => {
      let output = '';
      server.stdout.setEncoding('utf8').on('data', (text) => {
        output += text;
        const [url] = /http:\/\/(localhost|127\.0\.0\.1):\d+/.exec(output) ?? [];
        if (url !== undefined) resolve(url);
      });
    });
    return await Promise.race([
      address.then(use),
      ended.then(([code]) => Promise.reject(new Error(`${command} ended with exit code ${code}`))),
    ]);
  } finally {
    server.kill();
    await ended;
  }
}
