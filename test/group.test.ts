/** `ExpertGroup`, the free function over it, placements, and the choice of a device. */
import vm from 'node:vm';
import { assert } from 'chai';
import {
  type DeviceDescription,
  DeviceUnavailableError,
  type DispatchLayout,
  describeDevices,
  ExpertGroup,
  getDispatchLayout,
  getExpertPermutation,
  getRankPermutation,
} from 'dispatch-layout';
import { describeOnEachDevice } from './support/each-device.ts';
import { expectError } from './support/expect.ts';
import { jsonOf } from './support/run-script.ts';

const rows = [
  [0, 1],
  [2, 7],
];

describe('ExpertGroup', () => {
  it('has the options that it was made with', () => {
    for (const [options, expected] of [
      [{ numRanks: 8 }, [8, 8, 1]],
      [{ numRanks: 16 }, [16, 8, 2]],
      [{ numRanks: 6, numRanksPerNode: 2 }, [6, 2, 3]],
      [{ numRanks: 6, numRanksPerNode: 6 }, [6, 6, 1]],
      [{ numRanks: 6, numRanksPerNode: 7 }, [6, 7, 1]],
      [{ numRanks: 1, numRanksPerNode: 1 }, [1, 1, 1]],
      [{ numRanks: 1000, numRanksPerNode: 1 }, [1000, 1, 1000]],
      [{ numRanks: 320, numRanksPerNode: undefined, placement: undefined, device: undefined }, [320, 8, 40]],
    ] as const) {
      const group = new ExpertGroup(options);
      assert.deepStrictEqual([group.numRanks, group.numRanksPerNode, group.numRdmaRanks], [...expected]);
    }
  });

  it('returns layouts with their shape and device', () => {
    const group = new ExpertGroup({ numRanks: 4, numRanksPerNode: 2 });
    const layout = group.getDispatchLayout(
      [
        [0, 1, 2],
        [2, 7, 3],
      ],
      8,
    );
    const { numTokens, numTopk, numExperts, numRanks, numRdmaRanks, device } = layout;
    assert.deepStrictEqual(
      { numTokens, numTopk, numExperts, numRanks, numRdmaRanks, device },
      {
        numTokens: 2,
        numTopk: 3,
        numExperts: 8,
        numRanks: 4,
        numRdmaRanks: 2,
        device: group.device,
      },
    );
  });

  it('has methods that need no options', () => {
    const group = new ExpertGroup({ numRanks: 4 });
    const expected = [...group.getDispatchLayout(rows, 8).numTokensPerRank];
    assert.deepStrictEqual([...group.getDispatchLayout(rows, 8, undefined).numTokensPerRank], expected);
    assert.deepStrictEqual([...group.getDispatchLayout(rows, 8, {}).numTokensPerRank], expected);
    const allUndefined = {
      invalidExperts: undefined,
      out: undefined,
      previousEvent: undefined,
      asyncFinish: undefined,
      allocateOnCommStream: undefined,
    };
    assert.deepStrictEqual([...group.getDispatchLayout(rows, 8, allUndefined).numTokensPerRank], expected);
  });

  it('can take strict and ignoring calls in turn, also with uneven experts', () => {
    const group = new ExpertGroup({ numRanks: 4 });
    for (const _ of [1, 2]) {
      expectError(() => group.getDispatchLayout([[8, 2]], 10), { code: 'UNEVEN_EXPERTS', value: 10 });
      const layout = group.getDispatchLayout([[8, 2]], 10, { invalidExperts: 'ignore' });
      assert.deepStrictEqual([...layout.isTokenInRank], [0, 1, 0, 0]);
    }
  });
});

