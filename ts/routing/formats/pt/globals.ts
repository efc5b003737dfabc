/**
 * The classes and functions that a pickle may name: those by which PyTorch rebuilds tensors and plain containers. Each
 * has a rule of this module that makes plain data of its arguments. Nothing of Python is ever run, and every other name
 * is refused.
 *
 * @module
 */
import { reachOf } from '../../../values/shape.ts';
import {
  describedValue,
  type ElementType,
  PythonDict,
  PythonGlobal,
  PythonOpaque,
  PythonSequence,
  PythonStorage,
  PythonTensor,
  type PythonValue,
} from './python-values.ts';

/** Throws an error that says what is wrong with the arguments. */
export type Refuse = (problem: string) => never;

/** Makes the value that a call of a function, or of a class, would make. */
type Rule = (args: readonly PythonValue[], refuse: Refuse) => PythonValue;

const types: readonly ElementType[] = [
  ...['int8', 'uint8', 'bool', 'qint8', 'quint8', 'quint4x2', 'quint2x4'].map((name) => ({ name, bytes: 1 })),
  ...['float8_e4m3fn', 'float8_e5m2', 'float8_e4m3fnuz', 'float8_e5m2fnuz', 'float8_e8m0fnu'].map((name) => ({
    name,
    bytes: 1,
  })),
  ...['int16', 'uint16', 'float16', 'bfloat16'].map((name) => ({ name, bytes: 2 })),
  ...['int32', 'uint32', 'float32', 'qint32', 'complex32'].map((name) => ({ name, bytes: 4 })),
  ...['int64', 'uint64', 'float64', 'complex64'].map((name) => ({ name, bytes: 8 })),
  { name: 'complex128', bytes: 16 },
];

const typeByPath = new Map(types.map((type) => [`torch.${type.name}`, type]));

/** The classes of storages, and the types of their elements. */
const storageTypes: ReadonlyMap<string, ElementType> = new Map(
  Object.entries({
    Double: 'float64',
    Float: 'float32',
    Half: 'float16',
    BFloat16: 'bfloat16',
    Long: 'int64',
    Int: 'int32',
    Short: 'int16',
    Char: 'int8',
    Byte: 'uint8',
    Bool: 'bool',
    ComplexDouble: 'complex128',
    ComplexFloat: 'complex64',
    QInt8: 'qint8',
    QUInt8: 'quint8',
    QInt32: 'qint32',
    QUInt4x2: 'quint4x2',
    QUInt2x4: 'quint2x4',
  }).map(([storage, type]) => [`torch.${storage}Storage`, typeByPath.get(`torch.${type}`) as ElementType] as const),
);

/** The class of storages without a type. Their lengths are in bytes. */
const untypedStorage = 'torch.storage.UntypedStorage';
const byteType: ElementType = { name: 'uint8', bytes: 1 };

const opaque =
  (what: string): Rule =>
  () =>
    new PythonOpaque(what);

/** What the arguments of each function or class make. */
const rules: ReadonlyMap<string, Rule> = new Map<string, Rule>([
  ['torch._utils._rebuild_tensor', (args, refuse) => rebuildTensor(args, undefined, undefined, refuse)],
  ['torch._utils._rebuild_tensor_v2', (args, refuse) => rebuildTensor(args, undefined, args[6], refuse)],
  [
    'torch._utils._rebuild_tensor_v3',
    (args, refuse) => rebuildTensor(args, elementType(args[6], refuse), args[7], refuse),
  ],
  ['torch._utils._rebuild_parameter', firstTensor],
  ['torch._utils._rebuild_parameter_with_state', firstTensor],
  ['torch._utils._rebuild_sparse_tensor', opaque('a sparse tensor')],
  ['torch._utils._rebuild_qtensor', opaque('a quantized tensor')],
  ['torch._utils._rebuild_meta_tensor_no_storage', opaque('a tensor without data')],
  ['torch.serialization._get_layout', opaque('a layout of memory')],
  ['torch.device', opaque('a device')],
  ['torch.Size', ([items], refuse) => (items instanceof PythonSequence ? items : refuse('has a size of nothing'))],
  ['collections.OrderedDict', ([items], refuse) => filledDict(items, refuse)],
  ['collections.Counter', ([items], refuse) => (items instanceof PythonDict ? items : filledDict(items, refuse))],
  ['builtins.set', opaque('a set')],
  ['builtins.complex', opaque('a complex number')],
  ['builtins.bytearray', opaque('bytes')],
  ['_codecs.encode', opaque('bytes')],
]);

const known = new Map(
  [...rules.keys(), ...typeByPath.keys(), ...storageTypes.keys(), untypedStorage].map((path) => [
    path,
    new PythonGlobal(path),
  ]),
);

