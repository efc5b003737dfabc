/**
 * Reads JSON token by token from a window over the file, so that no document need fit in memory.
 *
 * @module
 */
import type { RoutingErrorCode } from '../../routing-error.ts';
import { ByteWindow, marginBytes } from '../text/byte-window.ts';
import { TextFault } from '../text/text-fault.ts';
import { Names } from './names.ts';

/** The codes of the characters that mean something in JSON. */
export const quote = 0x22;
export const comma = 0x2c;
export const minus = 0x2d;
export const openArray = 0x5b;
export const closeArray = 0x5d;
export const openObject = 0x7b;
export const closeObject = 0x7d;
const plus = 0x2b;
const point = 0x2e;
const zero = 0x30;
const colon = 0x3a;
const backslash = 0x5c;

/** How deep values may be nested that nobody looks at. Python's own writer stops at 1,000. */
const maxDepth = 1000;

/** What to do about a file that contradicts its format. */
export const damagedRemedy = 'correct the file, or write it again';

/**
 * A reader of JSON values. Methods expect to be at the start of what they read, and leave the reader behind it. They
 * throw a {@link TextFault} where the text is not JSON. Methods that are not async see only the window. It has
 * {@link marginBytes} or more after {@link peek} or {@link peekFurther} has returned the code of a character.
 */
export class JsonReader extends ByteWindow {
  /** The keys and indices that lead to the current value, for messages. Whoever descends into a value keeps them. */
  readonly path: (string | number)[] = [];
  readonly #names = new Names();
  readonly #containers = new Uint8Array(maxDepth);

  /**
   * Skips white space, and returns the code of the character that follows, but 0 where the window ends too soon. Then
   * {@link peekFurther} returns it: `reader.peek() || (await reader.peekFurther())`.
   */
  peek(): number {
    const { bytes } = this;
    let { at } = this;
    while (isSpace(bytes[at])) at++;
    this.at = at;
    return at < this.safeEnd ? bytes[at] : 0;
  }

  /** What {@link peek} does, with as many bytes as it takes; 0 at the end of the file. */
  async peekFurther(): Promise<number> {
    do {
      await this.refill();
      const code = this.peek();
      if (code !== 0) return code;
    } while (this.at >= this.safeEnd);
    if (this.at < this.end) this.failAtToken('a byte is 0');
    return 0;
  }

