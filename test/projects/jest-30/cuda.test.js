// The library reads this when it first looks for CUDA. With it, the test gives the same result on a machine with a GPU.
process.env.DISPATCH_LAYOUT_DISABLE = 'cuda';

const { DeviceUnavailableError } = require('dispatch-layout');
const { DeviceTensor } = require('dispatch-layout/cuda');

test('both entries are one library', () => {
  expect(() => DeviceTensor.empty([2, 2], 'int32')).toThrow(DeviceUnavailableError);
  expect(() => DeviceTensor.empty([2, 2], 'int32')).toThrow(/DISPATCH_LAYOUT_DISABLE/);
});
