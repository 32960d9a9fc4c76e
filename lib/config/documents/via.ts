/**
 * `via`: the HTTP proxy through which a destination is reached, in a Destination or as a default of
 * the Sidecar.
 */
import { Fault } from '../../base/fault.ts';
import { parseAuthority } from '../../net/authority.ts';
import { quote } from '../../net/host.ts';
import { flag, list, optional, record, refine, type Refusal, text } from '../../schema/decode.ts';
import { filePath } from '../../schema/file-path.ts';

export interface ProxyUrl {
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
  /** As it was written. */
  readonly text: string;
}

export type ViaDocument =
  | { readonly direct: true }
  | {
      readonly proxy: ProxyUrl;
      readonly roots: readonly string[] | undefined;
      readonly basic: string | undefined;
    };

const proxyUrl = text<ProxyUrl>({
  is: 'the URL of an HTTP proxy',
  example: 'http://proxy.corp.example:3128',
  grammar: /^https?:\/\/[^/@?#]+:\d{1,5}$/,
  parse(value) {
    const [, scheme, authority = ''] = /^(https?):\/\/([^/?#]+)$/.exec(value) ?? [];
    const hint =
      'write http://host:port or https://host:port and nothing else; user and password go ' +
      'to via.basic';
    const bad = new Fault('config', `${quote(value)} is not the URL of an HTTP proxy`, { hint });
    if (scheme === undefined || authority.includes('@')) throw bad;
    try {
      return Object.freeze({
        secure: scheme === 'https',
        ...parseAuthority(authority, undefined),
        text: value,
      });
    } catch {
      throw bad;
    }
  },
});

export const via = refine(
  record({
    proxy: optional(proxyUrl, 'Its URL; `https://` speaks TLS to the proxy itself.'),
    roots: optional(
      list(filePath, { least: 1, most: 100, unique: String }),
      'With an `https://` proxy alone: PEM files whose certificates replace the roots of ' +
        'the system; relative to the folder of the document, read when it is loaded.',
    ),
    basic: optional(
      filePath,
      'A file with one line `user:password` for the proxy, read anew for each connection; ' +
        'relative to the folder of the document. Over `http://` the proxy gets it ' +
        'in the clear.',
    ),
    direct: optional(flag(), '`true` in place of the others: no proxy, whatever the default says.'),
  }),
  ({ proxy, roots, basic, direct }): { readonly value: ViaDocument } | Refusal => {
    if (direct === true && proxy === undefined && roots === undefined && basic === undefined)
      return { value: Object.freeze({ direct }) };
    if (proxy === undefined || direct !== undefined)
      return {
        message: 'it is one proxy or none',
        fix: 'write { proxy: http://host:port } or { direct: true }',
      };
    if (roots !== undefined && !proxy.secure)
      return {
        message: 'roots are of no use with an http:// proxy',
        fix: 'write https://, or remove roots',
      };
    return { value: Object.freeze({ proxy, roots, basic }) };
  },
);
