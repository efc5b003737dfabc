const worker = new Worker(new URL('./worker.ts', import.meta.url));
const output = document.querySelector('output');
worker.onmessage = ({ data }) => {
  if (output) output.textContent = data;
};
worker.onerror = ({ message }) => {
  if (output) output.textContent = `the worker failed: ${message}`;
};
worker.postMessage([
  [0, 5],
  [6, -1],
]);
