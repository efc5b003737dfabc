/**
 * The sound files from which the fuzzer makes others: small ones of every format and producer, and the samples that lie
 * beside the checkout on some machines.
 *
 * A seed keeps the parts of which its file is made, such as the pickle in a zip archive. A change to a part, with
 * lengths and checksums made anew, gets behind the checks that a change to the file runs into.
 *
 * @module
 */
import type { OpenRoutingOptions } from '../../../ts/routing/index.ts';
import { headerText, npyFile, npyOf, plainForm } from '../../cli/npy-writer.ts';
import * as p from '../../support/pickle-writer.ts';
import { int32Tensor, int64Tensor, safetensorsFile, writeSafetensors } from '../../support/safetensors-writer.ts';
import { type ArchiveForm, writeArchive, writeTorchFile } from '../../support/torch-writer.ts';
import { hasSample, sample, sampleFacts } from '../samples.ts';

/** A sound file, or the files of a directory. */
export interface Seed {
  readonly name: string;
  readonly parts: readonly Uint8Array[];
  /** Makes the file of its parts. Default: it is the only part. */
  readonly fileOf?: (parts: readonly Uint8Array[]) => Uint8Array;
  /** What must be said of it, since it does not say so itself. */
  readonly options?: OpenRoutingOptions;
  /** The name that the file must have, with the others of its directory. */
  readonly directory?: { readonly name: string; readonly others: Readonly<Record<string, Uint8Array>> };
}

/** The shape of flat rows of ids in seeds and samples. */
export const ofFlatRow: OpenRoutingOptions = { numLayers: 3, numTopk: 2 };

/** The file of a seed. */
export function fileOf({ parts, fileOf }: Seed, changed: readonly Uint8Array[] = parts): Uint8Array {
  return fileOf === undefined ? changed[0] : fileOf(changed);
}

/** A command that a pickle would run if anything in it was executed: it makes the file `path`. */
export function executingPickle(path: string): Uint8Array {
  return p.pickle(p.dict({ routed_experts: p.call(p.global('os', 'system'), p.text(`touch '${path}'`)) }));
}

/** 0, 1, 2, … as bytes of int32. */
function int32(count: number): Uint8Array {
  return new Uint8Array(Int32Array.from({ length: count }, (_, index) => index).buffer);
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

/** A text, of which all is one part. */
function text(name: string, value: unknown): Seed {
  return { name, parts: [Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))] };
}

function npySeed(name: string, header: string, data: Uint8Array, version = 1): Seed {
  const parts = [Buffer.from(header, 'latin1'), data];
  const fileOf: Seed['fileOf'] = ([text, bytes]) => {
    // The lengths of version 1 have 16 bits, and a line break follows the header
    const fitting = text.length < 2 ** 16 - 1 ? version : Math.max(version, 2);
    return npyFile(Buffer.from(text).toString('latin1'), bytes, fitting);
  };
  return { name, parts, fileOf };
}

function npzSeed(name: string, entries: Readonly<Record<string, Uint8Array>>, form: ArchiveForm): Seed {
  const names = Object.keys(entries);
  return {
    name,
    parts: Object.values(entries),
    fileOf: (parts) =>
      writeArchive(Object.fromEntries(names.map((entry, index) => [entry, parts[index]])), { ...form, folder: '' }),
  };
}

function torchSeed(
  name: string,
  value: p.Pickled,
  data: Uint8Array,
  form: Parameters<typeof writeTorchFile>[2] = {},
): Seed {
  return {
    name,
    parts: [p.pickle(value), data],
    fileOf: ([pickled, bytes]) => writeTorchFile(pickled, { 0: bytes }, form),
  };
}

function safetensorsSeed(name: string, file: Buffer): Seed {
  const end = 8 + Number(file.readBigUInt64LE());
  return {
    name,
    parts: [file.subarray(8, end), file.subarray(end)],
    fileOf: ([header, data]) => safetensorsFile(header, data),
  };
}

/** A reply with base64, of which the encoded bytes are the part. */
function replySeed(name: string, bytes: Uint8Array, reply: (encoded: string) => unknown): Seed {
  return { name, parts: [bytes], fileOf: ([data]) => Buffer.from(JSON.stringify(reply(base64(data)))) };
}

/** A dense tensor of int32. */
function dense(shape: readonly number[]): p.Pickled {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, length) => product * length, 1));
  return p.tensor({ numElements: shape.reduce((product, length) => product * length, 1), shape, strides });
}

