/** The authority that a request target names, and Host (RFC 9112 section 3.2). */
import { Fault } from '../base/fault.ts';
import { type Authority, formatAuthority, parseAuthority } from '../net/authority.ts';

export const HTTP_PORT = 80;

const WRITE_HTTP = 'say http://host/path to the proxy: it speaks TLS to the upstream by itself';

export function absoluteForm(
  target: string,
  served: 'http' | 'https' = 'http',
): { readonly authority: string; readonly rest: string } {
  const start =
    target.startsWith(served) && target.startsWith('://', served.length)
      ? served.length + 3
      : afterScheme(target, served);
  let end = start;
  while (end < target.length && !'/?#'.includes(target[end] as string)) end++;
  if (end === target.length) return { authority: target.slice(start), rest: '/' };
  const rest = target.slice(end);
  return { authority: target.slice(start, end), rest: rest.startsWith('/') ? rest : `/${rest}` };
}

/** Index at which the authority begins; a Fault for any other scheme. */
function afterScheme(target: string, served: 'http' | 'https'): number {
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(target);
  if (scheme?.[1]?.toLowerCase() === served) return scheme[0].length;
  throw wrongForm(target, scheme?.[1], served);
}

function wrongForm(target: string, scheme: string | undefined, served: 'http' | 'https'): Fault {
  if (served === 'https')
    return new Fault('malformed', 'the target is neither a path nor an https:// URL', {
      hint: 'inside a tunnel requests are for the host of the CONNECT',
      at: 'target',
    });
  if (scheme?.toLowerCase() === 'https')
    return new Fault('malformed', 'https:// in absolute-form is not served', {
      hint: `use CONNECT, or ${WRITE_HTTP}`,
      at: 'target',
    });
  if (scheme !== undefined)
    return new Fault('malformed', 'only http:// targets are served', {
      hint: WRITE_HTTP,
      at: 'target',
    });
  const problem =
    target.startsWith('/') || target === '*'
      ? 'the forward port takes absolute-form targets alone'
      : 'the target is no absolute-form http:// URL';
  return new Fault('malformed', problem, { hint: WRITE_HTTP, at: 'target' });
}

export function requireSame(named: Authority, field: string): void {
  const host = parseAuthority(field, HTTP_PORT);
  if (host.host !== named.host || host.port !== named.port) throw unequal(named, host);
}

export function unequal(target: Authority, host: Authority): Fault {
  const [asked, field] = [
    formatAuthority(target.host, target.port),
    formatAuthority(host.host, host.port),
  ];
  const hint = 'send the Host of the target, or none of your own';
  return new Fault('ambiguous', `the target names ${asked} and Host names ${field}`, {
    hint,
    at: 'host',
  });
}
