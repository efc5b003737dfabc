/**
 * The bytes behind base64 text, decoded where they are needed: four characters are three bytes, so the place of each
 * byte in the text is known.
 *
 * @module
 */
import type { ByteSource } from '../../byte-source.ts';
import { namingLines, TextFault } from '../text/text-fault.ts';

/** Text of base64 in a file, between the quotes. */
export interface Base64Text {
  readonly text: ByteSource;
  /** Where its first character is, in bytes from the start of the file. */
  readonly position: number;
  /** The number of characters. */
  readonly length: number;
  /** The keys that lead to it, for messages. */
  readonly path: string;
}

const remedy = 'the text was cut or changed: save the reply again';

/**
 * Opens base64 as RFC 4648 defines it, with padding and without line breaks.
 *
 * @param name what to call the bytes in errors.
 * @throws {@link TextFault} if its length is none that base64 has. Other characters are found when they are read.
 */
export async function openBase64(base64: Base64Text, name = base64.text.name): Promise<ByteSource> {
  const { text, position, length } = base64;
  if (length % 4 !== 0) fail(base64, `is no base64: it has ${length} characters, which is not a multiple of 4`);
  const last = new Uint8Array(2);
  await text.read(position + Math.max(length - 2, 0), last);
  const padding = length === 0 ? 0 : last[1] !== equals ? 0 : last[0] !== equals ? 1 : 2;
  return new Base64Source(name, base64, padding);
}

function fail({ position, path }: Base64Text, problem: string): never {
  throw new TextFault('DAMAGED', position, path, problem, remedy);
}

/** The bytes of base64. A file can have very many of them, so that each keeps little. */
class Base64Source implements ByteSource {
  readonly name: string;
  readonly size: number;
  readonly #base64: Base64Text;

  constructor(name: string, base64: Base64Text, padding: number) {
    this.name = name;
    this.size = (base64.length / 4) * 3 - padding;
    this.#base64 = base64;
  }

  read(start: number, into: Uint8Array): Promise<number> {
    return namingLines(this.#base64.text, () => this.#read(start, into));
  }

  async #read(start: number, into: Uint8Array): Promise<number> {
    const { text, position, length } = this.#base64;
    const end = Math.min(start + into.length, this.size);
    const numGroups = Math.min(groupsAtOnce, Math.ceil((end - start) / 3) + 1);
    const characters = new Uint8Array(4 * numGroups);
    const bytes = new Uint8Array(3 * numGroups);
    for (let at = start; at < end; ) {
      const group = Math.floor(at / 3);
      const part = characters.subarray(0, Math.min(characters.length, 4 * (Math.ceil(end / 3) - group)));
      if ((await text.read(position + 4 * group, part)) < part.length) fail(this.#base64, 'ends early');
      // The padding of the last group
      if (4 * group + part.length === length) part.fill(zeroDigit, part.length - ((length / 4) * 3 - this.size));
      const wrong = decode(part, bytes);
      if (wrong >= 0) {
        fail(this.#base64, `is no base64: its character ${4 * group + wrong} is ${shown(part[wrong])}`);
      }
      const decoded = bytes.subarray(at - 3 * group, Math.min(end - 3 * group, (part.length / 4) * 3));
      into.set(decoded, at - start);
      at += decoded.length;
    }
    return Math.max(0, end - start);
  }
}

const groupsAtOnce = 2 ** 14;
const equals = 0x3d;
const zeroDigit = 0x41;

/** The value of each character, and 64 for all that are not in the alphabet. */
const values = new Uint8Array(256).fill(64);
[...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'].forEach((character, value) => {
  values[character.charCodeAt(0)] = value;
});

/** Decodes groups of four characters, and returns the index of the first that is none of the alphabet, or -1. */
function decode(characters: Uint8Array, into: Uint8Array): number {
  let all = 0;
  for (let from = 0, to = 0; from < characters.length; from += 4, to += 3) {
    const first = values[characters[from]];
    const second = values[characters[from + 1]];
    const third = values[characters[from + 2]];
    const fourth = values[characters[from + 3]];
    all |= first | second | third | fourth;
    into[to] = (first << 2) | (second >> 4);
    into[to + 1] = (second << 4) | (third >> 2);
    into[to + 2] = (third << 6) | fourth;
  }
  return all < 64 ? -1 : characters.findIndex((character) => values[character] === 64);
}

function shown(code: number): string {
  return code > 0x20 && code < 0x7f ? `'${String.fromCharCode(code)}'` : `the byte ${code}`;
}