const layers = [
  [
    [0, 5],
    [6, 100],
    [2, -1],
    [3, 4],
  ],
  [
    [1, 7],
    [2, 3],
    [0, 1],
    [8, 9],
  ],
];
const flat = int32(24);
const npyText = (shape: string, descr = '<i4', isFortran = false): string =>
  `{'descr': '${descr}', 'fortran_order': ${isFortran ? 'True' : 'False'}, 'shape': ${shape}, }`;

const ids = int32Tensor([0, 1, 2, 3, 4, 5], [3, 2]);
const rank0 = writeSafetensors({ '9_3': ids, '9_5': ids, '10_3': ids, '10_5': ids });
const rank1 = writeSafetensors({ '9_3': ids, '9_5': ids });
const meta = Buffer.from('{"num_experts": 8, "num_experts_per_token": 2}');

const bigMoeTrace = `# route_trace v1
# model=x.gguf arch=qwen3moe n_layer=2 n_expert=16 n_expert_used=2
turn,phase,step,layer,slot,expert,weight,residency,expert_bytes
0,0,0,0,0,3,0.7,0,3059712
0,0,0,0,1,1,0.3,0,3059712
0,0,1,0,0,4,nan,0,3059712
0,1,2,1,0,7,0.7,1,0
0,1,2,1,1,10,0.3,1,0
`;

const record = p.dict({
  forward_pass_id: p.int(1),
  rank: p.int(3),
  topk_ids_of_layer: dense([2, 4, 3]),
  global_physical_count: dense([2, 12]),
  misc_objects: p.list(
    p.dict({
      layer_id: p.int(0),
      num_tokens_per_rank: p.list(p.int(2), p.int(2)),
      num_tokens_per_expert: p.list(p.int(1), p.int(1), p.int(2), p.int(0)),
    }),
  ),
});

/** Seeds that are made here. */
const made: readonly Seed[] = [
  npySeed(
    'npy',
    headerText(plainForm, [4, 2]),
    new Uint8Array(BigInt64Array.from([0n, 5n, 1n, 2n, 3n, 4n, 6n, 7n]).buffer),
  ),
  npySeed(
    'npy of layers',
    npyText('(300, 2, 2)', '|u1'),
    Uint8Array.from({ length: 1200 }, (_, index) => index % 7),
  ),
  npySeed('npy in the order of Fortran, version 3', npyText('(6, 4)', '>i4', true), flat, 3),
  npzSeed('npz', { 'ids.npy': npyOf(layers[0]), 'x.npy': npyFile(npyText('(2,)', '<f4'), flat.subarray(0, 8)) }, {}),
  npzSeed('npz, deflated', { 'ids.npy': npyOf(layers[0]) }, { isDeflated: true }),
  npzSeed('npz with sizes of 64 bits', { 'ids.npy': npyOf(layers[0]) }, { isWide: true }),
  text('JSON of nested arrays', layers[0]),
  text('JSONL of nested arrays', layers[0].map((row) => JSON.stringify(row)).join('\n')),
  replySeed('reply of vLLM', npyFile(npyText('(4, 3, 2)'), flat), (encoded) => ({
    id: 'ä"\\\u2028',
    choices: [{ logprobs: [{ a: null, b: [1.5e-3, true] }], routed_experts: encoded, prompt_routed_experts: null }],
    usage: { prompt_tokens: 3, completion_tokens: 2 },
  })),
  {
    ...replySeed('reply of SGLang', flat, (encoded) => ({
      meta_info: { routed_experts: encoded, prompt_tokens: 3 },
    })),
    options: ofFlatRow,
  },
  replySeed('reply of prime-rl', flat, (encoded) => ({
    routed_experts: { data: encoded, shape: [8, 3, 2], start: 2, dtype: 'uint16' },
  })),
  text('reply with arrays', { nvext: { routed_experts: layers } }),
  text(
    'trace of Megatron',
    '{"type": "meta", "num_experts": 8, "rank": 1}\n{"layer": 1, "topk_ids": [1, 2], "w": [NaN]}\n{"layer": 0, "top_indices": [[1, 2], [3, 4]], "stage": "x", "num_tokens": 2}\n',
  ),
  text('long form in JSON', {
    traces: [{ top_k: 2, token_ids: [1, 2], activations: [{ layer: 0, token_idx: 1, expert_idx: 3, slot: 1 }] }],
  }),
  text('long form in JSONL', '{"layer":0,"token":0,"expert":1}\n{"layer":1,"token":0,"expert":2}\n'),
  text('counts in JSON', { logical_count: [layers[1], layers[1]] }),
  text('CSV of BigMoeOnEdge', bigMoeTrace),
  text('CSV in long form', '"token","layer","expert"\r\n0,0,1\r\n0,1,"2"\r\n1,0,3\r\n'),
  text('CSV of SGLang', 'layer_id,expert_id,count\n3,0,12\n3,5,7\n4,1,9\n'),
  text('CSV of llama.cpp', 'layer,expert\n0,3\n0,1\n1,2\n'),
  safetensorsSeed(
    'safetensors of miles',
    writeSafetensors({
      'rollout_routed_experts.0': int32Tensor([...flat.subarray(0, 12)], [2, 3, 2]),
      'rollout_routed_experts.1': int32Tensor([...flat.subarray(0, 6)], [1, 3, 2]),
      _samples_meta: { dtype: 'U8', shape: [2], data: Buffer.from('{}') },
    }),
  ),
  safetensorsSeed(
    'safetensors',
    writeSafetensors(
      { ids: int64Tensor([1, 2, 3, 4], [2, 2]), w: { dtype: 'BF16', shape: [1], data: flat.subarray(0, 2) } },
      { a: 'b' },
    ),
  ),
  ...[
    ['rank0_raw.safetensors', rank0],
    ['rank1_raw.safetensors', rank1],
    ['rank0.safetensors', writeSafetensors({ '9_3': int64Tensor([1, 2], [2]), '9_5': int64Tensor([0, 3], [2]) })],
  ].map(([name, file]): Seed => {
    const others = name === 'rank1_raw.safetensors' ? { 'rank0_raw.safetensors': rank0 } : {};
    const directory = { name: name as string, others: { 'meta_info.json': meta, ...others } };
    return { ...safetensorsSeed(`directory of TensorRT-LLM: ${name}`, file as Buffer), directory };
  }),
  {
    name: 'directory of TensorRT-LLM: meta_info.json',
    parts: [meta],
    directory: { name: 'meta_info.json', others: { 'rank0_raw.safetensors': rank0 } },
  },
  torchSeed('pt', p.dict({ routed_experts: dense([4, 3, 2]) }), flat),
  torchSeed('pt, deflated', p.dict({ routed_experts: dense([4, 3, 2]) }), flat, { isDeflated: true, isWide: true }),
  torchSeed('pt of one tensor', p.tensor({ numElements: 24, offset: 1, shape: [5, 2], strides: [4, 1] }), flat),
  torchSeed(
    "pt of SGLang's recorder",
    p.dict({ records: p.list(record), last_physical_to_logical_map: dense([2, 12]) }),
    flat,
  ),
  torchSeed(
    'pt of slime',
    p.dict({
      rollout_id: p.int(3),
      samples: p.list(p.dict({ rollout_routed_experts: dense([4, 3, 2]), tokens: p.none })),
    }),
    flat,
  ),
  torchSeed(
    'pt with a mask of padding',
    p.dict({
      routed_experts: dense([2, 2, 3, 2]),
      attention_mask: p.tensor({ numElements: 24, shape: [2, 2], strides: [2, 1] }),
    }),
    flat,
  ),
  torchSeed('pt with counts', p.dict({ rank: p.int(0), logical_count: dense([3, 2, 4]) }), flat),
];

