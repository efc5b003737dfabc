/**
 * The audit step of the CI, run against fake registries: it fails on vulnerabilities that a registry knows, and only on
 * those.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { assert } from 'chai';
import { root } from './support/root.ts';

/** Runs the audit against a registry that gives these answers. */
async function audit(answer: RequestListener): Promise<{ code: number | null; output: string }> {
  const server = createServer(answer).listen(0, 'localhost');
  await once(server, 'listening');
  const cache = mkdtempSync(join(tmpdir(), 'dispatch-layout-audit-'));
  try {
    const registry = `http://localhost:${(server.address() as AddressInfo).port}/`;
    const environment = { ...process.env, npm_config_registry: registry, npm_config_cache: cache };
    const child = spawn(process.execPath, ['.ci/audit.mjs'], { cwd: root, env: environment });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, output };
  } finally {
    server.close();
    rmSync(cache, { recursive: true, force: true });
  }
}

/** A registry that knows of a vulnerability in each of these packages. */
function knowing(names: readonly string[], severity: string): RequestListener {
  return async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (!request.url?.endsWith('/advisories/bulk')) return response.writeHead(404).end('{}');
    const body = Buffer.concat(chunks);
    const text = request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
    const installed = JSON.parse(text.toString()) as Record<string, unknown>;
    const advisory = { id: 1, url: 'https://example.org/1', title: 'made up', severity, vulnerable_versions: '*' };
    const known = names.filter((name) => name in installed).map((name) => [name, [advisory]]);
    return response.end(JSON.stringify(Object.fromEntries(known)));
  };
}

describe('the audit of dependencies', function () {
  this.timeout(120_000);

  it('fails on moderate vulnerabilities of packages that dist contains', async () => {
    const names = ['@assemblyscript/loader', 'commander', 'node-addon-api'];
    const { code, output } = await audit(knowing(names, 'moderate'));
    assert.match(output, /^audit: FAILED: package-lock\.json, \d+ known/m);
    for (const name of names) assert.include(output, `\n  ${name}, which dist contains, moderate: made up`);
    assert.strictEqual(code, 1, output);
  });

  it('passes with a moderate vulnerability of a package that dist does not contain', async () => {
    const { code, output } = await audit(knowing(['fast-check'], 'moderate'));
    assert.match(output, /^audit: passed: package-lock\.json, 1 known/m);
    assert.match(output, /^audit: passed: examples\/onnx-router\/package-lock\.json, 0 known/m);
    assert.strictEqual(code, 0, output);
  });

  it('fails on a high vulnerability of such a package', async () => {
    const { code, output } = await audit(knowing(['fast-check'], 'high'));
    assert.match(output, /^audit: FAILED: package-lock\.json, 1 known/m);
    assert.strictEqual(code, 1, output);
  });

  it('passes if the registry does not answer, and says so', async () => {
    const { code, output } = await audit((_, response) => response.writeHead(405).end());
    assert.match(output, /^audit: skipped: package-lock\.json: 405 Method Not Allowed/m);
    assert.notMatch(output, /passed|FAILED/);
    assert.strictEqual(code, 0, output);
  });
});
