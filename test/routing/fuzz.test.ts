/** The fuzzer of the readers of routing: its seeds are sound, and it finds what is wrong. */
import { assert } from 'chai';
import { openRouting, type RoutingError } from '../../ts/routing/index.ts';
import { Cases } from './fuzz/cases.ts';
import { readTwice } from './fuzz/read-twice.ts';
import { fileOf, seeds } from './fuzz/seeds.ts';
import { fuzzRouting } from './fuzz.ts';

const options = { name: 'file' };

describe('the fuzzer of the readers of routing', function () {
  this.timeout(120_000);

  it('starts from sound files', async () => {
    const others: Record<string, string> = {
      'counts in JSON': 'COUNTS',
      'CSV of SGLang': 'COUNTS',
      'CSV of llama.cpp': 'COUNTS',
      'pt with counts': 'COUNTS',
      'pt that runs a command': 'UNSUPPORTED',
    };
    for (const seed of seeds('/nowhere')) {
      if (seed.directory !== undefined) continue;
      const outcome = await openRouting(fileOf(seed), { ...seed.options, name: 'file' }).then(
        () => 'read',
        (error: RoutingError) => error.code,
      );
      assert.equal(outcome, others[seed.name] ?? 'read', seed.name);
    }
  });

  it('makes the same case of the same number', () => {
    const [one, other] = [new Cases(5, '/nowhere'), new Cases(5, '/nowhere')];
    for (const number of [0, 700, one.numCut, one.numCut + 12_345]) {
      assert.deepEqual(one.get(number).file, other.get(number).file);
    }
  });

  it('sees a source that is read differently the second time', async () => {
    let first = 0;
    const open = () => Buffer.from(`[[1, ${first++}], [2, 3]]`);
    await readTwice(() => Buffer.from('[[1, 2], [2, 3]]'), options, 'file');
    const error = await readTwice(open, options, 'file').then(
      () => null,
      (failure: Error) => failure,
    );
    assert.match(error?.message ?? 'it is not seen', /read differently the second time/);
  });

  it('sees an error that does not name the file', async () => {
    const error = await readTwice(() => Buffer.from('[[1, 2'), options, 'another').then(
      () => null,
      (failure: Error) => failure,
    );
    assert.match(error?.message ?? 'it is not seen', /the file is called 'file'/);
  });

  it('reads a case in a process of its own', async () => {
    assert.deepEqual(await fuzzRouting(60, 5, 20), { numCases: 1, failures: [] });
  });
});
