/**
 * Finds the tensors in an object of Python.
 *
 * @module
 */
import { refuse } from '../../routing-error.ts';
import {
  describedValue,
  isObject,
  PythonDict,
  PythonSequence,
  PythonTensor,
  type PythonValue,
} from './python-values.ts';

/** A tensor, and the path of keys that leads to it: `records[0].topk_ids_of_layer`. It is empty for the object itself. */
export interface FoundTensor {
  readonly path: string;
  readonly tensor: PythonTensor;
}

/** How deep objects may be nested. Python's own reader fails at about a thousand. */
const maxDepth = 100;

/**
 * Lists all tensors of an object, in the order in which they were saved. A container that occurs several times, or in
 * itself, is listed once.
 *
 * @throws {@link RoutingError} `UNSUPPORTED` if containers are nested too deep
 */
export function tensorsIn(root: PythonValue, file: string): FoundTensor[] {
  const found: FoundTensor[] = [];
  const seen = new Set<PythonValue>();

  const visit = (value: PythonValue, path: string, depth: number): void => {
    if (value instanceof PythonTensor) found.push({ path, tensor: value });
    if (!(value instanceof PythonSequence || value instanceof PythonDict) || seen.has(value)) return;
    seen.add(value);
    if (depth === maxDepth) {
      const remedy = 'save the ids alone: torch.save(ids, path)';
      refuse('UNSUPPORTED', `has objects that are nested deeper than ${maxDepth}`, { file, place: 'data.pkl', remedy });
    }
    if (value instanceof PythonSequence) {
      value.items.forEach((item, index) => {
        if (isObject(item)) visit(item, `${path}[${index}]`, depth + 1);
      });
    } else {
      for (const [key, item] of value.entries) {
        if (isObject(item)) visit(item, joined(path, keyText(key)), depth + 1);
      }
    }
  };

  visit(root, '', 0);
  return found;
}

function joined(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

/** A key as Python prints it. Keys are texts, numbers, and tuples of these. */
function keyText(key: PythonValue): string {
  if (typeof key === 'string') return key;
  if (!(key instanceof PythonSequence)) return describedValue(key);
  return `(${key.items.map((item) => describedValue(item)).join(', ')})`;
}
