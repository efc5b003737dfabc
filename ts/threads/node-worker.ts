/**
 * The worker of the pool in Node.js, Bun and Deno.
 *
 * @module
 */
import { parentPort } from 'node:worker_threads';
import { serve } from './serve.ts';

parentPort?.on(
  'message',
  serve((message) => parentPort?.postMessage(message)),
);
