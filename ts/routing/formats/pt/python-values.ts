/**
 * The values that a pickle of PyTorch can hold, as plain data.
 *
 * @module
 */

/** A value of Python. Numbers without a fraction may be `bigint` where they are too large for `number`. */
export type PythonValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | PythonSequence
  | PythonDict
  | PythonTensor
  | PythonStorage
  | PythonGlobal
  | PythonOpaque;

/** The type of the elements of a tensor: its name in PyTorch, such as `int32`, and the bytes of one element. */
export interface ElementType {
  readonly name: string;
  readonly bytes: number;
}

/** Of lists and tuples with more numbers and the like than this, such as lists of tokens, only the length is kept. */
export const maxScalars = 1024;

/** A list or a tuple. */
export class PythonSequence {
  readonly kind: 'list' | 'tuple';
  /** Its items. There are none if it has more than 1,024 items and none of them is an object. */
  readonly items: PythonValue[] = [];
  /** How many items it has, whether they are kept or not. */
  length = 0;
  #hasObjects = false;

  constructor(kind: 'list' | 'tuple') {
    this.kind = kind;
  }

  /** @returns whether they could be added: there cannot be both objects and numbers that are not kept. */
  add(items: readonly PythonValue[]): boolean {
    const wasKept = this.items.length === this.length;
    this.#hasObjects ||= items.some(isObject);
    this.length += items.length;
    if (this.length <= maxScalars || this.#hasObjects) {
      for (const item of items) this.items.push(item);
      return wasKept;
    }
    this.items.length = 0;
    return true;
  }
}

/** A `dict`, or one of its kinds. */
export class PythonDict {
  readonly entries = new Map<PythonValue, PythonValue>();
  /** Whether it is an `OrderedDict`, which alone can have attributes. */
  readonly isOrdered: boolean;

  constructor(isOrdered = false) {
    this.isOrdered = isOrdered;
  }
}

/** The bytes that one or more tensors are views of. */
export class PythonStorage {
  readonly type: ElementType;
  /** The record `data/{key}` of the file has the bytes. */
  readonly key: string;
  readonly numElements: number;

  constructor(type: ElementType, key: string, numElements: number) {
    this.type = type;
    this.key = key;
    this.numElements = numElements;
  }
}

/** A tensor: a view of a storage that lies wholly inside it. Offset and strides count elements. */
export class PythonTensor {
  readonly storage: PythonStorage;
  readonly type: ElementType;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(
    storage: PythonStorage,
    type: ElementType,
    offset: number,
    shape: readonly number[],
    strides: readonly number[],
  ) {
    this.storage = storage;
    this.type = type;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}

/** A class or function that is known by its name. It stands for itself, and is never called. */
export class PythonGlobal {
  /** Its module and name, such as `torch._utils._rebuild_tensor_v2`. */
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }
}

/** A value of which nothing but its kind is kept. */
export class PythonOpaque {
  /** Its kind, such as `a sparse tensor`. */
  readonly what: string;

  constructor(what: string) {
    this.what = what;
  }
}

/** Whether a value takes memory of its own. */
export function isObject(value: PythonValue): value is Exclude<PythonValue, null | boolean | number | bigint | string> {
  return typeof value === 'object' && value !== null;
}

/** The value under a text in a dict; undefined if the value is no dict or has no such key. */
export function valueAt(value: PythonValue | undefined, key: string): PythonValue | undefined {
  return value instanceof PythonDict ? value.entries.get(key) : undefined;
}

/** The items of a list or tuple, or undefined for other values. */
export function itemsOf(value: PythonValue | undefined): readonly PythonValue[] | undefined {
  return value instanceof PythonSequence ? value.items : undefined;
}

/** A value in the words of a message. */
export function describedValue(value: PythonValue): string {
  if (value === null) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (typeof value === 'string') return `'${value.length > 40 ? `${value.slice(0, 40)}…` : value}'`;
  if (value instanceof PythonSequence) return `a ${value.kind} of ${value.length}`;
  if (value instanceof PythonDict) return `a dict of ${value.entries.size}`;
  if (value instanceof PythonTensor) return `${value.type.name} [${value.shape.join(', ')}]`;
  if (value instanceof PythonStorage) return `a storage of ${value.type.name}`;
  if (value instanceof PythonGlobal) return value.path;
  if (value instanceof PythonOpaque) return value.what;
  return String(value);
}
