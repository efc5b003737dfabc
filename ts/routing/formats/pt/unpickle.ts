/**
 * A restricted reader of pickles, the programs by which Python saves objects. It knows the instructions that PyTorch's
 * own restricted reader knows (`torch/_weights_only_unpickler.py`), and makes plain data of them: tensors, numbers,
 * texts, lists, tuples and dicts. It never runs anything.
 *
 * The pickle is read piece by piece. Time is bounded by its length, since its instructions have no jumps. Memory is
 * bounded by limits on the stack and on what is kept: long texts and long lists of numbers are not.
 *
 * @module
 */
import type { ByteSource } from '../../byte-source.ts';
import { refuse } from '../../routing-error.ts';
import { ByteWindow } from '../text/byte-window.ts';
import { construct, findGlobal, storageOf } from './globals.ts';
import {
  describedValue,
  maxScalars,
  PythonDict,
  PythonGlobal,
  PythonOpaque,
  PythonSequence,
  type PythonValue,
} from './python-values.ts';

/** The instructions, by their names in Python's module `pickletools`. */
const opcodes = {
  MARK: 0x28,
  EMPTY_TUPLE: 0x29,
  STOP: 0x2e,
  BINFLOAT: 0x47,
  BININT: 0x4a,
  BININT1: 0x4b,
  BININT2: 0x4d,
  NONE: 0x4e,
  BINPERSID: 0x51,
  REDUCE: 0x52,
  SHORT_BINSTRING: 0x55,
  BINUNICODE: 0x58,
  EMPTY_LIST: 0x5d,
  APPEND: 0x61,
  BUILD: 0x62,
  GLOBAL: 0x63,
  APPENDS: 0x65,
  BINGET: 0x68,
  LONG_BINGET: 0x6a,
  BINPUT: 0x71,
  LONG_BINPUT: 0x72,
  SETITEM: 0x73,
  TUPLE: 0x74,
  SETITEMS: 0x75,
  EMPTY_DICT: 0x7d,
  PROTO: 0x80,
  TUPLE1: 0x85,
  TUPLE2: 0x86,
  TUPLE3: 0x87,
  NEWTRUE: 0x88,
  NEWFALSE: 0x89,
  LONG1: 0x8a,
  EMPTY_SET: 0x8f,
} as const;

const protocols = [2, 3];
/** The most values that are on the stack at a time. Python's own writer keeps to a few thousand. */
const maxStack = 2 ** 20;
/** The most memory that values may take: about that of 100,000 tensors. */
const maxBytes = 2 ** 27;
/** About how many bytes the values of each kind take in V8, what refers to them included. */
const bytesOf = { object: 128, sequence: 96, dict: 256, entry: 56, reference: 48, text: 32, scalar: 16 };
/** The longest text that is kept; longer ones are cut. Keys are short, and nothing else is needed. */
const maxTextBytes = 256;
/** The longest name of a class or function. */
const maxNameBytes = 256;
/** The longest integer that is kept. */
const maxLongBytes = 8;

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/**
 * Reads the value that a pickle makes.
 *
 * @param file what to call the file in errors.
 * @param place what to call the pickle in errors, such as `data.pkl`.
 * @throws {@link RoutingError} `DAMAGED` if it is no well-formed pickle, `UNSUPPORTED` if it needs Python, `TOO_LARGE`
 */
export async function unpickle(source: ByteSource, file: string, place: string): Promise<PythonValue> {
  return new Unpickler(source, file, place).run();
}

class Unpickler extends ByteWindow {
  private readonly source: ByteSource;
  private readonly file: string;
  private readonly place: string;
  private readonly view = new DataView(this.bytes.buffer);
  /** Where in the pickle the instruction begins that is carried out. */
  private instruction = 0;
  private readonly stack: PythonValue[] = [];
  /** For each mark, the height of the stack at it. */
  private readonly marks: number[] = [];
  private readonly memo = new Map<number, PythonValue>();
  private numBytes = 0;

  constructor(source: ByteSource, file: string, place: string) {
    super(source);
    this.source = source;
    this.file = file;
    this.place = place;
  }

  async run(): Promise<PythonValue> {
    for (;;) {
      // No instruction is longer than what the window has then, but for texts, of which the rest is passed over.
      if (this.at >= this.safeEnd) await this.refill();
      this.instruction = this.position;
      const opcode = this.bytes[this.take(1)];
      if (opcode === opcodes.STOP) return this.pop();
      this.carryOut(opcode);
      if (this.stack.length + this.marks.length > maxStack) {
        this.tooLarge(`puts more than ${maxStack} values on its stack`);
      }
    }
  }

