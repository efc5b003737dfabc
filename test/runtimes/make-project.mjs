/**
 * Makes a project with the packed library and the conformance suite: node test/runtimes/make-project.mjs FOLDER. The
 * project can be copied to another machine, where `npm install && npm test` runs the suite.
 */
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { addSuite, packLibrary } from './project.mjs';

const folder = resolve(process.argv[2]);
await mkdir(folder, { recursive: true });
await rename(await packLibrary(folder), join(folder, 'dispatch-layout.tgz'));
await addSuite(folder);
const manifest = {
  private: true,
  type: 'module',
  scripts: { test: 'node test.mjs' },
  dependencies: { 'dispatch-layout': 'file:dispatch-layout.tgz' },
};
await writeFile(join(folder, 'package.json'), JSON.stringify(manifest, null, 2));
await writeFile(
  join(folder, 'test.mjs'),
  `import { runSuite } from './suite.js';

let failures = 0;
for (const { name, passed, skipped, failed } of await runSuite({ expectedDevice: 'wasm', settings: {} })) {
  console.log(\`\${name}: \${passed} passed, \${failed.length} failed, \${skipped.length} skipped\`);
  for (const failure of failed) console.log(failure);
  failures += failed.length;
}
process.exitCode = failures > 0 ? 1 : 0;
`,
);
