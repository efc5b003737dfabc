/** The rules of which folder may import which: the code obeys them, and the lint finds imports that break them. */
import { spawnSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';

const root = fileURLToPath(new URL('..', import.meta.url));

/** What the lint prints about the sources with one more import. */
function lintWith(module: string, code: string): string {
  const copy = mkdtempSync(join(tmpdir(), 'dispatch-layout-imports-'));
  try {
    for (const name of ['ts', 'package.json', '.dependency-cruiser.mjs']) {
      cpSync(join(root, name), join(copy, name), { recursive: true });
    }
    for (const name of ['dist', 'node_modules']) symlinkSync(join(root, name), join(copy, name), 'dir');
    appendFileSync(join(copy, module), code);
    const lint = join(root, 'node_modules', 'dependency-cruiser', 'bin', 'dependency-cruise.mjs');
    const { stdout } = spawnSync(process.execPath, [lint, '--config', '.dependency-cruiser.mjs', 'ts'], {
      cwd: copy,
      encoding: 'utf8',
    });
    return stdout;
  } finally {
    rmSync(copy, { recursive: true });
  }
}

describe('the rules of imports', () => {
  it('hold: there are no import cycles, and no folder imports from a higher one', () => {
    assert.match(lintWith('ts/index.ts', ''), /no dependency violations found/);
  });

  it('find an import cycle, even one of type imports', () => {
    const code = "\nimport type { IdType } from './id-types.ts';\nexport type Planted = IdType;\n";
    assert.match(lintWith('ts/values/typed-array.ts', code), /error no-import-cycle/);
  });

  it('find an import from a higher folder', () => {
    const code = "\nimport { jsDevice } from '../devices/js/device.ts';\nexport const planted = jsDevice;\n";
    assert.match(lintWith('ts/layout/outputs.ts', code), /error layout-imports-from-no-higher-layer/);
  });
});
