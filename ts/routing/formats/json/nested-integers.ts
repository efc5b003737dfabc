/**
 * Reads integers in nested arrays, such as `[[[3, 1], [7, 0]], …]`, in the order of the text.
 *
 * @module
 */
import type { RoutingErrorCode } from '../../routing-error.ts';
import {
  closeArray,
  comma,
  isDigit,
  isSpace,
  type JsonReader,
  minus,
  openArray,
  openObject,
  quote,
} from './json-reader.ts';

const space = 0x20;
const zero = 0x30;

/** The most axes that arrays of ids have. */
const maxAxes = 4;

/** What integers are read into. `Float64Array` holds those that do not fit 32 bits; all that are read are safe. */
export type IntegerBuffer = Int32Array | Float64Array;

/** The progress through one value of nested arrays. The first array at each depth determines the length of its axis. */
export class NestedIntegers {
  /** The lengths of the axes. While the text is read for the first time, -1 stands for those that are not yet known. */
  shape: number[] = [];
  /** Whether the value has been read to its end. */
  isFinished = false;
  /** Whether an integer does not fit 32 bits. */
  isWide = false;
  /** The number of axes, or -1 until the first integer, or an empty array, shows it. */
  #numAxes = -1;
  #depth = 0;
  /** For each open array, how many of its elements have begun. */
  readonly #begun = new Float64Array(maxAxes);
  /** Whether the outermost array is the file itself: one value after the other, without commas. */
  readonly #isLines: boolean;
  /** How many integers are in the buffer after {@link #readRows}. */
  #count = 0;
  /** What the next token can be. */
  #state: 'value' | 'value or end' | 'comma or end' = 'value';

  /** @param isLines whether each value of the file is an element of the outermost axis, as in JSONL. */
  constructor(isLines = false) {
    this.#isLines = isLines;
    this.begin();
  }

  /** Begins with another value. */
  begin(): void {
    this.#numAxes = -1;
    this.#depth = this.#isLines ? 1 : 0;
    this.shape = this.#isLines ? [-1] : [];
    this.isFinished = false;
    this.isWide = false;
    this.#state = 'value';
  }

