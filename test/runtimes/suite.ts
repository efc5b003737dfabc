/**
 * The conformance suite, and everything else that must be true in every runtime, as one module that every runtime can
 * import. run.mjs bundles it with everything except the library.
 *
 * @module
 */
import { assert } from 'chai';
import { type DeviceName, DeviceUnavailableError, describeDevices, ExpertGroup, prepare } from 'dispatch-layout';
import fc from 'fast-check';
import { conformance } from '../conformance/suite.ts';
import { expectError } from '../support/expect.ts';
import { type GroupResult, run } from './harness.ts';
// In the bundle, the suite uses this module instead of its own loader.
import { configure } from './loader.ts';

/** What is expected of a runtime, and what to run there. */
export interface RunOptions {
  /** The device that `auto` chooses. */
  readonly expectedDevice: DeviceName;
  /** If WebAssembly is forbidden, a pattern for the reason. */
  readonly whyNoWasm?: string;
  /** The values that `setting` returns. */
  readonly settings: Readonly<Record<string, string>>;
}

/** Runs everything, with one result for `prepare` and one for each device (`on wasm`). */
export function runSuite(options: RunOptions): Promise<GroupResult[]> {
  configure(options.settings);
  fc.configureGlobal({ seed: 20261123 });
  return run(() => {
    describe('prepare', () => preparation(options));
    conformance();
  });
}

function preparation({ expectedDevice, whyNoWasm }: RunOptions): void {
  it(`prepares ${expectedDevice}, which auto takes`, async () => {
    assert.deepStrictEqual(await Promise.all([prepare(), prepare({ device: 'auto' })]), [
      expectedDevice,
      expectedDevice,
    ]);
    assert.strictEqual(await prepare({ device: expectedDevice }), expectedDevice);
    assert.strictEqual(new ExpertGroup({ numRanks: 8 }).device, expectedDevice);
    assert.deepStrictEqual(
      describeDevices().flatMap(({ device, chosen }) => (chosen ? device : [])),
      [expectedDevice],
    );
  });

  if (whyNoWasm !== undefined) {
    it('says why there is no wasm, and what to do', async () => {
      const error = expectError(() => new ExpertGroup({ numRanks: 8, device: 'wasm' }), {
        code: 'DEVICE_UNAVAILABLE',
      });
      assert.instanceOf(error, DeviceUnavailableError);
      assert.match(error.message, new RegExp(whyNoWasm));
      assert.include(error.remedy, 'wasm-unsafe-eval');
      const rejection = await prepare({ device: 'wasm' }).catch((reason: unknown) => reason);
      assert.instanceOf(rejection, DeviceUnavailableError);
    });
  }
}
