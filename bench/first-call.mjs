/**
 * Measures the first call in a process: how long it takes to load the library and to compute a tiny layout, and how
 * much memory the library takes. run.ts runs this in new processes of plain Node.js. The argument says how the library
 * is loaded, `import` or `require`. The output is one JSON object.
 */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const forms = { import: () => import('dispatch-layout'), require: () => require('dispatch-layout') };
const load = forms[process.argv[2]];

const residentBefore = process.memoryUsage.rss();
const start = performance.now();
const { getDispatchLayout } = await load();
const loaded = performance.now();
const residentAfter = process.memoryUsage.rss();
const beforeCall = performance.now();
getDispatchLayout(
  [
    [0, 5],
    [6, -1],
  ],
  8,
  { numRanks: 4 },
);
const done = performance.now();

console.log(
  JSON.stringify({
    loadMilliseconds: loaded - start,
    firstMilliseconds: done - beforeCall,
    togetherMilliseconds: loaded - start + done - beforeCall,
    loadBytes: residentAfter - residentBefore,
    residentBytes: process.memoryUsage.rss(),
  }),
);
