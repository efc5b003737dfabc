/** CSV: a row for each choice of a token, and counts. */
import { assert } from 'chai';
import fc from 'fast-check';
import type { Contents } from '../../ts/routing/contents.ts';
import { asIds, idsOf, openBytes, readAll, refusal, tokensFirst, workOrRefuse } from './reading.ts';

const open = (text: string): Promise<Contents> => openBytes(Buffer.from(text));

async function message(text: string): Promise<string> {
  return (await refusal(() => open(text))).message;
}

async function countsOf(
  text: string,
): Promise<{ layers: readonly number[]; counts: number[][]; producer: string | null }> {
  const contents = await open(text);
  if (contents.kind !== 'counts') return assert.fail(`these are ${contents.kind}`);
  return { layers: contents.layers, counts: contents.counts.map((row) => [...row]), producer: contents.producer };
}

/** A trace as BigMoeOnEdge writes it: layers first while it reads the prompt, tokens first after that. */
const trace = `# route_trace v1
# model=x.gguf arch=qwen3moe n_layer=2 n_expert=16 n_expert_used=2
# layer=0 expert_bytes=3059712 dense_bytes=11953152
turn,phase,step,layer,slot,expert,weight,residency,expert_bytes
0,0,0,0,0,3,0.7,0,3059712
0,0,0,0,1,1,0.3,0,3059712
0,0,1,0,0,4,nan,0,3059712
0,0,1,0,1,2,0.3,0,3059712
0,0,1,1,0,9,0.7,0,3059712
0,0,1,1,1,8,0.3,0,3059712
0,1,2,0,0,5,0.7,1,0
0,1,2,0,1,6,0.3,1,0
0,1,2,1,0,7,0.7,1,0
0,1,2,1,1,10,0.3,1,0
`;

describe('CSV with a row for each choice', () => {
  it('is a grid, in which the cells without rows are empty', async () => {
    for (const text of [trace, trace.replaceAll('\n', '\r\n'), trace.trimEnd(), `\ufeff${trace}`]) {
      const contents = asIds(await open(text));
      assert.include(contents, { format: 'csv', producer: 'BigMoeOnEdge', numExperts: 16 });
      assert.deepEqual(contents.notes, [
        'The file has no ids in 1 of 6 cells of a layer and a token; they are read as empty.',
      ]);
      assert.deepEqual(tokensFirst(await idsOf(contents.grid)), [
        [
          [3, 1],
          [-1, -1],
        ],
        [
          [4, 2],
          [9, 8],
        ],
        [
          [5, 6],
          [7, 10],
        ],
      ]);
    }
  });

  it('counts the steps of each turn after those of the turn before', async () => {
    for (const first of [0, 2]) {
      const text = [
        'turn,step,layer,slot,expert',
        '0,0,0,0,1',
        '0,1,0,0,2',
        `1,${first},0,0,3`,
        `1,${first + 1},0,0,4`,
      ].join('\n');
      assert.deepEqual(await idsOf(asIds(await open(text)).grid), [[[1], [2], [3], [4]]]);
    }
  });

  it('may have its rows and columns in any order, and no slots', async () => {
    const contents = asIds(
      await open('expert_id,"weight",Token_Idx,layer_id\n7,"0,5",1,4\n"6",,0,4\n5,x,0,4\n 3.0,"a ""b""",1,4\n'),
    );
    assert.deepEqual(contents.grid.layers, [4]);
    assert.deepEqual(await idsOf(contents.grid), [
      [
        [6, 5],
        [7, 3],
      ],
    ]);
  });

  it('may have a header in quotes, with which JSON could begin, too', async () => {
    const { format, grid } = asIds(await open('"token","layer","expert"\r\n0,0,1\r\n0,1,"2"\r\n1,0,3\r\n'));
    assert.strictEqual(format, 'csv');
    assert.deepEqual(tokensFirst(await idsOf(grid)), [
      [[1], [2]],
      [[3], [-1]],
    ]);
  });

  it('is refused where a row is not right, with its line and column', async () => {
    const header = 'layer,token,slot,expert\n0,0,0,1\n';
    assert.match(await message(`${header}0,1,0,x\n`), /line 3, column expert is x, not an integer; /);
    assert.match(await message(`${header}0,1,0,1.5\n`), /line 3, column expert is 1\.5, not an integer; /);
    assert.match(await message(`${header}0,1,0,\n`), /line 3, column expert is empty; /);
    assert.match(await message(`${header}0,1,0\n`), /line 3 has 3 fields, not the 4 that the header names; /);
    assert.match(await message(`${header}0,1,0,2,5\n`), /line 3 has more than the 4 fields that the header names; /);
    assert.match(await message(`${header}0,0,0,2\n`), /line 3 gives token 0 of layer 0 a second expert in slot 0; /);
    assert.match(await message(`${header}-1,0,0,2\n`), /line 3 has the layer -1/);
    assert.match(await message(`${header}0,-1,0,2\n`), /line 3 has the token -1/);
    assert.match(await message(`${header}0,0,9999,2\n`), /line 3 has the slot 9999/);
    assert.match(await message(`${header}0,0,1,${2 ** 31}\n`), /line 3 has the expert 2147483648/);
    assert.match(await message(`${header}0,${2 ** 40},0,2\n`), /line 3 needs a grid of more than 16777216 ids/);
    assert.match(await message(`${header}0,1,"0,2\n`), /line 3 has a quoted field without an end/);
    assert.match(await message('layer,token,expert\n'), /has no rows/);
    assert.match(
      await message('a,b\n1,2\n'),
      /has no columns of a layer and an expert; its columns are a, b; write a row/,
    );
    assert.match(await message('# route_trace v1\n'), /has no header/);
    const { message: chosen } = await refusal(() => openBytes(Buffer.from(header), { array: 'x' }));
    assert.match(chosen, /has no arrays with names/);
  });

  it('is read from windows that end anywhere', async () => {
    const numTokens = 20_000;
    const rows = Array.from(
      { length: numTokens },
      (_, token) => `${token},3,${token % 64},${'9'.repeat(token % 7)}\n# comment\n`,
    );
    const { grid } = asIds(await open(`token,layer,expert,other\n${rows.join('')}`));
    const [ids] = await idsOf(grid, 999);
    assert.deepEqual(
      ids,
      Array.from({ length: numTokens }, (_, token) => [token % 64]),
    );
  });
});

