/** The whole conformance suite on the made-up GPU, whose kernel runs on the CPU. */
import { passOnTheFake } from '../cuda/on-the-fake.ts';

describe('on the made-up GPU', function () {
  this.timeout(600_000);

  it('conformance, whole', () => passOnTheFake(['test/conformance/conformance.test.ts']));
});
