/** The restricted reader of pickles: what it makes of them, what it refuses, and its limits. */
import { assert } from 'chai';
import fc from 'fast-check';
import { sourceOfBytes } from '../../ts/routing/byte-source.ts';
import {
  PythonDict,
  PythonOpaque,
  PythonSequence,
  PythonTensor,
  type PythonValue,
} from '../../ts/routing/formats/pt/python-values.ts';
import { tensorsIn } from '../../ts/routing/formats/pt/tensors-in.ts';
import { unpickle } from '../../ts/routing/formats/pt/unpickle.ts';
import * as p from '../support/pickle-writer.ts';
import { refusal, workOrRefuse } from './reading.ts';

function load(value: p.Pickled, protocol?: number): Promise<PythonValue> {
  return unpickle(sourceOfBytes(p.pickle(value, protocol), 'x.pt'), 'x.pt', 'data.pkl');
}

/** The value in plain JavaScript. */
function plain(value: PythonValue): unknown {
  if (value instanceof PythonSequence) return value.items.map(plain);
  if (value instanceof PythonDict) return Object.fromEntries([...value.entries].map(([k, v]) => [String(k), plain(v)]));
  if (value instanceof PythonTensor) {
    return `${value.type.name} [${value.shape}] [${value.strides}] + ${value.offset} of ${value.storage.key}`;
  }
  return value instanceof PythonOpaque ? value.what : value;
}

const grid = { numElements: 24, shape: [2, 3, 4], strides: [12, 4, 1] };

