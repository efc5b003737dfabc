/**
 * Everything above the GPU on a machine without one: the conformance suite, of whose random requests `test/slow` runs all, and
 * the tests of tensors, streams and events.
 */
import { passOnTheFake } from './on-the-fake.ts';

describe('on the made-up GPU', function () {
  this.timeout(600_000);

  it('conformance, with a tenth of its random requests', () => {
    passOnTheFake(['test/conformance/conformance.test.ts'], 0.1);
  });

  it('tensors, streams and events', () => {
    passOnTheFake(['test/cuda/tensors.test.ts', 'test/cuda/device-layouts.test.ts', 'test/events.test.ts']);
  });
});
