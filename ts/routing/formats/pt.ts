/**
 * The format of `torch.save`: a zip archive with a pickle and the data of tensors. The pickle is read as data, and
 * nothing of it is run.
 *
 * @module
 */
import type { ByteSource } from '../byte-source.ts';
import type { Contents } from '../contents.ts';
import type { Format } from '../format.ts';
import type { ReadOptions } from '../read-options.ts';
import { refuse } from '../routing-error.ts';
import { maskBeside } from '../without-padding.ts';
import type { ZipEntry } from '../zip-directory.ts';
import { itemsOf, PythonDict, PythonTensor, type PythonValue, valueAt } from './pt/python-values.ts';
import { contentsOfRecorder } from './pt/sglang-recorder.ts';
import { tensorsIn } from './pt/tensors-in.ts';
import { readTorchFile } from './pt/torch-file.ts';
import { contentsOfSamples } from './samples.ts';
import { contentsOfTensors } from './tensors.ts';

/** Whether the entries of a zip archive are the records of PyTorch. */
export function isTorchFile(entries: readonly ZipEntry[]): boolean {
  return entries.some(({ name }) => /(^|\/)data\.pkl$/.test(name));
}

/**
 * Finds the ids or counts in the object that was saved.
 *
 * @param entries all entries of the directory of the archive.
 */
export async function openPt(
  source: ByteSource,
  entries: readonly ZipEntry[],
  options: ReadOptions,
): Promise<Contents> {
  const file = source.name;
  const torchFile = await readTorchFile(source, entries);
  const { root } = torchFile;
  const recorded = await contentsOfRecorder(torchFile, file);
  if (recorded !== undefined) return recorded;
  const found = tensorsIn(root, file);
  const samples = found.filter(
    ({ path, tensor }) => /(^|\.)(rollout_)?routed_experts$/.test(path) && tensor.shape.length > 2,
  );
  if (samples.length > 0 || areSamples(root)) {
    const producer = areSamples(root) ? 'slime' : null;
    const masks = new Map(found.map((each) => [each.path, each]));
    const withMasks = await Promise.all(
      samples.map(async ({ path, tensor }) => {
        const mask = masks.get(maskBeside(path));
        return {
          ids: await torchFile.open(tensor, path),
          mask: mask && (await torchFile.open(mask.tensor, mask.path)),
        };
      }),
    );
    return contentsOfSamples(withMasks, { file, format: 'pt', producer });
  }
  if (valueAt(root, 'physical_to_logical_map') instanceof PythonTensor && !options.takesAllIntegers) {
    const problem = 'says where experts are, for SGLang (physical_to_logical_map), and is no routing';
    refuse('NOT_ROUTING', problem, { file, remedy: 'place takes it as the placement of today' });
  }
  if (isRouterState(root)) {
    const problem = "has the weights of Megatron's routers, and no routing";
    refuse('NOT_ROUTING', problem, { file, remedy: 'read router_trace_rank*.jsonl, which is written beside it' });
  }
  const tensors = await Promise.all(found.map(({ path, tensor }) => torchFile.open(tensor, path)));
  return contentsOfTensors(tensors, file, 'pt', options);
}

/** Whether an object is what slime keeps of a rollout. */
function areSamples(root: PythonValue): boolean {
  const samples = itemsOf(valueAt(root, 'samples'));
  return samples?.some((sample) => valueAt(sample, 'rollout_routed_experts') !== undefined) ?? false;
}

/** Whether an object is what Megatron's trace of routers keeps of the routers themselves: a dict for each layer. */
function isRouterState(root: PythonValue): boolean {
  const layers = root instanceof PythonDict ? [...root.entries.values()] : [];
  return layers.length > 0 && layers.every((layer) => valueAt(layer, 'score_function') !== undefined);
}

/**
 * Pickles that are no zip archive, among them the files of PyTorch before 1.6. They are recognised so that the error can
 * say what to do.
 */
export const pickleFormat: Format = {
  name: 'pt',
  noun: 'a pickle of Python',
  recognises: isPickle,
  async open(source) {
    const head = new Uint8Array(64);
    return failOnPickle(head.subarray(0, await source.read(0, head)), source.name);
  },
};

/** Whether bytes begin like a pickle of protocol 2 or later. */
function isPickle(head: Uint8Array): boolean {
  return head[0] === 0x80 && head[1] >= 2 && head[1] <= 5;
}

/** The number with which files of PyTorch before 1.6 begin, as a pickle writes it. */
const legacyMagic = [0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

function failOnPickle(head: Uint8Array, file: string): never {
  const isLegacy = head.some((_, at) => startsWith(head.subarray(at), legacyMagic));
  const what = isLegacy ? 'is in the format of PyTorch before 1.6' : 'is a pickle of Python';
  const load = isLegacy ? 'torch.load(path, weights_only=True)' : 'pickle.load(open(path, "rb"))';
  const trust = isLegacy ? '' : ', if you trust the file';
  refuse('UNSUPPORTED', `${what}, which is not read`, {
    file,
    remedy: `save it again with PyTorch${trust}: torch.save(${load}, path)`,
  });
}

function startsWith(bytes: Uint8Array, start: readonly number[]): boolean {
  return start.every((byte, index) => bytes[index] === byte);
}
