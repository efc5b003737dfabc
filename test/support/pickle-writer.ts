/**
 * A writer of pickles, instruction by instruction, as Python's own writer of protocol 2 does it, but without a memo.
 *
 * @module
 */

/** Instructions that leave one value on the stack. */
export type Pickled = Uint8Array;

/** Instructions from single bytes and the codes of letters. */
export function code(...parts: readonly (number | string | Uint8Array)[]): Pickled {
  return Buffer.concat(
    parts.map((part) =>
      typeof part === 'number' ? Buffer.of(part) : typeof part === 'string' ? Buffer.from(part, 'latin1') : part,
    ),
  );
}

function uint32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** A whole pickle. */
export function pickle(value: Pickled, protocol = 2): Buffer {
  return Buffer.concat([Buffer.of(0x80, protocol), value, Buffer.from('.')]);
}

export const none: Pickled = code('N');

/** An integer of 32 bits. */
export function int(value: number): Pickled {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return code('J', bytes);
}

/** An integer of 64 bits. */
export function long(value: bigint): Pickled {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(value);
  return code(0x8a, 8, bytes);
}

export function float(value: number): Pickled {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return code('G', bytes);
}

export function text(value: string): Pickled {
  const bytes = Buffer.from(value);
  return code('X', uint32(bytes.length), bytes);
}

export function tuple(...items: readonly Pickled[]): Pickled {
  return code('(', ...items, 't');
}

export function list(...items: readonly Pickled[]): Pickled {
  return code('](', ...items, 'e');
}

export function dict(entries: Readonly<Record<string, Pickled>>): Pickled {
  return pairs(Object.entries(entries).map(([key, value]) => [text(key), value]));
}

/** A dict with keys of any kind. */
export function pairs(entries: readonly (readonly [Pickled, Pickled])[]): Pickled {
  return code('}(', ...entries.flat(), 'u');
}

/** A class or function. */
export function global(module: string, name: string): Pickled {
  return code('c', `${module}\n${name}\n`);
}

/** A call. */
export function call(callee: Pickled, ...args: readonly Pickled[]): Pickled {
  return code(callee, tuple(...args), 'R');
}

/** What a tensor is made of. */
export interface PickledTensor {
  readonly storageClass?: string;
  readonly key?: string;
  readonly numElements: number;
  readonly offset?: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** The persistent id of a storage, and the instruction that loads it. */
export function storage({ storageClass = 'torch IntStorage', key = '0', numElements }: PickledTensor): Pickled {
  const [module, name] = storageClass.split(' ');
  return code(tuple(text('storage'), global(module, name), text(key), text('cpu'), number(numElements)), 'Q');
}

/** A tensor by `_rebuild_tensor_v2`. */
export function tensor(view: PickledTensor): Pickled {
  const hooks = call(global('collections', 'OrderedDict'));
  const { offset = 0, shape, strides } = view;
  const isGraded = code(0x89);
  const args = [
    storage(view),
    number(offset),
    tuple(...shape.map(number)),
    tuple(...strides.map(number)),
    isGraded,
    hooks,
  ];
  return call(global('torch._utils', '_rebuild_tensor_v2'), ...args);
}

function number(value: number): Pickled {
  return Math.abs(value) < 2 ** 31 ? int(value) : long(BigInt(value));
}
