// The command line that asks what the page has asked, for a POSIX shell.

function quote(text) {
  return /^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * @param picture { name, url }: a file of the user's, unless it has a url of ours.
 * @param endpoint where to send it.
 * @param guarded whether that takes an API key; which one, the user must fill in.
 */
export function curl({ name, url }, endpoint, guarded) {
  const header = guarded ? ' -H "X-API-Key: YOUR_KEY"' : "";
  const body = quote(url ? "@-" : `@${name}`);
  const command = `curl${header} --data-binary ${body} ${quote(endpoint.href)}`;
  return url ? `curl -s ${quote(url)} | ${command}` : command;
}
