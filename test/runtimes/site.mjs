/**
 * A web server on this machine for the pages under test. It serves each folder under its own path with its own headers, and
 * receives the results that the pages send.
 *
 * @module
 */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const types = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.wasm': 'application/wasm',
};

/** The headers that make a page cross-origin isolated. */
export const isolation = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

export class Site {
  #server = createServer((request, response) => {
    this.#answer(request, response).catch((error) => {
      response.writeHead(error.code === 'ENOENT' ? 404 : 500).end(String(error));
    });
  });
  #places = new Map();
  #waiting = new Map();

  /** Starts listening on a free port of the loopback interface. */
  async start() {
    await new Promise((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  stop() {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /**
   * Serves `folder` under its own path, with these headers. `rewrite` changes the text of its scripts. Returns the
   * address of the folder.
   */
  add(folder, { headers = {}, rewrite = (text) => text } = {}) {
    const name = `site-${this.#places.size}`;
    this.#places.set(name, { folder, headers, rewrite });
    return `http://127.0.0.1:${this.#server.address().port}/${name}/`;
  }

  /** A promise for the results that the page with this id will send. */
  answerOf(id) {
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  async #answer(request, response) {
    const [name, ...rest] = decodeURIComponent(new URL(request.url, 'http://localhost').pathname).slice(1).split('/');
    if (name === 'results') {
      const chunks = await request.toArray();
      this.#waiting.get(rest[0])?.(JSON.parse(Buffer.concat(chunks).toString()));
      response.writeHead(204).end();
      return;
    }
    const place = this.#places.get(name);
    if (place === undefined) {
      response.writeHead(404).end();
      return;
    }
    const path = normalize(`/${rest.join('/') || 'index.html'}`);
    const type = types[extname(path)] ?? 'application/octet-stream';
    const bytes = await readFile(join(place.folder, path));
    const body = type.startsWith('text/javascript') ? place.rewrite(bytes.toString()) : bytes;
    response.writeHead(200, { 'Content-Type': type, 'Cache-Control': 'no-store', ...place.headers }).end(body);
  }
}
