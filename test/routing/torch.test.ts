/** What PyTorch itself saves, at random. Skipped if there is no Python or no PyTorch. */
import { readFileSync } from 'node:fs';
import { assert } from 'chai';
import { gridOfArrays } from '../../ts/routing/array-grid.ts';
import { sourceOfBytes } from '../../ts/routing/byte-source.ts';
import { tensorsIn } from '../../ts/routing/formats/pt/tensors-in.ts';
import { readTorchFile } from '../../ts/routing/formats/pt/torch-file.ts';
import { isOfIntegers } from '../../ts/routing/formats/tensors.ts';
import { listZipEntries } from '../../ts/routing/zip-directory.ts';
import { python, requirePython, temporaryFolder } from '../cli/command.ts';
import { idsOf } from './reading.ts';

const numFiles = 60;

/** Saves objects with tensors that are views of all kinds, and prints what is in each file under which path. */
const saveObjects = `
import collections, json, random, sys, torch
folder, count = sys.argv[1], int(sys.argv[2])
random.seed(7); torch.manual_seed(7)
types = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool, torch.float32, torch.bfloat16,
         torch.float64, torch.float16, torch.complex64]
bases = []

def tensor():
    if bases and random.random() < 0.3: base = random.choice(bases)
    else:
        shape = [random.randint(0 if random.random() < 0.1 else 1, 7) for _ in range(random.randint(0, 4))]
        base = torch.randint(0, 100, shape).to(random.choice(types))
        bases.append(base)
    view = base
    for _ in range(random.randint(0, 3)):
        if view.dim() == 0: break
        axis, length = random.randrange(view.dim()), 0
        kind = random.choice(['transpose', 'slice', 'step', 'select', 'expand', 'unsqueeze', 'parameter'])
        length = view.shape[axis]
        if kind == 'transpose': view = view.transpose(axis, random.randrange(view.dim()))
        elif kind == 'slice' and length > 1: view = view.narrow(axis, random.randrange(length - 1), random.randint(0, 1))
        elif kind == 'step': view = view[(slice(None),) * axis + (slice(None, None, 2),)]
        elif kind == 'select' and length > 0: view = view.select(axis, random.randrange(length))
        elif kind == 'expand' and length == 1: view = view.expand(*view.shape[:axis], 3, *view.shape[axis + 1:])
        elif kind == 'unsqueeze' and view.dim() < 5: view = view.unsqueeze(axis)
        elif kind == 'parameter' and view.is_floating_point(): view = torch.nn.Parameter(view.detach(), requires_grad=False)
    return view

def thing(depth):
    kind = random.randrange(10 if depth < 4 else 6)
    if kind < 3: return tensor()
    if kind == 3: return random.choice([None, True, False, 3.25, 'text', 'é☃' * 100, 2 ** 70, -2 ** 40, -7, 70000, 300])
    if kind == 4: return [random.randint(-9, 9 ** 6) for _ in range(random.choice([0, 5, 3000]))]
    if kind == 5: return random.choice([torch.Size([2, 3]), torch.float16, torch.device('cpu'), {1, 2}, 1j, b'bytes'])
    if kind == 6: return [thing(depth + 1) for _ in range(random.randint(0, 4))]
    if kind == 7: return tuple(thing(depth + 1) for _ in range(random.randint(0, 4)))
    keys = random.sample(['a', 'b.c', 3, -1, (1, 'x'), None, True], random.randint(0, 5))
    items = [(key, thing(depth + 1)) for key in keys]
    return dict(items) if kind == 8 else collections.OrderedDict(items)

def walk(value, path, found):
    if isinstance(value, torch.Tensor):
        integers = not value.is_floating_point() and not value.is_complex() and value.dtype != torch.bool
        found.append([path, str(value.dtype)[6:], list(value.shape), list(value.stride()), value.storage_offset(),
                      value.flatten().tolist() if integers else None])
    elif isinstance(value, dict):
        for key, item in value.items(): walk(item, f'{path}.{key}' if path else str(key), found)
    elif isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        for index, item in enumerate(value): walk(item, f'{path}[{index}]', found)

facts = []
for index in range(count):
    bases.clear()
    value = [thing(1) for _ in range(5)]
    torch.save(value, f'{folder}/{index}.pt')
    found = []
    walk(value, '', found)
    facts.append(found)
print(json.dumps(facts))
`;

type Fact = [path: string, type: string, shape: number[], strides: number[], offset: number, values: number[] | null];

describe('files that PyTorch saves', function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  before(function () {
    requirePython(this, 'torch');
  });

  it('are read as PyTorch itself sees them', async () => {
    const facts: Fact[][] = JSON.parse(python(saveObjects, folder.path('.'), String(numFiles)));
    let numCompared = 0;
    for (const [index, expected] of facts.entries()) {
      const source = sourceOfBytes(readFileSync(folder.path(`${index}.pt`)), `${index}.pt`);
      const torchFile = await readTorchFile(source, await listZipEntries(source));
      const found = tensorsIn(torchFile.root, source.name);
      const seen = found.map(({ path, tensor }): unknown[] => {
        const { type, shape, strides, offset } = tensor;
        return [path, type.name, shape, strides, offset];
      });
      assert.deepEqual(
        seen,
        expected.map((fact) => fact.slice(0, 5)),
      );
      for (const [place, { path, tensor }] of found.entries()) {
        const opened = await torchFile.open(tensor, path);
        const values = expected[place][5];
        assert.equal(isOfIntegers(opened), values !== null);
        if (!isOfIntegers(opened)) continue;
        const array = { ...opened, shape: [...opened.shape, 1], strides: [...opened.strides, 1] };
        const grid = gridOfArrays([{ array, axes: [...opened.shape.map(() => 'tokens' as const), 'topk'] }]);
        assert.deepEqual((await idsOf(grid)).flat(2), values, `${index}.pt, ${path}`);
        numCompared++;
      }
    }
    assert.isAbove(numCompared, 100);
  });
});
