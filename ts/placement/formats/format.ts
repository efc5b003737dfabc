/**
 * What a form of plans is: how another project stores which expert is in which slot.
 *
 * @module
 */
import { describe } from '../../values/describe.ts';
import { type PlacementPlan, rankOfSlot, wrongPlan } from '../plan.ts';

/** The forms, by the names of the projects that read them. `ranks` is the form of this library's option `placement`. */
export type PlanFormatName = 'ranks' | 'sglang' | 'tensorrt-llm' | 'vllm' | 'vllm-ascend' | 'eplb';

/** What a file may leave open. */
export interface ReadPlanOptions {
  /** The form. Default: the one that the content looks like. */
  readonly format?: PlanFormatName | undefined;
  /** The number of ranks. Only `vllm-ascend` files say it themselves. */
  readonly numRanks?: number | undefined;
  /** The number of experts. Default: one more than the largest in any slot, or in `ranks` the length of the table. */
  readonly numExperts?: number | undefined;
  /** Of a file of vLLM with plans of several models, the model whose plan to read. */
  readonly model?: string | undefined;
}

/** A form of plans. */
export interface PlanFormat {
  /** Whether parsed content looks like this form. */
  matches(content: unknown): boolean;
  /**
   * Reads parsed content.
   *
   * @throws DispatchLayoutError `PLACEMENT`, `NUM_RANKS`
   */
  read(content: unknown, options: ReadPlanOptions): PlacementPlan;
  /**
   * The text of a file.
   *
   * @throws DispatchLayoutError `PLACEMENT` if the form cannot say what the plan says.
   */
  write(plan: PlacementPlan): string;
}

/** The number of ranks, which the content does not say. @throws DispatchLayoutError `NUM_RANKS` by `createPlan` */
export function ranksOf({ numRanks }: ReadPlanOptions): number {
  return numRanks as number; // createPlan checks it
}

/** A text of JSON in which each list of numbers is on one line. */
export function formatJson(content: unknown): string {
  const onOneLine = (list: string) => list.replace(/\s+/g, ' ').replace('[ ', '[').replace(' ]', ']');
  return `${JSON.stringify(content, null, 2).replace(/\[[-\d,\s]*\]/g, onOneLine)}\n`;
}

/**
 * Checks that every slot holds an expert and every expert has a slot, which most forms take for granted.
 *
 * @param reader who reads the form: `SGLang`.
 * @throws DispatchLayoutError `PLACEMENT`
 */
export function checkFull(plan: PlacementPlan, reader: string): void {
  for (const [layer, slots] of plan.physicalToLogical.entries()) {
    const place = `layer ${plan.layerIds[layer]}`;
    const empty = slots.indexOf(-1);
    if (empty >= 0) {
      throw wrongPlan(
        `${place}, rank ${rankOfSlot(empty, plan)}: slot ${empty} is empty (-1), which the form of ${reader} cannot say`,
        -1,
        'Put a replica there, or write another form, such as vllm-ascend.',
      );
    }
    const missing = plan.replicaCount[layer].indexOf(0);
    if (missing >= 0) {
      throw wrongPlan(
        `${place}: expert ${missing} is on no rank, which the form of ${reader} cannot say`,
        missing,
        'Give it a slot.',
      );
    }
  }
}

/**
 * Checks that layers are numbered 0, 1, 2, …, as in forms without numbers of layers.
 *
 * @throws DispatchLayoutError `PLACEMENT`
 */
export function checkLayersInOrder(plan: PlacementPlan, reader: string): void {
  const wrong = plan.layerIds.findIndex((id, layer) => id !== layer);
  if (wrong === -1) return;
  const problem = `layer ${plan.layerIds[wrong]} is the plan's layer ${wrong}, and the form of ${reader} has no numbers of layers`;
  throw wrongPlan(
    problem,
    plan.layerIds[wrong],
    `Number the layers from 0, or write another form, such as vllm-ascend.`,
  );
}

/** The value of a property that must be a positive integer. @throws DispatchLayoutError `PLACEMENT` */
export function countAt(name: string, value: unknown): number {
  if (Number.isInteger(value) && (value as number) > 0) return value as number;
  throw wrongPlan(`${name} is ${describe(value)}`, value, 'It must be a positive integer.');
}