/** Parts of samples that are archives stay packed, so that all their forms are kept. The largest are left out. */
const maxSampleBytes = 6000;

/** All seeds. */
export function seeds(executedPath: string): readonly Seed[] {
  const executing: Seed = {
    name: 'pt that runs a command',
    parts: [executingPickle(executedPath)],
    fileOf: ([pickled]) => writeTorchFile(pickled),
  };
  return [...made, executing];
}

/** The samples that are here, as seeds. */
export function sampleSeeds(): readonly Seed[] {
  const names = [
    ...Object.keys(sampleFacts('pt_facts.json')),
    ...Object.keys(sampleFacts('safetensors_facts.json')),
    ...['expected_formats.json', 'expected_producer_runs.json', 'expected_malformed.json'].flatMap((facts) =>
      Object.keys(sampleFacts(facts)).map((name) => `synthetic/${name}`),
    ),
  ];
  return [...new Set(names)]
    .filter((name) => hasSample(name))
    .map((name) => ({ name, parts: [sample(name)], ...(name.includes('/sglang_response/') && { options: ofFlatRow }) }))
    .filter(({ parts: [file] }) => file.length > 0 && file.length <= maxSampleBytes);
}

/**
 * An archive of one deflated entry.
 *
 * @param claimed how many bytes it says to unpack to; 0 for as many as it does.
 */
export function archiveOfOne(name: string, data: Uint8Array, claimed = 0): Buffer {
  const archive = writeArchive({ [name]: data }, { folder: '', isDeflated: true });
  if (claimed !== 0) archive.writeUInt32LE(claimed, archive.lastIndexOf(Buffer.from('PK\x01\x02', 'latin1')) + 24);
  return archive;
}
