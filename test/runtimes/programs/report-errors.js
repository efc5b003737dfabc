/** Sends errors of the page to the server, if it has no results yet. */
addEventListener('error', ({ message, error }) => fail(`${message}\n${error?.stack}`));
addEventListener('unhandledrejection', ({ reason }) => fail(`${reason}\n${reason?.stack}`));

function fail(message) {
  const { id } = JSON.parse(decodeURIComponent(location.search.slice(1)));
  fetch(`/results/${id}`, { method: 'POST', body: JSON.stringify({ error: message }) });
}
