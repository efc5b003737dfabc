import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { assert } from 'chai';

/** Each JavaScript example of the README, with the output that is printed below it. */
const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const examples = [...readme.matchAll(/```js\n(.*?)```\n\n```text\n(.*?)```/gs)];

describe('README', () => {
  it('has examples', () => {
    assert.strictEqual(examples.length, [...readme.matchAll(/```js\n/g)].length);
    assert.isAbove(examples.length, 0);
  });

  for (const [index, [, code, output]] of examples.entries()) {
    it(`example ${index + 1} prints what it says`, () => {
      const root = new URL('..', import.meta.url);
      const printed = execFileSync(process.execPath, ['--input-type=module', '-e', code], {
        cwd: root,
        encoding: 'utf8',
      });
      assert.strictEqual(printed, output);
    });
  }
});