describe('getDispatchLayout', () => {
  const mask = (layout: DispatchLayout) => layout.isTokenInRank.join('');

  it('returns what a group returns', () => {
    const options = { numRanks: 4, numRanksPerNode: 2 };
    const layout = getDispatchLayout(rows, 8, options);
    const { event, ...ofGroup } = new ExpertGroup(options).getDispatchLayout(rows, 8);
    assert.isFalse(event.recorded);
    assert.deepInclude(layout, ofGroup);
  });

  it('uses changed options at once', () => {
    assert.strictEqual(mask(getDispatchLayout(rows, 8, { numRanks: 4 })), '10000101');
    assert.strictEqual(mask(getDispatchLayout(rows, 8, { numRanks: 2 })), '1011');
    assert.isNull(getDispatchLayout(rows, 8, { numRanks: 2 }).numTokensPerRdmaRank);
    assert.deepStrictEqual(
      [...(getDispatchLayout(rows, 8, { numRanks: 2, numRanksPerNode: 1 }).numTokensPerRdmaRank ?? [])],
      [2, 1],
    );
    assert.strictEqual(mask(getDispatchLayout(rows, 8, { numRanks: 2, placement: [1, 0, 0, 0, 0, 0, 0, 0] })), '1110');
    assert.strictEqual(mask(getDispatchLayout(rows, 8, { numRanks: 2, placement: [0, 0, 0, 0, 0, 0, 0, 1] })), '1011');
    assert.strictEqual(mask(getDispatchLayout(rows, 8, { numRanks: 2 })), '1011');
    assert.strictEqual(mask(getDispatchLayout(rows, 16, { numRanks: 2 })), '1010');
    assert.strictEqual(getDispatchLayout(rows, 8, { numRanks: 2, device: 'js' }).device, 'js');
    assert.strictEqual(getDispatchLayout(rows, 8, { numRanks: 2, device: 'wasm' }).device, 'wasm');
    expectError(() => getDispatchLayout([[9]], 8, { numRanks: 2 }), { code: 'INVALID_EXPERT' });
    assert.strictEqual(mask(getDispatchLayout([[9]], 8, { numRanks: 2, invalidExperts: 'ignore' })), '00');
    expectError(() => getDispatchLayout([[9]], 8, { numRanks: 2 }), { code: 'INVALID_EXPERT' });
  });

  it('uses a placement that the caller has changed in the next call', () => {
    const placement = [0, 0, 1, 1];
    assert.strictEqual(mask(getDispatchLayout([[0], [3]], 4, { numRanks: 2, placement })), '1001');
    placement[3] = 0;
    assert.strictEqual(mask(getDispatchLayout([[0], [3]], 4, { numRanks: 2, placement })), '1010');
    placement[3] = 2;
    expectError(() => getDispatchLayout([[0], [3]], 4, { numRanks: 2, placement }), { code: 'PLACEMENT', value: 2 });
    placement[3] = 1;
    assert.strictEqual(mask(getDispatchLayout([[0], [3]], 4, { numRanks: 2, placement })), '1001');
  });

  it('uses the right group if a getter in the placement calls it for another one', () => {
    const placement = [0, 0, 1, 1];
    const hostile = Object.defineProperty([...placement], 3, {
      get() {
        getDispatchLayout([[0]], 4, { numRanks: 4 });
        return 1;
      },
    });
    for (const table of [placement, hostile, hostile]) {
      assert.strictEqual(mask(getDispatchLayout([[0], [3]], 4, { numRanks: 2, placement: table })), '1001');
    }
  });

  it('ignores what other code has added to the prototype of all objects', () => {
    const prototype = Object.prototype as { added?: number };
    prototype.added = 1;
    try {
      assert.strictEqual(mask(getDispatchLayout([[0], [3]], 4, { numRanks: 2 })), '1001');
    } finally {
      delete prototype.added;
    }
  });

  it('does not let callers reach the table of its group', () => {
    const group = new ExpertGroup({ numRanks: 2, placement: [0, 1] });
    assert.deepStrictEqual(Object.keys(group), []);
    assert.notProperty(group, 'placement');
  });

  it('refuses a wrong placement, whatever length it claims', () => {
    for (const length of [2 ** 28, 2 ** 32]) {
      const options = { numRanks: 2, placement: { length } as never };
      expectError(() => getDispatchLayout([[0]], 8, options), { code: 'PLACEMENT' });
    }
  });

  it('reads a placement again after it refused one with the same ranks', () => {
    for (const placement of ['0011', 0, {}, [], null]) {
      getDispatchLayout([[0]], 4, { numRanks: 2, placement: [0, 0, 1, 1] });
      const options = { numRanks: 2, placement: placement as unknown as number[] };
      expectError(() => getDispatchLayout([[0]], 4, options), { code: 'PLACEMENT' });
    }
    // This would equal the table, element by element, only if numbers and strings were the same.
    getDispatchLayout([[0]], 4, { numRanks: 2, placement: [0, 0, 1, 1] });
    const strings = { numRanks: 2, placement: ['0', '0', '1', '1'] as unknown as number[] };
    expectError(() => getDispatchLayout([[0]], 4, strings), { code: 'PLACEMENT' });
  });
});

