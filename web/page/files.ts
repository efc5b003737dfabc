/**
 * Files that are chosen or dropped, and how far reading them has come.
 *
 * @module
 */
import { type Capture, mostExperts } from '../../ts/capture/capture.ts';
import { type IdType, idTypeNames } from '../../ts/values/id-types.ts';
import type { ReadJob } from '../reader/read-capture.ts';
import { type Reading, startReading } from '../reader/reading.ts';
import { byId, show } from './elements.ts';

const input = (id: string): HTMLInputElement => byId<HTMLInputElement>(id);

/** Reads what the user chooses or drops. */
export class Files {
  readonly #script: string;
  readonly #onCapture: (capture: Capture) => void;
  #files: readonly File[] = [];
  #reading: Reading | null = null;

  /** @param script the code of the worker. */
  constructor(script: string, onCapture: (capture: Capture) => void) {
    this.#script = script;
    this.#onCapture = onCapture;
    input('files').addEventListener('change', () => this.#take(input('files').files));
    byId('again').addEventListener('click', () => this.#read());
    byId('cancel').addEventListener('click', () => this.#end('Reading was cancelled.'));
    const drop = byId('drop');
    // A file that misses the field must not replace the page
    for (const kind of ['dragover', 'drop']) document.addEventListener(kind, (event) => event.preventDefault());
    document.addEventListener('dragover', () => drop.classList.add('over'));
    document.addEventListener('dragleave', () => drop.classList.remove('over'));
    document.addEventListener('drop', (event) => {
      drop.classList.remove('over');
      if (event.dataTransfer !== null) void droppedFiles(event.dataTransfer).then((files) => this.#take(files));
    });
  }

  #take(files: ArrayLike<File> | null): void {
    if (files === null || files.length === 0) return;
    this.#files = Array.from(files);
    // The same file can be chosen again after it has changed
    input('files').value = '';
    this.#read();
  }

  #read(): void {
    this.#reading?.stop();
    const job = this.#job();
    if (typeof job === 'string') {
      this.#refuse(job);
      return;
    }
    byId<HTMLButtonElement>('again').disabled = false;
    byId('problem').textContent = '';
    const started = performance.now();
    this.#showProgress(0, started);
    show(byId('progress'), true);
    this.#reading = startReading(this.#script, job, {
      onProgress: (share) => this.#showProgress(share, started),
      onCapture: (capture) => {
        this.#end('');
        this.#onCapture(capture);
      },
      onProblem: (message) => this.#refuse(message),
    });
  }

  #end(message: string): void {
    this.#reading?.stop();
    this.#reading = null;
    show(byId('progress'), false);
    byId('problem').textContent = message;
  }

  /** Says what is wrong, and shows the fields that can help. */
  #refuse(message: string): void {
    this.#end(message);
    byId<HTMLDetailsElement>('reading').open = true;
  }

  #showProgress(share: number, started: number): void {
    const seconds = (performance.now() - started) / 1000;
    const left = share > 0 ? (seconds * (1 - share)) / share : 0;
    byId<HTMLProgressElement>('bar').value = share;
    byId('progress-text').textContent =
      seconds < 1 ? 'Reading' : `${Math.floor(100 * share)} %, ${Math.ceil(left)} seconds left`;
  }

  /** What the fields say, or what is wrong with them. */
  #job(): ReadJob | string {
    const text = (id: string): string | undefined => input(id).value.trim() || undefined;
    for (const id of ['numLayers', 'numTopk', 'numExperts']) {
      const given = text(id);
      if (given !== undefined && !/^[1-9]\d{0,6}$/.test(given)) {
        return `${id === 'numExperts' ? 'experts' : id} is ${given}: give a whole number from 1 on.`;
      }
    }
    const emptyId = text('emptyId');
    if (emptyId !== undefined && !/^-?\d+$/.test(emptyId)) return `emptyId is ${emptyId}: give a whole number.`;
    if (Number(text('numExperts') ?? 0) > mostExperts) {
      return `experts is ${text('numExperts')}: give a whole number up to ${mostExperts}.`;
    }
    const number = (id: string): number | undefined => (text(id) === undefined ? undefined : Number(text(id)));
    return {
      files: this.#files,
      numExperts: number('numExperts'),
      axes: text('axes'),
      array: text('array'),
      numLayers: number('numLayers'),
      numTopk: number('numTopk'),
      idType: idTypeNames.find((name): name is IdType => name === byId<HTMLSelectElement>('idType').value),
      emptyId: emptyId === undefined ? undefined : BigInt(emptyId),
    };
  }
}

/** The files that were dropped, and those in the directories that were dropped. */
async function droppedFiles(transfer: DataTransfer): Promise<readonly File[]> {
  // What was dropped can only be asked for before the event has been handled
  const entries = Array.from(transfer.items, (item) => item.webkitGetAsEntry());
  const files = Array.from(transfer.files);
  const inDirectories = entries.map((entry) =>
    entry?.isDirectory ? filesIn(entry as FileSystemDirectoryEntry) : null,
  );
  const found = await Promise.all(inDirectories.map((listed, index) => listed ?? [files[index]]));
  return found.flat();
}

/** The files of a directory, without those of the directories in it. */
async function filesIn(directory: FileSystemDirectoryEntry): Promise<readonly File[]> {
  const reader = directory.createReader();
  const entries: FileSystemEntry[] = [];
  // A reader hands out some entries at a time, and none when it has handed out all
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break;
    entries.push(...some);
  }
  const files = entries.filter((entry) => entry.isFile) as FileSystemFileEntry[];
  return Promise.all(files.map((entry) => new Promise<File>((resolve, reject) => entry.file(resolve, reject))));
}
