/**
 * Declares tests that need a GPU or the fake one: `DISPATCH_LAYOUT_CUDA_ADDON=build/cuda-fake/…`, with which
 * `on-the-fake.test.ts` runs them. Without a GPU they are skipped, with the reason.
 *
 * @module
 */
import { describeDevices } from 'dispatch-layout';

export function describeOnCuda(title: string, declare: () => void): void {
  const cuda = describeDevices().find(({ device }) => device === 'cuda');
  if (cuda?.available) describe(title, declare);
  else describe(title, () => it.skip(`not available here, because ${cuda?.reason}`));
}
