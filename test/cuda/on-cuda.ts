/**
 * Declares tests that need a GPU, or the made-up one: `DISPATCH_LAYOUT_CUDA_ADDON=build/cuda-fake/…` (`on-the-fake.test.ts`
 * runs them so). Elsewhere they are skipped, with the reason.
 *
 * @module
 */
import { describeDevices } from 'dispatch-layout';

export function describeOnCuda(title: string, declare: () => void): void {
  const cuda = describeDevices().find(({ device }) => device === 'cuda');
  if (cuda?.available) describe(title, declare);
  else describe(title, () => it.skip(`not available here, because ${cuda?.reason}`));
}
