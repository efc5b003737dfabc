/**
 * Decodes a module of the kernel that is embedded in the JavaScript as text.
 *
 * @module
 */

/** Decodes the text. This is the inverse of `wasm/embed-kernel.mjs`, which explains the code. */
export function decodeModule(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length);
  let length = 0;
  let base = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const digit = (code === 32 ? 92 : code) - 35;
    if (digit < 88) {
      // The array stores a negative value modulo 256
      bytes[length++] = base + digit - 3;
      base = 0;
    } else {
      base = 88 + 84 * (digit - 88);
    }
  }
  return bytes.subarray(0, length);
}
