/**
 * The directory of statistics of experts that TensorRT-LLM writes at `EXPERT_STATISTIC_PATH`: `meta_info.json`, and a
 * file for each rank with ids or with counts. If there are both, the ids are read.
 *
 * @module
 */
import { type ByteSource, readExactly } from '../byte-source.ts';
import type { DirectoryFormat } from '../format.ts';
import { refuse } from '../routing-error.ts';
import { readSafetensors } from './safetensors.ts';
import { contentsOfStatistics, isStatistics, type MetaInfo, rankInName } from './tensorrt-llm/statistics.ts';

const metaName = 'meta_info.json';
const maxMetaBytes = 65_536;

/** The format. */
export const tensorrtLlmFormat: DirectoryFormat = {
  name: 'tensorrt-llm',
  choose(names) {
    const ofRanks = names.filter((name) => rankInName(name) !== null);
    const raw = ofRanks.filter((name) => name.endsWith('_raw.safetensors'));
    return ofRanks.length > 0 && names.includes(metaName) ? [metaName, ...(raw.length > 0 ? raw : ofRanks)] : [];
  },
  async open(files) {
    const meta = await readMetaInfo(files.get(metaName) as ByteSource);
    const ofRanks = [...files].filter(([name]) => name !== metaName);
    const ranks = await Promise.all(
      ofRanks.map(async ([name, source]) => {
        const tensors = await readSafetensors(source);
        if (!isStatistics(tensors)) {
          refuse('NOT_ROUTING', "has tensors that are not named '{iteration}_{layer}', or are not ids or counts", {
            file: source.name,
            remedy: 'take files out of the directory that TensorRT-LLM did not write',
          });
        }
        return { file: source.name, rank: rankInName(name) as number, tensors };
      }),
    );
    ranks.sort((a, b) => a.rank - b.rank);
    return contentsOfStatistics(ranks, meta, 'tensorrt-llm');
  },
};

async function readMetaInfo(source: ByteSource): Promise<MetaInfo> {
  const { name: file, size } = source;
  const remedy = 'it must be {"num_experts": E, "num_experts_per_token": K}, as TensorRT-LLM writes it';
  if (size > maxMetaBytes) refuse('DAMAGED', `has ${size} bytes, too many`, { file, remedy });
  const bytes = await readExactly(source, 0, size, 'the file');
  let meta: unknown;
  try {
    meta = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    refuse('DAMAGED', 'is not JSON', { file, remedy, cause });
  }
  const count = (key: string): number => {
    const value = typeof meta === 'object' && meta !== null ? Reflect.get(meta, key) : undefined;
    if (Number.isSafeInteger(value) && value > 0) return value;
    return refuse('DAMAGED', `has ${JSON.stringify(value) ?? 'nothing'}, not a count`, { file, place: key, remedy });
  };
  return { numExperts: count('num_experts'), numTopk: count('num_experts_per_token') };
}
