/** `doctor` on platforms with and without a prebuilt addon: it says so, and layouts are computed on wasm. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import type { DeviceDescription } from 'dispatch-layout';

const command = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

/** What `doctor` says in a process that pretends to be on this platform. */
function doctorOn(platform: string, arch: string, isMusl = false): Record<string, DeviceDescription> {
  const musl = `
    process.getBuiltinModule('node:fs').readdirSync = () => ['ld-musl-x86_64.so.1'];
    process.report.getReport = () => ({ header: {}, sharedObjects: ['/lib/ld-musl-x86_64.so.1'] });`;
  const fake = `
    Object.defineProperty(process, 'platform', { value: '${platform}' });
    Object.defineProperty(process, 'arch', { value: '${arch}' });
    ${isMusl ? musl : ''}`;
  const output = execFileSync(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(fake)}`, command, 'doctor', '--json'],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, DISPATCH_LAYOUT_CUDA_ADDON: '' } },
  );
  const { devices } = JSON.parse(output) as { devices: DeviceDescription[] };
  return Object.fromEntries(devices.map((description) => [description.device, description]));
}

describe('platforms without a prebuilt addon', () => {
  for (const [name, platform, arch, isMusl] of [
    ['linux-x64-musl', 'linux', 'x64', true],
    ['linux-arm64-musl', 'linux', 'arm64', true],
    ['darwin-arm64', 'darwin', 'arm64', false],
    ['darwin-x64', 'darwin', 'x64', false],
    ['win32-x64', 'win32', 'x64', false],
  ] as const) {
    it(`${name}: doctor says so, and wasm is chosen`, () => {
      const { cuda, wasm } = doctorOn(platform, arch, isMusl);
      assert.isFalse(cuda.available);
      const platforms = 'linux-x64 and linux-arm64 with glibc';
      assert.strictEqual(cuda.reason, `there is no prebuilt CUDA addon for ${name}, only for ${platforms}`);
      assert.match(cuda.remedy ?? '', /device: 'wasm' or 'auto'/);
      assert.isTrue(wasm.available && wasm.chosen);
    });
  }
});

describe('platforms with a prebuilt addon', () => {
  for (const arch of ['x64', 'arm64']) {
    it(`linux-${arch}: the addon is looked for`, () => {
      const { cuda, wasm } = doctorOn('linux', arch);
      assert.notStrictEqual(cuda.code, 'UNSUPPORTED_PLATFORM');
      // Only if this process really is on the other platform, it can load the other addon
      if (arch === process.arch) return;
      assert.include(['ADDON_MISSING', 'ADDON_BROKEN'], cuda.code);
      assert.include(cuda.reason, `prebuilds/linux-${arch}/dispatch_layout_cuda.node`);
      assert.isTrue(wasm.available && wasm.chosen);
    });
  }
});
