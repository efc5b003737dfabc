/**
 * What the tests of formats share: opening bytes, and reading all ids of a grid.
 *
 * @module
 */
import { assert } from 'chai';
import { type ByteSource, sourceOfBytes } from '../../ts/routing/byte-source.ts';
import type { Contents, IdContents, IdGrid } from '../../ts/routing/contents.ts';
import { formats } from '../../ts/routing/formats/index.ts';
import type { ReadOptions } from '../../ts/routing/read-options.ts';
import { RoutingError } from '../../ts/routing/routing-error.ts';
import { idTypes } from '../../ts/values/id-types.ts';

/** Opens a file by the format that recognises it. */
export async function openBytes(bytes: Uint8Array, options: ReadOptions = {}, name = 'file'): Promise<Contents> {
  return openSource(sourceOfBytes(bytes, name), options);
}

/** Opens a file by the format that recognises it. */
export async function openSource(source: ByteSource, options: ReadOptions = {}): Promise<Contents> {
  const head = new Uint8Array(4096);
  const length = await source.read(0, head);
  const format = formats.find((each) => each.recognises(head.subarray(0, length)));
  if (format === undefined) {
    throw new RoutingError('UNKNOWN_FORMAT', 'is of no known format', { file: source.name, remedy: 'none' });
  }
  return format.open(source, options);
}

/** Contents that must be ids. */
export function asIds(contents: Contents): IdContents {
  if (contents.kind !== 'ids') assert.fail(`these are ${contents.kind}`);
  return contents;
}

/** All ids of a grid: `[layers][tokens][topk]`. */
export async function idsOf(grid: IdGrid, tokensPerPiece = 3): Promise<number[][][]> {
  const layers = grid.layers.map(() => new Array<number[]>(grid.numTokens));
  const into = new idTypes[grid.idType].array(Math.max(1, tokensPerPiece * grid.numTopk));
  const all = grid.layers.map((_, index) => index);
  for await (const { layer, firstToken, numTokens, ids } of grid.pieces(all, into)) {
    for (let token = 0; token < numTokens; token++) {
      assert.isUndefined(layers[layer][firstToken + token], `layer ${layer}, token ${firstToken + token} came twice`);
      const row = ids.subarray(token * grid.numTopk, (token + 1) * grid.numTopk);
      layers[layer][firstToken + token] = Array.from<number | bigint, number>(row, Number);
    }
  }
  return layers;
}

/** The same with the tokens first: `[tokens][layers][topk]`. */
export function tokensFirst(ids: readonly number[][][]): number[][][] {
  return (ids[0] ?? []).map((_, token) => ids.map((layer) => layer[token]));
}

/** The error with which something must be refused. It names the file, and says what to do. */
export async function refusal(work: () => unknown, file = 'file'): Promise<RoutingError> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof RoutingError)) throw error;
    assert.include(error.message, file);
    assert.isNotEmpty(error.remedy);
    return error;
  }
  return assert.fail('it was not refused');
}

/** Does something with a damaged file: it either works or ends in a clear error. */
export async function workOrRefuse(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof RoutingError)) throw error;
    assert.isNotEmpty(error.remedy);
  }
}

/** Reads everything that contents offer. */
export async function readAll(contents: Contents): Promise<void> {
  if (contents.kind === 'ids') await idsOf(contents.grid, 64);
}
