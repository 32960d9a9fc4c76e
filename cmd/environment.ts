/**
 * The variables by which programs find the sidecar and trust its CA, joined with what an
 * environment has already. Both cases of the names of proxies, because curl reads only the
 * lower-case one for http and others only the upper-case one.
 */
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { HostPattern } from '../lib/net/host.ts';
import { joinTrust } from '../lib/interception/joined-trust.ts';
import { APT_FILE, STORE_FILE, trustVariables, WGET_FILE } from '../lib/interception/trust.ts';
import type { Io } from './io.ts';
import { noProxy } from './no-proxy.ts';

export interface Wanted {
  /** URL of the forward proxy, with a task's credential where there is one. */
  readonly proxy: string | undefined;
  /** URL of a proxy that asks for no credential, for programs that send none; default `proxy`. */
  readonly bare?: string | undefined;
  /** Folder of the CA's files as the program sees it. */
  readonly trust: string | undefined;
  /** Hosts of all destinations; undefined: unknown. */
  readonly hosts: readonly HostPattern[] | undefined;
  readonly before: NodeJS.ProcessEnv;
  /** Whether there is a file, for ~/.wgetrc. */
  readonly exists: (path: string) => boolean;
}

export interface Environment {
  /** Name to value. */
  readonly variables: Record<string, string>;
  /** What of the environment could not be kept, a sentence each. */
  readonly notes: readonly string[];
}

export function environment({ proxy, bare, trust, hosts, before, exists }: Wanted): Environment {
  const notes: string[] = [];
  const variables: Record<string, string> = {};
  const java: string[] = [];
  if (proxy !== undefined) {
    const { kept, dropped } = noProxy(exceptions(before), hosts);
    if (dropped.length > 0) {
      const why =
        hosts === undefined
          ? 'the destinations are not known here'
          : 'destinations have such hosts';
      notes.push(
        `NO_PROXY: left out ${dropped.join(', ')}: ${why}, and programs would go ` +
          'around the sidecar',
      );
    }
    Object.assign(variables, proxyVariables(proxy, kept));
    java.push(...javaProxy(bare ?? proxy, kept));
  }
  if (trust !== undefined) {
    Object.assign(variables, trustVariables(trust));
    const { JAVA_TOOL_OPTIONS: store = '' } = trustVariables(trust);
    if (foreignStore(before) === undefined) java.push(store);
    else notes.push(storeNote(foreignStore(before) ?? '', trust));
    notes.push(...ownFiles(variables, before, exists));
  }
  if (java.length > 0)
    variables['JAVA_TOOL_OPTIONS'] = joinJava(before['JAVA_TOOL_OPTIONS'] ?? '', java);
  return { variables, notes };
}

/** The same for the environment of this process, with files that hold what it trusts already. */
export async function environmentOf(
  { trust, ...wanted }: Pick<Wanted, 'proxy' | 'bare' | 'trust' | 'hosts'>,
  { env }: Io,
): Promise<Environment> {
  const joined = trust === undefined ? undefined : await joinTrust(trust, env);
  const made = environment({ ...wanted, trust: joined?.folder, before: env, exists: existsSync });
  return { ...made, notes: [...(joined?.problems ?? []), ...made.notes] };
}

/** Name to value, for one proxy URL. */
export function proxyVariables(
  proxy: string,
  direct = noProxy([], []).kept,
): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'WS_PROXY', 'WSS_PROXY'])
    pairs[name] = proxy;
  pairs['NO_PROXY'] = direct.join(',');
  for (const [name, value] of Object.entries(pairs)) pairs[name.toLowerCase()] = value;
  pairs['NODE_USE_ENV_PROXY'] = '1';
  return pairs;
}

/** What its documentation gives as the default, besides localhost. */
const JAVA_LOOPBACK: readonly string[] = ['127.*', '[::1]'];

/**
 * Java reads none of these variables. With a credential in the URL its program needs an
 * Authenticator besides.
 */
function javaProxy(proxy: string, direct: readonly string[]): string[] {
  const { hostname, port, username } = new URL(proxy);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const names = direct.filter((entry) => /^\*?[\w.-]+(?:\*)?$/.test(entry));
  const hosts = [...JAVA_LOOPBACK, ...names.map((entry) => entry.replace(/^\./, '*.'))];
  const basic = ['tunneling', 'proxying'].map((kind) => `-Djdk.http.auth.${kind}.disabledSchemes=`);
  return [
    ...['http', 'https'].flatMap((scheme) => [
      `-D${scheme}.proxyHost=${host}`,
      `-D${scheme}.proxyPort=${port || '80'}`,
    ]),
    `-Dhttp.nonProxyHosts=${[...new Set(hosts)].join('|')}`,
    ...(username === '' ? [] : basic),
  ];
}

/** Of all names and cases, and Java's own. */
function exceptions(before: NodeJS.ProcessEnv): string[] {
  const java = /-Dhttp\.nonProxyHosts=(\S+)/.exec(before['JAVA_TOOL_OPTIONS'] ?? '')?.[1] ?? '';
  const own = java.replaceAll(/["']/g, '').split('|');
  return [
    before['NO_PROXY'] ?? '',
    before['no_proxy'] ?? '',
    ...own.filter((name) => !JAVA_LOOPBACK.includes(name)),
  ];
}

/** Ours come last, and win; those of an earlier run are taken out where the text has no quotes. */
function joinJava(before: string, ours: readonly string[]): string {
  const names = new Set(ours.flatMap((text) => text.split(' ')).map(nameOf));
  const kept = /["']/.test(before)
    ? [before]
    : before.split(/\s+/).filter((option) => !names.has(nameOf(option)));
  return [...kept, ...ours].filter((text) => text !== '').join(' ');
}

function nameOf(option: string): string {
  return option.split('=', 1)[0] ?? '';
}

/** The trust store that options name already, where it is not ours. */
function foreignStore(before: NodeJS.ProcessEnv): string | undefined {
  const path = /-Djavax\.net\.ssl\.trustStore=["']?([^\s"']+)/.exec(
    before['JAVA_TOOL_OPTIONS'] ?? '',
  )?.[1];
  return path === undefined || basename(path) === STORE_FILE ? undefined : path;
}

function storeNote(store: string, trust: string): string {
  const importing =
    `keytool -importcert -noprompt -alias chaperone -file ${join(trust, 'ca.pem')} ` +
    `-keystore ${store}`;
  return (
    `JAVA_TOOL_OPTIONS: names the trust store ${store}, which is kept; add the CA to it: ` +
    `${importing}`
  );
}

/**
 * Where wget or apt are configured already that stays, and what to add is said: such a file may
 * hold passwords.
 */
function ownFiles(
  variables: Record<string, string>,
  before: NodeJS.ProcessEnv,
  exists: (path: string) => boolean,
): string[] {
  const notes: string[] = [];
  const home = join(before['HOME'] ?? '/', '.wgetrc');
  const bundle = variables['SSL_CERT_FILE'] ?? '';
  const wget = before['WGETRC'] || (exists(home) ? home : '');
  if (wget !== '' && basename(wget) !== WGET_FILE) {
    delete variables['WGETRC'];
    notes.push(`WGETRC: ${wget} stays; add to it: ca_certificate = ${bundle}`);
  }
  const apt = before['APT_CONFIG'] ?? '';
  if (apt !== '' && basename(apt) !== APT_FILE) {
    const { APT_CONFIG: ours = '' } = variables;
    delete variables['APT_CONFIG'];
    notes.push(`APT_CONFIG: ${apt} stays; add to it: #include "${ours}";`);
  }
  return notes;
}