describe('CSV with counts', () => {
  it('by layer and expert is summed', async () => {
    assert.deepEqual(await countsOf('layer_id,expert_id,count\n3,0,5\n3,4,7\n5,1,2\n3,0,1\n'), {
      layers: [3, 5],
      counts: [
        [6, 0, 0, 0, 7],
        [0, 2, 0, 0, 0],
      ],
      producer: 'SGLang',
    });
  });

  it('is made of rows that do not name their tokens', async () => {
    assert.deepEqual(await countsOf('layer,expert\n0,2\n0,1\n0,2\n'), {
      layers: [0],
      counts: [[0, 1, 2]],
      producer: 'llama.cpp',
    });
  });

  it('is refused where it is not right', async () => {
    const header = 'layer,expert,count\n';
    assert.match(await message(`${header}0,1,-2\n`), /line 2 has the count -2/);
    assert.match(await message(`${header}0,-1,2\n`), /line 2 has the expert -1/);
    assert.match(await message(`${header}99999,1,2\n`), /line 2 has the layer 99999/);
    assert.match(await message(`${header}0,99999999,2\n`), /line 2 has the expert 99999999/);
    assert.match(await message(header), /has no rows/);
  });
});

describe('hostile CSV', () => {
  it('is read or refused wherever it is cut off or damaged', async () => {
    const bytes = Buffer.from(trace);
    for (let length = 0; length <= bytes.length; length++) {
      await workOrRefuse(async () => readAll(await openBytes(bytes.subarray(0, length))));
    }
    const damage = fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(damage, async (changes) => {
        const damaged = Buffer.from(bytes);
        for (const [position, byte] of changes) damaged[position] = byte;
        await workOrRefuse(async () => readAll(await openBytes(damaged)));
      }),
      { numRuns: Math.ceil(1000 * Number(process.env.DISPATCH_LAYOUT_TEST_RUNS ?? 1)), seed: 20261126 },
    );
  });

  it('is refused where a line or a field has no end', async () => {
    const long = 'x'.repeat(300_000);
    assert.match(await message(`layer,expert${long}`), /line 1 is longer than 32768 bytes/);
    assert.match(
      await message(`layer,token,expert,text\n0,0,0,${long}`),
      /line 2 has a field of more than 32768 bytes/,
    );
    assert.match(
      await message(`layer,token,expert,text\n0,0,0,"${long}`),
      /line 2 has a quoted field without an end, or one that is too long/,
    );
    assert.match(await message(`layer,token,expert,text\n0,0,${'1'.repeat(300_000)},`), /line 2/);
  });
});