describe('getExpertPermutation and getRankPermutation', () => {
  const arrays = (order: object) => JSON.stringify({ ...order, event: undefined });
  const ofEvery = { invalidExperts: 'throw', emptyId: 5, previousEvent: undefined, asyncFinish: false };

  it('return what a group returns, and use changed options at once', () => {
    const settings = { numRanks: 4, numRanksPerNode: 2 };
    const group = new ExpertGroup(settings);
    for (const options of [{}, { alignment: 4 }, { firstExpert: 2, numLocalExperts: 5 }, { firstExpert: 8 }, {}]) {
      const order = getExpertPermutation(rows, 8, options);
      assert.strictEqual(arrays(order), arrays(group.getExpertPermutation(rows, 8, options)));
      assert.strictEqual(order.numRows, order.expertOffsets.at(-1));
    }
    for (const options of [{}, { winner: 'last' as const }, { emptyId: 7 }, {}]) {
      const order = getRankPermutation(rows, 8, { ...settings, ...options });
      assert.strictEqual(arrays(order), arrays(group.getRankPermutation(rows, 8, options)));
      assert.strictEqual(order.numRows, order.rankOffsets.at(-1));
    }
    for (const device of ['js', 'wasm', 'js'] as const) {
      assert.strictEqual(getExpertPermutation(rows, 8, { device }).device, device);
      assert.strictEqual(getRankPermutation(rows, 8, { numRanks: 2, device }).device, device);
    }
  });

  it('by rank: the nodes do not matter, and a layout still refuses ranks that do not fill them', () => {
    for (const numRanks of [12, 8, 12]) {
      assert.strictEqual(getRankPermutation(rows, 24, { numRanks }).numRanks, numRanks);
      if (numRanks === 12) {
        expectError(() => getDispatchLayout(rows, 24, { numRanks }), { code: 'NUM_RANKS_PER_NODE' });
      }
      expectError(() => getRankPermutation(rows, 24, { numRanks, numRanksPerNode: 7 }), { code: 'NUM_RANKS_PER_NODE' });
    }
    // A layout of the same ranks has the default number of ranks per node again
    getRankPermutation([[0]], 16, { numRanks: 16 });
    assert.lengthOf(getDispatchLayout([[0]], 16, { numRanks: 16 }).numTokensPerRdmaRank ?? [], 2);
    assert.strictEqual(getRankPermutation([[3]], 16, { numRanks: 16 }).rankOffsets[4], 1);
  });

  it('by expert: neither the placement nor uneven experts matter', () => {
    const group = new ExpertGroup({ numRanks: 4, placement: [3, 2, 1, 0, -1, 0, 1, 2] });
    const plain = new ExpertGroup({ numRanks: 4 });
    const right = arrays(getExpertPermutation(rows, 8));
    for (const each of [group, plain, group]) assert.strictEqual(arrays(each.getExpertPermutation(rows, 8)), right);
    assert.lengthOf(group.getExpertPermutation(rows, 10).numTokensPerExpert, 10);
    assert.lengthOf(plain.getExpertPermutation(rows, 9).numTokensPerExpert, 9);
    expectError(() => plain.getRankPermutation(rows, 9), { code: 'UNEVEN_EXPERTS' });
    expectError(() => group.getRankPermutation(rows, 10), { code: 'PLACEMENT' });
    assert.strictEqual(arrays(plain.getExpertPermutation(rows, 8)), right);
  });

  it('read each option once, and are right if a getter of an option calls them for something else', () => {
    const group = new ExpertGroup({ numRanks: 4 });
    const others = [
      () => group.getExpertPermutation([[1], [0]], 16, { alignment: 32 }),
      () => group.getRankPermutation([[1, 2, 3]], 4, { winner: 'last' }),
      () => group.getDispatchLayout([[0]], 12),
    ];
    let turn = 0;
    const reads = new Map<string, number>();
    const hostile = (values: Readonly<Record<string, unknown>>): object => {
      const object = {};
      for (const [name, value] of Object.entries(values)) {
        Object.defineProperty(object, name, {
          enumerable: true,
          get() {
            reads.set(name, (reads.get(name) ?? 0) + 1);
            turn += 1;
            others[turn % 3]();
            return value;
          },
        });
      }
      return object;
    };
    const inRows = { ...ofEvery, firstExpert: 1, numLocalExperts: 7, alignment: 4 };
    const right = [arrays(group.getExpertPermutation(rows, 8, inRows as object))];
    right.push(arrays(group.getRankPermutation(rows, 8, { ...ofEvery, winner: 'last' } as object)));
    for (let call = 0; call < 6; call += 1) {
      // Arrays to write to are read by getters, too
      const outOfExperts = group.getExpertPermutation(rows, 8, inRows as object);
      const { numTokensPerExpert, expertOffsets, selectionOfRow, rowOfSelection } = outOfExperts;
      const out = hostile({ numTokensPerExpert, expertOffsets, selectionOfRow, rowOfSelection });
      const order = group.getExpertPermutation(rows, 8, hostile({ ...inRows, out }));
      assert.strictEqual(arrays(order), right[0]);
      assert.strictEqual(order.selectionOfRow, selectionOfRow);
      const sent = group.getRankPermutation(rows, 8, hostile({ ...ofEvery, winner: 'last' }));
      assert.strictEqual(arrays(sent), right[1]);
      assert.isTrue(
        [...reads].every(([name, count]) => count === (name in ofEvery ? 2 : 1)),
        JSON.stringify([...reads]),
      );
      reads.clear();
    }
  });

  it('take options from a prototype', () => {
    const alignment = Object.create({ alignment: 4 });
    assert.strictEqual(getExpertPermutation(rows, 8, alignment).numRows, 16);
    const last = Object.create({ numRanks: 4, winner: 'last' });
    assert.strictEqual(getRankPermutation([[0, 1]], 8, last).rowOfSelection.join(), '-1,0');
  });
});

