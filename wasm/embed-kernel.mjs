/**
 * Writes a module of the kernel as a TypeScript module for `ts/devices/wasm/decode-module.ts`, which has the inverse:
 * node wasm/embed-kernel.mjs KERNEL.wasm >kernel.ts
 *
 * Bytes become printable ASCII, which survives any bundler and any charset. Most bytes of code become one character,
 * the others two. gzip can then find the repetitions in the code, which base64 hides from it (7.4 kB instead of 11.8
 * kB). The bytes that become one character are the 88 from 0xFD, the prefix of every SIMD instruction, by way of 0 to
 * 84. The literal needs no escapes, since it contains neither `"` nor `\`.
 */
import { readFileSync } from 'node:fs';

const character = (code) => String.fromCharCode(code === 92 ? 32 : code);
const encode = (byte) => {
  const number = (byte + 3) % 256;
  if (number < 88) return character(35 + number);
  return character(123 + Math.floor((number - 88) / 84)) + character(35 + ((number - 88) % 84));
};

const text = Array.from(readFileSync(process.argv[2]), encode).join('');
console.log(`// Made by build.sh from wasm/.\nexport const moduleText: string = "${text}";`);