  private carryOut(opcode: number): void {
    const { stack, view } = this;
    switch (opcode) {
      case opcodes.PROTO: {
        const protocol = this.bytes[this.take(1)];
        if (!protocols.includes(protocol)) this.unsupported(`is a pickle of protocol ${protocol}`, saveWithProtocol2);
        return;
      }
      case opcodes.NONE:
        stack.push(null);
        return;
      case opcodes.NEWTRUE:
        stack.push(true);
        return;
      case opcodes.NEWFALSE:
        stack.push(false);
        return;
      case opcodes.BININT:
        stack.push(view.getInt32(this.take(4), true));
        return;
      case opcodes.BININT1:
        stack.push(this.bytes[this.take(1)]);
        return;
      case opcodes.BININT2:
        stack.push(view.getUint16(this.take(2), true));
        return;
      case opcodes.LONG1:
        this.pushLong(this.bytes[this.take(1)]);
        return;
      case opcodes.BINFLOAT:
        stack.push(view.getFloat64(this.take(8)));
        return;
      case opcodes.BINUNICODE:
        this.pushText(view.getUint32(this.take(4), true));
        return;
      case opcodes.SHORT_BINSTRING:
        this.pushText(this.bytes[this.take(1)]);
        return;
      case opcodes.MARK:
        this.marks.push(stack.length);
        return;
      case opcodes.EMPTY_TUPLE:
        this.pushSequence('tuple', []);
        return;
      case opcodes.TUPLE1:
      case opcodes.TUPLE2:
      case opcodes.TUPLE3:
        this.pushSequence('tuple', this.popSome(opcode - opcodes.TUPLE1 + 1));
        return;
      case opcodes.TUPLE:
        this.pushSequence('tuple', this.popMarked());
        return;
      case opcodes.EMPTY_LIST:
        this.pushSequence('list', []);
        return;
      case opcodes.APPEND:
        this.append(this.popSome(1));
        return;
      case opcodes.APPENDS:
        this.append(this.popMarked());
        return;
      case opcodes.EMPTY_DICT:
        this.push(new PythonDict(), bytesOf.dict);
        return;
      case opcodes.SETITEM:
        this.setItems(this.popSome(2));
        return;
      case opcodes.SETITEMS:
        this.setItems(this.popMarked());
        return;
      case opcodes.EMPTY_SET:
        this.push(new PythonOpaque('a set'), bytesOf.object);
        return;
      case opcodes.BINGET:
        this.get(this.bytes[this.take(1)]);
        return;
      case opcodes.LONG_BINGET:
        this.get(view.getUint32(this.take(4), true));
        return;
      case opcodes.BINPUT:
        this.put(this.bytes[this.take(1)]);
        return;
      case opcodes.LONG_BINPUT:
        this.put(view.getUint32(this.take(4), true));
        return;
      case opcodes.GLOBAL:
        this.pushGlobal();
        return;
      case opcodes.BINPERSID:
        this.push(
          storageOf(this.pop(), (problem) => this.damaged(problem)),
          bytesOf.object,
        );
        return;
      case opcodes.REDUCE:
        this.reduce();
        return;
      case opcodes.BUILD:
        this.build();
        return;
      default: {
        const hex = opcode.toString(16).padStart(2, '0');
        this.unsupported(`has the instruction 0x${hex}, which PyTorch's files do not need`, saveWithProtocol2);
      }
    }
  }

  /** Passes over a few bytes, and returns where they begin. */
  private take(length: number): number {
    const start = this.at;
    if (start + length > this.end) this.damaged('ends early');
    this.at = start + length;
    return start;
  }

  private pushText(length: number): void {
    const isCut = length > maxTextBytes;
    const kept = isCut ? maxTextBytes : length;
    const start = this.take(kept);
    const text = decoder.decode(this.bytes.subarray(start, start + kept));
    const next = this.position + length - kept;
    if (next > this.source.size) this.damaged('ends early');
    this.seek(next);
    this.push(isCut ? `${text}…` : text, bytesOf.text + 2 * kept);
  }