describeOnEachDevice('placements', (device) => {
  const table = [2, 0, 1, 2, 2, 3, 0, 0];
  // Token 0 selects experts 0 and 1, which are on ranks 2 and 0. Token 1 selects experts 2 and 7, which are on ranks 1
  // and 0.
  const expected = [1, 0, 1, 0, 1, 1, 0, 0];

  for (const [name, makePlacement] of Object.entries<() => ArrayLike<number>>({
    'an array': () => table,
    'an Int32Array': () => Int32Array.from(table),
    'a Uint8Array': () => Uint8Array.from(table),
    'a Float64Array of integers': () => Float64Array.from(table),
    'an array-like object': () => ({ ...table, length: 8 }) as unknown as ArrayLike<number>,
    'an array of another realm': () => vm.runInNewContext(JSON.stringify(table)),
    'a typed array of another realm': () => vm.runInNewContext(`Int16Array.of(${table})`),
    'a frozen array': () => Object.freeze([...table]),
  })) {
    it(name, () => {
      const layout = device.getDispatchLayout(rows, 8, { numRanks: 4, numRanksPerNode: 2, placement: makePlacement() });
      assert.deepStrictEqual([...layout.isTokenInRank], expected);
      assert.deepStrictEqual([...layout.numTokensPerRank], [2, 1, 1, 0]);
      assert.deepStrictEqual([...(layout.numTokensPerRdmaRank ?? [])], [2, 1]);
    });
  }

  it('a table of equal blocks gives what the default gives', () => {
    const placement = [0, 0, 1, 1, 2, 2, 3, 3];
    const byTable = device.getDispatchLayout(rows, 8, { numRanks: 4, placement });
    const byDefault = device.getDispatchLayout(rows, 8, { numRanks: 4 });
    assert.deepStrictEqual({ ...byTable }, { ...byDefault });
  });

  it('all experts can be on one rank, and the others empty', () => {
    const layout = device.getDispatchLayout(rows, 8, {
      numRanks: 100,
      numRanksPerNode: 10,
      placement: new Array(8).fill(99),
    });
    assert.deepStrictEqual([layout.numTokensPerRank[99], layout.numTokensPerRdmaRank?.[9]], [2, 2]);
    assert.strictEqual(
      layout.isTokenInRank.reduce((sum, byte) => sum + byte),
      2,
    );
  });

  it('the table must have numExperts entries', () => {
    const group = device.createGroup({ numRanks: 4, placement: table });
    expectError(() => group.getDispatchLayout(rows, 9), { code: 'PLACEMENT', value: 8, message: /8.*9/ });
    expectError(() => group.getDispatchLayout(rows, 4, { invalidExperts: 'ignore' }), { code: 'PLACEMENT', value: 8 });
    assert.deepStrictEqual([...group.getDispatchLayout(rows, 8).isTokenInRank], expected);
  });
});

