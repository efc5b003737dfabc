/** What the errors of routing files show of the files, and what hides in directories. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { assert } from 'chai';
import { openRouting, RoutingError } from '../../ts/routing/index.ts';
import { temporaryFolder } from '../cli/command.ts';
import { int32Tensor, writeSafetensors } from '../support/safetensors-writer.ts';
import { refusal } from './reading.ts';

describe('errors of routing files', () => {
  it('show control characters of names and values as text', () => {
    const error = new RoutingError('DAMAGED', "is '\x1b[2J\0\x9b'", {
      file: 'a\nb',
      place: "array '\u202egpj.exe'",
      remedy: 'choose one of \u2028x',
    });
    assert.equal(
      error.message,
      "a\\u{a}b, array '\\u{202e}gpj.exe' is '\\u{1b}[2J\\u{0}\\u{9b}'; choose one of \\u{2028}x",
    );
    assert.deepInclude(error, { file: 'a\\u{a}b', place: "array '\\u{202e}gpj.exe'" });
  });

  it('show no more of long names and values than people read', async () => {
    const long = 'x'.repeat(100_000);
    const file = writeSafetensors({ [long]: int32Tensor([1, 2], [1, 2]), [`${long}y`]: int32Tensor([1, 2], [1, 2]) });
    const error = await refusal(() => openRouting(file, { name: 'file' }));
    assert.isBelow(error.message.length, 4000);
    assert.include(error.message, 'xxx…');
  });

  it('say that a text ends where a value is missing', async () => {
    for (const text of ['{"routed_experts":', '{"choices":[{"prompt_routed_experts":']) {
      const { message } = await refusal(() => openRouting(Buffer.from(text), { name: 'file' }));
      assert.match(message, /routed_experts is the end of the text, where base64 text or an object .* is expected/);
    }
  });
});

describe('a directory of routing', () => {
  const folder = temporaryFolder();
  let count = 0;
  const directory = (files: Readonly<Record<string, string | Uint8Array | null>>): string => {
    const path = folder.path(`directory${count++}`);
    mkdirSync(path);
    for (const [name, content] of Object.entries(files)) {
      if (content === null) mkdirSync(`${path}/${name}`);
      else writeFileSync(`${path}/${name}`, content);
    }
    return path;
  };
  const meta = '{"num_experts": 8, "num_experts_per_token": 2}';
  const raw = writeSafetensors({ '9_3': int32Tensor([1, 2], [1, 2]) });

  it('is refused for a file that is empty, or a directory', async () => {
    const cases: [files: Parameters<typeof directory>[0], message: RegExp][] = [
      [{ 'meta_info.json': '', 'rank0_raw.safetensors': raw }, /meta_info\.json is not JSON/],
      [{ 'meta_info.json': meta, 'rank0_raw.safetensors': '' }, /rank0_raw\.safetensors/],
      [{ 'meta_info.json': meta, 'rank0_raw.safetensors': null }, /rank0_raw\.safetensors is a directory/],
    ];
    for (const [files, message] of cases) {
      const path = directory(files);
      assert.match((await refusal(() => openRouting(path), path)).message, message);
    }
  });

  it('is read whatever else is in it', async () => {
    const path = directory({
      'meta_info.json': meta,
      'rank0_raw.safetensors': raw,
      notes: null,
      'rank0.safetensors': '',
    });
    const routing = await openRouting(path);
    assert.include(routing, { tokens: 1, topk: 2, format: 'tensorrt-llm' });
    routing.close();
  });
});
