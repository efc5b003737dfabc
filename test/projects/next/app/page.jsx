import { ClientLayout } from './client-layout';
import { layoutText } from './layout-text';

// The page is rendered for each request, not once by the build.
export const dynamic = 'force-dynamic';

export default function Page() {
  return (
    <main>
      <p>{`on the server: ${layoutText()}`}</p>
      <ClientLayout />
    </main>
  );
}
