// The curl command, for a POSIX shell, that sends the same request as the page.

function quote(text) {
  return /^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * @param picture { name } for a file of the user's, { name, url } for a sample.
 * @param endpoint the URL to send it to, which is the one that the browser sees.
 * @param guarded whether the endpoint needs an API key; the user fills it in.
 */
export function curl({ name, url }, endpoint, guarded) {
  const header = guarded ? ' -H "X-API-Key: YOUR_KEY"' : "";
  const body = quote(url ? "@-" : `@${name}`);
  const command = `curl${header} --data-binary ${body} ${quote(endpoint.href)}`;
  return url ? `curl -s ${quote(url)} | ${command}` : command;
}