/** The class or function of this module and name, or undefined if a pickle must not name it. */
export function findGlobal(module: string, name: string): PythonGlobal | undefined {
  // Pickles of protocol 2 use the names of Python 2.
  return known.get(`${module === '__builtin__' ? 'builtins' : module}.${name}`);
}

/** What a call of a known function or class makes of these arguments. */
export function construct(global: PythonGlobal, args: readonly PythonValue[], refuse: Refuse): PythonValue {
  const rule = rules.get(global.path) ?? refuse(`calls ${global.path}`);
  return rule(args, refuse);
}

/** The storage that a persistent id stands for: `('storage', class, key, location, number of elements)`. */
export function storageOf(id: PythonValue, refuse: Refuse): PythonStorage {
  if (!(id instanceof PythonSequence && id.kind === 'tuple' && id.items[0] === 'storage')) {
    return refuse(`refers to something outside that is no storage: ${describedValue(id)}`);
  }
  const [, storageClass, key, , numElements] = id.items;
  const path = storageClass instanceof PythonGlobal ? storageClass.path : '';
  const type = path === untypedStorage ? byteType : storageTypes.get(path);
  if (type === undefined) return refuse(`has a storage of the unknown type ${describedValue(storageClass ?? null)}`);
  if (typeof key !== 'string') return refuse(`has a storage without a key: ${describedValue(key ?? null)}`);
  if (!isCount(numElements)) return refuse(`has a storage of ${describedValue(numElements ?? null)} elements`);
  return new PythonStorage(type, key, numElements);
}

function elementType(value: PythonValue | undefined, refuse: Refuse): ElementType {
  const type = value instanceof PythonGlobal ? typeByPath.get(value.path) : undefined;
  return type ?? refuse(`has a tensor of the unknown type ${describedValue(value ?? null)}`);
}

/**
 * A view with strides of 0 may have more elements than its storage. Up to this number that is allowed, so that the time
 * that a file takes is bounded by its size.
 */
const maxRepeatedElements = 2 ** 24;
const maxDimensions = 64;

/** @param type the type of the elements, if it is not that of the storage. */
function rebuildTensor(
  [storage, offset, size, stride]: readonly PythonValue[],
  type: ElementType | undefined,
  metadata: PythonValue | undefined,
  refuse: Refuse,
): PythonTensor | PythonOpaque {
  if (!(storage instanceof PythonStorage)) return refuse('has a tensor without a storage');
  if (!isCount(offset)) return refuse(`has a tensor at the offset ${describedValue(offset ?? null)}`);
  const shape = counts(size);
  const strides = counts(stride);
  if (shape === undefined || strides === undefined || shape.length !== strides.length || shape.length > maxDimensions) {
    return refuse('has a tensor whose shape and strides are not tuples of as many integers, each 0 or more');
  }
  // The flags say that complex numbers are to be conjugated or negated when they are read.
  if (metadata instanceof PythonDict && metadata.entries.size > 0) {
    return new PythonOpaque('a tensor that is conjugated or negated lazily');
  }
  const elements = type ?? storage.type;
  const stored = Math.floor((storage.numElements * storage.type.bytes) / elements.bytes);
  const numElements = shape.reduce((product, length) => product * length, 1);
  const described = `has a tensor of ${elements.name} [${shape.join(', ')}]`;
  if (numElements > 0) {
    const [, last] = reachOf(shape, strides);
    if (offset + last >= stored) {
      return refuse(`${described} that needs ${offset + last + 1} elements of a storage of ${stored}`);
    }
  }
  if (numElements > Math.max(stored, maxRepeatedElements)) {
    return refuse(`${described} that repeats the elements of a storage of ${stored}`);
  }
  return new PythonTensor(storage, elements, offset, shape, strides);
}

function firstTensor([tensor]: readonly PythonValue[], refuse: Refuse): PythonValue {
  return tensor instanceof PythonTensor ? tensor : refuse('has a parameter without a tensor');
}

/** @param items nothing, or a sequence of pairs. */
function filledDict(items: PythonValue | undefined, refuse: Refuse): PythonDict {
  const dict = new PythonDict(true);
  if (items === undefined) return dict;
  if (!(items instanceof PythonSequence)) return refuse(`makes a dict of ${describedValue(items)}`);
  for (const pair of items.items) {
    if (!(pair instanceof PythonSequence && pair.items.length === 2))
      return refuse('makes a dict of things that are no pairs');
    dict.entries.set(pair.items[0], pair.items[1]);
  }
  return dict;
}

function isCount(value: PythonValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/**
 * The integers of a tuple; undefined if it is none, or they are not all 0 or more. A list would not do: the pickle could
 * change it after it has been checked.
 */
function counts(value: PythonValue | undefined): readonly number[] | undefined {
  if (!(value instanceof PythonSequence) || value.kind !== 'tuple' || value.items.length !== value.length) {
    return undefined;
  }
  return value.items.every(isCount) ? (value.items as number[]) : undefined;
}
