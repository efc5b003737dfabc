/** The suite in a process: options as its argument, results as the last line of its output. */
import { runSuite } from './suite.js';

const results = await runSuite(JSON.parse(process.argv[2]));
console.log(JSON.stringify(results));
