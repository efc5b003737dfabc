/**
 * The kernel as a module of TypeScript, for `ts/devices/wasm/embedded-kernel.ts`, which has the inverse:
 * node wasm/embed-kernel.mjs KERNEL.wasm >kernel.ts
 *
 * Bytes become printable ASCII, which survives any bundler and any charset. One byte stays one character where it is below
 * 88, as most bytes of code are, else two: so gzip finds the repetitions of the code again, which base64 hides from it
 * (7.4 kB instead of 11.8 kB). The literal needs no escapes: it has neither `"` nor `\`.
 */
import { readFileSync } from 'node:fs';

const character = (code) => String.fromCharCode(code === 92 ? 32 : code);
const encode = (byte) =>
  byte < 88 ? character(35 + byte) : character(123 + Math.floor((byte - 88) / 84)) + character(35 + ((byte - 88) % 84));

const text = Array.from(readFileSync(process.argv[2]), encode).join('');
console.log(`// Made by build.sh from wasm/.\nexport const kernelText = "${text}";`);
