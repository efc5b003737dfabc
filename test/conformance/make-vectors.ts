/**
 * Writes `vectors.json`, in the format of the repository's formatter:
 *
 *     npx tsx test/conformance/make-vectors.ts
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { makeVectors } from './vector-cases.ts';

const path = fileURLToPath(new URL('vectors.json', import.meta.url));
const file = makeVectors();
writeFileSync(path, `${JSON.stringify(file, null, 1)}\n`);
execFileSync('npx', ['biome', 'format', '--write', path], { stdio: 'inherit' });
console.log(`${file.vectors.length} vectors`);