  /** Skips a byte order mark at the start of the file. */
  async skipByteOrderMark(): Promise<void> {
    await this.refill();
    const { bytes } = this;
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) this.at = 3;
  }

  /**
   * Goes to the next value of an array. The first call comes after the opening bracket.
   *
   * @returns whether there is a value; otherwise the array has been closed.
   */
  async nextElement(isFirst: boolean): Promise<boolean> {
    const code = this.peek() || (await this.peekFurther());
    if (isFirst && code !== closeArray) return true;
    if (code !== closeArray && code !== comma) this.failAtToken("',' or ']' is missing");
    this.at++;
    return code === comma;
  }

  /**
   * Goes to the next value of an object. The first call comes after the opening brace.
   *
   * @returns the key of the value, or null where the object has been closed.
   */
  async nextKey(isFirst: boolean): Promise<string | null> {
    for (;;) {
      const key = this.nextKeyInWindow(isFirst);
      if (key !== undefined) return key;
      if (this.at === 0 && this.end > marginBytes) this.fail('UNSUPPORTED', 'has too much white space before a value');
      // All of the file is in the window, so that more of it cannot help
      if (this.safeEnd > this.end) this.failAtToken('a byte is 0');
      await this.refill();
    }
  }

  /** What {@link nextKey} does, but undefined, without having moved, where the window ends too soon. */
  nextKeyInWindow(isFirst: boolean): string | null | undefined {
    const start = this.at;
    let code = this.peek();
    if (code === closeObject) {
      this.at++;
      return null;
    }
    if (!isFirst && code !== 0) {
      if (code !== comma) this.failAtToken("',' or '}' is missing");
      this.at++;
      code = this.peek();
    }
    if (code !== 0) {
      if (code !== quote) this.failAtToken('a key is missing');
      const key = this.readString();
      code = this.peek();
      if (code === colon) {
        this.at++;
        return key;
      }
    }
    if (code !== 0) this.failAtToken("':' is missing");
    // A byte 0 is no JSON, and at the end of the file there is nothing to wait for
    if (this.at < this.safeEnd) this.failAtToken(this.isAtEnd ? "'}' is missing" : 'a byte is 0');
    this.at = start;
    return undefined;
  }

  /** Reads a string of at most 32 KiB. */
  readString(): string {
    const { bytes } = this;
    const start = this.at + 1;
    let at = start;
    let hash = 0;
    let isPlain = true;
    for (let code = bytes[at]; code !== quote; code = bytes[++at]) {
      if (code < 0x20) this.#failInString(at);
      if (code === backslash && ++at >= this.end) this.#failInString(at);
      if (code === backslash || code >= 0x80) isPlain = false;
      hash = (hash * 31 + code) | 0;
    }
    this.at = at + 1;
    if (isPlain) return this.#names.get(bytes, start, at, hash);
    try {
      return JSON.parse(utf8.decode(bytes.subarray(start - 1, at + 1)));
    } catch {
      this.at = start - 1;
      return this.failAtToken('a string has a broken escape, or is not UTF-8');
    }
  }

  /** Skips a string of any length. */
  async skipString(): Promise<void> {
    this.at++;
    while (!this.#skipStringInWindow()) {
      if (this.safeEnd > this.end) this.#failInString(this.end);
      await this.refill();
    }
  }

  /**
   * Skips the characters of a string up to its end, and returns whether the window has its end. Control characters are
   * not looked for, since the search for the quote is much faster than that.
   */
  #skipStringInWindow(): boolean {
    const { bytes, end } = this;
    for (;;) {
      const { at } = this;
      const next = bytes.indexOf(quote, at);
      const stop = next < 0 || next >= end ? end : next;
      let numBackslashes = 0;
      while (stop - numBackslashes > at && bytes[stop - numBackslashes - 1] === backslash) numBackslashes++;
      // A quote behind an odd number of backslashes is escaped, and so is whatever follows the window
      this.at = stop === end ? end - (numBackslashes % 2) : stop + 1;
      if (stop === end) return false;
      if (numBackslashes % 2 === 0) return true;
    }
  }

  #failInString(at: number): never {
    this.at = Math.min(at, this.end);
    if (at < this.end) return this.failAtToken('a string contains a control character');
    if (this.safeEnd > this.end) return this.failAtToken('a string has no end');
    return this.fail('UNSUPPORTED', `has a string of more than ${marginBytes} bytes where a short one is expected`);
  }

  /** Reads a number. Python's `NaN` and `Infinity` are none. */
  readNumber(): number {
    const { bytes } = this;
    const start = this.at;
    // Short integers are nearly all of them
    let at = start;
    let value = 0;
    while (isDigit(bytes[at])) value = value * 10 + bytes[at++] - zero;
    if (at - start < 10 && !isOfWord(bytes[at]) && (at - start === 1 || (at > start && bytes[start] !== zero))) {
      this.at = at;
      return value;
    }
    this.#skipNumber();
    return Number(utf8.decode(bytes.subarray(start, this.at)));
  }

  /** The text of the value that begins here, shortened for a message. */
  valueText(): string {
    const { bytes, at } = this;
    if (at >= this.end) return 'the end of the text';
    let end = at + 1;
    const isString = bytes[at] === quote;
    while (end < this.end && (isString ? bytes[end - 1] !== quote || end === at + 1 : isOfWord(bytes[end]))) end++;
    const text = new TextDecoder().decode(bytes.subarray(at, Math.min(end, at + 41)));
    return shortened(text);
  }

  #skipNumber(): void {
    const start = this.at;
    const at = numberEnd(this.bytes, start);
    // A number that reaches the end of the window is longer than any that makes sense, unless the file ends there
    const isCut = at >= this.end && this.safeEnd <= this.end;
    if (at < 0 || isCut || isOfWord(this.bytes[at])) this.failAtToken('a value is missing');
    this.at = at;
  }

  /**
   * Skips a number, a word, a string, or an array of numbers and words.
   *
   * @returns whether the window has the whole value. Otherwise the reader has not moved, and {@link skipValue} is needed.
   */
  skipInWindow(): boolean {
    const start = this.at;
    const first = this.peek();
    if (first === quote) {
      this.at++;
      if (this.#skipStringInWindow()) return true;
    } else if (first === openArray) {
      this.at++;
      let code = this.peek();
      for (let isFirst = true; !(isFirst && code === closeArray); isFirst = false) {
        if (code === 0 || code === quote || code === openArray || code === openObject) break;
        this.#skipWord(code);
        code = this.peek();
        if (code !== comma) break;
        this.at++;
        code = this.peek();
      }
      if (code === closeArray) {
        this.at++;
        return true;
      }
    } else if (first !== 0 && first !== openObject) {
      this.#skipWord(first);
      return true;
    }
    this.at = start;
    return false;
  }

  /** Skips a value, whatever it is. Numbers may be those that Python's `json` writes, with `NaN` and `Infinity`. */
  async skipValue(): Promise<void> {
    const containers = this.#containers;
    let depth = 0;
    for (;;) {
      let code = this.peek() || (await this.peekFurther());
      let isFirst = false;
      if (code === openArray || code === openObject) {
        if (depth === maxDepth) this.fail('UNSUPPORTED', `is nested more than ${maxDepth} levels deep`);
        containers[depth++] = code;
        this.at++;
        isFirst = true;
      } else if (code === quote) await this.skipString();
      else this.#skipWord(code);
      // Closes all containers that end here, and goes to the next value
      for (; ; isFirst = false) {
        if (depth === 0) return;
        code = this.peek() || (await this.peekFurther());
        const isArray = containers[depth - 1] === openArray;
        if (code === (isArray ? closeArray : closeObject)) {
          this.at++;
          depth--;
          continue;
        }
        if (!isFirst) {
          if (code !== comma) this.failAtToken(`',' or '${isArray ? ']' : '}'}' is missing`);
          this.at++;
          code = this.peek() || (await this.peekFurther());
        }
        if (isArray) break;
        if (code !== quote) this.failAtToken('a key is missing');
        this.readString();
        if ((this.peek() || (await this.peekFurther())) !== colon) this.failAtToken("':' is missing");
        this.at++;
        break;
      }
    }
  }

  #skipWord(code: number): void {
    if (code === minus && this.skipIfNext('-Infinity')) return;
    if (code === minus || isDigit(code)) this.#skipNumber();
    else if (!words.some((word) => this.skipIfNext(word))) this.failAtToken('a value is missing');
  }

  /** Skips a word such as `null` if the value is that, and returns whether it is. */
  skipIfNext(word: string): boolean {
    for (let i = 0; i < word.length; i++) {
      if (this.bytes[this.at + i] !== word.charCodeAt(i)) return false;
    }
    if (isOfWord(this.bytes[this.at + word.length])) return false;
    this.at += word.length;
    return true;
  }

  /**
   * Throws for a token that JSON does not allow here.
   *
   * @param problem what is missing or wrong, as a clause.
   */
  failAtToken(problem: string): never {
    const found = this.at >= this.end ? 'the file ends' : `there is ${this.valueText()}`;
    return this.fail('DAMAGED', `is not valid JSON: ${problem}, and ${found}`);
  }

  /** Throws a {@link TextFault} about the value that begins here. */
  fail(code: RoutingErrorCode, problem: string, remedy = damagedRemedy): never {
    throw new TextFault(code, this.position, pathText(this.path), problem, remedy);
  }
}

