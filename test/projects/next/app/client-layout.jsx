'use client';

import { useEffect, useState } from 'react';
import { layoutText } from './layout-text';

export function ClientLayout() {
  const [text, setText] = useState('');
  // Only in the browser; what the server renders is empty
  useEffect(() => setText(layoutText()), []);
  return <output>{text}</output>;
}
