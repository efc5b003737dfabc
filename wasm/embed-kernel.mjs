/**
 * The kernel as a module of TypeScript, for `ts/devices/wasm/embedded-kernel.ts`, which has the inverse:
 * node wasm/embed-kernel.mjs KERNEL.wasm >kernel.ts
 *
 * Bytes become printable ASCII, which survives any bundler and any charset. Most bytes of code stay one character, the others
 * become two: so gzip finds the repetitions of the code again, which base64 hides from it (7.4 kB instead of 11.8 kB). One
 * character are the 88 numbers from 0xFD on, which is the prefix of every SIMD instruction, by way of 0 to 84. The literal
 * needs no escapes: it has neither `"` nor `\`.
 */
import { readFileSync } from 'node:fs';

const character = (code) => String.fromCharCode(code === 92 ? 32 : code);
const encode = (byte) => {
  const number = (byte + 3) % 256;
  if (number < 88) return character(35 + number);
  return character(123 + Math.floor((number - 88) / 84)) + character(35 + ((number - 88) % 84));
};

const text = Array.from(readFileSync(process.argv[2]), encode).join('');
console.log(`// Made by build.sh from wasm/.\nexport const kernelText: string = "${text}";`);