const words = ['null', 'true', 'false', 'NaN', 'Infinity'];
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Whether a byte is white space between tokens. */
export function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

/** Whether a byte is a digit. */
export function isDigit(code: number): boolean {
  return code >= zero && code <= 0x39;
}

/** Whether a byte can be a part of a number or a word. */
function isOfWord(code: number): boolean {
  return isDigit(code) || ((code | 0x20) - 0x61) >>> 0 < 26 || code === plus || code === minus || code === point;
}

/** Where the number that begins at `at` ends, or -1 if none does. */
function numberEnd(bytes: Uint8Array, at: number): number {
  if (bytes[at] === minus) at++;
  const first = at;
  while (isDigit(bytes[at])) at++;
  if (at === first || (bytes[first] === zero && at > first + 1)) return -1;
  if (bytes[at] === point) {
    const fraction = ++at;
    while (isDigit(bytes[at])) at++;
    if (at === fraction) return -1;
  }
  if ((bytes[at] | 0x20) === 0x65) {
    at++;
    if (bytes[at] === minus || bytes[at] === plus) at++;
    const exponent = at;
    while (isDigit(bytes[at])) at++;
    if (at === exponent) return -1;
  }
  return at;
}

/** Keys and indices as people write them: `choices[0].routed_experts`. Long keys are shortened. */
export function pathText(path: readonly (string | number)[]): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${shortened(part)}`))
    .join('')
    .replace(/^\./, '');
}

/** A text of the file as far as messages quote it. */
export function shortened(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
