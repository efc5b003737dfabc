/** Plans in the forms of other projects: read, written, and refused; and the samples, where they are. */
import { existsSync, readFileSync } from 'node:fs';
import { assert } from 'chai';
import {
  createPlan,
  type EplbTensors,
  findingsOf,
  linear,
  type PlacementPlan,
  type PlanFormatName,
  planFormats,
  type ReadPlanOptions,
  readPlan,
  rebalance,
  toEplbTensors,
  writePlan,
} from 'dispatch-layout/placement';
import fc from 'fast-check';
import { parse } from 'yaml';
import { expectError } from '../support/expect.ts';
import { root } from '../support/root.ts';

const rowsOf = (plan: PlacementPlan) => plan.physicalToLogical.map((row) => [...row]);

/** Two layers of three experts in six slots on two ranks. */
const replicated = createPlan(
  [
    [0, 1, 2, 0, 1, 0],
    [2, 1, 0, 2, 2, 1],
  ],
  { numRanks: 2 },
);
/** Without replicas, with an empty slot. */
const uneven = linear({ numExperts: 3, numRanks: 2, numLayers: 2 });

describe('readPlan', () => {
  for (const [name, content, options] of [
    ['sglang', { physical_to_logical_map: rowsOf(replicated) }, { numRanks: 2 }],
    [
      'tensorrt-llm',
      'num_slots: 6\ninitial_global_assignments:\n  0: [0, 1, 2, 0, 1, 0]  # comment\n  1: [2, 1, 0, 2, 2, 1]\nlayer_updates_per_iter: 0\n',
      { numRanks: 2 },
    ],
    [
      'vllm',
      { version: 1, format: 'vllm_offline_eplb_physical_to_logical', physical_to_logical_map: rowsOf(replicated) },
      { numRanks: 2 },
    ],
    ['eplb', { phy2log: rowsOf(replicated) }, { numRanks: 2 }],
    [
      'vllm-ascend',
      {
        moe_layer_count: 2,
        layer_list: [
          {
            layer_id: 0,
            device_count: 2,
            device_list: [
              { device_id: 0, device_expert: [0, 1, 2] },
              { device_id: 1, device_expert: [0, 1, 0] },
            ],
          },
          {
            layer_id: 1,
            device_count: 2,
            device_list: [
              { device_id: 1, device_expert: [2, 2, 1] },
              { device_id: 0, device_expert: [2, 1, 0] },
            ],
          },
        ],
      },
      {},
    ],
  ] as const) {
    it(`reads the form of ${name}, from text and parsed, named or recognised`, () => {
      const texts = typeof content === 'string' ? [content, parse(content)] : [JSON.stringify(content), content];
      for (const each of texts) {
        for (const format of [undefined, name]) {
          assert.deepStrictEqual(readPlan(each, { ...options, format }), replicated);
        }
      }
    });
  }

  it('reads tables of ranks, for one layer or for each; ranks with fewer experts have empty slots', () => {
    assert.deepStrictEqual(rowsOf(readPlan([0, 1, 0, -1], { numRanks: 2 })), [[0, 2, 1, -1]]);
    assert.deepStrictEqual(rowsOf(readPlan('[[0, 1], [1, 0]]', { numRanks: 2 })), [
      [0, 1],
      [1, 0],
    ]);
    assert.deepStrictEqual(rowsOf(readPlan(Int32Array.of(1, 1, 0), { numRanks: 2 })), [[2, -1, 0, 1]]);
    const table = { data: BigInt64Array.of(0n, 1n, 1n, 0n), shape: [2, 2] };
    assert.deepStrictEqual(rowsOf(readPlan(table, { numRanks: 2 })), [
      [0, 1],
      [1, 0],
    ]);
  });

  it('reads the layer numbers of TensorRT-LLM and vllm-ascend, and fills the slots of devices that have fewer experts', () => {
    const yaml =
      'moe_config:\n  load_balancer:\n    num_slots: 4\n    initial_global_assignments:\n      3: [0, 1, 2, 3]\n      4: [3, 2, 1, 0]\n';
    assert.deepStrictEqual(readPlan(yaml, { numRanks: 2 }).layerIds, [3, 4]);
    const ascend = { layer_list: [{ layer_id: 5, device_list: [{ device_expert: [0, 1] }, { device_expert: [2] }] }] };
    const plan = readPlan(ascend);
    assert.deepStrictEqual(rowsOf(plan), [[0, 1, 2, -1]]);
    assert.deepStrictEqual(plan.layerIds, [5]);
  });

  it('keeps the order of replicas in the tensors of EPLB, nested or with a shape', () => {
    const plan = rebalance([[90, 132, 40, 61, 104, 165]], { numPhysicalExperts: 12, numRanks: 4 });
    const tensors: EplbTensors = toEplbTensors(plan);
    assert.deepStrictEqual(tensors.phy2log.shape, [1, 12]);
    assert.deepStrictEqual(readPlan(tensors, { numRanks: 4 }), plan);
    assert.deepStrictEqual(readPlan(writePlan(plan, 'eplb'), { numRanks: 4 }), plan);
    const { physicalToLogical } = plan;
    assert.notDeepEqual(createPlan(physicalToLogical, { numRanks: 4 }), plan, 'the order is not the ascending one');
  });

  it('takes the plan of one model from a file of several', () => {
    const maps = { Main: { physical_to_logical_map: [[0, 1]] }, Drafter: { physical_to_logical_map: [[1, 0]] } };
    const file = { version: 2, format: 'vllm_offline_eplb_physical_to_logical_by_model', model_maps: maps };
    assert.deepStrictEqual(rowsOf(readPlan(file, { numRanks: 2, model: 'Drafter' })), [[1, 0]]);
    expectError(() => readPlan(file, { numRanks: 2 }), {
      code: 'PLACEMENT',
      message: /plans of 2 models\. Pass model, one of: Main, Drafter/,
    });
    expectError(() => readPlan(file, { numRanks: 2, model: 'Other' }), {
      code: 'PLACEMENT',
      message: /no model 'Other'/,
    });
    const { Main } = maps;
    assert.deepStrictEqual(rowsOf(readPlan({ ...file, model_maps: { Main } }, { numRanks: 2 })), [[0, 1]]);
  });

  it('names what is wrong, and where', () => {
    const device = (id: number, ...experts: number[]) => ({ device_id: id, device_expert: experts });
    const ascend = (...devices: object[]) => ({ layer_list: [{ layer_id: 3, device_list: devices }] });
    const trt = (rest: string) => `num_slots: 4\n${rest}`;
    const eplb = {
      phy2log: [[0, 1, 0, 1]],
      logcnt: [[2, 2]],
      log2phy: [
        [
          [0, 2],
          [1, 3],
        ],
      ],
    };
    for (const [content, options, message] of [
      [
        '{"physical_to_logical_map": [[0, 1, 2, 4, 0, 1]]}',
        { numExperts: 4 },
        /layer 0, physical expert 3 \(rank 1\) is 4, not an expert in \[0, 4\)/,
      ],
      [{ physical_to_logical_map: [[0, 1, 2, 3, 0, 1.5]] }, {}, /physical expert 5 \(rank 1\) is 1\.5/],
      [{ physical_to_logical_map: [[0, 1, 2, 3, 0]] }, {}, /5 physical experts do not divide evenly among 2 ranks/],
      [
        {
          physical_to_logical_map: [
            [0, 1],
            [0, 1, 2, 3],
          ],
        },
        {},
        /layer 1 has 4 physical experts, but layer 0 has 2/,
      ],
      [{ physical_to_logical_map: 'x' }, {}, /physical_to_logical_map is 'x'/],
      [{ physical_to_logical_map: [[0, '1']] }, {}, /physical expert 1 \(rank 1\) is '1'/],
      [
        { logical_count: [[1, 2]] },
        {},
        /no physical_to_logical_map\. If it has a logical_count, it has loads and no plan: make one from them by rebalance/,
      ],
      [trt('layer_updates_per_iter: 2'), {}, /initial_global_assignments is undefined/],
      [trt('initial_global_assignments: {3: [0, 1]}'), {}, /layer 3 has 2 slots, but num_slots is 4/],
      [trt('initial_global_assignments: {x: [0, 1, 2, 3]}'), {}, /the layer 'x' is no number/],
      ['num_slots: many\n', {}, /num_slots is 'many'/],
      ['num_slots: [', {}, /no valid YAML/],
      ['{"phy2log": ', {}, /no valid JSON/],
      [ascend(device(0, 0), device(0, 1)), {}, /layer 3 has a second device 0/],
      [ascend(device(0, 0), device(2, 1)), {}, /layer 3 lacks device 1/],
      [ascend(device(0, 0), device(1, 1)), { numRanks: 4 }, /layer 3 has 2 devices, not 4/],
      [
        { ...ascend(device(0, 0), device(1, 1)), moe_layer_count: 2 },
        {},
        /moe_layer_count is 2, but there are 1 layers/,
      ],
      [
        { layer_list: [{ device_count: 3, device_list: [device(0, 0), device(1, 1)] }] },
        {},
        /device_count is 3, but there are 2 devices/,
      ],
      [{ layer_list: [{ device_list: [{}] }] }, {}, /layer 0, device_expert of device 0 is undefined/],
      [{ version: 3, format: 'vllm_offline_eplb_physical_to_logical' }, {}, /version 3 and format/],
      [{ ...eplb, logcnt: [[3, 1]] }, {}, /logcnt of layer 0/],
      [
        {
          ...eplb,
          log2phy: [
            [
              [0, 1],
              [2, 3],
            ],
          ],
        },
        {},
        /layer 0, the replicas of expert 0 are \[0, 1\], but it is in the slots \[0, 2\]/,
      ],
      [{ phy2log: { data: [0, 1], shape: [2, 2] } }, {}, /phy2log of shape \[2, 2\] has 2 elements\. It needs 4/],
      [[0, 2], {}, /layer 0: the rank of expert 1 is 2, not in \[0, 2\)/],
      [[[0, 1], [0]], {}, /the table of layer 1 has the ranks of 1 experts, not of 2/],
      [[0, 1], { numExperts: 4 }, /has the ranks of 2 experts, not of 4/],
      ['plain text', {}, /the content is 'plain text', and no plan in a known form\. The forms are vllm, sglang/],
      [null, {}, /the content is null/],
      [[0, 1], { format: 'eplb' }, /not a plan in the form eplb/],
    ] as [unknown, ReadPlanOptions, RegExp][]) {
      const given = Object(content).layer_list === undefined ? { numRanks: 2, ...options } : options;
      expectError(() => readPlan(content, given), { code: 'PLACEMENT', message });
    }
    expectError(() => readPlan({ phy2log: [[0, 1]] }), { code: 'NUM_RANKS', message: /numRanks is undefined/ });
    expectError(() => readPlan([0], { format: 'deepep' as never }), { code: 'OPTION', message: /format is 'deepep'/ });
    expectError(() => readPlan([0], { ranks: 2 } as never), { code: 'OPTION', message: /there is no option 'ranks'/ });
  });

  it('reads what is odd, so that findingsOf can name it', () => {
    const plan = readPlan({ physical_to_logical_map: [[0, 0, 1, -1]] }, { numRanks: 2, numExperts: 3 });
    assert.deepStrictEqual(
      findingsOf(plan).map(({ kind }) => kind),
      ['replicas-share-rank', 'empty-slot', 'missing-expert'],
    );
  });
});

