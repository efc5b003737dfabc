import { layoutText } from '../layout-text';

export const runtime = 'edge';
export const dynamic = 'force-dynamic';

export function GET() {
  return new Response(`${layoutText()}, ${globalThis.EdgeRuntime ?? process.release.name}`);
}
