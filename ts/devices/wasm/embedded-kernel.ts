/**
 * The kernel that travels inside the JavaScript, compiled once in a thread: at once, or without blocking.
 *
 * @module
 */
import { kernelText } from '../../generated/kernel.ts';

let compiled: WebAssembly.Module | undefined;

/** The compiled kernel. */
export function kernelModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(decode(kernelText));
  return compiled;
}

/** The same, compiled off this thread; browsers that limit synchronous compilation allow this. */
export async function compileKernel(): Promise<WebAssembly.Module> {
  compiled ??= await WebAssembly.compile(decode(kernelText));
  return compiled;
}

/** The inverse of `wasm/embed-kernel.mjs`, where the code is explained. */
function decode(text: string): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  let base = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const digit = (code === 32 ? 92 : code) - 35;
    if (digit < 88) {
      bytes.push(base + digit);
      base = 0;
    } else {
      base = 88 + 84 * (digit - 88);
    }
  }
  return Uint8Array.from(bytes);
}
