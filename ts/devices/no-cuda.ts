/**
 * Takes the place of the `cuda` device in the builds for browsers and edge runtimes, which have none.
 *
 * @module
 */
import type { Availability } from '../errors/availability.ts';
import { finishedHandle } from '../layout/event-overlap.ts';
import type { Device } from './device.ts';

const obstacle = {
  isAvailable: false,
  code: 'NO_CUDA',
  reason: 'this is the build of dispatch-layout for browsers and edge runtimes, which has no CUDA',
  remedy: "Use Node.js, Bun or Deno; in a bundle for these, keep dispatch-layout external or set the condition 'node'.",
} as const satisfies Availability;

/** A device that is never available, so that nothing else is ever asked of it. */
export const noCuda: Device = {
  name: 'cuda',
  probe: () => obstacle,
  fromSelections: Number.POSITIVE_INFINITY,
  submit: () => finishedHandle,
};
