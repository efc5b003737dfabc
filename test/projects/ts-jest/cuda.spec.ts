// The library reads this when it first looks for CUDA. With it, the test gives the same result on a machine with a GPU.
process.env.DISPATCH_LAYOUT_DISABLE = 'cuda';

import { DeviceUnavailableError } from 'dispatch-layout';
import { DeviceTensor } from 'dispatch-layout/cuda';

test('the tensors of the GPU have types, and the errors of the library', () => {
  const allocate = (): DeviceTensor<'int32'> => DeviceTensor.empty([2, 2], 'int32');
  expect(allocate).toThrow(DeviceUnavailableError);
});
