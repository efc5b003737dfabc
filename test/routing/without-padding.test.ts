/** Padding of arrays, which a mask beside them says. Samples of torch.save have theirs in pt.test.ts. */
import { assert } from 'chai';
import { zipSync } from 'fflate';
import { openRouting } from '../../ts/routing/index.ts';
import { npyOf } from '../cli/npy-writer.ts';
import { int32Tensor, writeSafetensors } from '../support/safetensors-writer.ts';

const tokens = Array.from({ length: 6 }, (_, token) => [token, token + 1]);
const isToken = [0, 1, 1, 0, 0, 1];

async function open(bytes: Uint8Array): Promise<{ ids: number[]; notes: readonly string[] }> {
  const routing = await openRouting(bytes, { name: 'file', array: 'ids' });
  const ids: number[] = [];
  for await (const piece of routing.pieces()) ids.push(...Array.from(piece.ids as ArrayLike<bigint | number>, Number));
  assert.strictEqual(ids.length, routing.tokens * routing.topk);
  return { ids, notes: routing.notes };
}

describe('padding', () => {
  const kept = tokens.filter((_, token) => isToken[token] === 1).flat();
  const leftOut = ['3 of 6 tokens are left out, which are padding by the attention_mask.'];

  it('is left out where a mask of the same tokens lies beside the ids', async () => {
    const npz = zipSync({ 'ids.npy': npyOf([tokens]), 'attention_mask.npy': npyOf([isToken]) });
    assert.deepEqual(await open(npz), { ids: kept, notes: leftOut });
    const tensors = { ids: int32Tensor(tokens.flat(), [6, 2]), attention_mask: int32Tensor(isToken, [6]) };
    assert.deepEqual(await open(writeSafetensors(tensors)), { ids: kept, notes: leftOut });
  });

  it('is read as tokens where the mask is of others, or not of integers, and the notes say so', async () => {
    const ids = int32Tensor(tokens.flat(), [6, 2]);
    const other = await open(writeSafetensors({ ids, attention_mask: int32Tensor([1, 0], [2]) }));
    assert.deepEqual(other.ids, tokens.flat());
    assert.deepEqual(other.notes, ['Padding is read as tokens: attention_mask is [2], and the tokens are [6].']);
    const fractions = { dtype: 'F32', shape: [6], data: new Uint8Array(24) };
    assert.deepEqual((await open(writeSafetensors({ ids, attention_mask: fractions }))).notes, [
      'Padding is read as tokens: attention_mask is float32 [6], and only masks of integers are applied.',
    ]);
  });
});
