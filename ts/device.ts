/**
 * What a device is: something that computes checked requests. Everything before (inputs, options, defaults) and after
 * (results, events) is common to all devices.
 *
 * @module
 */
import type { LayoutArrays } from './layout.ts';
import type { Partition } from './partition.ts';
import type { TopkIdx } from './topk-idx.ts';

/** The devices behind `getDispatchLayout`. */
export type DeviceName = 'cuda' | 'wasm' | 'js';

/** A device, ready for use. */
export interface Device {
  readonly name: DeviceName;
  /** Builds the tables that every layout over this partition needs. */
  prepare(partition: Partition): PreparedDevice;
}

/** A device that holds the tables of one partition. */
export interface PreparedDevice {
  /**
   * Computes one layout into `out`, whose lengths the caller has checked.
   *
   * @param strict whether an id outside `[0, numExperts)` other than -1 is an error (else it is skipped).
   * @param keepOnError whether `out` must be untouched when this throws: false for arrays that nobody else has seen.
   * @throws InvalidExpertError with the first such id in row-major order.
   */
  computeLayout(topkIdx: TopkIdx, strict: boolean, out: LayoutArrays, keepOnError: boolean): void;
}
