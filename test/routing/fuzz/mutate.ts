/**
 * Changes to sound files: all that a fuzzer knows to do to bytes, and what hurts readers of these formats in particular.
 *
 * @module
 */
import type { Random } from '../../support/random.ts';

/** Numbers at which readers go wrong. */
const numbers = [
  0n,
  1n,
  2n,
  7n,
  127n,
  128n,
  255n,
  256n,
  4095n,
  4096n,
  32767n,
  65535n,
  65536n,
  2n ** 24n,
  2n ** 24n + 1n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 40n,
  2n ** 53n - 1n,
  2n ** 53n,
  2n ** 62n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
  2n ** 64n,
]; // prettier-ignore

/** Pieces of the texts of all formats. */
const words = [
  ...['[', ']', '{', '}', ',', ':', '"', "'", '\n', '\r\n', '\0', ' ', '\\', '\\u0000', '\\ud800', '(', ')', '=', '#'],
  ...['null', 'true', 'NaN', '-Infinity', '-1', '1.5', '1e400', '1e-400', '-0', '00', '1_000', '0x10', '1E5', '٣'],
  ...['[]', '{}', '[[]]', '""', '[[[[[', '{"a":', '"a":1,', '[1,2],', '\ufeff', '\x1b[31m', '\u2028', '\u202e'],
  ...[
    '"routed_experts":',
    '"choices":',
    '"meta_info":',
    '"shape":',
    '"dtype":"int64",',
    '"data":"AAAA",',
    '"layer":1,',
  ],
  ...[
    '"logical_count":',
    '"start":3,',
    '"num_experts":4,',
    '"topk_ids":[1],',
    '"rank":1,',
    '"usage":',
    '"__metadata__":',
  ],
  ...["'<i8'", "'|O'", "'<u2'", 'True', 'False', "'shape'", "'descr'", '(2,)', '(0,)', '()', '(4, 3, 2, 1, 1)'],
  ...['"data_offsets":[0,1]', '"I64"', '"F4"', '[0,0]', '[18446744073709551615,18446744073709551615]', '[3,0]'],
  ...['# n_expert=0', 'n_expert_used=9999999', 'turn,', 'slot,', '"",', '0,0,0\n', '"a""b"', ','.repeat(100)],
].map((word) => Buffer.from(word));

/** Instructions of pickles, and pieces of them. */
const instructions = [
  ...[
    '(',
    '.',
    '0',
    '1',
    '2',
    ']',
    '}',
    ')',
    'N',
    'a',
    'e',
    's',
    'u',
    't',
    'l',
    'd',
    'R',
    'b',
    'Q',
    'P0\n',
    'o',
    'q\0',
    'h\0',
  ],
  ...['\x85', '\x86', '\x87', '\x88', '\x89', '\x81', '\x8f', '\x90', '\x91', '\x92', '\x93', '\x94', '\x97', '\x98'],
  ...['I1\n', 'I01\n', 'L1L\n', 'F1.5\n', "S'a'\n", 'Va\n', 'g0\n', 'p0\n', 'K\x05', 'M\xff\xff', 'J\xff\xff\xff\xff'],
  ...[
    '\x8a\x01\x7f',
    '\x8b\xff\xff\xff\x7f',
    'r\xff\xff\xff\xff',
    'j\0\0\0\0',
    'X\xff\xff\xff\xff',
    'T\xff\xff\xff\x7f',
  ],
  ...[
    '\x8d\xff\xff\xff\xff\xff\xff\xff\x7f',
    '\x8e\xff\xff\xff\xff\xff\xff\xff\xff',
    '\x95\xff\xff\xff\xff\xff\xff\xff\xff',
  ],
  ...[
    '\x96\xff\xff\xff\xff\0\0\0\0',
    'B\xff\xff\xff\xff',
    '\x8c\x01a',
    'U\x01a',
    'X\x01\0\0\0a',
    '\x80\x02',
    '\x80\x05',
  ],
  ...[
    'cos\nsystem\n',
    'cbuiltins\neval\n',
    'c__builtin__\ngetattr\n',
    'ccollections\nOrderedDict\n)R',
    'ctorch\nSize\n',
  ],
  ...['ctorch\nLongStorage\n', 'ctorch._utils\n_rebuild_tensor_v2\n', 'ccollections\ndefaultdict\n', 'ctorch\nint32\n'],
  ...['ios\nsystem\n', '\x82\x01', '\x83\x01\x02', '\x84\x01\x02\x03\x04', 'c__main__\nMode\n', 'X\x02\0\0\0__'],
  ...[
    'h\0h\0\x86q\0'.repeat(60),
    '('.repeat(500),
    ']'.repeat(500),
    'Na'.repeat(300),
    '2'.repeat(300),
    '\x85'.repeat(1500),
  ],
].map((part) => Buffer.from(part, 'latin1'));

/** No file becomes longer than this. The large ones have tests of their own. */
const maxBytes = 2 ** 17;

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts).subarray(0, maxBytes);
}

/** Replaces the bytes from `start` to `end`. */
function replaced(bytes: Uint8Array, start: number, end: number, by: Uint8Array): Uint8Array {
  return joined(bytes.subarray(0, start), by, bytes.subarray(end));
}

type Change = (bytes: Uint8Array, random: Random, other: Uint8Array) => Uint8Array;

