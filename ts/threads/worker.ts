/**
 * The worker of the pool in browsers.
 *
 * @module
 */
import { serve } from './serve.ts';

const answer = serve((message) => postMessage(message));
addEventListener('message', ({ data }) => answer(data));
