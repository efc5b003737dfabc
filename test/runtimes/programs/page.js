/**
 * Runs the suite in a page or a worker. The query of the address has the options, and the results are sent to the
 * server.
 */
import { runSuite } from './suite.js';

const { id, options } = JSON.parse(decodeURIComponent(location.search.slice(1)));
const results = await runSuite(options);
const answer = { results, isIsolated: crossOriginIsolated, isPage: typeof document !== 'undefined' };
await fetch(`/results/${id}`, { method: 'POST', body: JSON.stringify(answer) });