  /** An integer of up to 255 bytes, little-endian in two's complement. */
  private pushLong(length: number): void {
    const start = this.take(length);
    if (length > maxLongBytes) {
      this.push(new PythonOpaque(`an integer of ${length} bytes`), bytesOf.object);
      return;
    }
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[start + i]);
    value = BigInt.asIntN(8 * length, value);
    this.stack.push(Number.isSafeInteger(Number(value)) ? Number(value) : value);
  }

  /** The module or the name of a class or function, which ends with a line break. */
  private takeLine(): string {
    const start = this.at;
    const length = this.bytes.subarray(start, Math.min(start + maxNameBytes + 1, this.end)).indexOf(0x0a);
    if (length < 0) this.damaged(`has a name that does not end within ${maxNameBytes} bytes`);
    this.at = start + length + 1;
    return decoder.decode(this.bytes.subarray(start, start + length));
  }

  /** @param numBytes about how much memory the value takes. */
  private push(value: PythonValue, numBytes: number): void {
    this.count(numBytes);
    this.stack.push(value);
  }

  private count(numBytes: number): void {
    this.numBytes += numBytes;
    if (this.numBytes > maxBytes) this.tooLarge(`makes objects that take more than ${maxBytes} bytes`);
  }

  private pushSequence(kind: 'list' | 'tuple', items: readonly PythonValue[]): void {
    const sequence = new PythonSequence(kind);
    this.fill(sequence, items);
    this.push(sequence, bytesOf.sequence);
  }

  private fill(sequence: PythonSequence, items: readonly PythonValue[]): void {
    const before = sequence.items.length;
    if (!sequence.add(items)) {
      this.unsupported(`has a ${sequence.kind} of more than ${maxScalars} numbers and of objects`, saveAlone);
    }
    this.count((sequence.items.length - before) * bytesOf.scalar);
  }

  /** The lowest value that belongs to what is being made, above the last mark. */
  private floor(): number {
    return this.marks.length === 0 ? 0 : this.marks[this.marks.length - 1];
  }

  private top(): PythonValue {
    if (this.stack.length <= this.floor()) this.damaged('takes a value from an empty stack');
    return this.stack[this.stack.length - 1];
  }

  private pop(): PythonValue {
    const value = this.top();
    this.stack.pop();
    return value;
  }

  private popSome(length: number): PythonValue[] {
    const start = this.stack.length - length;
    if (start < this.floor()) this.damaged('takes a value from an empty stack');
    return this.stack.splice(start);
  }

  private popMarked(): PythonValue[] {
    const mark = this.marks.pop();
    if (mark === undefined) this.damaged('lacks a mark on its stack');
    return this.stack.splice(mark);
  }

  private append(items: readonly PythonValue[]): void {
    const list = this.top();
    if (!(list instanceof PythonSequence && list.kind === 'list')) this.damaged(`appends to ${describedValue(list)}`);
    this.fill(list, items);
  }

  private setItems(items: readonly PythonValue[]): void {
    const dict = this.top();
    if (!(dict instanceof PythonDict)) this.damaged(`sets an item of ${describedValue(dict)}`);
    if (items.length % 2 !== 0) this.damaged('has a key without a value');
    this.count((items.length / 2) * bytesOf.entry);
    for (let i = 0; i < items.length; i += 2) dict.entries.set(items[i], items[i + 1]);
  }

  private get(index: number): void {
    const value = this.memo.get(index);
    if (value === undefined) this.damaged(`refers to object ${index}, which it has not made`);
    this.stack.push(value);
  }

  private put(index: number): void {
    this.count(bytesOf.reference);
    this.memo.set(index, this.top());
  }

  private pushGlobal(): void {
    const module = this.takeLine();
    const name = this.takeLine();
    const global = findGlobal(module, name);
    if (global === undefined) {
      this.unsupported(`refers to ${module}.${name}, which is no tensor, number or container`);
    }
    this.stack.push(global);
  }

  private reduce(): void {
    const [global, args] = this.popSome(2);
    if (!(global instanceof PythonGlobal && args instanceof PythonSequence)) {
      this.damaged(`calls ${describedValue(global)} with ${describedValue(args)}`);
    }
    // A dict may be made of the same list of pairs again and again.
    if (args.items[0] instanceof PythonSequence) this.count(args.items[0].length * bytesOf.entry);
    const value = construct(global, args.items, (problem) => this.damaged(problem));
    this.push(value, value instanceof PythonDict ? bytesOf.dict : bytesOf.object);
  }

  /** Gives an object attributes. Those of an `OrderedDict` are of no use here. */
  private build(): void {
    this.pop();
    const object = this.top();
    if (object instanceof PythonDict && object.isOrdered) return;
    this.unsupported(`gives attributes to ${describedValue(object)}`);
  }

  private where(): string {
    return `byte ${this.instruction} of ${this.place}`;
  }

  private damaged(problem: string): never {
    refuse('DAMAGED', problem, { file: this.file, place: this.where(), remedy: 'copy or save the file again' });
  }

  private unsupported(problem: string, remedy = saveAlone): never {
    refuse('UNSUPPORTED', problem, { file: this.file, place: this.where(), remedy });
  }

  private tooLarge(problem: string): never {
    refuse('TOO_LARGE', problem, { file: this.file, place: this.where(), remedy: saveAlone });
  }
}

const saveAlone = 'nothing of it is run; save the ids alone: torch.save(torch.as_tensor(ids), path)';
const saveWithProtocol2 = 'save it as torch.save does without a pickle_protocol: torch.save(ids, path)';
