/** The suite in a page or a worker: the job as the query of the address, results sent back to the server. */
import { runSuite } from './suite.js';

const { id, options } = JSON.parse(decodeURIComponent(location.search.slice(1)));
const results = await runSuite(options);
const answer = { results, isIsolated: crossOriginIsolated, isPage: typeof document !== 'undefined' };
await fetch(`/results/${id}`, { method: 'POST', body: JSON.stringify(answer) });
