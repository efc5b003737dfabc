/** Runs the conformance suite under mocha. */
import { conformance } from './suite.ts';

describe('conformance', function () {
  this.timeout(120_000);
  conformance();
});