describe('devices', () => {
  const byName = () => Object.fromEntries(describeDevices().map((description) => [description.device, description]));

  it('describeDevices lists every device once, with the reason and what to do', () => {
    const descriptions = describeDevices();
    assert.sameMembers(
      descriptions.map(({ device }) => device),
      ['cuda', 'wasm', 'js'],
    );
    for (const { available, chosen, code, reason, cause, versions, remedy } of descriptions) {
      assert.match(reason, /^\S.{5,}[^.]$/);
      assert.strictEqual(code === 'AVAILABLE', available);
      for (const [name, version] of Object.entries(versions)) assert.match(`${name} ${version}`, /^[a-z0-9]+ \d/);
      if (available) assert.isUndefined(remedy ?? cause);
      else assert.match(remedy ?? '', /^[A-Z].*\.$/);
      if (chosen) assert.isTrue(available);
    }
    const { node, v8 } = process.versions;
    assert.deepStrictEqual(byName().wasm.versions, { node, v8 });
    assert.deepStrictEqual(byName().js.versions, { node, v8 });
    assert.lengthOf(
      descriptions.filter(({ chosen }) => chosen),
      1,
    );
  });

  it('auto takes the device that is described as chosen', () => {
    const chosen = describeDevices('auto').find((description) => description.chosen);
    for (const options of [{}, { device: 'auto' }, { device: undefined }] as const) {
      assert.strictEqual(new ExpertGroup({ numRanks: 1, ...options }).device, chosen?.device);
    }
  });

  it('wasm and js run here, and wasm is preferred', () => {
    assert.isTrue(byName().wasm.available);
    assert.isTrue(byName().js.available);
    assert.isFalse(byName().js.chosen);
    assert.strictEqual(new ExpertGroup({ numRanks: 1, device: 'wasm' }).device, 'wasm');
    assert.strictEqual(new ExpertGroup({ numRanks: 1, device: 'js' }).device, 'js');
  });

  it('describeDevices of a device tells whether that device would be used', () => {
    const chosen = (option: 'js' | 'wasm' | 'cuda') =>
      describeDevices(option).filter((description) => description.chosen);
    assert.deepStrictEqual(
      chosen('js').map(({ device }) => device),
      ['js'],
    );
    assert.deepStrictEqual(
      chosen('wasm').map(({ device }) => device),
      ['wasm'],
    );
    assert.lengthOf(chosen('cuda'), byName().cuda.available ? 1 : 0);
    expectError(() => describeDevices('gpu' as unknown as 'js'), { code: 'OPTION', value: 'gpu' });
  });

  it('a code tells why a device was chosen, or why another one was', () => {
    const choice = (device: string, option: 'auto' | 'js' | 'wasm') =>
      describeDevices(option).find((description) => description.device === device)?.choice;
    assert.strictEqual(choice('wasm', 'auto'), 'FASTEST');
    assert.strictEqual(choice('wasm', 'wasm'), 'ASKED_FOR');
    assert.strictEqual(choice('wasm', 'js'), 'OTHER_IS_ASKED_FOR');
    assert.strictEqual(choice('js', 'auto'), 'OTHER_IS_FASTER');
    for (const { available, choice, fromSelections } of describeDevices()) {
      if (!available) assert.strictEqual(choice, 'UNAVAILABLE');
      assert.isAtLeast(fromSelections, 0);
    }
  });

  it('the error of an unavailable device carries all that describeDevices says of it, but for the list of GPUs', () => {
    for (const { gpus: _, ...description } of describeDevices()) {
      const { device, available, reason, cause, remedy } = description;
      if (available) continue;
      const error = expectError(() => new ExpertGroup({ numRanks: 1, device }), {
        code: 'DEVICE_UNAVAILABLE',
        value: device,
      });
      assert.instanceOf(error, DeviceUnavailableError);
      assert.deepStrictEqual((error as DeviceUnavailableError).description, description);
      assert.strictEqual(error.message, `device '${device}' is not available, because ${reason}. ${remedy}`);
      assert.strictEqual(error.remedy, remedy);
      assert.strictEqual(error.cause, cause);
    }
  });

  describe('where WebAssembly is', () => {
    /** What a new process prints that first breaks something and then uses the library. */
    function inProcess(spoil: string): Record<string, unknown> {
      const script = `
        ${spoil}
        const { describeDevices, DispatchLayoutError, ExpertGroup, getDispatchLayout } = await import('dispatch-layout');
        const { device, numTokensPerRank } = getDispatchLayout([[0, 1], [2, 7]], 8, { numRanks: 4 });
        const wasm = describeDevices().find((description) => description.device === 'wasm');
        let error;
        try { new ExpertGroup({ numRanks: 1, device: 'wasm' }); } catch (caught) { error = caught; }
        console.log(JSON.stringify({
          device, numTokensPerRank: [...numTokensPerRank], wasm, code: error?.code, isOurs: error instanceof DispatchLayoutError,
          message: error?.message, cause: error?.cause?.message, description: error?.description,
        }));`;
      return jsonOf(script) as Record<string, unknown>;
    }

    for (const [name, spoil, code, reason, remedy] of [
      ['missing', 'delete globalThis.WebAssembly;', 'NO_WEBASSEMBLY', /no WebAssembly/, /runtime with WebAssembly/],
      [
        'forbidden',
        "WebAssembly.Module = class { constructor() { throw new WebAssembly.CompileError('blocked by policy'); } };",
        'WEBASSEMBLY_FORBIDDEN',
        /may not be compiled here \(blocked by policy\)/,
        /wasm-unsafe-eval/,
      ],
      [
        'without SIMD',
        `WebAssembly.validate = (bytes) => !Buffer.from(bytes).includes(Buffer.of(0xfd, 98));
        WebAssembly.Module = class { constructor() { throw new WebAssembly.CompileError('invalid opcode 0xfd'); } };`,
        'NO_SIMD',
        /no SIMD here \(invalid opcode/,
        /runtime with WebAssembly SIMD/,
      ],
      [
        'asynchronous only',
        "WebAssembly.Module = class { constructor() { throw new RangeError('disallowed on the main thread, use compile'); } };",
        'NEEDS_PREPARE',
        /may not be compiled synchronously here \(disallowed/,
        /await prepare\(\)/,
      ],
      [
        'out of memory',
        "WebAssembly.Instance = class { constructor() { throw new RangeError('could not allocate memory'); } };",
        'NO_MEMORY',
        /no memory for the kernel \(could not allocate/,
        /device: 'js'/,
      ],
    ] as const) {
      it(`${name}: js takes over, and wasm says why it cannot`, function () {
        this.timeout(10_000);
        const found = inProcess(spoil);
        assert.strictEqual(found.device, 'js');
        assert.deepStrictEqual(found.numTokensPerRank, [1, 1, 0, 1]);
        assert.strictEqual(found.code, 'DEVICE_UNAVAILABLE');
        assert.strictEqual(found.isOurs, true);
        assert.match(String(found.message), reason);
        const wasm = found.wasm as DeviceDescription;
        assert.isFalse(wasm.available);
        assert.strictEqual(wasm.code, code);
        assert.match(wasm.reason, reason);
        assert.match(wasm.remedy ?? '', remedy);
        assert.strictEqual(wasm.versions.v8, process.versions.v8);
        assert.deepStrictEqual(found.description, wasm);
      });
    }

    it('complete: wasm is used', function () {
      this.timeout(10_000);
      const found = inProcess('');
      assert.strictEqual(found.device, 'wasm');
      assert.isUndefined(found.code);
    });
  });
});
