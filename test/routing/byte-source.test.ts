/** Sources of bytes. */
import { assert } from 'chai';
import fc from 'fast-check';
import { inBlocks, sourceOfBytes } from '../../ts/routing/byte-source.ts';
import { Random } from '../support/random.ts';

describe('a source that is read in blocks', () => {
  const random = new Random(65);
  const bytes = Uint8Array.from({ length: 300_001 }, () => random.below(256));

  it('has the same bytes, wherever they are read, and at the same time', async () => {
    const place = fc.record({ position: fc.nat(bytes.length + 9), length: fc.oneof(fc.nat(20), fc.nat(150_000)) });
    const read = fc.array(place, { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(read, async (places) => {
        const source = inBlocks(sourceOfBytes(bytes, 'file'));
        assert.strictEqual(source.size, bytes.length);
        await Promise.all(
          places.map(async ({ position, length }) => {
            const into = new Uint8Array(length);
            const count = await source.read(position, into);
            assert.deepEqual(into.subarray(0, count), bytes.subarray(position, position + length));
          }),
        );
      }),
    );
  });

  it('is read once for many small parts', async () => {
    let numReads = 0;
    const plain = sourceOfBytes(bytes, 'file');
    const counted = {
      ...plain,
      read(position: number, into: Uint8Array) {
        numReads++;
        return plain.read(position, into);
      },
    };
    const source = inBlocks(counted);
    for (let position = 0; position < bytes.length; position += 100) await source.read(position, new Uint8Array(100));
    assert.strictEqual(numReads, Math.ceil(bytes.length / 2 ** 16));
  });

  it('ends where the source turns out to be shorter than it says', async () => {
    const source = inBlocks({ ...sourceOfBytes(bytes.subarray(0, 70_000), 'file'), size: bytes.length });
    assert.strictEqual(await source.read(69_990, new Uint8Array(100)), 10);
    assert.strictEqual(await source.read(200_000, new Uint8Array(100)), 0);
  });
});
