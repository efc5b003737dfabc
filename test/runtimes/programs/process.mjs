/** Runs the suite in a process. Its argument has the options, and the last line of its output has the results. */
import { runSuite } from './suite.js';

const results = await runSuite(JSON.parse(process.argv[2]));
console.log(JSON.stringify(results));