describe('the reader of pickles', () => {
  it('makes numbers, texts and containers of them', async () => {
    const value = p.dict({
      ints: p.list(
        p.int(-5),
        p.code('K', 200),
        p.code('M', 1, 2),
        p.long(2n ** 53n),
        p.code(0x8a, 0),
        p.code(0x8a, 1, 255),
      ),
      others: p.tuple(p.none, p.code(0x88), p.code(0x89), p.float(2.5), p.text('é☃'), p.code(')')),
      tuples: p.list(p.code('K', 1, 0x85), p.code('K', 1, 'K', 2, 0x86), p.code('K', 1, 'K', 2, 'K', 3, 0x87)),
      ordered: p.code(p.call(p.global('collections', 'OrderedDict')), p.text('a'), p.int(1), 's'),
      size: p.call(p.global('torch', 'Size'), p.tuple(p.int(2), p.int(3))),
    });
    assert.deepEqual(plain(await load(value)), {
      ints: [-5, 200, 513, 2n ** 53n, 0, -1],
      others: [null, true, false, 2.5, 'é☃', []],
      tuples: [[1], [1, 2], [1, 2, 3]],
      ordered: { a: 1 },
      size: [2, 3],
    });
  });

  it('reads tensors as views of storages', async () => {
    assert.equal(plain(await load(p.tensor(grid))), 'int32 [2,3,4] [12,4,1] + 0 of 0');
    const part = {
      storageClass: 'torch LongStorage',
      key: '7',
      numElements: 24,
      offset: 8,
      shape: [2, 3],
      strides: [6, 1],
    };
    assert.equal(plain(await load(p.tensor(part))), 'int64 [2,3] [6,1] + 8 of 7');
    const parameter = p.call(p.global('torch._utils', '_rebuild_parameter'), p.tensor(grid), p.code(0x88), p.none);
    assert.equal(plain(await load(parameter)), 'int32 [2,3,4] [12,4,1] + 0 of 0');
    const bytes = { ...grid, storageClass: 'torch.storage UntypedStorage', numElements: 48 };
    const v3 = (type: string) => {
      const sizes = [p.tuple(p.int(2), p.int(3), p.int(4)), p.tuple(p.int(12), p.int(4), p.int(1))];
      const args = [p.storage(bytes), p.int(0), ...sizes, p.code(0x89), p.none, p.global('torch', type)];
      return p.call(p.global('torch._utils', '_rebuild_tensor_v3'), ...args);
    };
    assert.equal(plain(await load(v3('uint16'))), 'uint16 [2,3,4] [12,4,1] + 0 of 0');
    assert.match((await refusal(() => load(v3('uint32')), 'x.pt')).message, /needs 24 elements of a storage of 12/);
  });

  it('keeps nothing of values that are of no use but what they are', async () => {
    const value = p.tuple(
      p.call(p.global('__builtin__', 'set'), p.list(p.int(1))),
      p.call(p.global('builtins', 'complex'), p.float(1), p.float(2)),
      p.call(p.global('_codecs', 'encode'), p.text('ab'), p.text('latin1')),
      p.call(p.global('torch', 'device'), p.text('cpu')),
      p.call(p.global('torch._utils', '_rebuild_sparse_tensor'), p.none),
      p.code(0x8f),
    );
    const whats = ['a set', 'a complex number', 'bytes', 'a device', 'a sparse tensor', 'a set'];
    assert.deepEqual(plain(await load(value)), whats);
  });

  it('cuts long texts, and counts the numbers of long lists without keeping them', async () => {
    const long = (last: p.Pickled) => p.code('](', Buffer.alloc(140_000, p.code('K', 1)), last, 'e');
    const [cut, numbers] = ((await load(p.list(p.text('x'.repeat(1000)), long(p.code())))) as PythonSequence).items;
    assert.equal(cut, `${'x'.repeat(256)}…`);
    assert.deepInclude(numbers, { length: 70_000, items: [] });
    const error = await refusal(() => load(long(p.code('e(', p.list()))), 'x.pt');
    assert.match(error.message, /a list of more than 1024 numbers and of objects/);
  });

  it('reads pickles of any length, window by window', async () => {
    // The window of 256 KiB ends at every place of an instruction, as the lists have lengths that are no divisors of it.
    const texts = Array.from({ length: 3000 }, (_, i) => p.list(p.text(`${i}`), p.text('x'.repeat(i % 700)), p.int(i)));
    const longText = p.text('y'.repeat(600_000));
    const value = (await load(p.list(...texts, longText, p.tensor(grid), longText))) as PythonSequence;
    assert.equal(value.length, 3003);
    for (const i of [0, 1, 1000, 2999]) {
      const [name, text, number] = plain(value.items[i]) as [string, string, number];
      assert.deepEqual([name, number], [`${i}`, i]);
      assert.equal(text, i % 700 > 256 ? `${'x'.repeat(256)}…` : 'x'.repeat(i % 700));
    }
    assert.equal(plain(value.items[3001]), 'int32 [2,3,4] [12,4,1] + 0 of 0');
  });

  const refused: Record<string, { value: p.Pickled; message: RegExp; code: string; protocol?: number }> = {
    'a function of Python': {
      value: p.call(p.global('os', 'system'), p.text('true')),
      message:
        /byte 2 of data\.pkl refers to os\.system, which is no tensor, number or container; nothing of it is run/,
      code: 'UNSUPPORTED',
    },
    'a class of numpy': {
      value: p.global('numpy._core.multiarray', '_reconstruct'),
      message: /refers to numpy\._core\.multiarray\._reconstruct/,
      code: 'UNSUPPORTED',
    },
    'an allowed name in another module': {
      value: p.global('os', 'OrderedDict'),
      message: /refers to os\.OrderedDict/,
      code: 'UNSUPPORTED',
    },
    'a call of a type': { value: p.call(p.global('torch', 'int32')), message: /calls torch\.int32/, code: 'DAMAGED' },
    'a call of a number': { value: p.code(p.int(1), ')R'), message: /calls 1 with a tuple of 0/, code: 'DAMAGED' },
    'a later protocol': { value: p.none, protocol: 4, message: /is a pickle of protocol 4/, code: 'UNSUPPORTED' },
    'an unknown instruction': {
      value: p.code(0x82, 1),
      message: /byte 2 .* has the instruction 0x82/,
      code: 'UNSUPPORTED',
    },
    'an instance of a class': {
      value: p.code(p.global('torch', 'Size'), ')', 0x81),
      message: /0x81/,
      code: 'UNSUPPORTED',
    },
    'a value from an empty stack': {
      value: p.code('a'),
      message: /takes a value from an empty stack/,
      code: 'DAMAGED',
    },
    'a value from below a mark': { value: p.code('](K', 1, '(a'), message: /empty stack/, code: 'DAMAGED' },
    'a missing mark': { value: p.code('t'), message: /lacks a mark/, code: 'DAMAGED' },
    'a missing object of the memo': { value: p.code('h', 5), message: /refers to object 5/, code: 'DAMAGED' },
    'an item of a number': {
      value: p.code(p.int(1), p.int(2), p.int(3), 's'),
      message: /sets an item of 1/,
      code: 'DAMAGED',
    },
    'a key without a value': {
      value: p.code('}(', p.text('a'), 'u'),
      message: /a key without a value/,
      code: 'DAMAGED',
    },
    'an item behind a tuple': {
      value: p.code(p.tuple(), p.int(1), 'a'),
      message: /appends to a tuple/,
      code: 'DAMAGED',
    },
    'attributes of a list': {
      value: p.code(p.list(), '}b'),
      message: /gives attributes to a list of 0/,
      code: 'UNSUPPORTED',
    },
    'a name without an end': {
      value: p.code('c', 'x'.repeat(5000)),
      message: /does not end within 256 bytes/,
      code: 'DAMAGED',
    },
    'a text that claims 4 GB': { value: p.code('X', 255, 255, 255, 255), message: /ends early/, code: 'DAMAGED' },
    'a persistent id that is no storage': {
      value: p.code(p.text('foo'), 'Q'),
      message: /refers to something outside that is no storage: 'foo'/,
      code: 'DAMAGED',
    },
    'a storage of an unknown type': {
      value: p.tensor({ ...grid, storageClass: 'torch Size' }),
      message: /a storage of the unknown type torch\.Size/,
      code: 'DAMAGED',
    },
    'a tensor beyond its storage': {
      value: p.tensor({ ...grid, offset: 1 }),
      message: /a tensor of int32 \[2, 3, 4\] that needs 25 elements of a storage of 24/,
      code: 'DAMAGED',
    },
    'a tensor of 2^62 elements in no storage': {
      value: p.tensor({ numElements: 0, shape: [2 ** 31, 2 ** 31], strides: [0, 0] }),
      message: /needs 1 elements of a storage of 0/,
      code: 'DAMAGED',
    },
    'one element, repeated 2^62 times': {
      value: p.tensor({ numElements: 1, shape: [2 ** 31, 2 ** 31], strides: [0, 0] }),
      message: /repeats the elements of a storage of 1/,
      code: 'DAMAGED',
    },
    'negative strides': {
      value: p.tensor({ numElements: 4, offset: 3, shape: [4], strides: [-1] }),
      message: /shape and strides are not tuples of as many integers/,
      code: 'DAMAGED',
    },
    'a shape that can be changed later': {
      value: p.code(
        p.list(p.int(4)),
        'q',
        0,
        p.call(
          p.global('torch._utils', '_rebuild_tensor_v2'),
          p.storage({ ...grid, shape: [], strides: [] }),
          p.int(0),
          p.code('h', 0),
          p.tuple(p.int(1)),
          p.code(0x89),
          p.none,
        ),
      ),
      message: /not tuples of as many/,
      code: 'DAMAGED',
    },
    'a negative offset': { value: p.tensor({ ...grid, offset: -1 }), message: /at the offset -1/, code: 'DAMAGED' },
    'strides of another length': {
      value: p.tensor({ ...grid, strides: [1] }),
      message: /not tuples of as many/,
      code: 'DAMAGED',
    },
  };
  for (const [what, { value, message, code, protocol }] of Object.entries(refused)) {
    it(`refuses ${what}`, async () => {
      const error = await refusal(() => load(value, protocol), 'x.pt');
      assert.match(error.message, message);
      assert.equal(error.code, code);
    });
  }

  it('refuses a pickle that is cut anywhere', async () => {
    const whole = p.pickle(p.dict({ ids: p.tensor(grid), tokens: p.list(p.int(1), p.long(2n), p.float(3)) }));
    for (let length = 0; length < whole.length; length++) {
      await refusal(() => unpickle(sourceOfBytes(whole.subarray(0, length), 'x.pt'), 'x.pt', 'data.pkl'), 'x.pt');
    }
  });

  const repeat = (part: p.Pickled, times: number) => Buffer.alloc(part.length * times, part);
  const filled = (part: p.Pickled) => p.code(']', repeat(part, Math.ceil(2 ** 24 / part.length)));
  const hungry: Record<string, () => p.Pickled> = {
    'values on the stack': () => repeat(p.none, 2 ** 21),
    'marks on the stack': () => repeat(p.code('('), 2 ** 21),
    'lists in a list': () => filled(p.code(']a')),
    'tuples of numbers in a list': () => filled(p.code('(', Buffer.alloc(1000, 'N'), 'ta')),
    'dicts of the same pairs': () => {
      const pairs = p.code('](', repeat(p.tuple(p.int(1), p.int(2)), 10_000), 'eq', 0);
      return p.code(pairs, ']', repeat(p.code(p.global('collections', 'OrderedDict'), 'h', 0, 0x85, 'Ra'), 10_000));
    },
  };
  for (const [what, value] of Object.entries(hungry)) {
    it(`limits ${what}`, async () => assert.equal((await refusal(() => load(value()), 'x.pt')).code, 'TOO_LARGE'));
  }

  it('takes any instructions', async () => {
    const letters = [...'()N}]](teausKJMX.QRbcGhqrjU'].map((letter) => letter.charCodeAt(0));
    const bytes = fc.oneof(
      { arbitrary: fc.constantFrom(...letters, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8f), weight: 8 },
      { arbitrary: fc.integer({ min: 0, max: 255 }), weight: 1 },
      { arbitrary: fc.constantFrom(0, 1, 2, 3), weight: 3 },
    );
    const parts = fc.oneof(
      bytes.map((byte) => Buffer.of(byte)),
      fc.constantFrom(p.tensor(grid), p.list(), p.text('a'), p.global('collections', 'OrderedDict'), p.storage(grid)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(parts, { maxLength: 60 }), (some) =>
        workOrRefuse(async () => tensorsIn(await load(Buffer.concat(some)), 'x.pt')),
      ),
      { numRuns: 1000 },
    );
  });
});

