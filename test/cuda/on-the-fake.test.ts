/**
 * Everything that runs on a GPU, on a machine without one: the conformance suite with some of its random requests
 * (`test/slow` runs all of them), and the tests of tensors, streams and events.
 */
import { passOnTheFake } from './on-the-fake.ts';

const onTensors = ['tensors', 'device-layouts', 'device-permutations', 'device-exchange', 'device-workspace'].map(
  (name) => `test/cuda/${name}.test.ts`,
);

describe('on the fake GPU', function () {
  this.timeout(1_800_000);

  it('the conformance suite passes, with a tenth of its random requests', () => {
    passOnTheFake(['test/conformance/conformance.test.ts'], 0.1);
  });

  it('the tests of tensors, streams and events pass', () => {
    passOnTheFake([...onTensors, 'test/cuda/capture.test.ts', 'test/cuda/order.test.ts', 'test/events.test.ts']);
  });

  it('without memory pools, as on some virtual GPUs, the tests of tensors, streams and events pass, too', () => {
    passOnTheFake([...onTensors, 'test/cuda/order.test.ts'], 1, { FAKE_CUDA_POOLS: '0' });
  });
});
