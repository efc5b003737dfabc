/** The whole conformance suite on the fake GPU, whose kernel runs on the CPU. */
import { passOnTheFake } from '../cuda/on-the-fake.ts';

describe('on the fake GPU', function () {
  this.timeout(1_800_000);

  it('the whole conformance suite passes', () => passOnTheFake(['test/conformance/conformance.test.ts']));
});