describe('writePlan', () => {
  it('writes what readPlan reads, in every form that can say it', () => {
    const plans = fc
      .record({
        numRanks: fc.integer({ min: 1, max: 4 }),
        slotsPerRank: fc.integer({ min: 1, max: 4 }),
        numLayers: fc.integer({ min: 1, max: 3 }),
        seed: fc.array(fc.nat(), { minLength: 48, maxLength: 48 }),
      })
      .map(({ numRanks, slotsPerRank, numLayers, seed }) => {
        const numSlots = numRanks * slotsPerRank;
        const numExperts = 1 + (seed[0] % numSlots);
        const rows = Array.from({ length: numLayers }, (_, layer) =>
          Array.from({ length: numSlots }, (_, slot) =>
            slot < numExperts ? slot : seed[layer * numSlots + slot] % numExperts,
          ),
        );
        return createPlan(rows, { numRanks, numExperts });
      });
    fc.assert(
      fc.property(plans, fc.constantFrom(...planFormats), (plan, format) => {
        fc.pre(format !== 'ranks' || plan.numExperts === plan.numPhysicalExperts);
        const { numRanks, numExperts } = plan;
        assert.deepStrictEqual(readPlan(writePlan(plan, format), { numRanks, numExperts, format }), plan);
      }),
      { numRuns: 300 },
    );
  });

  it('writes the texts that the projects read', () => {
    const plan = createPlan([[0, 1, 2, 0]], { numRanks: 2, layerIds: [3] });
    assert.strictEqual(
      writePlan(plan, 'tensorrt-llm'),
      'initial_global_assignments:\n  3: [0, 1, 2, 0]\nlayer_updates_per_iter: 0\nnum_slots: 4\n',
    );
    assert.strictEqual(
      writePlan(replicated, 'sglang'),
      '{\n  "physical_to_logical_map": [\n    [0, 1, 2, 0, 1, 0],\n    [2, 1, 0, 2, 2, 1]\n  ]\n}\n',
    );
    assert.deepStrictEqual(JSON.parse(writePlan(uneven, 'vllm-ascend')).layer_list[1], {
      layer_id: 1,
      device_count: 2,
      device_list: [
        { device_id: 0, device_expert: [0, 1] },
        { device_id: 1, device_expert: [2] },
      ],
    });
    assert.deepStrictEqual(JSON.parse(writePlan(replicated, 'eplb')), {
      phy2log: rowsOf(replicated),
      log2phy: [
        [
          [0, 3, 5],
          [1, 4, -1],
          [2, -1, -1],
        ],
        [
          [2, -1, -1],
          [1, 5, -1],
          [0, 3, 4],
        ],
      ],
      logcnt: [
        [3, 2, 1],
        [1, 2, 3],
      ],
    });
    assert.deepStrictEqual(JSON.parse(writePlan(uneven, 'ranks')), [
      [0, 0, 1],
      [0, 0, 1],
    ]);
  });

  it('refuses what a form cannot say, by name', () => {
    const lost = createPlan([[0, 2, 0, 2]], { numRanks: 2, numExperts: 3 });
    const numbered = createPlan([[0, 1]], { numRanks: 2, layerIds: [3] });
    for (const [format, reader] of [
      ['sglang', 'SGLang'],
      ['vllm', 'vLLM'],
      ['tensorrt-llm', 'TensorRT-LLM'],
      ['eplb', 'EPLB'],
    ] as const) {
      const refuse = (plan: PlacementPlan, message: RegExp) =>
        expectError(() => writePlan(plan, format), { code: 'PLACEMENT', message });
      refuse(uneven, new RegExp(`layer 0, rank 1: slot 3 is empty \\(-1\\), which the form of ${reader} cannot say`));
      refuse(lost, new RegExp(`layer 0: expert 1 is on no rank, which the form of ${reader} cannot say`));
      if (format !== 'tensorrt-llm') refuse(numbered, /layer 3 is the plan's layer 0, and the form of/);
    }
    expectError(() => writePlan(replicated, 'ranks'), {
      code: 'PLACEMENT',
      message: /layer 0: expert 0 is on the ranks 0, 1, 1, and a table of ranks has one for each/,
    });
    expectError(() => writePlan(replicated, 'deepep' as PlanFormatName), {
      code: 'OPTION',
      message: /format is 'deepep'/,
    });
  });
});

describe('plans of the samples', () => {
  const folder = `${root}../shared/samples/`;
  const read = (path: string, options?: ReadPlanOptions) => readPlan(readFileSync(folder + path, 'utf8'), options);
  before(function () {
    if (!existsSync(folder)) this.skip();
  });

  it('are read', () => {
    assert.deepStrictEqual(rowsOf(read('json/vllm_ascend/expert_map.json')), [[7, 2, 0, 3, 5, 6, 1, 4, 7, 2]]);
    const strategy = read('synthetic/vllm_ascend/gsm8k_temp0.0_4_4.json');
    assert.deepStrictEqual(
      [strategy.numLayers, strategy.numRanks, strategy.numPhysicalExperts, strategy.numExperts],
      [3, 4, 20, 16],
    );
    // The strategy of vllm-ascend puts two replicas on one device
    const shared = findingsOf(strategy).filter(({ kind }) => kind === 'replicas-share-rank');
    assert.strictEqual(shared[0].message, 'layer 0, rank 0: expert 1 has another replica there, in slot 2');
    assert.deepStrictEqual(
      rowsOf(read('synthetic/sglang_init_location/physical_to_logical_map.json', { numRanks: 3 })),
      [
        [3, 1, 2, 0, 3, 1],
        [0, 1, 2, 3, 0, 2],
      ],
    );
    const vllm = 'synthetic/vllm_offline_eplb/vllm_hcu_';
    assert.strictEqual(read(`${vllm}v1.json`, { numRanks: 2 }).numLayers, 3);
    assert.strictEqual(read(`${vllm}v2.json`, { numRanks: 2, model: 'HYV4MTP' }).numLayers, 1);
  });

  it('are refused where their own loaders refuse them', () => {
    const vllm = 'synthetic/vllm_offline_eplb/vllm_hcu_bad_';
    for (const [path, message] of [
      [`${vllm}float.json`, /physical expert 5 \(rank 1\) is 1\.5/],
      [`${vllm}id4.json`, /physical expert 3 \(rank 1\) is 4/],
      [`${vllm}shape.json`, /5 physical experts/],
      ['synthetic/trtllm_eplb/extra_llm_api_options.yaml', /layer 3 has 4 slots, but num_slots is 20/],
      ['synthetic/trtllm_eplb/online.yaml', /initial_global_assignments is undefined/],
      ['synthetic/sglang_init_location/logical_count_2d.json', /loads and no plan/],
    ] as const) {
      expectError(() => read(path, { numRanks: 2, numExperts: 4 }), { code: 'PLACEMENT', message });
    }
  });
});
