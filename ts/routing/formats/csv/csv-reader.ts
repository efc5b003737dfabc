/**
 * Reads the integers of some columns of a CSV file, a row at a time, from a window over the file. The packages for CSV
 * make a string of every field, which takes five times as long (papaparse 5.7) or ten times (csv-parse 7).
 *
 * @module
 */
import type { RoutingErrorCode } from '../../routing-error.ts';
import { ByteWindow, marginBytes } from '../text/byte-window.ts';
import { TextFault } from '../text/text-fault.ts';

const newline = 0x0a;
const carriageReturn = 0x0d;
const quote = 0x22;
const comma = 0x2c;
const minus = 0x2d;
const hash = 0x23;

/** What to do about a damaged file. */
const remedy = 'correct the file, or write it again';

/** A reader of rows. First come {@link readHeader} and {@link choose}, then {@link nextRow} until it returns false. */
export class CsvReader extends ByteWindow {
  /** The lines before the header that begin with `#`, some of them. */
  readonly comments: string[] = [];
  /** The integers of the row that was read last, in the order of the columns that were chosen. */
  values = new Float64Array();
  #names: readonly string[] = [];
  /** For each column of the file, its place in `values`, or -1. */
  #places = new Int8Array();

  /** Reads the names of the columns. */
  async readHeader(): Promise<readonly string[]> {
    await this.refill();
    if (this.bytes[0] === 0xef && this.bytes[1] === 0xbb && this.bytes[2] === 0xbf) this.at = 3;
    for (;;) {
      if (this.at >= this.safeEnd) await this.refill();
      if (this.isAtEnd) this.fail('NOT_ROUTING', 'has no header, with the names of columns');
      const end = this.#lineEnd();
      const line = text.decode(this.bytes.subarray(this.at, end)).trim();
      if (line !== '' && !line.startsWith('#')) {
        this.at = end;
        this.#names = line.split(',').map((name) =>
          name
            .trim()
            .replace(/^"(.*)"$/, '$1')
            .toLowerCase(),
        );
        return this.#names;
      }
      if (line !== '' && this.comments.length < 8) this.comments.push(line);
      this.at = end + 1;
    }
  }

  #lineEnd(): number {
    const end = this.bytes.subarray(0, this.end).indexOf(newline, this.at);
    if (end >= 0) return end;
    if (this.end - this.at > marginBytes) this.fail('UNSUPPORTED', `is longer than ${marginBytes} bytes`);
    return this.end;
  }

  /** Chooses the columns whose integers are read. Names that the file does not have stand for none. */
  choose(names: readonly (string | undefined)[]): void {
    this.#places = Int8Array.from(this.#names, (name) => names.indexOf(name));
    this.values = new Float64Array(names.length);
  }

  /** Reads the next row, and returns whether there is one. Empty lines and comments are passed over. */
  async nextRow(): Promise<boolean> {
    while (!this.nextRowInWindow()) {
      if (this.isAtEnd) return false;
      await this.refill();
    }
    return true;
  }

  /** Reads the next row, and returns whether the window has it. */
  nextRowInWindow(): boolean {
    while (this.at < this.safeEnd) {
      const code = this.bytes[this.at];
      if (code === newline || code === carriageReturn) this.at++;
      else if (code === hash) this.at = this.#lineEnd();
      else if (this.isAtEnd) return false;
      else {
        this.#readRow();
        return true;
      }
    }
    return false;
  }

  #readRow(): void {
    const { bytes, values } = this;
    const places = this.#places;
    const numColumns = places.length;
    let { at } = this;
    for (let column = 0; column < numColumns; column++) {
      const place = places[column];
      if (place >= 0) {
        const start = at;
        const isNegative = bytes[at] === minus;
        if (isNegative) at++;
        let digit = bytes[at] - 0x30;
        const first = at;
        let value = 0;
        while (digit >= 0 && digit <= 9) {
          value = value * 10 + digit;
          digit = bytes[++at] - 0x30;
        }
        values[place] = isNegative ? -value : value;
        if (at === first || at - first > 15 || !this.#isFieldEnd(at)) {
          at = this.#fieldEnd(start);
          values[place] = this.#readUnusual(start, at, column);
        }
      } else at = this.#fieldEnd(at);
      const isLast = column === numColumns - 1;
      if ((bytes[at] === comma) === isLast) {
        this.at = at;
        const problem = isLast
          ? `has more than the ${numColumns} fields`
          : `has ${column + 1} fields, not the ${numColumns}`;
        this.fail('DAMAGED', `${problem} that the header names`);
      }
      at++;
    }
    this.at = Math.min(at - 1, this.end);
  }

  #isFieldEnd(at: number): boolean {
    const code = this.bytes[at];
    return code === comma || code === newline || code === carriageReturn || at >= this.end;
  }

  /** Where the field that begins at `at` ends. Quotes stand around fields with commas, and twice for themselves. */
  #fieldEnd(at: number): number {
    const { bytes, end } = this;
    if (bytes[at] === quote) {
      for (at++; at < end && (bytes[at] !== quote || bytes[at + 1] === quote); at++) if (bytes[at] === quote) at++;
      if (at >= end) this.fail('DAMAGED', 'has a quoted field without an end, or one that is too long');
      at++;
    }
    // Letters, digits, points and signs come behind the comma in ASCII
    while (bytes[at] > comma || !this.#isFieldEnd(at)) at++;
    if (at >= end && this.safeEnd <= end) this.fail('UNSUPPORTED', `has a field of more than ${marginBytes} bytes`);
    return at;
  }

  /** Reads an integer in quotes, with spaces around it or with a fraction of zero, as some programs write them. */
  #readUnusual(start: number, end: number, column: number): number {
    const field = text.decode(this.bytes.subarray(start, end)).trim();
    const value = /^"?\s*-?\d+(\.0*)?\s*"?$/.test(field) ? Number(field.replaceAll('"', '')) : Number.NaN;
    if (Number.isSafeInteger(value)) return value;
    const shown = field.length > 40 ? `${field.slice(0, 40)}…` : field;
    const problem = field === '' ? 'is empty' : `is ${shown}, not an integer`;
    throw new TextFault('DAMAGED', this.position, `column ${this.#names[column]}`, problem, remedy);
  }

  /** Throws about the row that begins or has just been read. */
  fail(code: RoutingErrorCode, problem: string): never {
    throw new TextFault(code, this.position, '', problem, remedy);
  }
}

const text = new TextDecoder();
