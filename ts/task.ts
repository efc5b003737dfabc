/**
 * What a function of the library does differently from the others: a layout is one task, and each order of rows is one.
 *
 * @module
 */

import { layoutComputations, layoutForm } from './layout/layout.ts';
import type { CpuCode } from './layout/layout-request.ts';
import type { Computation, MaskForm, ResultForm } from './layout/outputs.ts';
import { type CallOptions, readMask } from './options.ts';

/** The options of a call, some of which only its task reads. */
export interface TaskOptions extends CallOptions {
  readonly mask?: MaskForm | undefined;
  readonly out?: unknown;
}

/** One of the functions of the library. */
export interface Task {
  readonly form: ResultForm;
  /** How the devices on the CPU compute it; undefined for layouts. */
  readonly onCpu?: CpuCode;
  /** Whether it matters on which ranks experts are. */
  readonly hasRanks: boolean;
  /**
   * Reads what to compute.
   *
   * @param last what the call before has computed. If this call asks for the same, it is returned.
   * @throws DispatchLayoutError `OPTION`
   */
  read(options: TaskOptions, numExperts: number, last: Computation | undefined): Computation;
  /**
   * Checks that the results of so many selections can be computed.
   *
   * @throws DispatchLayoutError `TOO_LARGE`
   */
  checkSize?(numSelections: number, computation: Computation): void;
}

/** The task of `getDispatchLayout`. */
export const layoutTask: Task = {
  form: layoutForm,
  hasRanks: true,
  read: ({ mask }) => layoutComputations[readMask(mask)],
};