describe('the tensors in an object', () => {
  it('are found under their paths', async () => {
    const value = p.pairs([
      [p.text('a'), p.list(p.tensor(grid), p.dict({ b: p.tensor(grid) }))],
      [p.int(3), p.tensor(grid)],
      [p.tuple(p.text('decoder'), p.none, p.int(1)), p.tensor(grid)],
    ]);
    const paths = tensorsIn(await load(value), 'x.pt').map(({ path }) => path);
    assert.deepEqual(paths, ['a[0]', 'a[1].b', '3', "('decoder', None, 1)"]);
    assert.deepEqual(
      tensorsIn(await load(p.tensor(grid)), 'x.pt').map(({ path }) => path),
      [''],
    );
  });

  it('are found once in a container that occurs twice, or in itself', async () => {
    const inItself = p.code(']q', 0, 'h', 0, 'a', p.tensor(grid), 'a');
    assert.deepEqual(
      tensorsIn(await load(inItself), 'x.pt').map(({ path }) => path),
      ['[1]'],
    );
    // Each list has the one before it three times: 3^60 paths lead to the innermost.
    const levels = Array.from({ length: 60 }, (_, i) =>
      p.code('](', ...new Array(3).fill(p.code('h', i)), 'e', 'q', i + 1),
    );
    const bomb = p.code(p.list(p.tensor(grid)), 'q', 0, ...levels);
    assert.lengthOf(tensorsIn(await load(bomb), 'x.pt'), 1);
  });

  it('are not looked for deeper than a hundred containers', async () => {
    const nested = (depth: number) => load(p.code(Buffer.alloc(depth, ']'), Buffer.alloc(depth - 1, 'a')));
    assert.deepEqual(tensorsIn(await nested(100), 'x.pt'), []);
    const deep = await nested(20_000);
    assert.match((await refusal(() => tensorsIn(deep, 'x.pt'), 'x.pt')).message, /nested deeper than 100/);
  });
});
