import assert from 'node:assert';
import { createRequire } from 'node:module';
import * as imported from 'dispatch-layout';
import { DeviceTensor } from 'dispatch-layout/cuda';

// A program whose packages import and require the library has one copy of it, with one kernel and one set of errors
const require = createRequire(import.meta.url);
const required = require('dispatch-layout');
for (const [name, value] of Object.entries(imported)) assert.strictEqual(required[name], value, name);
assert.strictEqual(require('dispatch-layout/cuda').DeviceTensor, DeviceTensor);
