import { layoutText } from '../layout-text.js';

export function load() {
  return { onServer: layoutText() };
}
