/**
 * Reads and writes plans in every form.
 *
 * @module
 */
import { parse } from 'yaml';
import { checkOptions, wrongValue } from '../../errors/checks.ts';
import { describe } from '../../values/describe.ts';
import { type PlacementPlan, wrongPlan } from '../plan.ts';
import { eplb } from './eplb.ts';
import type { PlanFormat, PlanFormatName, ReadPlanOptions } from './format.ts';
import { ranks } from './ranks.ts';
import { sglang } from './sglang.ts';
import { tensorrtLlm } from './tensorrt-llm.ts';
import { vllm } from './vllm.ts';
import { vllmAscend } from './vllm-ascend.ts';

const formats: Readonly<Record<PlanFormatName, PlanFormat>> = {
  vllm,
  sglang,
  'tensorrt-llm': tensorrtLlm,
  'vllm-ascend': vllmAscend,
  eplb,
  ranks,
};

/**
 * The names of the forms, for messages and command lines, in the order in which they are tried: vLLM's is SGLang's with a
 * name.
 */
export const planFormats: readonly PlanFormatName[] = [
  'vllm',
  'sglang',
  'tensorrt-llm',
  'vllm-ascend',
  'eplb',
  'ranks',
];

const readPlanOptions: Readonly<Record<keyof ReadPlanOptions, true>> = {
  format: true,
  numRanks: true,
  numExperts: true,
  model: true,
};

/**
 * Reads a plan in the form of SGLang, TensorRT-LLM, vLLM, vllm-ascend or EPLB, or a table of ranks. What is odd in it,
 * such as replicas that share a rank, is found by {@link findingsOf}.
 *
 * ```ts
 * import { readPlan } from 'dispatch-layout/placement';
 *
 * const text = '{"physical_to_logical_map": [[3, 1, 2, 0, 3, 1], [0, 1, 2, 3, 0, 2]]}';
 * const plan = readPlan(text, { numRanks: 3 });
 * console.log(plan.numLayers, plan.numExperts, plan.replicaCount[0].join(' ')); // 2 4 1 2 1 2
 * ```
 *
 * @param content the text of a JSON or YAML file, or what was parsed from it. Arrays may be nested, or be typed arrays
 *   with a shape, as they come from `.npy` and `.pt` files.
 * @throws DispatchLayoutError `PLACEMENT` if it is no plan in this form, or contradicts itself; `NUM_RANKS` if
 *   `numRanks` is needed and not given; `OPTION`
 */
export function readPlan(content: unknown, options: ReadPlanOptions = {}): PlacementPlan {
  checkOptions(options, readPlanOptions);
  const { format } = options;
  if (format !== undefined) checkFormat(format);
  const parsed = typeof content === 'string' ? parseText(content) : content;
  const name = format ?? planFormats.find((each) => formats[each].matches(parsed));
  if (name !== undefined && formats[name].matches(parsed)) return formats[name].read(parsed, options);
  const problem = `the content is ${describe(parsed)}, ${name === undefined ? 'and no plan in a known form' : `not a plan in the form ${name}`}`;
  throw wrongPlan(problem, parsed, `The forms are ${planFormats.join(', ')}.`);
}

/**
 * Writes a plan in the form of another project.
 *
 * ```ts
 * import { linear, writePlan } from 'dispatch-layout/placement';
 *
 * console.log(writePlan(linear({ numExperts: 4, numRanks: 2 }), 'ranks').trim()); // [0, 0, 1, 1]
 * ```
 *
 * @returns the text of the file: YAML for `tensorrt-llm`, else JSON.
 * @throws DispatchLayoutError `PLACEMENT` if the form cannot say what the plan says, such as an empty slot, a
 *   lost expert, or replicas in a table of ranks; `OPTION` if there is no such form.
 */
export function writePlan(plan: PlacementPlan, format: PlanFormatName): string {
  checkFormat(format);
  return formats[format].write(plan);
}

/** @throws DispatchLayoutError `OPTION` */
function checkFormat(format: PlanFormatName): void {
  if (planFormats.includes(format)) return;
  throw wrongValue('OPTION', 'format', format, `It must be one of ${planFormats.join(', ')}.`);
}

/** Parses a text of JSON or YAML. @throws DispatchLayoutError `PLACEMENT` */
function parseText(text: string): unknown {
  const isJson = /^\s*[[{]/.test(text);
  try {
    return isJson ? JSON.parse(text) : parse(text);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    const remedy = `It must be JSON or YAML: ${message.replace(/\.*:*$/, '.')}`;
    throw wrongPlan(`the content is no valid ${isJson ? 'JSON' : 'YAML'}`, text, remedy);
  }
}
