/**
 * `dispatch-layout doctor`: every device, whether it can be used and was chosen, and why.
 *
 * @module
 */
import { describeDevices } from '../index.ts';
import { inFlags } from './fail.ts';
import { print } from './print.ts';
import { version } from './version.ts';

/** The flags of `doctor`, parsed. */
export interface DoctorFlags {
  readonly device: 'auto' | 'cuda' | 'wasm' | 'js';
  readonly json?: true;
}

export async function doctor(flags: DoctorFlags): Promise<void> {
  const devices = describeDevices(flags.device);
  const versions = { library: version, node: process.versions.node, v8: process.versions.v8 };
  const platform = `${process.platform} ${process.arch}`;
  if (flags.json) {
    await print(`${JSON.stringify({ versions, platform, requested: flags.device, devices })}\n`);
    return;
  }
  const lines = [
    `dispatch-layout ${versions.library}, Node.js ${versions.node} (V8 ${versions.v8}), ${platform}`,
    '',
    ...devices.flatMap(({ device, available, chosen, reason, remedy }) => [
      `${chosen ? '*' : ' '} ${device.padEnd(5)} ${available ? 'available' : 'not available'}${chosen ? ', chosen' : ''}`,
      ...indented(reason),
      ...(remedy === undefined ? [] : indented(`Remedy: ${inFlags(remedy)}`)),
    ]),
  ];
  await print(`${lines.join('\n')}\n`);
}

/** Breaks text into indented lines of at most 80 columns. */
function indented(text: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/)) {
    if (line !== '' && 8 + line.length + 1 + word.length > 80) {
      lines.push(line);
      line = '';
    }
    line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].map((each) => `        ${each}`);
}
