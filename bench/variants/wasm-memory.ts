/**
 * A WASM module without imports, and buffers in its memory.
 *
 * @module
 */
import { readFileSync } from 'node:fs';

const pageBytes = 65536;

/** Compiled once, so that code which V8 has optimised for one problem serves the next. */
const modules = new Map<string, WebAssembly.Module>();

function compile(file: URL): WebAssembly.Module {
  const known = modules.get(file.href);
  if (known !== undefined) return known;
  const compiled = new WebAssembly.Module(readFileSync(file));
  modules.set(file.href, compiled);
  return compiled;
}

/** An instance of its own, with addresses handed out above its heap base. */
export class WasmMemory {
  readonly exports: Readonly<Record<string, (...values: number[]) => number>>;
  readonly #memory: WebAssembly.Memory;
  #end: number;

  constructor(file: URL) {
    const { exports } = new WebAssembly.Instance(compile(file), {});
    const { memory, __heap_base: heapBase, ...functions } = exports;
    this.#memory = memory as WebAssembly.Memory;
    this.#end = (heapBase as WebAssembly.Global<'i32'>).value;
    this.exports = functions as Record<string, (...values: number[]) => number>;
    this.exports._initialize?.();
  }

  /** The exports of another module, which works in the same memory. */
  alsoIn(file: URL): Readonly<Record<string, (...values: number[]) => number>> {
    const { exports } = new WebAssembly.Instance(compile(file), { env: { memory: this.#memory } });
    return exports as Record<string, (...values: number[]) => number>;
  }

  /** The address of `bytes` new bytes. Views that were made before may be detached by it. */
  take(bytes: number): number {
    const address = Math.ceil(this.#end / 64) * 64;
    this.#end = address + bytes;
    const missing = this.#end - this.#memory.buffer.byteLength;
    if (missing > 0) this.#memory.grow(Math.ceil(missing / pageBytes));
    return address;
  }

  /** The memory as it is now. */
  get buffer(): ArrayBuffer {
    return this.#memory.buffer;
  }
}
