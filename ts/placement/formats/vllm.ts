/**
 * The form of vLLM's offline EPLB: as SGLang's, with a version and the name of the form. Version 2 has a plan for each
 * of several models, such as a model and its drafter.
 *
 * @module
 */
import { describe } from '../../values/describe.ts';
import { createPlan, wrongPlan } from '../plan.ts';
import { isRecord, rowsAt } from './arrays.ts';
import { checkFull, checkLayersInOrder, formatJson, type PlanFormat, type ReadPlanOptions, ranksOf } from './format.ts';

const nameOfVersion1 = 'vllm_offline_eplb_physical_to_logical';
const nameOfVersion2 = 'vllm_offline_eplb_physical_to_logical_by_model';

export const vllm: PlanFormat = {
  matches: (content) => isRecord(content) && String(content.format).startsWith(nameOfVersion1),

  read(content, options) {
    const holder = holderIn(content as Readonly<Record<string, unknown>>, options);
    return createPlan(rowsAt('physical_to_logical_map', holder.physical_to_logical_map), {
      numRanks: ranksOf(options),
      numExperts: options.numExperts,
    });
  },

  write(plan) {
    checkFull(plan, 'vLLM');
    checkLayersInOrder(plan, 'vLLM');
    const rows = plan.physicalToLogical.map((slots) => [...slots]);
    return formatJson({ version: 1, format: nameOfVersion1, physical_to_logical_map: rows });
  },
};

/** The object that has the map: the content itself, or that of the model that was asked for. */
function holderIn(
  content: Readonly<Record<string, unknown>>,
  { model }: ReadPlanOptions,
): Readonly<Record<string, unknown>> {
  const { version, format, model_maps: maps } = content;
  if (version === 1 && (format === nameOfVersion1 || format === undefined)) return content;
  if (version !== 2 || format !== nameOfVersion2) {
    const problem = `the file has version ${describe(version)} and format ${describe(format)}`;
    throw wrongPlan(problem, version, `Known are 1 of ${nameOfVersion1} and 2 of ${nameOfVersion2}.`);
  }
  if (!isRecord(maps)) throw wrongPlan(`model_maps is ${describe(maps)}`, maps, 'It has a plan for each model.');
  const names = Object.keys(maps);
  const name = model ?? (names.length === 1 ? names[0] : undefined);
  const holder = name === undefined ? undefined : maps[name];
  if (isRecord(holder)) return holder;
  const problem =
    name === undefined ? `the file has plans of ${names.length} models` : `there is no model ${describe(name)}`;
  throw wrongPlan(problem, name, `Pass model, one of: ${names.join(', ')}.`);
}