  /**
   * Continues in the middle of a value that has been read before.
   *
   * @param shape its shape.
   * @param numRead how many integers come before, at least one. The text continues behind the last of them.
   */
  static after(numRead: number, shape: readonly number[], isLines: boolean): NestedIntegers {
    const integers = new NestedIntegers(isLines);
    integers.shape = [...shape];
    integers.#numAxes = integers.#depth = shape.length;
    let index = numRead - 1;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      integers.#begun[axis] = (index % shape[axis]) + 1;
      index = Math.floor(index / shape[axis]);
    }
    integers.#state = 'comma or end';
    return integers;
  }

  /**
   * Reads integers until the buffer is full, the value is finished, or the window is too short. With a full buffer the
   * reader is behind the last integer, where {@link after} continues.
   *
   * @param into what integers are written to.
   * @param count how many are in it already.
   * @returns how many are in it now.
   */
  read(reader: JsonReader, into: IntegerBuffer, count: number): number {
    const { bytes, safeEnd, end } = reader;
    let { at } = reader;
    while (at < safeEnd && count < into.length) {
      const code = bytes[at];
      if (isSpace(code)) {
        at++;
        continue;
      }
      if (at === end) break;
      if (this.#state !== 'comma or end' && (isDigit(code) || code === minus)) {
        reader.at = at;
        this.#beginNumber(reader);
        at = this.#readRows(reader, into, count);
        count = this.#count;
        this.#state = 'comma or end';
        continue;
      }
      reader.at = at;
      if (this.#state === 'comma or end' && code === comma) this.#state = 'value';
      else if (this.#state !== 'value' && code === closeArray) {
        this.#close(reader);
        if (this.isFinished) {
          reader.at++;
          return count;
        }
      } else if (code === openArray && (this.#state !== 'comma or end' || this.#isAtLineStart)) this.#open(reader);
      else this.#failAt(reader, code);
      at++;
    }
    reader.at = at;
    return count;
  }

  /**
   * Reads integers as long as they follow one another as nearly all do: behind a comma and at most one space, and at the
   * start of a row of the known length behind such a row. This loop is most of the time of reading a file. The rest is
   * for {@link read}.
   *
   * @returns the position behind the last integer. `#count` is how many are in the buffer then.
   */
  #readRows(reader: JsonReader, into: IntegerBuffer, numBefore: number): number {
    const { bytes, safeEnd } = reader;
    const inner = this.#depth - 1;
    const rowLength = this.shape[inner];
    const limit = into.length;
    let { at } = reader;
    let count = numBefore;
    let begun = this.#begun[inner];
    let digit = bytes[at] - zero;
    for (;;) {
      const start = at;
      const isNegative = digit === minus - zero;
      if (isNegative) digit = bytes[++at] - zero;
      // Ids have one to three digits in no order, which no processor could guess: masks take the place of branches
      const second = bytes[at + 1] - zero;
      const third = bytes[at + 2] - zero;
      const hasSecond = isDigitMask(second);
      const hasThird = hasSecond & isDigitMask(third);
      let value = digit + (hasSecond & (digit * 9 + second));
      value += hasThird & (value * 9 + third);
      at += 1 - hasSecond - hasThird;
      begun++;
      const isPlain = digit > 0 ? digit < 10 : digit === 0 && hasSecond === 0;
      let code = bytes[at];
      if (!isPlain || (code !== comma && code !== closeArray)) {
        reader.at = start;
        this.#begun[inner] = begun;
        value = this.#readUnusual(reader);
        at = reader.at;
        code = bytes[at];
      } else if (isNegative) value = -value;
      into[count++] = value;
      if (count === limit) break;
      let next = at + 1;
      if (code === comma) next += bytes[next] === space ? 1 : 0;
      else {
        if (code !== closeArray || begun !== rowLength || inner === 0 || bytes[next] !== comma) break;
        next += bytes[next + 1] === space ? 2 : 1;
        if (bytes[next++] !== openArray) break;
      }
      digit = bytes[next] - zero;
      if ((digit >>> 0 > 9 && digit !== minus - zero) || next >= safeEnd) break;
      if (code === closeArray) {
        this.#begun[inner - 1]++;
        begun = 0;
      }
      at = next;
    }
    this.#begun[inner] = begun;
    this.#count = count;
    return at;
  }

  get #isAtLineStart(): boolean {
    return this.#isLines && this.#depth === 1;
  }

  /** Closes the outermost array if it is the file itself, and throws otherwise. It is for the end of the file. */
  endAtFileEnd(reader: JsonReader): void {
    if (this.#isAtLineStart && this.#state === 'comma or end') this.#close(reader);
    else reader.failAtToken(this.#state === 'value' ? 'a value is missing' : "']' is missing");
  }

  #beginNumber(reader: JsonReader): void {
    if (this.#numAxes < 0) this.#numAxes = this.#depth;
    if (this.#depth === this.#numAxes && this.#depth > 0) return;
    this.#begin();
    if (this.#depth === 0) this.#fail(reader, 'NOT_ROUTING', `is JSON, but not a nested array: ${reader.valueText()}`);
    this.#fail(reader, 'DAMAGED', `is ${reader.valueText()} where others are arrays`);
  }

  #begin(): void {
    if (this.#depth > 0) this.#begun[this.#depth - 1]++;
  }

  #open(reader: JsonReader): void {
    this.#begin();
    if (this.#depth === this.#numAxes) this.#fail(reader, 'DAMAGED', 'is an array where others are numbers');
    if (this.#depth === maxAxes) this.#fail(reader, 'NOT_ROUTING', `is nested deeper than ${maxAxes} axes`);
    this.#begun[this.#depth++] = 0;
    if (this.#depth > this.shape.length) this.shape.push(-1);
    this.#state = 'value or end';
  }

  #close(reader: JsonReader): void {
    const axis = --this.#depth;
    const length = this.#begun[axis];
    if (this.#numAxes < 0) this.#numAxes = axis + 1;
    if (this.shape[axis] < 0) this.shape[axis] = length;
    else if (this.shape[axis] !== length) {
      const problem = `has ${length} elements, but the first array at this depth has ${this.shape[axis]}`;
      this.#fail(reader, 'DAMAGED', problem);
    }
    this.isFinished = axis === 0;
    this.#state = 'comma or end';
  }

  /** Reads a number that has a fraction or an exponent, or many digits. */
  #readUnusual(reader: JsonReader): number {
    const start = reader.at;
    const value = reader.readNumber();
    if (!Number.isSafeInteger(value)) {
      reader.at = start;
      if (Math.abs(value) > Number.MAX_SAFE_INTEGER) {
        this.#fail(reader, 'NOT_ROUTING', `is ${reader.valueText()}, too large for the id of an expert, or a count`);
      }
      this.#fail(reader, 'NOT_ROUTING', `is ${reader.valueText()}, not an integer`);
    }
    if (value !== (value | 0)) this.isWide = true;
    return value;
  }

  #failAt(reader: JsonReader, code: number): never {
    if (this.#state === 'comma or end') return reader.failAtToken("',' or ']' is missing");
    const isValue = code === quote || code === openObject || ['null', 'true', 'false'].includes(reader.valueText());
    if (!isValue) return reader.failAtToken('a value is missing');
    this.#begin();
    if (this.#depth === 0) this.#fail(reader, 'NOT_ROUTING', 'is JSON, but not a nested array');
    return this.#fail(
      reader,
      'NOT_ROUTING',
      `is ${code === openObject ? 'an object' : reader.valueText()}, not an integer`,
    );
  }

  /** Throws about the element that has begun last. */
  #fail(reader: JsonReader, code: RoutingErrorCode, problem: string): never {
    for (let axis = 0; axis < this.#depth; axis++) reader.path.push(this.#begun[axis] - 1);
    return reader.fail(code, problem);
  }
}

/** -1 if the distance of a byte from the digit 0 is that of a digit, else 0. */
function isDigitMask(distance: number): number {
  return ((distance - 10) & ~distance) >> 31;
}