/** The places at which decimal numbers stand. */
function decimals(bytes: Uint8Array): [start: number, end: number][] {
  const text = Buffer.from(bytes).toString('latin1');
  return Array.from(text.matchAll(/-?\d+/g), ({ index, 0: { length } }) => [index, index + length]);
}

function decimal(random: Random): string {
  const number = String(random.pick(numbers) + BigInt(random.between(-1, 1)));
  if (random.chance(0.7)) return random.chance(0.2) ? `-${number}` : number;
  return random.pick([
    '1.0',
    '1.5',
    '1e3',
    '1e309',
    '-0',
    '',
    'null',
    '"1"',
    '[1]',
    'NaN',
    '9'.repeat(5000),
    '0'.repeat(5000),
  ]);
}

function integer(random: Random): Uint8Array {
  const bytes = Buffer.alloc(8);
  const number = random.pick(numbers) + BigInt(random.between(-1, 1));
  if (random.chance(0.9)) bytes.writeBigUInt64LE(BigInt.asUintN(64, number));
  else bytes.writeBigUInt64BE(BigInt.asUintN(64, number));
  return bytes.subarray(0, random.pick([1, 2, 4, 8]));
}

const changes: readonly Change[] = [
  // A bit, a byte
  (bytes, random) => {
    const copy = Uint8Array.from(bytes);
    const at = random.below(bytes.length);
    copy[at] ^= random.chance(0.5) ? 1 << random.below(8) : 1 + random.below(255);
    return copy;
  },
  // A digit, so that the text stays sound
  (bytes, random) => {
    const places = decimals(bytes);
    if (places.length === 0) return bytes;
    const [start, end] = random.pick(places);
    const copy = Uint8Array.from(bytes);
    copy[random.between(start, end - 1)] = 0x30 + random.below(10);
    return copy;
  },
  (bytes, random) => {
    const places = decimals(bytes);
    if (places.length === 0) return bytes;
    const [start, end] = random.pick(places);
    return replaced(bytes, start, end, Buffer.from(String(random.below(12))));
  },
  // A line twice, or not at all
  (bytes, random) => {
    const at = random.below(bytes.length);
    const start = bytes.lastIndexOf(0x0a, at - 1) + 1;
    const next = bytes.indexOf(0x0a, at);
    const end = next < 0 ? bytes.length : next + 1;
    const line = bytes.slice(start, end);
    return random.chance(0.5) ? replaced(bytes, start, end, joined(line, line)) : replaced(bytes, start, end, joined());
  },
  // The end, and a part
  (bytes, random) => bytes.subarray(0, random.below(bytes.length)),
  (bytes, random) => {
    const start = random.below(bytes.length);
    return replaced(bytes, start, Math.min(bytes.length, start + 1 + random.below(20)), Buffer.alloc(0));
  },
  // Bytes of every kind
  (bytes, random) => {
    const start = random.below(bytes.length + 1);
    return replaced(
      bytes,
      start,
      start,
      Buffer.from(Array.from({ length: 1 + random.below(16) }, () => random.below(256))),
    );
  },
  (bytes, random) => {
    const start = random.below(bytes.length + 1);
    return replaced(
      bytes,
      start,
      start,
      Buffer.alloc(1 + random.below(4000), random.pick([0, 0x20, 0x22, 0x39, 0x5b, 0x7b, 0xff])),
    );
  },
  // A part twice, or a thousand times
  (bytes, random) => {
    const start = random.below(bytes.length);
    const part = bytes.subarray(start, start + 1 + random.below(80));
    const count = random.chance(0.8) ? 2 : 1 + random.below(1500);
    return replaced(bytes, start, start, Buffer.alloc(Math.min(maxBytes, count * part.length), part));
  },
  // A part of another file
  (bytes, random, other) => {
    const start = random.below(bytes.length);
    const from = random.below(other.length);
    const end = random.chance(0.5) ? start : random.between(start, bytes.length);
    return replaced(bytes, start, end, other.subarray(from, random.between(from, other.length)));
  },
  // Sizes, counts and offsets
  (bytes, random) => {
    const number = integer(random);
    const start = random.below(bytes.length);
    return replaced(bytes, start, Math.min(bytes.length, start + number.length), number);
  },
  (bytes, random) => {
    const places = decimals(bytes);
    if (places.length === 0) return bytes;
    const [start, end] = random.pick(places);
    return replaced(bytes, start, end, Buffer.from(decimal(random)));
  },
  (bytes, random) => {
    const places = decimals(bytes);
    if (places.length === 0) return bytes;
    const [start, end] = random.pick(places);
    const [from, to] = random.pick(places);
    return replaced(bytes, start, end, bytes.slice(from, to));
  },
  // What the formats are made of
  (bytes, random) => {
    const start = random.below(bytes.length + 1);
    return replaced(bytes, start, random.chance(0.6) ? start : Math.min(bytes.length, start + 1), random.pick(words));
  },
  (bytes, random) => {
    const start = random.below(bytes.length + 1);
    return replaced(
      bytes,
      start,
      random.chance(0.6) ? start : Math.min(bytes.length, start + 1),
      random.pick(instructions),
    );
  },
];

/** Changes bytes in one to four ways, mostly in one. */
export function mutate(bytes: Uint8Array, random: Random, other: Uint8Array): Uint8Array {
  let changed = bytes;
  for (let rest = random.pick([1, 1, 1, 2, 3, 4]); rest > 0 && changed.length > 0; rest--) {
    changed = random.pick(changes)(changed, random, other);
  }
  return changed;
}
