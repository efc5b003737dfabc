'use client';

import { useEffect, useState } from 'react';
import { layoutText } from './layout-text';

export function ClientLayout() {
  const [text, setText] = useState('');
  // This runs only in the browser, so the server renders an empty element.
  useEffect(() => setText(layoutText()), []);
  return <output>{text}</output>;
}
